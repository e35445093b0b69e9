//! States kept from batch to batch, bounded in bytes.
//!
//! A cached state is only used when it is known to be current: either the log's head stands exactly where this executor
//! left it, so nobody else can have written, or the stream's stored version was read again under the head's lock.

use std::{collections::HashMap, num::NonZeroUsize};

use lru::LruCache;
use subledger_domain::{LogName, StreamName};

use super::book::Receipt;
use crate::{
    rows::LogHead,
    work::{Digest, Versioned},
};

/// Bytes an entry costs besides its state: the name twice, the list's links, the boxes.
const ENTRY_BYTES: usize = 512;

/// Receipts remembered of a log.
const RECENT_RECEIPTS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// The longest answer of a receipt that is remembered, in bytes.
const RECENT_RECEIPT_BYTES: usize = 1_024;

/// A cached state.
#[derive(Clone)]
pub(super) struct Cached {
    pub(super) versioned: Versioned,
    /// The stream's number in its log; `None` while it has no events.
    pub(super) number: Option<i64>,
    /// About how many bytes the state takes.
    pub(super) bytes: usize,
    /// The turn of the log at which the version was last known to be the newest.
    turn: u64,
}

struct LogCache {
    states: LruCache<StreamName, Cached>,
    /// Receipts made lately: most repetitions come soon.
    receipts: LruCache<Digest, Receipt>,
    /// The head as this executor left it.
    head: LogHead,
    /// Grows whenever somebody else has written to the log.
    turn: u64,
}

/// The states of all logs of one executor.
pub(super) struct Cache {
    logs: HashMap<LogName, LogCache>,
    bytes: usize,
    limit: usize,
}

/// What the cache knows of a stream.
pub(super) enum Lookup {
    /// The newest state.
    Current(Cached),
    /// A state that may be old.
    Stale(Cached),
    /// Nothing.
    Unknown,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { logs: HashMap::new(), bytes: 0, limit }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything: what was staged may not have been committed, or others may have written.
    pub(super) fn clear(&mut self) {
        self.logs.clear();
        self.bytes = 0;
    }

    /// A head was locked. Answers whether it stands where this executor left it.
    pub(super) fn locked(&mut self, head: &LogHead) -> bool {
        match self.logs.get_mut(&head.name) {
            Some(log) if log.head == *head => true,
            Some(log) => {
                log.turn += 1;
                log.head = head.clone();
                false
            }
            None => {
                let log = LogCache {
                    states: LruCache::unbounded(),
                    receipts: LruCache::new(RECENT_RECEIPTS),
                    head: head.clone(),
                    turn: 0,
                };
                self.logs.insert(head.name.clone(), log);
                false
            }
        }
    }

    /// The head as this executor left it.
    pub(super) fn head(&self, log: &LogName) -> Option<&LogHead> {
        self.logs.get(log).map(|log| &log.head)
    }

    pub(super) fn look_up(&mut self, log: &LogName, stream: &StreamName) -> Lookup {
        let Some(log) = self.logs.get_mut(log) else { return Lookup::Unknown };
        match log.states.get(stream) {
            Some(cached) if cached.turn == log.turn => Lookup::Current(cached.clone()),
            Some(cached) => Lookup::Stale(cached.clone()),
            None => Lookup::Unknown,
        }
    }

    /// Keeps a state that is committed and current.
    pub(super) fn keep(
        &mut self,
        log: &LogName,
        stream: StreamName,
        versioned: Versioned,
        number: Option<i64>,
        bytes: usize,
    ) {
        let Some(log) = self.logs.get_mut(log) else { return };
        self.bytes += bytes + ENTRY_BYTES;
        let cached = Cached { versioned, number, bytes, turn: log.turn };
        if let Some(before) = log.states.put(stream, cached) {
            self.bytes -= before.bytes + ENTRY_BYTES;
        }
    }

    /// A receipt made lately.
    pub(super) fn receipt(&mut self, log: &LogName, key: &Digest) -> Option<&Receipt> {
        self.logs.get_mut(log)?.receipts.get(key)
    }

    /// Remembers a receipt that is committed.
    pub(super) fn remember(&mut self, log: &LogName, key: Digest, receipt: Receipt) {
        if receipt.outcome.len() <= RECENT_RECEIPT_BYTES
            && let Some(log) = self.logs.get_mut(log)
        {
            log.receipts.put(key, receipt);
        }
    }

    /// The executor has moved a head.
    pub(super) fn moved(&mut self, head: LogHead) {
        if let Some(log) = self.logs.get_mut(&head.name) {
            log.head = head;
        }
    }

    /// Drops the states used longest ago until the bound holds, from the log with the most states first.
    pub(super) fn shrink(&mut self) {
        while self.bytes > self.limit {
            let Some(log) = self.logs.values_mut().max_by_key(|log| log.states.len()) else { return };
            // A share at a time, so that many logs are not compared for every single state.
            for _ in 0..log.states.len().div_ceil(16) {
                let Some((_, dropped)) = log.states.pop_lru() else { return };
                self.bytes -= dropped.bytes + ENTRY_BYTES;
                if self.bytes <= self.limit {
                    return;
                }
            }
            if log.states.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use subledger_domain::{Timestamp, binding::Binding};

    use super::*;
    use crate::Link;

    fn head(position: u64) -> LogHead {
        let recorded_at = Timestamp::default();
        LogHead {
            id: 1,
            name: LogName::main(),
            position,
            link: Link::default(),
            epoch: 1,
            streams: 1,
            recorded_at,
        }
    }

    fn stream(number: usize) -> StreamName {
        StreamName::new("binding", &number.to_string())
    }

    fn keep(cache: &mut Cache, number: usize, bytes: usize) {
        let versioned = Versioned { version: 1, state: Arc::new(Binding::default()) };
        cache.keep(&LogName::main(), stream(number), versioned, Some(1), bytes);
    }

    #[test]
    fn a_state_is_current_only_while_nobody_else_has_written() {
        let mut cache = Cache::new(1 << 20);
        assert!(!cache.locked(&head(0)));
        keep(&mut cache, 1, 10);
        cache.moved(head(5));
        assert!(cache.locked(&head(5)));
        assert!(matches!(cache.look_up(&LogName::main(), &stream(1)), Lookup::Current(_)));
        assert!(!cache.locked(&head(6)));
        assert!(matches!(cache.look_up(&LogName::main(), &stream(1)), Lookup::Stale(_)));
        // Old for good, even when the head stands still from now on, until it is checked and kept again.
        assert!(cache.locked(&head(6)));
        assert!(matches!(cache.look_up(&LogName::main(), &stream(1)), Lookup::Stale(_)));
        keep(&mut cache, 1, 10);
        assert!(matches!(cache.look_up(&LogName::main(), &stream(1)), Lookup::Current(_)));
    }

    #[test]
    fn the_bound_in_bytes_holds_and_what_was_used_last_stays() {
        let mut cache = Cache::new(100 * (ENTRY_BYTES + 1_000));
        cache.locked(&head(0));
        for number in 0..1_000 {
            keep(&mut cache, number, 1_000);
            cache.shrink();
            assert!(cache.bytes() <= 100 * (ENTRY_BYTES + 1_000));
        }
        assert!(matches!(cache.look_up(&LogName::main(), &stream(999)), Lookup::Current(_)));
        assert!(matches!(cache.look_up(&LogName::main(), &stream(0)), Lookup::Unknown));
        keep(&mut cache, 999, 5);
        keep(&mut cache, 999, 7);
        cache.clear();
        assert_eq!(cache.bytes(), 0);
        cache.locked(&head(0));
        keep(&mut cache, 1, 200_000_000);
        cache.shrink();
        assert_eq!(cache.bytes(), 0);
    }
}
