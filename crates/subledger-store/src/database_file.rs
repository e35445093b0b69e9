//! One process writes a SQLite file.
//!
//! SQLite itself would let two processes write in turn, but each of them keeps states, claims and read models in memory that
//! the other would make stale, and neither hears of the other's commits. So the first process that writes takes an advisory
//! lock on a file beside the database and keeps it as long as it lives; the system lets go of it with the process,
//! however that ends. Reading needs no lock.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use crate::{StoreError, sqlite::receipt::Unfiled};

/// A database file and, once this process writes it, the lock.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    held: OnceLock<File>,
    claiming: Mutex<()>,
    turn: Arc<tokio::sync::Mutex<()>>,
    unfiled: Unfiled,
}

impl DatabaseFile {
    /// The file at this path: one per process, so that several stores on one file share the lock.
    pub(crate) fn new(path: &Path) -> Arc<Self> {
        static FILES: OnceLock<Mutex<HashMap<PathBuf, Weak<DatabaseFile>>>> = OnceLock::new();
        // A file that is not there yet has no canonical path, its folder has.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let full = match (folder.canonicalize(), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        };
        let mut files = FILES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(&full).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(Self {
            path: full.clone(),
            held: OnceLock::new(),
            claiming: Mutex::new(()),
            turn: Arc::default(),
            unfiled: Unfiled::default(),
        });
        files.insert(full, Arc::downgrade(&file));
        file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose turn it is to write, among the stores of this process.
    pub(crate) const fn turn(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.turn
    }

    /// Its receipts that wait to be filed.
    pub(crate) const fn unfiled(&self) -> &Unfiled {
        &self.unfiled
    }

    /// Brings to the disk what was written to the file, by whichever connection.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        // Never closed: the system takes all locks a process has on a file from it when the process closes any descriptor of
        // that file, and SQLite's connections rely on theirs.
        static OPEN: Mutex<BTreeMap<PathBuf, Arc<File>>> = Mutex::new(BTreeMap::new());
        let file = {
            let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
            match open.get(&self.path) {
                Some(file) => Arc::clone(file),
                None => {
                    let file = Arc::new(File::open(&self.path)?);
                    open.insert(self.path.clone(), Arc::clone(&file));
                    file
                }
            }
        };
        file.sync_data()
    }

    /// Makes this process the writer, unless another one is.
    pub(crate) fn claim(&self) -> Result<(), StoreError> {
        if self.held.get().is_some() {
            return Ok(());
        }
        let _one_at_a_time = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.get().is_some() {
            return Ok(());
        }
        let lock = self.path.with_added_extension("lock");
        let failed = |error: std::io::Error| {
            StoreError::sort("taking the lock of the database file", sqlx::Error::Io(error))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.taken(&mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Only for people; the lock is what counts.
        let noted = file.set_len(0).and_then(|()| file.rewind());
        let _ = noted.and_then(|()| writeln!(file, "{}", std::process::id()));
        let _ = self.held.set(file);
        Ok(())
    }

    fn taken(&self, file: &mut File) -> StoreError {
        let mut by = String::new();
        let read = file.take(32).read_to_string(&mut by).is_ok();
        let by = by.trim();
        let by = if read && !by.is_empty() { format!("process {by}") } else { "another process".to_owned() };
        let path = self.path.display();
        StoreError::WrittenElsewhere(format!(
            "{by} writes {path}; a SQLite file has one writing process. Stop it, use its HTTP API, or run several nodes on PostgreSQL"
        ))
    }
}
