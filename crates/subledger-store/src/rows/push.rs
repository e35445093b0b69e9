//! Rows of the table `push`, as they travel between the executor, the store and both databases.

use std::{collections::HashMap, fmt::Write};

use subledger_domain::{LogName, SubjectId, Timestamp};

use super::{bytes, unsigned};
use crate::{
    KeptPush, PushFilter, PushFormat, PushKey, PushKind, PushMode, PushState, RelayState, StoreError,
};

/// A push to add. One whose key is there already stays as it is, unless this one comes settled.
#[derive(Debug, Clone)]
pub(crate) struct PushInsert {
    pub(crate) log: i64,
    pub(crate) key: PushKey,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) received_at: i64,
    pub(crate) kind: PushKind,
    pub(crate) mode: PushMode,
    pub(crate) format: PushFormat,
    pub(crate) state: PushState,
    pub(crate) relay_due_at: Option<i64>,
    pub(crate) event: String,
    pub(crate) effect: Option<String>,
    pub(crate) sealed: Vec<u8>,
}

impl PushInsert {
    /// The column `subject`: empty for nobody.
    pub(crate) fn subject(&self) -> &[u8] {
        self.subject.as_ref().map_or(&[], |subject| &subject.as_bytes()[..])
    }

    /// The column `relay`.
    pub(crate) fn relay(&self) -> i16 {
        let state = if self.relay_due_at.is_some() { RelayState::Waiting } else { RelayState::None };
        state.number()
    }
}

/// A push to settle; nothing happens to one that is not kept.
#[derive(Debug, Clone)]
pub(crate) struct PushSettle {
    pub(crate) log: i64,
    pub(crate) key: PushKey,
    pub(crate) state: PushState,
    pub(crate) effect: String,
}

/// The pushes' share of a batch, in the order in which it is applied.
#[derive(Debug, Default)]
pub(crate) struct PushWrites {
    /// Whose pushes are deleted: log id, subject.
    pub(crate) forget: Vec<(i64, [u8; 16])>,
    pub(crate) insert: Vec<PushInsert>,
    pub(crate) settle: Vec<PushSettle>,
}

impl PushWrites {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.forget.is_empty() && self.insert.is_empty() && self.settle.is_empty()
    }
}

/// The columns of a push that is kept.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PushColumns {
    pub(crate) id: i64,
    pub(crate) log: String,
    pub(crate) key: Vec<u8>,
    pub(crate) received_at: i64,
    pub(crate) kind: i64,
    pub(crate) event: String,
    pub(crate) subject: Vec<u8>,
    pub(crate) mode: i64,
    pub(crate) format: i64,
    pub(crate) state: i64,
    pub(crate) effect: Option<String>,
    pub(crate) seen: i64,
    pub(crate) last_seen_at: i64,
    pub(crate) relay: i64,
    pub(crate) relay_due_at: Option<i64>,
    pub(crate) relay_attempts: i64,
    pub(crate) relay_node: Option<String>,
    pub(crate) relay_status: Option<String>,
    pub(crate) relay_since: Option<i64>,
    /// Empty where the body is not asked for.
    pub(crate) sealed: Vec<u8>,
}

/// The push in a row, and its sealed body.
pub(crate) fn kept_push(row: PushColumns) -> Result<(KeptPush, Vec<u8>), StoreError> {
    let count = |number: i64| {
        u32::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} where a count is meant")))
    };
    let subject = match row.subject.is_empty() {
        true => None,
        false => Some(SubjectId::from_bytes(bytes(row.subject)?)),
    };
    let received_at = Timestamp::from_micros(row.received_at);
    let push = KeptPush {
        id: unsigned(row.id)?,
        log: LogName::new(row.log),
        key: PushKey::from_bytes(bytes(row.key)?),
        received_at,
        kind: PushKind::of(row.kind)?,
        event: row.event,
        subject,
        mode: PushMode::of(row.mode)?,
        format: PushFormat::of(row.format)?,
        state: PushState::of(row.state)?,
        effect: row.effect,
        seen: count(row.seen)?,
        last_seen_at: Timestamp::from_micros(row.last_seen_at),
        relay: RelayState::of(row.relay)?,
        relay_due_at: row.relay_due_at.map(Timestamp::from_micros),
        relay_attempts: count(row.relay_attempts)?,
        relay_node: row.relay_node,
        relay_status: row.relay_status,
        relay_since: row.relay_since.map_or(received_at, Timestamp::from_micros),
    };
    Ok((push, row.sealed))
}

/// A kind and state of pushes: kind, state, how many, when the newest of the kind came.
pub(crate) type PushCount = (i64, i64, i64, Option<i64>);

/// How many pushes are in a state of the relay: state, how many.
pub(crate) type RelayCount = (i64, i64);

/// A push at an end of the relay's line: state of the relay, when it came, what the newest ended attempt came to.
pub(crate) type RelayEdge = (i64, i64, Option<String>);

/// A push that is due for relaying: log id, id, whether it is the first of its subject, the log's name.
pub(crate) type DueRelay = (i64, i64, bool, String);

/// What a claim may still take.
#[derive(Debug)]
pub(crate) struct RelayBounds {
    /// Of all logs.
    pub(crate) left: usize,
    /// Of one log, with what is in `busy`.
    pub(crate) per_log: usize,
    /// What the node has leased already, this claim included.
    pub(crate) busy: HashMap<String, usize>,
}

impl RelayBounds {
    /// The logs of which nothing more is taken.
    pub(crate) fn full(&self) -> Vec<&str> {
        self.busy.iter().filter(|(_, busy)| self.per_log <= **busy).map(|(log, _)| log.as_str()).collect()
    }

    /// Of rows that are due: what is taken now, and what stands behind another push of its subject. What there is no room for
    /// stays as it is.
    pub(crate) fn sort(&mut self, due: Vec<DueRelay>) -> (Vec<RelayPlace>, Vec<RelayPlace>) {
        let (mut taken, mut behind) = (Vec::new(), Vec::new());
        for (log, id, first, name) in due {
            if !first {
                behind.push((log, id));
                continue;
            }
            let busy = self.busy.entry(name).or_default();
            if self.left > 0 && *busy < self.per_log {
                self.left -= 1;
                *busy += 1;
                taken.push((log, id));
            }
        }
        (taken, behind)
    }
}

/// Where a push stands: log id, id.
pub(crate) type RelayPlace = (i64, i64);

/// What is written when a lease on a push ends.
#[derive(Debug, Clone)]
pub(crate) struct RelayWrite {
    pub(crate) relay: RelayState,
    pub(crate) due_at: Option<i64>,
    /// None leaves the status of the attempt before.
    pub(crate) status: Option<String>,
    /// What becomes of the count of attempts.
    pub(crate) attempts: i64,
}

/// The conditions of a filter on the row `p`, but for the subject. All of it is ours: numbers, no text. Where an index holds
/// some rows only, its own condition stands there, too, word by word, which SQLite needs to see that the index will do.
pub(crate) fn conditions(filter: &PushFilter) -> String {
    let mut sql = String::new();
    // Writing to a String cannot fail.
    if let Some(kind) = filter.kind {
        let _ = write!(sql, " and p.kind = {}", kind.number());
    }
    if let Some(state) = filter.state {
        let _ = write!(sql, " and p.state = {}", state.number());
        if is_odd(state) {
            sql.push_str(" and p.state in (0, 3, 4)");
        }
    }
    if let Some(relay) = filter.relay {
        let _ = write!(sql, " and p.relay = {}", relay.number());
        if relay != RelayState::None {
            sql.push_str(" and p.relay <> 0");
        }
    }
    sql
}

/// Whether pushes in this state stand in the index of what is out of the ordinary.
pub(crate) const fn is_odd(state: PushState) -> bool {
    matches!(state, PushState::Pending | PushState::Undecodable | PushState::Failed)
}
