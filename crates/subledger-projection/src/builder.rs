//! Building generations of all projections of a log from one reading of it.
//!
//! Three hands work at the same time: the scan reads, one thread folds, another writes. Events are decoded once for all
//! folds. Rows stay in memory from batch to batch and are written back together with the checkpoints they belong to, so a
//! build that is interrupted goes on from its last checkpoint. What is kept in memory is bounded: past the bound, rows that
//! were not looked at lately are dropped and read again when they are needed.

mod folding;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use subledger_domain::LogName;
use subledger_store::{Position, Store, StoreError};
use tokio::sync::{mpsc, watch};

use self::folding::Folding;
use crate::{
    ProjectionError, ProjectionName,
    batch::{self, Applied},
    checkpoint::{self, Checkpoint},
    desk::{Desk, Flush},
    hand::Hand,
};

/// Events read and folded at a time.
const BATCH: usize = 4_096;

/// How far a rebuild or a verification has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The log.
    pub log: LogName,
    /// The projection. Those of a log are built together; each is told of.
    pub projection: ProjectionName,
    /// The position applied and saved: where it would go on after an interruption.
    pub done: Position,
    /// The position read and applied. What lies after `done` is saved with many others, in one piece.
    pub folded: Position,
    /// The position to reach, as far as known now; grows while the service runs.
    pub total: Position,
    /// Events per second since it began or went on; zero until the first are applied.
    pub rate: f64,
    /// The time left at this rate; unknown until the first events are applied.
    pub eta: Option<Duration>,
}

/// Limits of a rebuild.
#[derive(Debug, Clone, Copy)]
pub struct RebuildLimits {
    /// Events after which everything changed is written and the checkpoints move: what a rebuild that is interrupted has to
    /// do again, and how long the live rows cannot be written on SQLite (about a second by default).
    pub flush_events: u64,
    /// About how many bytes of rows are kept in memory.
    pub cache_bytes: usize,
}

impl Default for RebuildLimits {
    fn default() -> Self {
        Self { flush_events: 250_000, cache_bytes: 256 << 20 }
    }
}

/// A build under way.
pub(crate) struct Builder<'a> {
    store: &'a Store,
    log: &'a LogName,
    limits: RebuildLimits,
    hand: Hand,
    /// None while it folds, and after a panic there.
    desk: Option<Desk>,
    begun: Instant,
    /// Events applied since it began.
    folded: u64,
}

impl<'a> Builder<'a> {
    /// A build of these generations, each from where it stands.
    pub(crate) fn new(
        store: &'a Store,
        log: &'a LogName,
        limits: RebuildLimits,
        generations: Vec<Checkpoint>,
    ) -> Result<Self, StoreError> {
        let hand = Hand::open(store)?;
        let desk = Some(Desk::new(hand.clone(), generations));
        Ok(Self { store, log, limits, hand, desk, begun: Instant::now(), folded: 0 })
    }

    /// The generations and where they stand.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Checkpoint> {
        self.desk.iter().flat_map(|desk| &desk.parts).map(|part| &part.at)
    }

    /// This generation is finished with.
    pub(crate) fn remove(&mut self, projection: ProjectionName) {
        let desks = self.desk.iter_mut();
        desks.for_each(|desk| desk.parts.retain(|part| part.at.projection != projection));
    }

    /// Applies the log to every generation up to `until` of it. `fence` is asked before each write whether to go on.
    pub(crate) async fn advance(
        &mut self,
        until: impl Fn(ProjectionName) -> Position,
        fence: impl Fn() -> bool,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), ProjectionError> {
        let Some(mut desk) = self.desk.take() else {
            return Err(StoreError::Corrupt("the build was lost".to_owned()).into());
        };
        for part in &mut desk.parts {
            part.until = until(part.at.projection);
        }
        let totals: Vec<Position> = desk.parts.iter().map(|part| part.until).collect();
        let unfinished = || desk.parts.iter().filter(|part| part.at.position < part.until);
        let span =
            (unfinished().map(|part| part.at.position).min(), unfinished().map(|part| part.until).max());
        let mut saved: Vec<Checkpoint> = desk.parts.iter().map(|part| part.at.clone()).collect();
        let begun_at = span.0.unwrap_or_default();
        self.tell(&saved, begun_at, &totals, progress);
        let (Some(from), Some(to)) = span else {
            self.desk = Some(desk);
            return Ok(());
        };
        let scan = self.store.scan(self.log, from, to, BATCH).await?;
        let (sender, mut flushes) = mpsc::channel(1);
        let written = watch::Sender::new(0);
        let (reached, mut folded) = watch::channel(from);
        let before = self.folded;
        let folding = Folding {
            log: self.log.clone(),
            limits: self.limits,
            desk,
            sender,
            sent: 0,
            written: written.subscribe(),
            last: from,
            reached,
            runtime: tokio::runtime::Handle::current(),
        };
        let folding = tokio::task::spawn_blocking(move || folding.run(scan, to));
        let mut outcome = Ok(());
        loop {
            let flush = tokio::select! {
                biased;
                flush = flushes.recv() => flush,
                Ok(()) = folded.changed() => {
                    let at = *folded.borrow_and_update();
                    self.folded = before + at.0.saturating_sub(from.0);
                    self.tell(&saved, at, &totals, progress);
                    continue;
                }
            };
            let Some(flush) = flush else { break };
            outcome = self.save(flush, &fence, &mut saved).await;
            if outcome.is_err() {
                break;
            }
            written.send_modify(|count| *count += 1);
            let at = *folded.borrow_and_update();
            self.folded = before + at.0.saturating_sub(from.0);
            self.tell(&saved, at, &totals, progress);
        }
        // A folding that still wants to hand something over learns that nobody listens.
        drop((flushes, written));
        let folded = match folding.await {
            Ok((desk, folded)) => {
                self.desk = Some(desk);
                folded
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Corrupt("the build was cancelled".to_owned()).into()),
        };
        match outcome {
            Ok(()) => folded,
            Err(ProjectionError::Store(refused @ StoreError::Database { .. })) => {
                Err(self.find_poison(&saved).await.unwrap_or(ProjectionError::Store(refused)))
            }
            Err(error) => Err(error),
        }
    }

    async fn save(
        &mut self,
        flush: Flush,
        fence: impl Fn() -> bool,
        saved: &mut [Checkpoint],
    ) -> Result<(), ProjectionError> {
        let displaced = |projection| ProjectionError::Displaced { log: self.log.clone(), projection };
        let Some(first) = flush.moves.first().map(|(_, to)| to.projection) else { return Ok(()) };
        if !fence() {
            return Err(displaced(first));
        }
        let now = self.store.clock().now();
        let moves: Vec<_> = flush.moves.iter().map(|(from, to)| checkpoint::advance(from, to, now)).collect();
        let (hand, sheets) = (self.hand.clone(), flush.sheets);
        if !batch::blocking(move || hand.write(&sheets, &moves)).await?? {
            return Err(displaced(first));
        }
        for (_, to) in flush.moves {
            if let Some(one) = saved.iter_mut().find(|one| one.projection == to.projection) {
                *one = to;
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        saved: &[Checkpoint],
        folded: Position,
        totals: &[Position],
        progress: &mut (impl FnMut(Progress) + Send),
    ) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = if self.folded > 0 && seconds > 0.0 { self.folded as f64 / seconds } else { 0.0 };
        for (one, total) in saved.iter().zip(totals.iter().copied()) {
            // One that began further on has those events already, one that ends earlier takes no more.
            let folded = folded.min(total).max(one.position);
            let left = total.0.saturating_sub(folded.0) as f64;
            progress(Progress {
                log: self.log.clone(),
                projection: one.projection,
                done: one.position,
                folded,
                total,
                rate,
                eta: (rate > 0.0).then(|| Duration::from_secs_f64(left / rate)),
            });
        }
    }

    /// The database refused a value of a whole sheet. Goes over the events since the last checkpoint in the small steps of
    /// the runner, which find the one it comes from.
    async fn find_poison(&self, saved: &[Checkpoint]) -> Option<ProjectionError> {
        const STEP: u32 = 1_000;
        for one in saved {
            let mut at = one.clone();
            let mut left = self.limits.flush_events;
            while left > 0 {
                let events = self.store.read_log(self.log, at.position, STEP).await.ok()?;
                left = left.saturating_sub(events.len() as u64);
                let ended = events.is_empty();
                let applied = batch::apply(self.store, &self.hand, vec![at], Arc::new(events)).await.ok()?;
                let Applied::Moved(mut moved) = applied else { return None };
                at = moved.pop()?;
                if let Some(pause) = at.pause {
                    return Some(ProjectionError::poison(self.log, one.projection, pause));
                }
                if ended {
                    break;
                }
            }
        }
        None
    }
}
