//! The lease of a rebuild: one per log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use subledger_domain::LogName;
use subledger_store::{Lease, Store};
use tokio::{task::JoinHandle, time::Instant};

use crate::{ProjectionError, names::unique_holder};

/// How long the lease of a rebuild that died keeps the next one waiting.
const TTL: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often to look whether another rebuild has ended, and how long: just longer than one that died would hold it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(12);

/// Holds the lease of rebuilding one log and keeps renewing it.
pub(super) struct Guard {
    store: Store,
    lease: Lease,
    held: Arc<AtomicBool>,
    renewing: JoinHandle<()>,
}

impl Guard {
    /// Takes the lease; waits as long as a rebuild that died could still hold it.
    pub(super) async fn take(store: &Store, log: &LogName) -> Result<Self, ProjectionError> {
        let name = format!("rebuild/{log}");
        let holder = unique_holder();
        let until = Instant::now() + PATIENCE;
        let lease = loop {
            if let Some(lease) = store.lease_acquire(&name, &holder, TTL).await? {
                break lease;
            }
            if Instant::now() >= until {
                return Err(ProjectionError::Busy { log: log.clone() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let held = Arc::new(AtomicBool::new(true));
        let renewing = tokio::spawn(renew(store.clone(), lease.clone(), Arc::clone(&held)));
        Ok(Self { store: store.clone(), lease, held, renewing })
    }

    /// Whether the lease is still ours, as far as we know. The comparison of checkpoints guards the rest.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        self.renewing.abort();
        if let Err(error) = self.store.lease_release(std::slice::from_ref(&self.lease)).await {
            tracing::debug!(error = %error, "the lease of a rebuild was not given back; it runs out");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: Store, lease: Lease, held: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match store.lease_renew(&lease, TTL).await {
            Ok(true) => {}
            Ok(false) => {
                held.store(false, Ordering::Relaxed);
                return;
            }
            Err(error) => tracing::debug!(error = %error, "the lease of a rebuild could not be renewed yet"),
        }
    }
}
