//! What this node knows of the ends of logs, and who waits for it.
//!
//! The executor publishes after each commit; a slow poll, and on PostgreSQL a notification, publish what others
//! committed. Published positions only grow, and only after the commit, so a reader that was woken finds what it was
//! woken for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use subledger_domain::LogName;
use tokio::sync::{Notify, watch};

use crate::{Database, Position, StoreError};

/// How often heads are read to notice commits of other nodes. On PostgreSQL this only backs up notifications.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(500);

/// The known ends of all logs.
pub(crate) struct Tails {
    /// One sender per log that anyone asked for or that holds events. Never held across an await.
    logs: Mutex<BTreeMap<LogName, watch::Sender<Position>>>,
    /// The logs that hold events, by name.
    names: watch::Sender<Vec<LogName>>,
    /// Something was committed here that other nodes should hear of.
    pub(crate) committed: Notify,
    /// Another node has made a data key.
    pub(crate) keys: Notify,
}

impl Tails {
    pub(crate) fn new() -> Self {
        Self {
            logs: Mutex::default(),
            names: watch::Sender::new(Vec::new()),
            committed: Notify::new(),
            keys: Notify::new(),
        }
    }

    /// The end of a log, to watch.
    pub(crate) fn subscribe(&self, log: &LogName) -> watch::Receiver<Position> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry(log.clone()).or_default().subscribe()
    }

    /// The logs, to watch.
    pub(crate) fn names(&self) -> watch::Receiver<Vec<LogName>> {
        self.names.subscribe()
    }

    /// A log is known to reach this far.
    pub(crate) fn publish(&self, log: &LogName, position: Position) {
        if position == Position(0) {
            return;
        }
        {
            let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            let sender = match logs.get(log) {
                Some(sender) => sender,
                None => logs.entry(log.clone()).or_default(),
            };
            sender.send_if_modified(|known| {
                let newer = *known < position;
                *known = position.max(*known);
                newer
            });
        }
        self.names.send_if_modified(|names| match names.binary_search(log) {
            Ok(_) => false,
            Err(place) => {
                names.insert(place, log.clone());
                true
            }
        });
    }

    /// Reads all heads and publishes them.
    pub(crate) async fn refresh(&self, database: &Database) -> Result<(), StoreError> {
        for head in database.reader().await?.session().heads().await? {
            self.publish(&head.name, Position(head.position));
        }
        Ok(())
    }
}

/// Refreshes for ever. A database that does not answer is only a reason to try again.
pub(crate) async fn poll(tails: Arc<Tails>, database: Database) {
    let mut every = tokio::time::interval(POLL_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = tails.refresh(&database).await {
            tracing::debug!(error = %error, "the ends of the logs could not be read");
        }
    }
}
