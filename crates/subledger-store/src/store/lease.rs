//! Leases: for what only one node at a time should do.
//!
//! A lease is a row with a holder, a fencing token and an end. It ends by itself when its holder stops renewing it, so a
//! node that dies is replaced after at most the time to live. Time is the database's on PostgreSQL, because nodes' clocks
//! differ; on SQLite there is one process and the store's own [`crate::Clock`] tells it.
//!
//! A lease saves work, it does not make anything correct: a holder that was stopped for longer than the lease lasts goes on
//! for a moment before it notices. Whatever must not happen twice is guarded where it is written, by the token (it grows by
//! one whenever the holder changes: refuse what comes with an older one) or by comparing what is replaced.

use std::{collections::BTreeSet, time::Duration};

use super::Store;
use crate::{
    StoreError,
    rows::{LeaseColumns, unsigned},
};

/// A lease that is held, until it runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased, such as `projection/wechatmp123`.
    pub name: String,
    /// Who holds it. Unique per contender, not per node: two tasks of one node with the same name both hold it.
    pub holder: String,
    /// The fencing number, from 1: it grows by one whenever the holder changes and never shrinks.
    pub token: u64,
}

impl Store {
    /// Takes a lease for `ttl`, or renews it if `holder` has it already. `None`: somebody else holds it.
    pub async fn lease_acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        Ok(self.lease_acquire_all(&[name], holder, ttl).await?.pop())
    }

    /// [`Self::lease_acquire`] for many names in one statement. Answers with those that `holder` holds now, by name.
    pub async fn lease_acquire_all(
        &self,
        names: &[&str],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        // Sorted, so that contenders lock rows in the same order; once each, because a statement may touch a row once.
        let names: Vec<&str> = names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.unclaimed().await?;
        let rows = writer.session().acquire(&names, holder, micros(ttl), now).await?;
        let mut leases = rows
            .into_iter()
            .map(|(name, token): LeaseColumns| {
                Ok(Lease { name, holder: holder.to_owned(), token: unsigned(token)? })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        leases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(leases)
    }

    /// Prolongs a lease to `ttl` from now. `false`: it ran out and somebody else has it, or it was released; what it
    /// protected must stop.
    pub async fn lease_renew(&self, lease: &Lease, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.inner.clock.now().micros();
        let token = i64::try_from(lease.token).unwrap_or(i64::MAX);
        let mut writer = self.inner.database.unclaimed().await?;
        writer.session().renew(&lease.name, &lease.holder, token, micros(ttl), now).await
    }

    /// Gives leases back, so that others need not wait until they run out. Those that are not held any more are left alone.
    pub async fn lease_release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<(&str, &str, i64)> = leases
            .iter()
            .map(|one| (one.name.as_str(), one.holder.as_str(), i64::try_from(one.token).unwrap_or(i64::MAX)))
            .collect();
        keys.sort_unstable();
        self.inner.database.unclaimed().await?.session().release(&keys).await
    }
}

fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}
