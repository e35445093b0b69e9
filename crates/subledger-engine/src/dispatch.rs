//! The dispatcher: hands queued deliveries to WeChat.
//!
//! One *lane* per channel claims due rows, at most one per openid at a time (WeChat answers 43108 to concurrent calls), and
//! runs a bounded number of *attempts*. An attempt is: record "started" durably, call WeChat once, record the outcome.
//! So a node that dies leaves either a row that was never started, which goes back to the queue when its lease ends, or one
//! that had started, which becomes in doubt: nothing is ever handed over twice by itself.
//!
//! The lease only saves work. Correctness rests on the ledger, which refuses to start what is started already.
//!
//! No call to WeChat is made inside a database transaction, and no lock is held across one.

mod attempt;
mod deadline;
mod lane;
mod outcome;
mod pace;
mod sweep;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    ledger::{LedgerError, LedgerEvent},
};
use subledger_store::{Cause, Effect, Stage, Submission, SubmitError, Work};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::Engine;

/// Bounds of the dispatcher.
#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// Calls to WeChat under way at most, per channel and node.
    pub in_flight: usize,
    /// Sends per second at most, per channel and node; 0 for no limit.
    pub sends_per_second: u32,
    /// How long a claim holds. Longer than WeChat's read time-out, or a slow call would be taken for a lost node.
    pub lease: Duration,
    /// How often a lane looks for work that nobody told it of: rows of other nodes, ended leases.
    pub poll: Duration,
    /// Attempts per delivery before it ends as failed.
    pub max_attempts: u16,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            in_flight: 64,
            sends_per_second: 0,
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            max_attempts: 12,
        }
    }
}

/// The changes of queue rows that follow from a ledger's events. The queue is nothing but a working copy of what the ledgers
/// say, so the mapping stands in one place.
pub(crate) fn queue_effects(stage: &mut Stage<'_>, events: &[LedgerEvent]) {
    for event in events {
        let effect = match event {
            LedgerEvent::Started(e) => Effect::MarkStarted(e.delivery),
            LedgerEvent::Postponed(e) => Effect::Requeue { delivery: e.delivery, due_at: e.until },
            LedgerEvent::Doubted(e) => Effect::MarkInDoubt(e.delivery),
            LedgerEvent::Consumed(e) => Effect::Dequeue(e.delivery),
            LedgerEvent::Released(e) => Effect::Dequeue(e.delivery),
            LedgerEvent::Denied(e) => Effect::Dequeue(e.delivery),
            LedgerEvent::Forfeited(e) => Effect::Dequeue(e.delivery),
            // Also right after a doubt that a push had settled before it arose: the row goes, whatever it was marked with.
            LedgerEvent::SettledLate(e) => Effect::Dequeue(e.delivery),
            LedgerEvent::Granted(_)
            | LedgerEvent::Opened(_)
            | LedgerEvent::Consented(_)
            | LedgerEvent::Rejected(_)
            | LedgerEvent::Suspended(_)
            | LedgerEvent::Reserved(_)
            | LedgerEvent::Admitted(_)
            | LedgerEvent::DriftFound(_)
            | LedgerEvent::Corroborated(_)
            | LedgerEvent::TapNoted(_)
            | LedgerEvent::Confirmed(_)
            | LedgerEvent::Undelivered(_)
            | LedgerEvent::StrangerReported(_)
            | LedgerEvent::Adjusted(_)
            | LedgerEvent::Cleared(_) => continue,
        };
        stage.effect(effect);
    }
}

/// Hands the executor a command of the dispatcher's own.
async fn submit<W: Work<Refusal = LedgerError>>(
    engine: &Engine,
    log: &LogName,
    command: &str,
    work: W,
) -> Result<W::Answer, SubmitError<LedgerError>> {
    let cause = Cause { by: "dispatcher".to_owned(), command: command.to_owned(), request: None };
    let submission = Submission { log: log.clone(), receipt: None, cause, work };
    engine.executor().submit(submission).await.map(|done| done.answer)
}

/// What a lane and the rest of the node tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// Rung by attempts that end, by senders on this node and by the sweep.
    pub(crate) wake: Notify,
    /// No claims before this moment (microseconds): WeChat said that the channel as a whole must wait.
    pub(crate) hold_until: AtomicI64,
    /// WeChat has told a quota: the lane counts anew what is left.
    pub(crate) recount: AtomicBool,
}

/// The signals of this node's lanes.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// One per channel seen. Std mutex: held for a look-up, never across an await.
    lanes: Mutex<HashMap<LogName, Arc<Signal>>>,
}

impl Signals {
    pub(crate) fn of(&self, log: &LogName) -> Arc<Signal> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(log.clone()).or_default())
    }

    pub(crate) fn wake(&self, channel: &ChannelCode) {
        self.of(&LogName::channel(channel)).wake.notify_one();
    }

    /// Whether WeChat has told the whole channel to wait.
    pub(crate) fn is_held(&self, log: &LogName, now: Timestamp) -> bool {
        self.of(log).hold_until.load(Ordering::Relaxed) > now.micros()
    }
}

/// Runs a lane for every channel until `stop`, then waits for the attempts under way.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let lanes = TaskTracker::new();
    let mut logs = engine.store().logs();
    let mut known = HashSet::new();
    loop {
        let names = logs.borrow_and_update().clone();
        for log in names.into_iter().filter(|log| log.as_str() != LogName::MAIN) {
            if known.insert(log.clone()) {
                lanes.spawn(lane::run(engine.clone(), log.clone(), stop.clone()));
                lanes.spawn(sweep::run(engine.clone(), log, stop.clone()));
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = logs.changed() => if changed.is_err() { break },
        }
    }
    lanes.close();
    lanes.wait().await;
}
