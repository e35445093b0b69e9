//! What this node has seen of each channel's pushes since it started: what leaves no trace anywhere else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use subledger_domain::{ChannelCode, Timestamp};

/// What one node has seen since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NodeTally {
    /// Pushes taken in, by kind and result: `popup.acted`, `sent.repeated` ….
    pub taken: BTreeMap<String, u64>,
    /// Requests that were refused, and bodies that no key opened, by class: `wrong_signature`, `clock`, `unopened` ….
    pub refused: BTreeMap<&'static str, u64>,
    /// When one was last refused.
    pub last_refused_at: Option<Timestamp>,
    /// Pushes that only the previous key opened: WeChat has not changed over, or its console still has the old key.
    pub opened_with_previous_key: u64,
    /// When that was last so.
    pub last_previous_key_at: Option<Timestamp>,
}

/// A push that was counted.
pub(crate) struct Counted {
    pub(crate) kind: &'static str,
    pub(crate) result: &'static str,
}

/// The counts of all channels that were ever pushed to.
#[derive(Default)]
pub(crate) struct Tally {
    /// Std mutex: held for counting, never across an await. Only channels that are configured are counted.
    channels: Mutex<HashMap<ChannelCode, NodeTally>>,
}

impl Tally {
    /// Counts a refusal; how many of its class there were.
    pub(crate) fn refused(&self, code: &ChannelCode, class: &'static str, now: Timestamp) -> u64 {
        self.with(code, |tally| {
            tally.last_refused_at = Some(now);
            let times = tally.refused.entry(class).or_default();
            *times += 1;
            *times
        })
    }

    pub(crate) fn opened_with_previous_key(&self, code: &ChannelCode, now: Timestamp) {
        self.with(code, |tally| {
            tally.opened_with_previous_key += 1;
            tally.last_previous_key_at = Some(now);
        });
    }

    pub(crate) fn taken(&self, code: &ChannelCode, counted: Counted) {
        let name = format!("{}.{}", counted.kind, counted.result);
        self.with(code, |tally| *tally.taken.entry(name).or_default() += 1);
    }

    pub(crate) fn of(&self, code: &ChannelCode) -> NodeTally {
        self.with(code, |tally| tally.clone())
    }

    fn with<T>(&self, code: &ChannelCode, change: impl FnOnce(&mut NodeTally) -> T) -> T {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        change(channels.entry(code.clone()).or_default())
    }
}
