//! The places for attempts of a node: so many in all, and so many for one channel, whose back end may hang.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use subledger_domain::LogName;
use subledger_store::RelayRoom;

/// The places that are taken, by channel.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: usize,
    per_channel: usize,
    /// Std mutex: held for counting, never across an await.
    taken: Arc<Mutex<HashMap<LogName, u32>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    log: LogName,
}

impl Places {
    pub(super) fn new(all: usize, per_channel: usize) -> Self {
        Self { all, per_channel, taken: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LogName, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be claimed now. Only the one worker of a node takes places, so it is still so when it has claimed.
    pub(super) fn room(&self) -> RelayRoom {
        let busy = self.lock().clone();
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let limit = narrow(self.all).saturating_sub(busy.values().sum());
        RelayRoom { limit, per_log: narrow(self.per_channel), busy }
    }

    pub(super) fn take(&self, log: &LogName) -> Place {
        *self.lock().entry(log.clone()).or_default() += 1;
        Place { places: self.clone(), log: log.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.log) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.log);
            }
        }
    }
}
