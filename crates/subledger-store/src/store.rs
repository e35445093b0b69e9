//! The store: one handle to a database, its vaults and its reads.

use std::{collections::HashMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use subledger_domain::{
    ChannelCode, Decide, DeliveryId, LogName, MessageId, Openid, StreamName, SubjectId, Timestamp, UserId,
    UserRef,
};
use tokio::sync::watch;

use crate::{
    Head, Position, QueueRow, QueueState, Recorded,
    error::{OpenError, StoreError},
};

/// Tells the time. The only clock of the store; tests hand in their own.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// A queue row that this node has leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The row.
    pub row: QueueRow,
    /// Until when the lease holds, on database time.
    pub lease_until: Timestamp,
}

/// A queue row and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The row.
    pub row: QueueRow,
    /// Where it is.
    pub state: QueueState,
    /// When it got there.
    pub since: Timestamp,
}

/// How much undone work a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Rows waiting.
    pub queued: u64,
    /// Rows leased, not started.
    pub claimed: u64,
    /// Rows started.
    pub started: u64,
    /// Rows in doubt.
    pub in_doubt: u64,
    /// When the oldest row that is due and neither in doubt nor started became due.
    pub oldest_due_at: Option<Timestamp>,
}

/// What a sweep of expired leases found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Leases that ran out before "started": back in the queue.
    pub requeued: u64,
    /// Rows whose lease ran out after "started": each must become in doubt.
    pub lost: Vec<QueueRow>,
}

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<()>,
}

impl Store {
    /// Opens the database, brings its schema up to date, and unlocks its vaults with the master key.
    pub async fn open(config: &crate::StoreConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The clock handed to [`Self::open`].
    pub fn clock(&self) -> &Arc<dyn Clock> {
        unimplemented!()
    }

    /// Whether the database answers; what it says if not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Waits for what is under way and closes all connections.
    pub async fn close(&self) {}

    // ---- the log -------------------------------------------------------------------------------------------------

    /// The end of one log; position zero if it holds nothing.
    pub async fn head(&self, log: &LogName) -> Result<Head, StoreError> {
        unimplemented!()
    }

    /// The ends of all logs, by name.
    pub async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        unimplemented!()
    }

    /// Up to `limit` events of a log after a position, in order.
    pub async fn read_log(
        &self,
        log: &LogName,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        unimplemented!()
    }

    /// Up to `limit` events of a stream after a version, in order.
    pub async fn read_stream(
        &self,
        log: &LogName,
        stream: &StreamName,
        after_version: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        unimplemented!()
    }

    /// The state of a stream as the log has it now, and its version.
    pub async fn load<A: Decide>(&self, log: &LogName, stream: &StreamName) -> Result<(A, u64), StoreError> {
        unimplemented!()
    }

    /// The newest position of a log that this node knows of. Woken by every commit of this node at once, and by a slow
    /// poll (and, on PostgreSQL, a notification) for commits of others. Never runs ahead of what can be read.
    pub fn tail(&self, log: &LogName) -> watch::Receiver<Position> {
        unimplemented!()
    }

    /// Changes whenever a log appears that this node did not know.
    pub fn logs(&self) -> watch::Receiver<Vec<LogName>> {
        unimplemented!()
    }

    // ---- vaults --------------------------------------------------------------------------------------------------

    /// The hash that stands for an openid of a channel in the log.
    pub fn subject_of(&self, channel: &ChannelCode, openid: &Openid) -> SubjectId {
        unimplemented!()
    }

    /// The hash that stands for a userid in the log.
    pub fn user_ref_of(&self, userid: &UserId) -> UserRef {
        unimplemented!()
    }

    /// The openids behind subjects of a log; subjects that are unknown or erased are left out.
    pub async fn openids(
        &self,
        log: &LogName,
        subjects: &[SubjectId],
    ) -> Result<HashMap<SubjectId, Openid>, StoreError> {
        unimplemented!()
    }

    /// The userids behind references; unknown or erased ones are left out.
    pub async fn userids(&self, users: &[UserRef]) -> Result<HashMap<UserRef, UserId>, StoreError> {
        unimplemented!()
    }

    /// The shared contents of a message, if kept.
    pub async fn shared_contents(
        &self,
        log: &LogName,
        messages: &[MessageId],
    ) -> Result<HashMap<MessageId, Vec<u8>>, StoreError> {
        unimplemented!()
    }

    /// The recipients' own contents, where they have any.
    pub async fn own_contents(
        &self,
        log: &LogName,
        deliveries: &[DeliveryId],
    ) -> Result<HashMap<DeliveryId, Vec<u8>>, StoreError> {
        unimplemented!()
    }

    /// A secret by its reference.
    pub async fn secret(&self, reference: &str) -> Result<Option<SecretString>, StoreError> {
        unimplemented!()
    }

    // ---- the queue -----------------------------------------------------------------------------------------------

    /// Leases up to `limit` due rows of a log for `lease`: never two of one subject, none of a subject that has a row
    /// claimed or started, none of a (subject, template) that is in doubt. Oldest due first.
    pub async fn claim(
        &self,
        log: &LogName,
        node: &str,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        unimplemented!()
    }

    /// Gives leased rows back that were not started, to be due at `due_at`.
    pub async fn unclaim(
        &self,
        log: &LogName,
        rows: &[DeliveryId],
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Requeues leases that ran out before "started" and lists up to `limit` that had started.
    pub async fn sweep(&self, log: &LogName, limit: u32) -> Result<Swept, StoreError> {
        unimplemented!()
    }

    /// The rows of one message.
    pub async fn queue_of(&self, log: &LogName, message: MessageId) -> Result<Vec<QueueEntry>, StoreError> {
        unimplemented!()
    }

    /// How much undone work a log has.
    pub async fn queue_stats(&self, log: &LogName) -> Result<QueueStats, StoreError> {
        unimplemented!()
    }

    /// When the next waiting row of a log is due.
    pub async fn next_due(&self, log: &LogName) -> Result<Option<Timestamp>, StoreError> {
        unimplemented!()
    }
}
