//! Follows the logs: one task per log brings its projections up to date and keeps them there.
//!
//! A node that loses its database only falls behind: every step starts from the checkpoint in the database, so nothing in
//! memory has to survive. What this node knows of the checkpoints is published, and waiting for a position is waiting for
//! that. An event that cannot be applied stops its projection alone; it is tried once more when a node starts, because the
//! node may be of a newer version that can read it.

mod follow;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use subledger_domain::LogName;
use subledger_store::{Position, Store};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{NotYet, Pause, ProjectionName, checkpoint::Checkpoint};

/// Bounds of the runner.
#[derive(Debug, Clone)]
pub struct ProjectionsConfig {
    /// Events applied in one transaction at most, from 1 to 10,000. Larger is faster and holds the writer of the log up
    /// for longer.
    pub batch: u32,
    /// The longest pause between two attempts while the database does not answer.
    pub max_backoff: Duration,
}

impl Default for ProjectionsConfig {
    fn default() -> Self {
        Self { batch: 500, max_backoff: Duration::from_secs(5) }
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
}

impl Lag {
    /// Events that are not applied yet.
    pub const fn behind(&self) -> u64 {
        self.head.0.saturating_sub(self.position.0)
    }
}

/// Where the projections of one log stand, as this node knows.
#[derive(Debug, Clone, Default)]
struct Standing {
    head: Position,
    checkpoints: BTreeMap<ProjectionName, Checkpoint>,
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

struct Shared {
    store: Store,
    config: ProjectionsConfig,
    logs: Mutex<HashMap<LogName, watch::Sender<Standing>>>,
    /// Counts the logs in `logs`; changes when one is added.
    known: watch::Sender<usize>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn logs(&self) -> MutexGuard<'_, HashMap<LogName, watch::Sender<Standing>>> {
        // A map of senders is never half-changed, so a panic elsewhere leaves it usable.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, log: &LogName) -> Option<watch::Receiver<Standing>> {
        self.logs().get(log).map(watch::Sender::subscribe)
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
        let shared = Arc::new(Shared {
            store,
            config,
            logs: Mutex::default(),
            known: watch::Sender::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(follow::every_log(Arc::clone(&shared)));
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
        let mut standing = loop {
            known.mark_unchanged();
            match self.shared.subscribe(log) {
                Some(standing) => break standing,
                // Not followed yet: the log may be so new that this node has not heard of it.
                None => match timeout_at(until, known.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(NotYet { at: Position(0) }),
                },
            }
        };
        let reached = timeout_at(until, standing.wait_for(|now| stands(now) >= position)).await;
        let reached = reached.is_ok_and(|reached| reached.is_ok());
        if reached { Ok(()) } else { Err(NotYet { at: stands(&standing.borrow()) }) }
    }

    /// Where every projection this node follows stands, by log and name.
    pub fn lag(&self) -> Vec<Lag> {
        let mut lag = Vec::new();
        for (log, standing) in self.shared.logs().iter() {
            let standing = standing.borrow();
            for one in standing.checkpoints.values() {
                lag.push(Lag {
                    log: log.clone(),
                    projection: one.projection,
                    position: one.position,
                    head: standing.head.max(one.position),
                    paused: one.pause.clone(),
                    unknown: one.unknown,
                });
            }
        }
        lag.sort_by(|a, b| (&a.log, a.projection).cmp(&(&b.log, b.projection)));
        lag
    }

    /// Finishes the transactions under way and stops.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
