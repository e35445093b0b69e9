//! Rows in memory: as many as fit of those that batches look at.
//!
//! Rows stay from batch to batch and are written back together, each once however often it changed. Of a generation that
//! began empty it is known which rows exist: those that are here, and those that were dropped from here, of which a hash
//! of the key is kept. So a new row costs no look at the database, however many there are.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
};

use crate::{
    table::{Need, Row},
    tuples::{Naming, Sheet, Tuples, Unreadable},
};

/// A fast hash for keys that are hashes themselves or were chosen by the operator: nobody gains by collisions. Both halves of
/// each product are used, so that ids which differ in a few bits, wherever those are, do not fall together.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        for byte in chunks.remainder() {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

struct Slot<R> {
    row: R,
    /// Differs from what the database holds.
    dirty: bool,
    /// The database holds a row with this key.
    stored: bool,
    /// The batch that last looked at it.
    used: u32,
}

/// What there may be in the database that is not in memory.
enum Elsewhere {
    /// Rows with these hashes of keys, and possibly others with the same.
    Dropped(HashSet<u64, BuildHasherDefault<Quick>>),
    /// Anything.
    Unknown,
}

impl Elsewhere {
    fn may_have<K: Hash>(&self, key: &K) -> bool {
        match self {
            Self::Dropped(hashes) => !hashes.is_empty() && hashes.contains(&hash_of(key)),
            Self::Unknown => true,
        }
    }
}

fn hash_of<K: Hash>(key: &K) -> u64 {
    BuildHasherDefault::<Quick>::default().hash_one(key)
}

/// Of that many dropped rows a hash is kept; with more, the rest of the build looks keys up.
const DROPPED: usize = 8 << 20;

/// The rows of one table that are in memory.
pub(crate) struct Rows<R: Row> {
    rows: HashMap<R::Key, Slot<R>, BuildHasherDefault<Quick>>,
    wanted: HashSet<R::Key, BuildHasherDefault<Quick>>,
    /// The keys of what is dirty, each once.
    changed: Vec<R::Key>,
    elsewhere: Elsewhere,
    now: u32,
}

impl<R: Row> Default for Rows<R> {
    fn default() -> Self {
        Self {
            rows: HashMap::default(),
            wanted: HashSet::default(),
            changed: Vec::new(),
            elsewhere: Elsewhere::Unknown,
            now: 0,
        }
    }
}

impl<R: Row> Rows<R> {
    /// Notes that this row has to be looked at; it is loaded if it is not here.
    pub(crate) fn want(&mut self, key: &R::Key) {
        if !self.rows.contains_key(key) && self.elsewhere.may_have(key) {
            self.wanted.insert(key.clone());
        }
    }

    /// What to load, once; nothing if no key is wanted. If a key cannot be named yet, what is returned is of no use, and it
    /// is to be asked again.
    pub(crate) fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        if self.wanted.is_empty() {
            return None;
        }
        let mut wanted: Vec<&R::Key> = self.wanted.iter().collect();
        wanted.sort_unstable();
        let mut keys = Tuples::default();
        for key in wanted {
            keys.push(R::TABLE.key_columns(), naming, |to| R::put_key(key, to));
        }
        if !naming.has_missing() {
            self.wanted.clear();
        }
        Some(Need { table: R::TABLE, keys })
    }

    /// Takes loaded rows in.
    pub(crate) fn load(&mut self, stored: &Tuples) -> Result<(), Unreadable> {
        for mut row in stored.iter(R::TABLE.columns().len()) {
            let row = R::take(&mut row)?;
            let slot = Slot { dirty: false, stored: true, used: self.now, row };
            self.rows.insert(slot.row.key(), slot);
        }
        Ok(())
    }

    /// The row, to look at.
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key).map(|slot| &slot.row)
    }

    /// The row, to change.
    pub(crate) fn edit(&mut self, key: &R::Key) -> Option<&mut R> {
        let slot = self.rows.get_mut(key)?;
        if !slot.dirty {
            slot.dirty = true;
            self.changed.push(key.clone());
        }
        slot.used = self.now;
        Some(&mut slot.row)
    }

    /// The row, to change; made if there is none.
    pub(crate) fn edit_or_make(&mut self, key: &R::Key, make: impl FnOnce() -> R) -> &mut R {
        let slot = self.rows.entry(key.clone()).or_insert_with(|| Slot {
            row: make(),
            dirty: false,
            stored: false,
            used: 0,
        });
        if !slot.dirty {
            slot.dirty = true;
            self.changed.push(key.clone());
        }
        slot.used = self.now;
        &mut slot.row
    }

    /// A new row, or another in place of the one with its key.
    pub(crate) fn put(&mut self, row: R) {
        let key = row.key();
        match self.rows.get_mut(&key) {
            Some(slot) => {
                slot.row = row;
                slot.used = self.now;
                if !slot.dirty {
                    slot.dirty = true;
                    self.changed.push(key);
                }
            }
            None => {
                self.changed.push(key.clone());
                self.rows.insert(key, Slot { row, dirty: true, stored: false, used: self.now });
            }
        }
    }
}

/// The rows of a table, whatever they are.
pub(crate) trait Held: Send {
    /// The generation is empty: what is not here does not exist.
    fn begin_empty(&mut self);
    /// Another batch begins.
    fn tick(&mut self);
    /// About how many bytes the rows take.
    fn bytes(&self) -> usize;
    /// The changed rows, in order of their key, as they go into the database.
    fn changes(&mut self, generation: i64, naming: &mut Naming<'_>) -> Option<Sheet>;
    /// What was changed counts as written from now on.
    fn settle(&mut self);
    /// Drops rows that were not looked at in the last `batches`, except changed ones.
    fn evict(&mut self, batches: u32);
}

impl<R: Row> Held for Rows<R> {
    fn begin_empty(&mut self) {
        self.elsewhere = Elsewhere::Dropped(HashSet::default());
    }

    fn tick(&mut self) {
        self.now = self.now.wrapping_add(1);
    }

    fn bytes(&self) -> usize {
        // The bucket, the key's and the row's texts.
        let rows = self.rows.capacity() * (size_of::<R::Key>() + size_of::<Slot<R>>());
        rows + self.rows.len() * R::HEAP_BYTES
    }

    fn changes(&mut self, generation: i64, naming: &mut Naming<'_>) -> Option<Sheet> {
        if self.changed.is_empty() {
            return None;
        }
        self.changed.sort_unstable();
        let mut sheet = Sheet { table: R::TABLE, fresh: Tuples::default(), known: Tuples::default() };
        for key in &self.changed {
            let Some(slot) = self.rows.get(key) else { continue };
            let tuples = if slot.stored { &mut sheet.known } else { &mut sheet.fresh };
            tuples.push(R::TABLE.columns().len() + 1, naming, |to| {
                to.int(generation);
                R::put_key(key, to);
                slot.row.put_rest(to);
            });
        }
        Some(sheet)
    }

    fn settle(&mut self) {
        for key in self.changed.drain(..) {
            if let Some(slot) = self.rows.get_mut(&key) {
                slot.dirty = false;
                slot.stored = true;
            }
        }
    }

    fn evict(&mut self, batches: u32) {
        let now = self.now;
        let keep = |slot: &Slot<R>| slot.dirty || now.wrapping_sub(slot.used) < batches;
        if let Elsewhere::Dropped(hashes) = &mut self.elsewhere {
            let dropped = self.rows.iter().filter(|(_, slot)| !keep(slot));
            hashes.extend(dropped.map(|(key, _)| hash_of(key)));
            if hashes.len() > DROPPED {
                self.elsewhere = Elsewhere::Unknown;
            }
        }
        self.rows.retain(|_, slot| keep(slot));
        self.rows.shrink_to_fit();
    }
}
