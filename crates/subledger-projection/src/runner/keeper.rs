//! Keeps, for all logs of this node together: who runs them, where those run by others stand, how old what is behind is.
//!
//! On PostgreSQL one node runs the projections of a log, the holder of the lease `projection/<log>`; one statement per round
//! renews all leases of a node and takes those that are free. A node that dies is replaced when its leases run out. Nothing
//! rests on the lease but work: a checkpoint is compared before it moves, so a node that does not know yet that it was
//! replaced changes nothing. On SQLite there is one process and no lease: renewing one would only write for nothing.

use std::{sync::Arc, time::Duration};

use metrics::gauge;
use subledger_domain::LogName;
use subledger_store::{Database, Lease, Position, StoreError, Timestamped};
use tokio::time::Instant;

use super::Shared;
use crate::{
    ProjectionName, checkpoint,
    metric_definitions::{BEHIND_SECONDS, RUNS},
};

fn lease_name(log: &LogName) -> String {
    format!("projection/{log}")
}

/// Runs until the node stops, then gives the leases back.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut known = shared.known.subscribe();
    let mut keeper = Keeper { shared: Arc::clone(&shared), held: Vec::new(), renewed: Instant::now() };
    loop {
        known.mark_unchanged();
        keeper.round().await;
        tokio::select! {
            () = shared.stop.cancelled() => break,
            // A new log is taken at once.
            _ = known.changed() => {}
            () = tokio::time::sleep(shared.config.lease / 4) => {}
        }
    }
    if !shared.abandoned.is_cancelled() {
        keeper.release().await;
    }
}

struct Keeper {
    shared: Arc<Shared>,
    held: Vec<Lease>,
    /// When the leases were last renewed; counted from before the statement was sent.
    renewed: Instant,
}

impl Keeper {
    async fn round(&mut self) {
        if matches!(self.shared.store.database(), Database::Postgres(_)) {
            if let Err(error) = self.renew().await {
                tracing::debug!(error = %error, "leases of projections could not be renewed yet");
                // By now somebody else may have them.
                if self.renewed.elapsed() >= self.shared.config.lease {
                    self.held.clear();
                    self.shared.logs().values().for_each(|one| one.give_turn(false));
                }
            }
            if let Err(error) = self.look_at_others().await {
                tracing::debug!(error = %error, "checkpoints of other nodes could not be read yet");
            }
        }
        if let Err(error) = self.look_at_ages().await {
            tracing::debug!(error = %error, "the age of what is not applied could not be read yet");
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let logs: Vec<LogName> = self.shared.logs().keys().cloned().collect();
        let names: Vec<String> = logs.iter().map(lease_name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let asked = Instant::now();
        let lease = self.shared.config.lease;
        self.held = self.shared.store.lease_acquire_all(&names, &self.shared.holder, lease).await?;
        self.renewed = asked;
        for (log, followed) in self.shared.logs().iter() {
            let name = lease_name(log);
            let mine = self.held.iter().any(|lease| lease.name == name);
            // A log that appeared while we asked is taken in the next round.
            if mine || names.contains(&name.as_str()) {
                followed.give_turn(mine);
                gauge!(RUNS, "log" => log.as_str().to_owned()).set(if mine { 1.0 } else { 0.0 });
            }
        }
        Ok(())
    }

    /// Publishes where the projections of logs stand that other nodes run.
    async fn look_at_others(&self) -> Result<(), StoreError> {
        if self.shared.logs().values().all(super::Followed::has_turn) {
            return Ok(());
        }
        let all = checkpoint::all_live(&self.shared.store).await?;
        for (log, followed) in self.shared.logs().iter().filter(|(_, one)| !one.has_turn()) {
            let mine = all
                .iter()
                .filter(|(of, one)| of == log && ProjectionName::of_log(log).contains(&one.projection));
            let head = *self.shared.store.tail(log).borrow();
            followed.publish(log, head, &mine.map(|(_, one)| one.clone()).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Finds out since when the oldest event waits that a projection has not applied, where there is one.
    async fn look_at_ages(&self) -> Result<(), StoreError> {
        let lag = self.shared.lag();
        let next = |at: Position| Position(at.0 + 1);
        let behind: Vec<(LogName, Position)> = lag
            .iter()
            .filter(|one| one.behind() > 0)
            .map(|one| (one.log.clone(), next(one.position)))
            .collect();
        let found: Vec<Timestamped> = self.shared.store.times_of(&behind).await?;
        let now = self.shared.store.clock().now();
        for mut one in lag {
            let oldest =
                found.iter().find(|event| event.log == one.log && event.position == next(one.position));
            one.oldest = oldest.filter(|_| one.behind() > 0).map(|event| event.recorded_at);
            let labels =
                [("log", one.log.as_str().to_owned()), ("projection", one.projection.as_str().to_owned())];
            gauge!(BEHIND_SECONDS, &labels).set(one.age(now).unwrap_or(Duration::ZERO).as_secs_f64());
            if let Some(followed) = self.shared.logs().get(&one.log) {
                followed.note_oldest(one.projection, one.oldest);
            }
        }
        Ok(())
    }

    async fn release(self) {
        if let Err(error) = self.shared.store.lease_release(&self.held).await {
            tracing::debug!(error = %error, "leases of projections were not given back; they run out");
        }
    }
}
