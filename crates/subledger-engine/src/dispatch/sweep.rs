//! Finding what a lost node left behind, ending what nobody wants any more, closing doubts that nobody settled, and
//! counting what waits.

use subledger_domain::{
    LogName, StreamName, Timestamp,
    channel::Channel,
    ledger::{AttemptOutcome, DoubtCause, Ledger, LedgerCommand, LedgerError, ReleaseRequest},
};
use subledger_store::{
    Claimable, Known, QueueRow, QueueStats, Stage, Stop, StoreError, StreamRef, SubmitError, Work,
};
use tokio_util::sync::CancellationToken;

use super::{attempt::Settle, deadline, queue_effects, submit};
use crate::{Engine, metric_definitions};

/// Rows handled in one sweep at most; the next one follows at once if there may be more.
const SWEEP_BATCH: u32 = 200;

/// Ends a delivery whose time is over while it could not be claimed (paused channel, unresolved neighbour).
struct Expire {
    row: QueueRow,
}

impl Work for Expire {
    type Answer = ();
    type Refusal = LedgerError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.row.ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<LedgerError>> {
        let command = LedgerCommand::Release { delivery: self.row.delivery, request: ReleaseRequest::Expire };
        let ledger = self.row.ledger();
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(Stop::Refuse)?;
        queue_effects(stage, &events);
        Ok(())
    }
}

/// Sweeps a log until `stop`.
pub(super) async fn run(engine: Engine, log: LogName, stop: CancellationToken) {
    // Twice per lease: what a lost node left is found within half a lease after it ran out.
    let pause = engine.settings().dispatch.lease / 2;
    loop {
        match sweep(&engine, &log).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(log.name = %log, error = %error, "the sweep failed"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One sweep; whether there may be more to do at once.
async fn sweep(engine: &Engine, log: &LogName) -> Result<bool, StoreError> {
    let swept = engine.store().sweep(log, SWEEP_BATCH).await?;
    count(log, "requeued", swept.requeued);
    if swept.requeued > 0 {
        engine.signals().of(log).wake.notify_one();
    }
    let mut failed = false;
    for row in &swept.lost {
        let outcome = AttemptOutcome::Unknown { cause: DoubtCause::NodeLost };
        let work = Settle { row: row.clone(), attempt: row.attempts, outcome };
        failed |= !recorded(submit(engine, log, "sweep", work).await);
        tracing::warn!(log.name = %log, delivery.id = %row.delivery, "a node was lost while sending; the delivery is in doubt");
    }
    count(log, "in_doubt", swept.lost.len() as u64);
    let expired = engine.store().expired(log, SWEEP_BATCH).await?;
    for row in &expired {
        failed |= !recorded(submit(engine, log, "expire", Expire { row: row.clone() }).await);
    }
    let (more_doubts, dealt_with) = deadline::close(engine, log, SWEEP_BATCH).await?;
    failed |= !dealt_with;
    let (channel, _) = engine.store().load::<Channel>(log, &StreamName::channel()).await?;
    let held = channel.bulk_held(engine.now()).is_some();
    let of = if held { Claimable::Singles } else { Claimable::All };
    let stats = engine.store().queue_stats(log, of).await?;
    gauge(log, &stats, engine.now());
    let held = if held { 1.0 } else { 0.0 };
    metrics::gauge!(metric_definitions::BULK_HELD, "channel" => log.to_string()).set(held);
    let full = |rows: usize| rows >= SWEEP_BATCH as usize;
    Ok(!failed && (full(swept.lost.len()) || full(expired.len()) || more_doubts))
}

/// Whether the work was recorded, or needs no recording any more.
pub(super) fn recorded(submitted: Result<(), SubmitError<LedgerError>>) -> bool {
    matches!(submitted, Ok(()) | Err(SubmitError::Refused(_)))
}

fn count(log: &LogName, result: &'static str, rows: u64) {
    if rows > 0 {
        metrics::counter!(metric_definitions::SWEPT, "channel" => log.to_string(), "result" => result)
            .increment(rows);
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts and ages fit")]
fn gauge(log: &LogName, stats: &QueueStats, now: Timestamp) {
    let states = [
        ("queued", stats.queued),
        ("claimed", stats.claimed),
        ("started", stats.started),
        ("in_doubt", stats.in_doubt),
    ];
    for (state, rows) in states {
        metrics::gauge!(metric_definitions::QUEUE_ROWS, "channel" => log.to_string(), "state" => state)
            .set(rows as f64);
    }
    let age = stats.oldest_due_at.map_or(0, |due| now.micros().saturating_sub(due.micros()).max(0));
    let seconds = age as f64 / Timestamp::MICROS_PER_SECOND as f64;
    metrics::gauge!(metric_definitions::OLDEST_UNDONE_SECONDS, "channel" => log.to_string()).set(seconds);
}
