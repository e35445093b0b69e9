//! The task behind an executor: takes what waits, has it decided, has it written, answers.
//!
//! There is no timer. While one batch is written the next is decided, and goes on growing until the one before it is
//! durable; so batches grow with the load and a lone command never waits for company. Such a batch is decided on what this
//! executor knows without any lock, and written only if every head still stands where it left it.
//!
//! Receipts made lately are remembered; others are not looked up, the write is refused if one is there.
//!
//! When that fails (another node writes to the log, a log is new, a command is repeated, the database refused something) the commands are carried
//! out the slow way, [`super::locked`]: alone, with the heads locked. After another node was met, some more batches go that
//! way before the quick way is tried again.
//!
//! No caller can cancel what is under way, and after any failure the cache is dropped: what was decided may or may not have
//! been committed, and only the database knows.

use std::{sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};

use super::{
    ExecutorConfig,
    batch::{Batch, Means, Setback},
    cache::Cache,
    job::{Ending, Job},
};
use crate::{
    Position, Store, StoreError,
    database::{LogWriter, NotWritten, Reader, Reads, Writing},
    metric_definitions::{
        BATCH_COMMANDS, BATCH_SECONDS, BATCHES_DISPLACED, CACHE_BYTES, EVENTS_APPENDED, QUEUE_DEPTH,
    },
    rows::signed,
};

/// Batches that are carried out with locked heads after another writer was met.
const CAUTIOUS_BATCHES: u32 = 32;
/// Batches for which receipts are looked up after one was repeated: where one caller repeats, others do.
const LOOK_UP_BATCHES: u32 = 256;
/// How often the database is asked what became of a commit before its callers are told that nobody knows.
const MAX_ENQUIRIES: u32 = 3;

pub(super) struct Worker {
    pub(super) store: Store,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    stop: watch::Receiver<bool>,
    pub(super) cache: Cache,
    batch: usize,
    label: String,
    pub(super) writer: LogWriter,
    reader: Reader,
    /// Batches still to be carried out with locked heads.
    cautious: u32,
    /// Batches still to look receipts up for.
    look_up: u32,
}

/// A batch that is being written.
struct Flight {
    batch: Batch,
    /// `None`: it had nothing to write.
    written: Option<Writing>,
    started: Instant,
}

impl Flight {
    async fn landed(flight: &mut Option<Self>) -> Result<(), NotWritten> {
        let Some(Self { written: Some(written), .. }) = flight else { return Ok(()) };
        written.done().await
    }
}

/// What a worker waits for.
enum Event {
    Landed(Result<(), NotWritten>),
    /// Commands wait.
    Waiting,
    Closed,
    Stop,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        store: Store,
        jobs: mpsc::Receiver<Box<dyn Job>>,
        stop: watch::Receiver<bool>,
        config: &ExecutorConfig,
    ) -> Self {
        let cache = Cache::new(config.cache_bytes / config.executors.max(1));
        let (writer, reader) = (LogWriter::start(store.database()), Reader::new(store.database()));
        let (batch, label) = (config.batch.max(1), number.to_string());
        Self { store, jobs, stop, cache, batch, label, writer, reader, cautious: 0, look_up: 0 }
    }

    /// Runs until told to stop, or until all handles are gone, and the queue is empty.
    pub(super) async fn run(mut self) {
        let mut waiting: Vec<Box<dyn Job>> = Vec::new();
        let mut next: Option<Batch> = None;
        let mut flight: Option<Flight> = None;
        let (mut closed, mut stopping) = (false, false);
        loop {
            if flight.is_none() {
                if let Some(batch) = next.take() {
                    flight = Some(self.launch(batch));
                } else if self.cautious > 0 && !waiting.is_empty() {
                    self.cautious -= 1;
                    waiting = self.carry_out_locked(std::mem::take(&mut waiting)).await;
                    continue;
                } else if closed && waiting.is_empty() {
                    return;
                }
            }
            let may_stage = self.cautious == 0 && !next.as_ref().is_some_and(Batch::is_full);
            let held = next.as_ref().map_or(0, |batch| batch.jobs.len());
            let room = if waiting.is_empty() { self.batch.saturating_sub(held) } else { 0 };
            let event = tokio::select! {
                biased;
                landed = Flight::landed(&mut flight), if flight.is_some() => Event::Landed(landed),
                () = std::future::ready(()), if may_stage && !waiting.is_empty() => Event::Waiting,
                taken = self.jobs.recv_many(&mut waiting, room), if room > 0 && !closed => {
                    if taken == 0 { Event::Closed } else { Event::Waiting }
                }
                _ = self.stop.wait_for(|stop| *stop), if !stopping => Event::Stop,
            };
            match event {
                Event::Landed(result) => {
                    let Some(Flight { batch, started, .. }) = flight.take() else { continue };
                    let Err(not) = result else {
                        self.close(batch, started);
                        continue;
                    };
                    // What was decided after it rests on it, and is decided anew.
                    let mut again = next.take().map(|batch| batch.jobs).unwrap_or_default();
                    again.append(&mut waiting);
                    match self.sunk(&batch, not).await {
                        Sunk::Written => self.close(batch, started),
                        Sunk::NotWritten => waiting.extend(batch.jobs),
                        Sunk::Unknown(error) => fail(batch.jobs, &error, true),
                    }
                    waiting.append(&mut again);
                }
                Event::Waiting if may_stage => {
                    metrics::gauge!(QUEUE_DEPTH, "executor" => self.label.clone())
                        .set(self.jobs.len() as f64);
                    let before = flight.as_ref().map(|flight| &flight.batch);
                    waiting = self.stage(&mut next, before, std::mem::take(&mut waiting)).await;
                }
                Event::Waiting => {}
                Event::Closed => closed = true,
                Event::Stop => {
                    // Closing the queue refuses new commands; those that wait are still received.
                    stopping = true;
                    self.jobs.close();
                }
            }
        }
    }
    /// Decides commands into the batch that will be written next. Answers with those that did not fit.
    async fn stage(
        &mut self,
        next: &mut Option<Batch>,
        before: Option<&Batch>,
        jobs: Vec<Box<dyn Job>>,
    ) -> Vec<Box<dyn Job>> {
        let now = self.store.clock().now();
        let batch = next.get_or_insert_with(|| Batch::new(now));
        let mut means = Means {
            reads: Reads::Free(&mut self.reader),
            cache: &mut self.cache,
            vault: self.store.vault(),
            before,
            look_up: self.look_up > 0,
        };
        let staged = batch.stage(jobs, &mut means).await;
        let failed = match staged {
            Ok(()) => return batch.take_rest(),
            Err(Setback::Lock) => false,
            Err(Setback::Store(_)) => true,
        };
        self.reader.let_go(failed);
        self.cautious = self.cautious.max(1);
        next.take().map(|batch| batch.jobs).unwrap_or_default()
    }

    fn launch(&mut self, mut batch: Batch) -> Flight {
        self.reader.let_go(false);
        self.look_up = self.look_up.saturating_sub(1);
        let started = Instant::now();
        let writes = batch.collect(false);
        let written = if writes.is_empty() { None } else { Some(self.writer.commit(writes, None)) };
        Flight { batch, written, started }
    }

    /// What to do with a batch whose writing failed.
    async fn sunk(&mut self, batch: &Batch, not: NotWritten) -> Sunk {
        self.cache.clear();
        match not {
            NotWritten::Displaced => {
                metrics::counter!(BATCHES_DISPLACED).increment(1);
                self.cautious = CAUTIOUS_BATCHES;
                Sunk::NotWritten
            }
            NotWritten::Repeated => {
                self.cautious = self.cautious.max(1);
                self.look_up = LOOK_UP_BATCHES;
                Sunk::NotWritten
            }
            NotWritten::Failed { error: error @ StoreError::Unavailable { .. }, committing: true } => {
                self.cautious = self.cautious.max(1);
                match self.was_written(batch).await {
                    Some(true) => Sunk::Written,
                    Some(false) => Sunk::NotWritten,
                    None => Sunk::Unknown(error),
                }
            }
            NotWritten::Failed { .. } => {
                self.cautious = self.cautious.max(1);
                Sunk::NotWritten
            }
        }
    }

    /// Whether a batch whose commit broke off is in the database; `None` if that cannot be found out. The link of the chain
    /// tells: it depends on everything the batch wrote to its log.
    async fn was_written(&mut self, batch: &Batch) -> Option<bool> {
        // Without events there is nothing that must not happen twice but receipts, and those are looked up.
        let Some(head) = batch.appended() else { return Some(false) };
        for _ in 0..MAX_ENQUIRIES {
            let found = async {
                let mut reads = Reads::Free(&mut self.reader);
                let mut session = reads.session().await?;
                // Waits for the statement, should the server still be at it.
                session.lock_heads(std::slice::from_ref(&head.name)).await?;
                session.log_events(&head.name, signed(head.position - 1), 1).await
            };
            match found.await {
                Ok(events) => return Some(events.first().is_some_and(|event| event.8 == head.link.0)),
                Err(_) => self.reader.let_go(true),
            }
        }
        None
    }

    /// After the commit: the cache learns the new states, readers the new heads, callers their answers.
    pub(super) fn close(&mut self, batch: Batch, started: Instant) {
        metrics::histogram!(BATCH_COMMANDS).record(batch.jobs.len() as f64);
        metrics::histogram!(BATCH_SECONDS).record(started.elapsed().as_secs_f64());
        let tails = Arc::clone(self.store.tails());
        let mut appended = 0;
        let (books, ended) = batch.into_parts();
        for book in books {
            let before = book.position_before();
            let head = book.close(&mut self.cache);
            if head.position > before {
                appended += head.position - before;
                tails.publish(&head.name, Position(head.position));
            }
        }
        if appended > 0 {
            tails.committed.notify_one();
            metrics::counter!(EVENTS_APPENDED).increment(appended);
        }
        self.cache.shrink();
        metrics::gauge!(CACHE_BYTES, "executor" => self.label.clone()).set(self.cache.bytes() as f64);
        for (job, ending) in ended {
            job.end(ending);
        }
    }

    /// The number of this executor, for log lines.
    pub(super) fn label(&self) -> &str {
        &self.label
    }
}

/// What became of a batch whose writing failed.
enum Sunk {
    /// It is in the database after all.
    Written,
    /// It is not.
    NotWritten,
    /// Nobody knows.
    Unknown(StoreError),
}

/// Tells the callers that the database failed.
pub(super) fn fail(jobs: Vec<Box<dyn Job>>, error: &StoreError, committing: bool) {
    // A commit that the database refused in so many words is undone; only silence leaves it open.
    let maybe_recorded = committing && matches!(error, StoreError::Unavailable { .. });
    for job in jobs {
        job.end(Ending::Failed { source: error.again(), maybe_recorded });
    }
}
