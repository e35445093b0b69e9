//! The tasks of the runner.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use subledger_domain::{LogName, Timestamp};
use subledger_store::{Database, Position, Recorded, StoreError};
use tokio::{sync::watch, time::Instant};

use super::{Followed, Shared};
use crate::{
    ProjectionName,
    batch::{self, Applied},
    checkpoint::{self, Checkpoint},
    database::is_refusal_of_data,
    desk::{Desk, Trouble},
    hand::Hand,
    metric_definitions::{EVENTS, FAILURES, LOST_RACES, UNKNOWN},
};

/// The least time from the beginning of a batch to the beginning of the next.
const PACE: Duration = Duration::from_millis(5);
/// The most that it grows to under load: read models are never later than this and a batch for want of beginning.
const SLOWEST_PACE: Duration = Duration::from_millis(30);
/// After so many events in one batch the log is under load: the next begins at the earliest after [`REST`] times what this one
/// took, so that commands have the processors for the rest.
const MANY: usize = 128;
/// See [`MANY`].
const REST: u32 = 3;

/// A log at rest keeps its rows in memory for this long.
const FORGET_AFTER: Duration = Duration::from_secs(30);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// How often to look where another node stands while somebody waits for it.
const LOOK_FOR_OTHERS: Duration = Duration::from_millis(10);

/// How long to wait after somebody else moved a checkpoint or holds it.
const AFTER_LOST_RACE: Duration = Duration::from_millis(10);

/// How often checkpoints are read again while a projection is paused: a rebuild, perhaps by another process, ends the pause.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long after the beginning of a batch of so many events, which took so long, the next one begins.
fn pace_after(events: usize, took: Duration) -> Duration {
    if events < MANY { PACE } else { (took * REST).clamp(PACE, SLOWEST_PACE) }
}

/// Starts a task for every log as it appears.
pub(super) async fn every_log(shared: Arc<Shared>) {
    let mut logs = shared.store.logs();
    loop {
        let named = logs.borrow_and_update().clone();
        for log in named {
            let mut logs = shared.logs();
            if !logs.contains_key(&log) {
                let followed = Followed::default();
                // Where there is one process there is nobody to take turns with.
                followed.give_turn(matches!(shared.store.database(), Database::Sqlite(_)));
                logs.insert(log.clone(), followed.clone());
                shared.known.send_replace(logs.len());
                shared.tasks.spawn(Follower::new(Arc::clone(&shared), log, followed).run());
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = logs.changed() => if changed.is_err() { return },
        }
    }
}

/// What a step of a follower came to.
enum Went {
    /// There is more to do at once.
    On,
    /// Everything known is applied.
    Idle,
}

/// What became of events at the desk.
enum Step {
    Moved(Desk, Vec<Checkpoint>),
    Displaced,
    /// One of them cannot be applied as the others are, or the database refused a value.
    Stuck,
    Failed(StoreError),
}

struct Follower {
    shared: Arc<Shared>,
    log: LogName,
    followed: Followed,
    turn: watch::Receiver<bool>,
    tail: watch::Receiver<Position>,
    /// Where the live generations stand, as far as this node knows; none before the first look.
    checkpoints: Option<Vec<Checkpoint>>,
    /// The rows in memory, which are of those checkpoints; none after anything unforeseen.
    desk: Option<Desk>,
    /// When the last batch began.
    begun: Instant,
    /// How long after its beginning the next one begins, at the earliest.
    pace: Duration,
    /// Whether paused projections are to be tried once more.
    retry: bool,
}

impl Follower {
    fn new(shared: Arc<Shared>, log: LogName, followed: Followed) -> Self {
        let tail = shared.store.tail(&log);
        let turn = followed.turn.subscribe();
        Self {
            shared,
            log,
            followed,
            turn,
            tail,
            checkpoints: None,
            desk: None,
            begun: Instant::now(),
            pace: PACE,
            retry: true,
        }
    }

    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let mut backoff = FIRST_BACKOFF;
        while !stop.is_cancelled() {
            if !*self.turn.borrow_and_update() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.stand_by() => continue,
                }
            }
            match self.step().await {
                Ok(Went::On) => backoff = FIRST_BACKOFF,
                Ok(Went::Idle) => {
                    backoff = FIRST_BACKOFF;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        more = self.more() => if !more { return },
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    (self.checkpoints, self.desk) = (None, None);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(self.shared.config.max_backoff);
                }
            }
        }
    }

    fn failed(&self, error: &StoreError) {
        counter!(FAILURES).increment(1);
        let error: &dyn std::error::Error = error;
        tracing::warn!(log = %self.log, error, "read models cannot be brought up to date; trying again");
    }

    /// Waits for more events, or until it is time to look whether a pause has ended. `false`: the store is closed.
    async fn more(&mut self) -> bool {
        let paused = self.checkpoints.iter().flatten().any(|one| one.pause.is_some());
        let (again, keeps) = (paused, self.desk.is_some());
        let again =
            async { if again { tokio::time::sleep(LOOK_AGAIN).await } else { std::future::pending().await } };
        let forget = async {
            if keeps { tokio::time::sleep(FORGET_AFTER).await } else { std::future::pending().await }
        };
        tokio::select! {
            changed = self.tail.changed() => changed.is_ok(),
            changed = self.turn.changed() => changed.is_ok(),
            () = again => {
                (self.checkpoints, self.desk) = (None, None);
                true
            }
            () = forget => {
                self.desk = None;
                true
            }
        }
    }

    /// Looks where another node's projections stand, often while somebody waits for them, until it is this node's turn.
    async fn stand_by(&mut self) {
        // What was known may be old by the time of the next turn; and this node may be able to read what the last could not.
        (self.checkpoints, self.desk) = (None, None);
        self.retry = true;
        let mut waiting = self.followed.waiting.subscribe();
        while !*self.turn.borrow_and_update() {
            if *waiting.borrow_and_update() > 0 {
                let head = *self.tail.borrow();
                match self.look().await {
                    Ok(checkpoints) => self.followed.publish(&self.log, head, &checkpoints),
                    Err(error) => self.failed(&error),
                }
                tokio::time::sleep(LOOK_FOR_OTHERS).await;
                continue;
            }
            tokio::select! {
                _ = waiting.changed() => {}
                _ = self.turn.changed() => return,
            }
        }
    }

    async fn step(&mut self) -> Result<Went, StoreError> {
        let head = *self.tail.borrow_and_update();
        let mut checkpoints = match self.checkpoints.take() {
            Some(checkpoints) => checkpoints,
            None => self.look().await?,
        };
        self.followed.publish(&self.log, head, &checkpoints);
        let retry = std::mem::take(&mut self.retry);
        let targets: Vec<_> =
            checkpoints.iter().filter(|one| retry || one.pause.is_none()).cloned().collect();
        let slowest = targets.iter().map(|one| one.position).min();
        let Some(from) = slowest.filter(|from| *from < head) else {
            self.checkpoints = Some(checkpoints);
            return Ok(Went::Idle);
        };
        self.pace().await;
        let events = self.shared.store.read_log(&self.log, from, self.shared.config.batch).await?;
        let events = Arc::new(events);
        let applied = self.apply(&targets, &events).await?;
        self.pace = pace_after(events.len(), self.begun.elapsed());
        match applied {
            Applied::Displaced => {
                counter!(LOST_RACES).increment(1);
                self.retry = retry;
                // Another runner, or a rebuild that holds the rows for a moment: no need to run against it.
                tokio::time::sleep(AFTER_LOST_RACE).await;
            }
            Applied::Moved(moved) => {
                for (from, to) in targets.iter().zip(&moved) {
                    self.report(from, to);
                }
                for to in moved {
                    if let Some(one) = checkpoints.iter_mut().find(|one| one.projection == to.projection) {
                        *one = to;
                    }
                }
                self.followed.publish(&self.log, head, &checkpoints);
                self.checkpoints = Some(checkpoints);
                // No event although the tail promises some: do not spin, wait for the next word.
                if events.is_empty() {
                    return Ok(Went::Idle);
                }
            }
        }
        Ok(Went::On)
    }

    /// While events come in one after the other, lets some come together: a batch costs the same for one as for dozens.
    async fn pace(&mut self) {
        let left = self.pace.saturating_sub(self.begun.elapsed());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
        self.begun = Instant::now();
    }

    /// Applies events to projections, at the desk if nothing is in the way.
    async fn apply(
        &mut self,
        targets: &[Checkpoint],
        events: &Arc<Vec<Recorded>>,
    ) -> Result<Applied, StoreError> {
        let hand = self.shared.hand().await?;
        let kept = self.desk.take();
        if targets.iter().all(|target| target.pause.is_none()) && !events.is_empty() {
            let stands = |desk: &Desk| desk.parts.iter().map(|part| &part.at).eq(targets);
            let desk = kept.filter(stands).unwrap_or_else(|| Desk::new(hand.clone(), targets.to_vec()));
            let room = self.shared.config.cache_bytes / self.shared.known.borrow().max(1);
            let (now, events, hand) = (self.shared.store.clock().now(), Arc::clone(events), hand.clone());
            let step = batch::blocking(move || at_desk(desk, &hand, &events, room, now)).await?;
            match step {
                Step::Moved(desk, moved) => {
                    self.desk = Some(desk);
                    return Ok(Applied::Moved(moved));
                }
                Step::Displaced => return Ok(Applied::Displaced),
                Step::Stuck => {}
                Step::Failed(error) => return Err(error),
            }
        }
        batch::apply(&self.shared.store, hand, targets.to_vec(), Arc::clone(events)).await
    }

    /// Reads the checkpoints of this version's projections, making those that do not exist.
    async fn look(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let mine = ProjectionName::of_log(&self.log);
        let mut live = checkpoint::live(&self.shared.store, &self.log).await?;
        live.retain(|one| mine.contains(&one.projection));
        if live.len() < mine.len() {
            checkpoint::ensure(&self.shared.store, &self.log).await?;
            live = checkpoint::live(&self.shared.store, &self.log).await?;
            live.retain(|one| mine.contains(&one.projection));
        }
        Ok(live)
    }

    fn report(&self, from: &Checkpoint, to: &Checkpoint) {
        let projection = to.projection.as_str();
        counter!(EVENTS, "projection" => projection).increment(to.position.0.saturating_sub(from.position.0));
        counter!(UNKNOWN, "projection" => projection).increment(to.unknown.saturating_sub(from.unknown));
        if let Some(pause) = &to.pause {
            tracing::error!(
                log = %self.log,
                projection,
                event.position = pause.position.0,
                event.stream = pause.stream,
                event.kind = pause.kind,
                error = pause.error,
                "a read model is stopped at an event it cannot apply; the others go on"
            );
        } else if from.pause.is_some() {
            tracing::info!(log = %self.log, projection, "a read model that was stopped goes on");
        }
    }
}

/// Folds and writes on a thread that may block.
fn at_desk(mut desk: Desk, hand: &Hand, events: &[Recorded], room: usize, now: Timestamp) -> Step {
    desk.tick();
    for event in events {
        if desk.take(&event.into()).is_err() {
            return Step::Stuck;
        }
    }
    match desk.fold(|| Ok::<(), Trouble>(())) {
        Ok(()) => {}
        Err(Trouble::Stuck(_)) => return Step::Stuck,
        Err(Trouble::Store(error)) => return Step::Failed(error),
    }
    let reached = events.last().map_or(Position(0), |event| event.position);
    let flush = match desk.changes(reached, &batch::unknown(events)) {
        Ok(Some(flush)) => flush,
        Ok(None) => return Step::Displaced,
        Err(error) => return Step::Failed(error),
    };
    let moves: Vec<_> = flush.moves.iter().map(|(from, to)| checkpoint::advance(from, to, now)).collect();
    match hand.write(&flush.sheets, &moves) {
        Ok(true) => {
            desk.make_room(room);
            let moved = desk.parts.iter().map(|part| part.at.clone()).collect();
            Step::Moved(desk, moved)
        }
        Ok(false) => Step::Displaced,
        Err(error) if is_refusal_of_data(&error) => Step::Stuck,
        Err(error) => Step::Failed(error),
    }
}
