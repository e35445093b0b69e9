//! One batch: look up, load, decide, collect.
//!
//! A batch is staged on heads that are locked, or on heads as this executor left them ([`Setback`] says when that will not
//! do). It may grow while the batch before it is being written; what that one decided is read from its books, because no
//! connection sees it yet. Nothing is answered here and nothing reaches the cache before the commit; see
//! [`super::worker`] for both.

use std::collections::BTreeMap;

use subledger_domain::{LogName, StreamName, Timestamp};

use super::{
    book::{Book, Stored},
    cache::{Cache, Cached, Lookup},
    job::{Ending, Job, Verdict},
};
use crate::{
    Known, Position, Stage, StoreError, StreamRef,
    database::Reads,
    fold::{self, Base, Unfolded},
    rows::{LogHead, StreamEvent, StreamFound, StreamTail, Writes, signed},
    vault::Vault,
    work::{Digest, Map, ReceiptDigest, Versioned},
};

/// How often one command may ask for more streams.
const MAX_NEED_ROUNDS: usize = 16;
/// Bytes of events and contents after which the rest of a batch waits for the next.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Why a batch did not come to writing.
pub(super) enum Setback {
    /// It must be staged anew with its heads locked: a log is not known yet, or what was read does not fit together.
    Lock,
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a batch is staged with.
pub(super) struct Means<'a> {
    pub(super) reads: Reads<'a>,
    pub(super) cache: &'a mut Cache,
    pub(super) vault: &'a Vault,
    /// The batch that is being written.
    pub(super) before: Option<&'a Batch>,
    /// Whether to look receipts up that are not known. Else the write finds out: it is refused if one is there.
    pub(super) look_up: bool,
}

/// Commands that will be written together.
pub(super) struct Batch {
    desk: Desk,
    /// The commands, in order of arrival.
    pub(super) jobs: Vec<Box<dyn Job>>,
    /// How those that were decided end; may be fewer than the commands.
    pub(super) endings: Vec<Ending>,
}

/// The books of a batch.
struct Desk {
    now: Timestamp,
    books: Vec<Book>,
    by_log: Map<LogName, usize>,
}

impl Batch {
    /// An empty batch, decided at this time.
    pub(super) fn new(now: Timestamp) -> Self {
        let desk = Desk { now, books: Vec::new(), by_log: Map::default() };
        Self { desk, jobs: Vec::new(), endings: Vec::new() }
    }

    /// A batch on heads that are locked.
    pub(super) fn on(heads: Vec<LogHead>, cache: &mut Cache, now: Timestamp) -> Self {
        let mut batch = Self::new(now);
        for head in heads {
            let ours = cache.locked(&head);
            batch.desk.open(head, !ours);
        }
        batch
    }

    /// Decides these commands after those that are here, as far as they fit.
    pub(super) async fn stage(
        &mut self,
        more: impl IntoIterator<Item = Box<dyn Job>>,
        means: &mut Means<'_>,
    ) -> Result<(), Setback> {
        let first = self.jobs.len();
        self.jobs.extend(more);
        let Self { desk, jobs, endings } = self;
        desk.open_for(&jobs[first..], means)?;
        desk.find_receipts(&jobs[first..], means).await?;
        desk.load_for(&jobs[first..], means).await?;
        for job in &mut jobs[endings.len()..] {
            if desk.bytes() > MAX_BATCH_BYTES {
                break;
            }
            endings.push(desk.decide(job.as_mut(), means).await?);
        }
        desk.repeat_refused(first, jobs, endings, means).await?;
        // Without the lock a stream may have moved between two reads.
        if !means.reads.are_locked() && desk.books.iter().any(|book| !book.broken.is_empty()) {
            return Err(Setback::Lock);
        }
        Ok(())
    }

    /// Whether nothing more may be added.
    pub(super) fn is_full(&self) -> bool {
        self.endings.len() < self.jobs.len() || self.desk.bytes() > MAX_BATCH_BYTES
    }

    /// The commands that did not fit.
    pub(super) fn take_rest(&mut self) -> Vec<Box<dyn Job>> {
        self.jobs.split_off(self.endings.len())
    }

    /// What to write. To be called once, when no more is added. A refusal rests on what is known of the log as much as an event
    /// does, so unless the heads are `locked`, those that are not moved are checked.
    pub(super) fn collect(&mut self, locked: bool) -> Writes {
        let mut writes = Writes { now: self.desk.now.micros(), ..Writes::default() };
        for book in &mut self.desk.books {
            book.collect(&mut writes, locked);
        }
        writes
    }

    /// The head of a log as this batch leaves it and how it found it, if events were appended.
    pub(super) fn appended(&self) -> Option<&LogHead> {
        let moved = |book: &&Book| book.head_after().position > book.position_before();
        self.desk.books.iter().find(moved).map(Book::head_after)
    }

    /// Takes the batch apart: its books, and each command with how it ends.
    pub(super) fn into_parts(self) -> (Vec<Book>, impl Iterator<Item = (Box<dyn Job>, Ending)>) {
        (self.desk.books, self.jobs.into_iter().zip(self.endings))
    }

    fn book(&self, log: &LogName) -> Option<&Book> {
        Some(&self.desk.books[*self.desk.by_log.get(log)?])
    }
}

impl Desk {
    fn bytes(&self) -> usize {
        self.books.iter().map(|book| book.bytes).sum()
    }

    fn open(&mut self, head: LogHead, taken_over: bool) {
        self.by_log.insert(head.name.clone(), self.books.len());
        self.books.push(Book::open(head, self.now, taken_over));
    }

    /// Opens books for logs that have none, on heads as the batch before or the cache knows them.
    fn open_for(&mut self, jobs: &[Box<dyn Job>], means: &Means<'_>) -> Result<(), Setback> {
        for job in jobs {
            let log = job.log();
            if self.by_log.contains_key(log) {
                continue;
            }
            let before = means.before.and_then(|before| before.book(log)).map(Book::head_after);
            let head = before.or_else(|| means.cache.head(log)).cloned();
            match head {
                Some(head) if !means.reads.are_locked() => self.open(head, false),
                _ => return Err(Setback::Lock),
            }
        }
        Ok(())
    }

    async fn find_receipts(&mut self, jobs: &[Box<dyn Job>], means: &mut Means<'_>) -> Result<(), Setback> {
        let mut keys: Vec<(i64, Digest)> = Vec::new();
        for job in jobs {
            let (Some(&at), Some(ReceiptDigest { key, .. })) = (self.by_log.get(job.log()), job.receipt())
            else {
                continue;
            };
            let book = &mut self.books[at];
            if book.receipts.contains_key(&key) {
                continue;
            }
            let before = means.before.and_then(|before| before.book(job.log())?.receipts.get(&key));
            match before.or_else(|| means.cache.receipt(job.log(), &key)) {
                Some(receipt) => book.borrow_receipt(key, receipt),
                None if means.look_up => keys.push((book.log_id(), key)),
                None => {}
            }
        }
        self.look_up_receipts(keys, means).await
    }

    async fn look_up_receipts(
        &mut self,
        mut keys: Vec<(i64, Digest)>,
        means: &mut Means<'_>,
    ) -> Result<(), Setback> {
        if keys.is_empty() {
            return Ok(());
        }
        keys.sort_unstable();
        keys.dedup();
        for row in means.reads.session().await?.find_receipts(&keys).await? {
            if let Some(book) = self.books.iter_mut().find(|book| book.log_id() == row.log) {
                book.found_receipt(row)?;
            }
        }
        Ok(())
    }

    /// How a command ends that has a receipt.
    fn answered(&self, job: &dyn Job) -> Option<Ending> {
        let book = &self.books[*self.by_log.get(job.log())?];
        let ReceiptDigest { key, fingerprint } = job.receipt()?;
        let known = book.receipts.get(&key)?;
        Some(match known.fingerprint == fingerprint {
            true => Ending::Replayed(known.outcome.to_string(), Position(known.position)),
            false => Ending::Conflict,
        })
    }

    /// Loads the streams that jobs name.
    async fn load_for(&mut self, jobs: &[Box<dyn Job>], means: &mut Means<'_>) -> Result<(), Setback> {
        let mut wanted = Vec::with_capacity(jobs.len());
        let curious: Vec<_> = jobs.iter().filter(|job| self.want(job.as_ref(), &mut wanted)).collect();
        self.load(wanted, means).await?;
        // Again: knowing a binding, a work can name the ledger behind it.
        let mut wanted = Vec::new();
        for job in curious {
            self.want(job.as_ref(), &mut wanted);
        }
        self.load(wanted, means).await
    }

    /// Adds the streams that a job names, as far as it can tell now. Answers whether it looked at states to tell.
    fn want(&self, job: &dyn Job, wanted: &mut Vec<(usize, StreamRef)>) -> bool {
        let Some(&at) = self.by_log.get(job.log()) else { return false };
        let book = &self.books[at];
        // A repeated command is answered from its receipt.
        if job.receipt().is_some_and(|receipt| book.receipts.contains_key(&receipt.key)) {
            return false;
        }
        let known = Known::new(&book.states);
        // A work that fails to name its streams asks for them when it decides, or fails there.
        let streams = job.streams(&known).unwrap_or_default();
        wanted.extend(streams.into_iter().map(|stream| (at, stream)));
        known.was_asked()
    }

    /// Brings streams into their books: from the batch before, from the cache if that is current, else from the database.
    async fn load(&mut self, wanted: Vec<(usize, StreamRef)>, means: &mut Means<'_>) -> Result<(), Setback> {
        // By stream, because several commands may want the same one: read twice it would seem to hold each event twice.
        let mut stale: BTreeMap<(usize, StreamName), Loading> = BTreeMap::new();
        let mut unknown: BTreeMap<(usize, StreamName), StreamRef> = BTreeMap::new();
        for (at, stream) in wanted {
            let book = &mut self.books[at];
            if book.states.contains_key(&stream.name) || book.broken.contains_key(&stream.name) {
                continue;
            }
            let before = means.before.and_then(|before| before.book(book.log()));
            if let Some((versioned, stored)) = before.and_then(|before| before.state(&stream.name)) {
                put(book, stream.name, versioned, stored);
                continue;
            }
            match means.cache.look_up(book.log(), &stream.name) {
                Lookup::Current(cached) => put_cached(book, stream.name, cached),
                Lookup::Stale(Cached { versioned, number: Some(number), .. }) => {
                    let Versioned { version, state } = versioned;
                    let base = Base { version, state: state.copy() };
                    let loading = Loading { at, stream, number, base };
                    stale.insert((at, loading.stream.name.clone()), loading);
                }
                Lookup::Stale(_) | Lookup::Unknown => {
                    unknown.insert((at, stream.name.clone()), stream);
                }
            }
        }
        let mut loading: Vec<Loading> = stale.into_values().collect();
        if !unknown.is_empty() {
            self.find(unknown, &mut loading, means).await?;
        }
        self.load_events(loading, means).await
    }

    /// Looks unknown streams up; those that exist are left to be loaded from their snapshots on.
    async fn find(
        &mut self,
        unknown: BTreeMap<(usize, StreamName), StreamRef>,
        loading: &mut Vec<Loading>,
        means: &mut Means<'_>,
    ) -> Result<(), Setback> {
        let names: Vec<(i64, StreamName)> =
            unknown.keys().map(|(at, name)| (self.books[*at].log_id(), name.clone())).collect();
        let mut found: Map<(i64, StreamName), StreamFound> = Map::default();
        for row in means.reads.session().await?.find_streams(&names).await? {
            found.insert((row.log, row.name.clone()), row);
        }
        for ((at, name), stream) in unknown {
            let book = &mut self.books[at];
            match found.remove(&(book.log_id(), name.clone())) {
                None => {
                    let base = Base { version: 0, state: (stream.empty)() };
                    put(book, name, base.freeze(), Stored::default());
                }
                Some(row) => {
                    let base = fold::thaw(&stream, row.snapshot.as_ref());
                    loading.push(Loading { at, stream, number: row.number, base });
                }
            }
        }
        Ok(())
    }

    /// Brings states up to the newest event of their streams.
    async fn load_events(&mut self, loading: Vec<Loading>, means: &mut Means<'_>) -> Result<(), Setback> {
        if loading.is_empty() {
            return Ok(());
        }
        let tail = |loading: &Loading| StreamTail {
            log: self.books[loading.at].log_id(),
            number: loading.number,
            after: signed(loading.base.version),
        };
        let tails: Vec<_> = loading.iter().map(tail).collect();
        let mut events: Map<(i64, i64), Vec<StreamEvent>> = Map::default();
        for event in means.reads.session().await?.tail_events(&tails).await? {
            events.entry((event.0, event.1)).or_default().push(event);
        }
        for Loading { at, stream, number, mut base } in loading {
            let book = &mut self.books[at];
            let name = stream.name;
            let events = events.remove(&(book.log_id(), number)).unwrap_or_default();
            match fold::fold(&mut base, book.log(), &name, &events) {
                Ok(()) => {
                    let (version, bytes) = (base.version, base.state.weight());
                    let stored = Stored { number: Some(number), version, bytes, moved: false };
                    put(book, name, base.freeze(), stored);
                }
                Err(unfolded) => {
                    // Whoever asked says what is newer.
                    if let Unfolded::Broken(what) = &unfolded {
                        tracing::error!(
                            log.name = book.log().as_str(),
                            error = what,
                            "a stream cannot be loaded"
                        );
                    }
                    book.broken.insert(name, unfolded);
                }
            }
        }
        Ok(())
    }

    /// Decides one job on the states as the jobs before it left them.
    async fn decide(&mut self, job: &mut dyn Job, means: &mut Means<'_>) -> Result<Ending, Setback> {
        let Some(&at) = self.by_log.get(job.log()) else {
            return Ok(Ending::Fault("the log is not open".to_owned()));
        };
        if let Some(ending) = self.answered(job) {
            return Ok(ending);
        }
        for _ in 0..=MAX_NEED_ROUNDS {
            let book = &mut self.books[at];
            let mut stage = Stage::new(book.now, &book.states);
            let verdict = job.decide(&mut stage);
            let staged = stage.finish();
            match verdict {
                Verdict::Accepted(answer) => {
                    let receipt = job.receipt().zip(answer);
                    return Ok(match book.accept(means.vault, staged, job.cause(), receipt) {
                        Ok(()) => Ending::Decided(Position(book.position())),
                        Err(what) => Ending::Fault(what),
                    });
                }
                Verdict::Refused => return Ok(Ending::Refused),
                Verdict::Fault(what) => return Ok(Ending::Fault(what)),
                Verdict::Need(streams) => {
                    if let Some(unfolded) = streams.iter().find_map(|stream| book.broken.get(&stream.name)) {
                        return Ok(match unfolded.clone() {
                            Unfolded::Newer(event) => Ending::Newer(event),
                            Unfolded::Broken(what) => Ending::Fault(what),
                        });
                    }
                    self.load(streams.into_iter().map(|stream| (at, stream)).collect(), means).await?;
                }
            }
        }
        Ok(Ending::Fault(format!("the command asked for more streams more than {MAX_NEED_ROUNDS} times")))
    }

    /// A refusal writes no receipt, so no write finds out that the command was answered before. Unless all receipts were
    /// looked up, those of refused commands are looked up here.
    async fn repeat_refused(
        &mut self,
        first: usize,
        jobs: &[Box<dyn Job>],
        endings: &mut [Ending],
        means: &mut Means<'_>,
    ) -> Result<(), Setback> {
        if means.look_up {
            return Ok(());
        }
        let mut refused = Vec::new();
        let mut keys = Vec::new();
        for (at, (job, ending)) in jobs.iter().zip(endings.iter()).enumerate().skip(first) {
            let (Ending::Refused | Ending::Newer(_) | Ending::Fault(_)) = ending else { continue };
            let (Some(&book), Some(ReceiptDigest { key, .. })) = (self.by_log.get(job.log()), job.receipt())
            else {
                continue;
            };
            let book = &self.books[book];
            if !book.receipts.contains_key(&key) {
                refused.push(at);
                keys.push((book.log_id(), key));
            }
        }
        self.look_up_receipts(keys, means).await?;
        for at in refused {
            if let Some(ending) = self.answered(jobs[at].as_ref()) {
                endings[at] = ending;
            }
        }
        Ok(())
    }
}

/// A stream whose newest events are not known.
struct Loading {
    at: usize,
    stream: StreamRef,
    number: i64,
    base: Base,
}

fn put_cached(book: &mut Book, name: StreamName, cached: Cached) {
    let version = cached.versioned.version;
    let stored = Stored { number: cached.number, version, bytes: cached.bytes, moved: false };
    put(book, name, cached.versioned, stored);
}

fn put(book: &mut Book, name: StreamName, versioned: Versioned, stored: Stored) {
    book.stored.insert(name.clone(), stored);
    book.states.insert(name, versioned);
}
