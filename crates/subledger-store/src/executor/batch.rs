//! One batch: lock, load, decide, write.
//!
//! Everything here runs inside one database transaction and yields only to the database. Nothing is answered here and
//! nothing reaches the cache before the commit; see [`super::worker`] for both.

use std::collections::{BTreeMap, HashMap, HashSet};

use subledger_domain::{LogName, StreamName, Timestamp};

use super::{
    book::{Book, Stored},
    cache::{Cache, Cached, Lookup},
    job::{Ending, Job, Verdict},
};
use crate::{
    Known, Position, Stage, StoreError, StreamRef,
    database::Session,
    fold::{self, Base, SNAPSHOT_EVERY},
    rows::{SnapshotRow, StreamEvent, StreamTail, Writes, signed},
    vault::Vault,
    work::Versioned,
};

/// How often one command may ask for more streams.
const MAX_NEED_ROUNDS: usize = 16;
/// Bytes of events and contents after which the rest of a batch waits for the next.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// What the jobs of a batch came to.
pub(super) struct Outcome {
    /// One per job that was decided, in order; jobs beyond wait for the next batch.
    pub(super) endings: Vec<Ending>,
    /// The books, to be closed after the commit.
    pub(super) books: Vec<Book>,
    /// What to write.
    pub(super) writes: Writes,
}

/// Why a batch did not come to writing.
pub(super) enum Setback {
    /// These logs have no head row yet.
    MissingLogs(Vec<LogName>),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Batch<'a, 's> {
    session: &'a mut Session<'s>,
    cache: &'a mut Cache,
    vault: &'a Vault,
    books: Vec<Book>,
    by_log: HashMap<LogName, usize>,
}

/// Decides all jobs that fit into one batch.
pub(super) async fn decide_all(
    session: &mut Session<'_>,
    cache: &mut Cache,
    vault: &Vault,
    jobs: &mut [Box<dyn Job>],
    now: Timestamp,
) -> Result<Outcome, Setback> {
    let mut batch = Batch { session, cache, vault, books: Vec::new(), by_log: HashMap::new() };
    batch.lock(jobs, now).await?;
    batch.find_receipts(jobs).await?;
    // Twice: knowing a binding, a work can name the ledger behind it.
    for _ in 0..2 {
        batch.load_for(jobs).await?;
    }
    let mut endings = Vec::with_capacity(jobs.len());
    for job in jobs.iter_mut() {
        endings.push(batch.decide(job.as_mut()).await?);
        if batch.books.iter().map(|book| book.bytes).sum::<usize>() > MAX_BATCH_BYTES {
            break;
        }
    }
    let mut writes = Writes { now: now.micros(), ..Writes::default() };
    for book in &mut batch.books {
        book.collect(&mut writes)?;
    }
    Ok(Outcome { endings, books: batch.books, writes })
}

impl Batch<'_, '_> {
    async fn lock(&mut self, jobs: &[Box<dyn Job>], now: Timestamp) -> Result<(), Setback> {
        let mut names: Vec<&LogName> = jobs.iter().map(|job| job.log()).collect();
        names.sort_unstable();
        names.dedup();
        let names: Vec<LogName> = names.into_iter().cloned().collect();
        let heads = self.session.lock_heads(&names).await?;
        if heads.len() < names.len() {
            let found: HashSet<&LogName> = heads.iter().map(|head| &head.name).collect();
            let missing = names.iter().filter(|name| !found.contains(name)).cloned().collect();
            return Err(Setback::MissingLogs(missing));
        }
        for head in heads {
            let ours = self.cache.locked(&head);
            self.by_log.insert(head.name.clone(), self.books.len());
            self.books.push(Book::open(head, now, !ours));
        }
        Ok(())
    }

    async fn find_receipts(&mut self, jobs: &[Box<dyn Job>]) -> Result<(), Setback> {
        let keyed = jobs.iter().filter_map(|job| Some((self.by_log.get(job.log())?, job.receipt()?)));
        let mut ids: Vec<(i64, &str)> =
            keyed.map(|(book, key)| (self.books[*book].log_id(), key.id.as_str())).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        for row in self.session.find_receipts(&ids).await? {
            if let Some(book) = self.books.iter_mut().find(|book| book.log_id() == row.log) {
                book.found_receipt(row)?;
            }
        }
        Ok(())
    }

    /// Loads the streams that jobs name, as far as they can tell now.
    async fn load_for(&mut self, jobs: &[Box<dyn Job>]) -> Result<(), Setback> {
        let mut wanted = Vec::new();
        for job in jobs {
            let Some(&book) = self.by_log.get(job.log()) else { continue };
            // A repeated command is answered from its receipt.
            if job.receipt().is_some_and(|key| self.books[book].receipts.contains_key(&key.id)) {
                continue;
            }
            // A work that fails to name its streams asks for them when it decides, or fails there.
            let streams = job.streams(&Known { states: &self.books[book].states }).unwrap_or_default();
            wanted.extend(streams.into_iter().map(|stream| (book, stream)));
        }
        self.load(wanted).await
    }

    /// Brings streams into their books: from the cache if that is current, else from the database.
    async fn load(&mut self, wanted: Vec<(usize, StreamRef)>) -> Result<(), Setback> {
        let mut missing: BTreeMap<(usize, StreamName), (StreamRef, Option<Cached>)> = BTreeMap::new();
        for (at, stream) in wanted {
            let book = &mut self.books[at];
            if book.states.contains_key(&stream.name) || book.broken.contains_key(&stream.name) {
                continue;
            }
            match self.cache.look_up(book.log(), &stream.name) {
                Lookup::Current(cached) => put(book, stream.name, cached),
                Lookup::Stale(cached) => {
                    missing.insert((at, stream.name.clone()), (stream, Some(cached)));
                }
                Lookup::Unknown => {
                    missing.insert((at, stream.name.clone()), (stream, None));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<(i64, StreamName)> =
            missing.keys().map(|(at, name)| (self.books[*at].log_id(), name.clone())).collect();
        let mut found = HashMap::with_capacity(names.len());
        for row in self.session.find_streams(&names).await? {
            found.insert((row.log, row.name), (row.number, row.version));
        }
        let mut tails = Vec::new();
        for ((at, name), (stream, cached)) in missing {
            let book = &mut self.books[at];
            match (found.get(&(book.log_id(), name.clone())).copied(), cached) {
                (None, _) => {
                    let state = (stream.empty)();
                    put_base(book, name, Base { version: 0, state, bytes: 0 }, Stored::default());
                }
                (Some((_, version)), Some(cached)) if cached.versioned.version == version => {
                    put(book, name, cached);
                }
                (Some((number, version)), cached) => {
                    let cached = cached.filter(|cached| cached.versioned.version < version);
                    tails.push(Loading { at, stream, number, version, cached });
                }
            }
        }
        self.load_events(tails).await
    }

    async fn load_events(&mut self, loading: Vec<Loading>) -> Result<(), Setback> {
        if loading.is_empty() {
            return Ok(());
        }
        let long: Vec<(i64, i64)> = loading
            .iter()
            .filter(|loading| loading.cached.is_none() && loading.version >= SNAPSHOT_EVERY)
            .map(|loading| (self.books[loading.at].log_id(), loading.number))
            .collect();
        let mut snapshots: HashMap<(i64, i64), SnapshotRow> = HashMap::new();
        if !long.is_empty() {
            let found = self.session.find_snapshots(&long).await?;
            snapshots = found.into_iter().map(|row| ((row.log, row.stream), row)).collect();
        }
        let mut bases = Vec::with_capacity(loading.len());
        let mut tails = Vec::with_capacity(loading.len());
        for loading in loading {
            let log = self.books[loading.at].log_id();
            let base = match &loading.cached {
                Some(Cached { versioned: Versioned { version, state }, bytes, .. }) => {
                    Base { version: *version, state: state.boxed_clone(), bytes: *bytes }
                }
                None => fold::thaw(&loading.stream, snapshots.get(&(log, loading.number))),
            };
            tails.push(StreamTail { log, number: loading.number, after: signed(base.version) });
            bases.push((loading, base));
        }
        let mut events: HashMap<(i64, i64), Vec<StreamEvent>> = HashMap::new();
        for event in self.session.tail_events(&tails).await? {
            events.entry((event.0, event.1)).or_default().push(event);
        }
        for (loading, mut base) in bases {
            let book = &mut self.books[loading.at];
            let (name, number) = (loading.stream.name, loading.number);
            let events = events.remove(&(book.log_id(), number)).unwrap_or_default();
            let folded = fold::fold(&mut base, &name, &events);
            let complete = folded.and_then(|()| match base.version == loading.version {
                true => Ok(()),
                false => {
                    Err(format!("stream {name} ends at version {}, not {}", base.version, loading.version))
                }
            });
            match complete {
                Ok(()) => {
                    let stored =
                        Stored { number: Some(number), version: loading.version, ..Stored::default() };
                    put_base(book, name, base, stored);
                }
                Err(what) => {
                    tracing::error!(
                        log.name = book.log().as_str(),
                        error = what,
                        "a stream cannot be loaded"
                    );
                    book.broken.insert(name, what);
                }
            }
        }
        Ok(())
    }

    /// Decides one job on the states as the jobs before it left them.
    async fn decide(&mut self, job: &mut dyn Job) -> Result<Ending, Setback> {
        let Some(&at) = self.by_log.get(job.log()) else {
            return Ok(Ending::Fault("the log is not open".to_owned()));
        };
        if let Some(key) = job.receipt()
            && let Some(known) = self.books[at].receipts.get(&key.id)
        {
            return Ok(match known.fingerprint == key.fingerprint {
                true => Ending::Replayed(known.outcome.clone(), Position(known.position)),
                false => Ending::Conflict,
            });
        }
        for _ in 0..=MAX_NEED_ROUNDS {
            let book = &mut self.books[at];
            let mut stage = Stage::new(book.now, &book.states);
            let verdict = job.decide(&mut stage);
            let staged = stage.finish();
            match verdict {
                Verdict::Accepted(answer) => {
                    let receipt = job.receipt().zip(answer);
                    return Ok(match book.accept(self.vault, staged, job.cause(), receipt) {
                        Ok(()) => Ending::Decided(Position(book.position())),
                        Err(what) => Ending::Fault(what),
                    });
                }
                Verdict::Refused => return Ok(Ending::Decided(Position(book.position()))),
                Verdict::Fault(what) => return Ok(Ending::Fault(what)),
                Verdict::Need(streams) => {
                    if let Some(what) = streams.iter().find_map(|stream| book.broken.get(&stream.name)) {
                        return Ok(Ending::Fault(what.clone()));
                    }
                    self.load(streams.into_iter().map(|stream| (at, stream)).collect()).await?;
                }
            }
        }
        Ok(Ending::Fault(format!("the command asked for more streams more than {MAX_NEED_ROUNDS} times")))
    }
}

/// A stream whose newest events are not known.
struct Loading {
    at: usize,
    stream: StreamRef,
    number: i64,
    version: u64,
    cached: Option<Cached>,
}

fn put(book: &mut Book, name: StreamName, cached: Cached) {
    let version = cached.versioned.version;
    let stored = Stored { number: cached.number, version, bytes: cached.bytes, moved: false };
    book.stored.insert(name.clone(), stored);
    book.states.insert(name, cached.versioned);
}

fn put_base(book: &mut Book, name: StreamName, base: Base, stored: Stored) {
    book.stored.insert(name.clone(), Stored { bytes: base.bytes, ..stored });
    book.states.insert(name, base.freeze());
}
