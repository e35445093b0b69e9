//! Follows the logs: one task per log brings its projections up to date and keeps them there, on one node at a time.
//!
//! A node that loses its database only falls behind: rows are kept in memory only to save reading them, every step is
//! written on condition that the checkpoint in the database stands where it began, so nothing in memory has to survive. What this node knows of the checkpoints is published, and waiting for a position is waiting for
//! that. An event that cannot be applied stops its projection alone; it is tried once more when a node starts, because the
//! node may be of a newer version that can read it.

mod follow;
mod keeper;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use subledger_domain::{LogName, Timestamp};
use subledger_store::{Position, Store, StoreError};
use tokio::{
    sync::{OnceCell, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    NotYet, Pause, ProjectionName,
    checkpoint::Checkpoint,
    hand::Hand,
    metric_definitions::{BEHIND, PAUSED, PAUSED_POSITION},
    names::unique_holder,
};

/// Bounds of the runner.
#[derive(Debug, Clone)]
pub struct ProjectionsConfig {
    /// Events applied in one transaction at most, from 1 to 10,000. Larger is faster, and what is applied is seen later.
    pub batch: u32,
    /// About how many bytes of rows are kept in memory, all logs together: what does not fit is read again.
    pub cache_bytes: usize,
    /// The longest pause between two attempts while the database does not answer.
    pub max_backoff: Duration,
    /// How long a node that died keeps the projections of its logs, on PostgreSQL; at least a second. It renews four times as
    /// often.
    pub lease: Duration,
}

impl Default for ProjectionsConfig {
    fn default() -> Self {
        Self {
            batch: 4_000,
            cache_bytes: 48 << 20,
            max_backoff: Duration::from_secs(5),
            lease: Duration::from_secs(4),
        }
    }
}

/// How far behind its log a projection is, as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The log.
    pub log: LogName,
    /// The projection.
    pub projection: ProjectionName,
    /// The position it has applied.
    pub position: Position,
    /// The end of the log.
    pub head: Position,
    /// Where and why it is stopped, if it is.
    pub paused: Option<Pause>,
    /// Events of kinds that this version does not know and that it passed over.
    pub unknown: u64,
    /// When the oldest event was recorded that it has not applied, as of a moment ago; none if it is not behind.
    pub oldest: Option<Timestamp>,
}

impl Lag {
    /// Events that are not applied yet.
    pub const fn behind(&self) -> u64 {
        self.head.0.saturating_sub(self.position.0)
    }

    /// How long the oldest event has waited that is not applied; none if there is none.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let micros = now.micros().saturating_sub(self.oldest?.micros());
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
    }
}

/// Where the projections of one log stand, as this node knows.
#[derive(Debug, Clone, Default)]
struct Standing {
    head: Position,
    checkpoints: BTreeMap<ProjectionName, Checkpoint>,
    /// When the oldest event was recorded that a projection has not applied.
    oldest: BTreeMap<ProjectionName, Timestamp>,
}

impl Standing {
    /// The slowest of the projections that run.
    fn slowest(&self, log: &LogName) -> Option<Position> {
        let known = |projection: &ProjectionName| self.checkpoints.get(projection);
        if !ProjectionName::of_log(log).iter().all(|projection| known(projection).is_some()) {
            return Some(Position(0));
        }
        self.checkpoints.values().filter(|one| one.pause.is_none()).map(|one| one.position).min()
    }
}

/// A log that this node follows.
#[derive(Clone, Default)]
struct Followed {
    standing: watch::Sender<Standing>,
    /// Whether this node runs its projections; otherwise it only looks where they stand.
    turn: watch::Sender<bool>,
    /// How many callers wait for a position.
    waiting: watch::Sender<usize>,
}

impl Followed {
    fn has_turn(&self) -> bool {
        *self.turn.borrow()
    }

    fn give_turn(&self, turn: bool) {
        self.turn.send_if_modified(|now| std::mem::replace(now, turn) != turn);
    }

    fn note_oldest(&self, projection: ProjectionName, oldest: Option<Timestamp>) {
        self.standing.send_if_modified(|standing| match oldest {
            Some(at) => standing.oldest.insert(projection, at) != Some(at),
            None => standing.oldest.remove(&projection).is_some(),
        });
    }

    /// Tells whoever waits, and the metrics, where the projections stand.
    fn publish(&self, log: &LogName, head: Position, checkpoints: &[Checkpoint]) {
        for one in checkpoints {
            let labels =
                [("log", log.as_str().to_owned()), ("projection", one.projection.as_str().to_owned())];
            gauge!(BEHIND, &labels).set(head.0.saturating_sub(one.position.0) as f64);
            gauge!(PAUSED, &labels).set(if one.pause.is_some() { 1.0 } else { 0.0 });
            let paused_at = one.pause.as_ref().map_or(0, |pause| pause.position.0);
            gauge!(PAUSED_POSITION, &labels).set(paused_at as f64);
        }
        self.standing.send_if_modified(|standing| {
            let changed = standing.head != head
                || checkpoints.iter().any(|one| standing.checkpoints.get(&one.projection) != Some(one));
            if changed {
                standing.head = head;
                standing.checkpoints = checkpoints.iter().map(|one| (one.projection, one.clone())).collect();
            }
            changed
        });
    }
}

/// Counts a caller that waits, for as long as it does.
struct Waiting(watch::Sender<usize>);

impl Waiting {
    fn on(waiting: &watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

struct Shared {
    store: Store,
    config: ProjectionsConfig,
    hand: OnceCell<Hand>,
    /// Who this runner is where leases are concerned.
    holder: String,
    logs: Mutex<HashMap<LogName, Followed>>,
    /// Counts the logs in `logs`; changes when one is added.
    known: watch::Sender<usize>,
    stop: CancellationToken,
    /// It ends badly: leases are not given back.
    abandoned: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn logs(&self) -> MutexGuard<'_, HashMap<LogName, Followed>> {
        // A map of senders is never half-changed, so a panic elsewhere leaves it usable.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hand(&self) -> Result<&Hand, StoreError> {
        self.hand.get_or_try_init(async || Hand::open(&self.store)).await
    }

    fn followed(&self, log: &LogName) -> Option<Followed> {
        self.logs().get(log).cloned()
    }

    fn lag(&self) -> Vec<Lag> {
        let mut lag = Vec::new();
        for (log, followed) in self.logs().iter() {
            let standing = followed.standing.borrow();
            for one in standing.checkpoints.values() {
                let behind = one.position < standing.head;
                lag.push(Lag {
                    log: log.clone(),
                    projection: one.projection,
                    position: one.position,
                    head: standing.head.max(one.position),
                    paused: one.pause.clone(),
                    unknown: one.unknown,
                    oldest: standing.oldest.get(&one.projection).copied().filter(|_| behind),
                });
            }
        }
        lag.sort_by(|a, b| (&a.log, a.projection).cmp(&(&b.log, b.projection)));
        lag
    }
}

/// The runner of this node: one task per log. Cheap to clone.
#[derive(Clone)]
pub struct Projections {
    shared: Arc<Shared>,
}

impl Projections {
    /// Starts following every log, now and as they appear. Must be called within a Tokio runtime.
    pub fn start(store: Store, config: ProjectionsConfig) -> Self {
        let projections = Self::at_rest(store, config);
        let shared = &projections.shared;
        shared.tasks.spawn(follow::every_log(Arc::clone(shared)));
        shared.tasks.spawn(keeper::keep(Arc::clone(shared)));
        projections
    }

    /// Follows nothing and writes nothing: for a process that only looks, beside one that follows. Waiting for a position ends
    /// without it.
    pub fn resting(store: Store) -> Self {
        let projections = Self::at_rest(store, ProjectionsConfig::default());
        projections.shared.stop.cancel();
        projections
    }

    /// Whether nothing is followed: at rest from the beginning, or stopped.
    pub fn are_resting(&self) -> bool {
        self.shared.stop.is_cancelled()
    }

    fn at_rest(store: Store, config: ProjectionsConfig) -> Self {
        let shared = Arc::new(Shared {
            store,
            config,
            hand: OnceCell::new(),
            holder: unique_holder(),
            logs: Mutex::default(),
            known: watch::Sender::new(0),
            stop: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        Self { shared }
    }

    /// Waits until every projection of the log that is not paused has applied `position`. A paused one is left out, because
    /// the others must go on; its answers say where it stands.
    pub async fn wait_for(
        &self,
        log: &LogName,
        position: Position,
        deadline: Duration,
    ) -> Result<(), NotYet> {
        self.wait(log, position, deadline, |standing| standing.slowest(log).unwrap_or(position)).await
    }

    /// Waits until this one projection has applied `position`.
    pub async fn wait_for_one(
        &self,
        log: &LogName,
        projection: ProjectionName,
        position: Position,
        deadline: Duration,
    ) -> Result<(), NotYet> {
        let stands = |standing: &Standing| {
            standing.checkpoints.get(&projection).map_or(Position(0), |one| one.position)
        };
        self.wait(log, position, deadline, stands).await
    }

    async fn wait(
        &self,
        log: &LogName,
        position: Position,
        deadline: Duration,
        stands: impl Fn(&Standing) -> Position,
    ) -> Result<(), NotYet> {
        if position.0 == 0 {
            return Ok(());
        }
        let until = Instant::now() + deadline;
        let mut known = self.shared.known.subscribe();
        let followed = loop {
            known.mark_unchanged();
            match self.shared.followed(log) {
                Some(followed) => break followed,
                // Not followed yet: the log may be so new that this node has not heard of it.
                None => match timeout_at(until, known.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(NotYet { at: Position(0) }),
                },
            }
        };
        let mut standing = followed.standing.subscribe();
        if stands(&standing.borrow()) >= position {
            return Ok(());
        }
        // Where another node runs the log, this one looks often while somebody waits.
        let _waiting = Waiting::on(&followed.waiting);
        let reached = timeout_at(until, standing.wait_for(|now| stands(now) >= position)).await;
        let reached = reached.is_ok_and(|reached| reached.is_ok());
        if reached { Ok(()) } else { Err(NotYet { at: stands(&standing.borrow()) }) }
    }

    /// Where every projection this node follows stands, by log and name.
    pub fn lag(&self) -> Vec<Lag> {
        self.shared.lag()
    }

    /// Stops as if the process had died: nothing is finished and no lease is given back. For tests of what others do then.
    pub fn abandon(&self) {
        self.shared.abandoned.cancel();
        self.shared.stop.cancel();
    }

    /// Finishes the transactions under way, gives the leases back and stops.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
