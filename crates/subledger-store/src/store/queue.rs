//! The queue of deliveries, as dispatchers use it.
//!
//! Rows come into the queue, start and leave it only through [`crate::Effect`]s, in the transaction of a command. What
//! is here only leases: a lease saves work, it never decides what was sent.

use std::time::Duration;

use subledger_domain::{DeliveryId, LogName, MessageId, TemplateId, Timestamp};

use super::Store;
use crate::{
    Database, QueueRow, QueueState, StoreError, postgres,
    rows::{QueueColumns, queue_entry, unsigned},
    sqlite,
};

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

/// Which waiting deliveries may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    /// All.
    All,
    /// Those that are not bulk; bulk is held.
    Singles,
}

/// How much undone work a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Rows waiting.
    pub queued: u64,
    /// Those of them that are bulk.
    pub bulk: u64,
    /// Rows leased, not started.
    pub claimed: u64,
    /// Rows started.
    pub started: u64,
    /// Rows in doubt.
    pub in_doubt: u64,
    /// When the oldest row became due that a node could claim now: due, and held back by no doubt and no call under way.
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

impl Store {
    /// Leases up to `limit` due rows of a log for `lease`: never two of one subject, none of a subject that has a row
    /// claimed or started, none of a (subject, template) that is in doubt. Oldest due first. A row that may not be claimed
    /// holds no other of its subject back.
    ///
    /// Whether a row is due is judged by the store's clock; the lease runs on database time.
    pub async fn claim(
        &self,
        log: &LogName,
        node: &str,
        limit: u32,
        lease: Duration,
        of: Claimable,
    ) -> Result<Vec<Claimed>, StoreError> {
        let now = self.inner.clock.now().micros();
        let (limit, lease) = (i64::from(limit), micros(lease));
        let rows = match &self.inner.database {
            Database::Sqlite(database) => {
                let mut writer = database.writer().await?;
                sqlite::queue::claim(&mut writer, log, node, now, (limit, lease), of).await?
            }
            Database::Postgres(pool) => {
                postgres::queue::claim(pool, log, node, now, (limit, lease), of).await?
            }
        };
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let (entry, lease_until) = queue_entry(row)?;
            let lease_until =
                lease_until.ok_or_else(|| StoreError::Corrupt("a claim without a lease".to_owned()))?;
            claimed.push(Claimed { row: entry.row, lease_until });
        }
        claimed.sort_by_key(|claim| (claim.row.due_at, claim.row.delivery));
        Ok(claimed)
    }

    /// Gives leased rows back that were not started, to be due at `due_at`.
    pub async fn unclaim(
        &self,
        log: &LogName,
        rows: &[DeliveryId],
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.writer().await?;
        writer.session().unclaim(log, rows, due_at.micros(), now).await
    }

    /// Requeues leases that ran out before "started" and lists up to `limit` that had started.
    pub async fn sweep(&self, log: &LogName, limit: u32) -> Result<Swept, StoreError> {
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.writer().await?;
        let mut session = writer.session();
        let requeued = session.requeue_expired(log, now).await?;
        let lost = session.lost(log, now, i64::from(limit)).await?;
        let lost = entries(lost)?.into_iter().map(|entry| entry.row).collect();
        Ok(Swept { requeued, lost })
    }

    /// Up to `limit` waiting rows whose `expires_at` has passed, whether or not they could be claimed: a row behind a
    /// doubt or in a paused channel must end in time, too.
    pub async fn expired(&self, log: &LogName, limit: u32) -> Result<Vec<QueueRow>, StoreError> {
        let now = self.inner.clock.now().micros();
        let mut reader = self.inner.database.reader().await?;
        let rows = reader.session().expired(log, now, i64::from(limit)).await?;
        Ok(entries(rows)?.into_iter().map(|entry| entry.row).collect())
    }

    /// The rows of one message.
    pub async fn queue_of(&self, log: &LogName, message: MessageId) -> Result<Vec<QueueEntry>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        entries(reader.session().of_message(log, message.as_bytes()).await?)
    }

    /// Up to `limit` rows in doubt after a delivery, in order of delivery.
    pub async fn doubts(
        &self,
        log: &LogName,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<QueueEntry>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        entries(reader.session().doubts(log, after, i64::from(limit)).await?)
    }

    /// Up to `limit` rows (of a template) that came into doubt at `until` or before, longest in doubt first.
    pub async fn overdue_doubts(
        &self,
        log: &LogName,
        until: Timestamp,
        template: Option<&TemplateId>,
        limit: u32,
    ) -> Result<Vec<QueueEntry>, StoreError> {
        let template = template.map(TemplateId::as_str);
        let mut reader = self.inner.database.reader().await?;
        entries(reader.session().overdue_doubts(log, until.micros(), template, i64::from(limit)).await?)
    }

    /// How much undone work a log has; the oldest due row is one of those that may be claimed.
    pub async fn queue_stats(&self, log: &LogName, of: Claimable) -> Result<QueueStats, StoreError> {
        let now = self.inner.clock.now();
        let mut stats = QueueStats::default();
        let mut reader = self.inner.database.reader().await?;
        for (state, bulk, rows) in reader.session().stats(log).await? {
            let rows = unsigned(rows)?;
            match state {
                0 => stats.queued += rows,
                1 => stats.claimed += rows,
                2 => stats.started += rows,
                _ => stats.in_doubt += rows,
            }
            if state == 0 && bulk != 0 {
                stats.bulk = rows;
            }
        }
        // A row behind a doubt or behind its neighbour's call waits for that, not for a node: it says nothing of how well
        // the nodes keep up.
        let next = reader.session().next_due(log, of).await?.map(Timestamp::from_micros);
        stats.oldest_due_at = next.filter(|due| *due <= now);
        Ok(stats)
    }

    /// When the next waiting row of a log is due that neither a call under way nor a doubt holds back.
    pub async fn next_due(&self, log: &LogName, of: Claimable) -> Result<Option<Timestamp>, StoreError> {
        let due = self.inner.database.reader().await?.session().next_due(log, of).await?;
        Ok(due.map(Timestamp::from_micros))
    }
}

fn entries(rows: Vec<QueueColumns>) -> Result<Vec<QueueEntry>, StoreError> {
    rows.into_iter().map(|row| Ok(queue_entry(row)?.0)).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
