//! One attempt: record "started", call WeChat once, record the outcome.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use subledger_domain::{
    StreamName, Timestamp,
    channel::Channel,
    ledger::{Answer, AttemptOutcome, Ledger, LedgerCommand, LedgerError, LedgerEvent, RefusedSend},
};
use subledger_store::{Known, QueueRow, Stage, Stop, StreamRef, SubmitError, Work};
use subledger_wechat::{ChannelClient, RefusalClass, SendOutcome, SendRequest};

use super::{
    lane::Lane,
    outcome::{Meaning, meaning},
    queue_effects, submit,
};
use crate::metric_definitions;

/// How long a delivery waits whose (openid, template) has another unresolved attempt.
const BUSY_WAIT_SECONDS: i64 = 1;
/// The part of a lease within which WeChat is called. The rest is for saying how the attempt ended.
const CALLED_BY: f32 = 0.75;
/// The class of an attempt whose lease was over before the call: nothing was sent.
const LATE: &str = "node_late";
/// Pause between tries to record an outcome while the database is away. There is no limit on their number: until it is
/// recorded, the outcome exists only here, and the lease turns the delivery into a doubt if this node goes.
const RECORD_PAUSE: Duration = Duration::from_millis(500);
/// While stopping, tries to record an outcome before the lease is left to speak.
const RECORD_TRIES_WHEN_STOPPING: u32 = 10;

/// A claimed row with what is to be sent; nothing, if the recipient or the contents were erased.
pub(super) struct Parcel {
    pub(super) row: QueueRow,
    pub(super) request: Option<SendRequest>,
}

/// What "start" came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum StartAnswer {
    /// Go on: this is attempt number so-and-so.
    Go(u16),
    /// The delivery ended instead: expired, suspended, its grant void.
    Ended,
}

struct Start {
    row: QueueRow,
}

impl Work for Start {
    type Answer = StartAnswer;
    type Refusal = LedgerError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.row.ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<StartAnswer, Stop<LedgerError>> {
        let command = LedgerCommand::Start { delivery: self.row.delivery, expires_at: self.row.expires_at };
        let events = stage.ask::<Ledger>(&self.row.ledger(), command)?.map_err(Stop::Refuse)?;
        queue_effects(stage, &events);
        Ok(match events.first() {
            Some(LedgerEvent::Started(started)) => StartAnswer::Go(started.attempt),
            _ => StartAnswer::Ended,
        })
    }
}

/// Records how an attempt ended.
pub(super) struct Settle {
    pub(super) row: QueueRow,
    pub(super) attempt: u16,
    pub(super) outcome: AttemptOutcome,
}

impl Work for Settle {
    type Answer = ();
    type Refusal = LedgerError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![StreamRef::of::<Ledger>(self.row.ledger())];
        // Only a refusal asks for the channel's policy.
        if self.is_refused() {
            streams.push(StreamRef::of::<Channel>(StreamName::channel()));
        }
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<LedgerError>> {
        let (delivery, outcome) = (self.row.delivery, self.outcome.clone());
        let refused_send = if self.is_refused() {
            stage.state::<Channel>(&StreamName::channel())?.policy().refused_send
        } else {
            RefusedSend::default()
        };
        let command = LedgerCommand::Settle { delivery, attempt: self.attempt, refused_send, outcome };
        let events = stage.ask::<Ledger>(&self.row.ledger(), command)?.map_err(Stop::Refuse)?;
        queue_effects(stage, &events);
        Ok(())
    }
}

impl Settle {
    fn is_refused(&self) -> bool {
        matches!(self.outcome, AttemptOutcome::Refused { .. })
    }
}

/// Runs one attempt to its recorded end.
pub(super) async fn run(lane: &Lane, client: &ChannelClient, parcel: Parcel) {
    // Before "started" is asked for: the lease begins later than this, by the database's clock.
    let asked = Instant::now();
    let Some(attempt) = start(lane, &parcel.row).await else { return };
    let Some(request) = parcel.request else {
        // The identity or the contents were erased while the delivery waited. Nothing can be sent; the grant is open again.
        let answer = Answer { class: "recipient_erased".to_owned(), ..Answer::default() };
        record(lane, &parcel.row, attempt, AttemptOutcome::Refused { answer }).await;
        return;
    };
    if asked.elapsed() >= lane.engine.settings().dispatch.lease {
        // This node stood still. Others have called the delivery lost since, and a person may have settled it: no call now.
        let answer = Answer { class: LATE.to_owned(), ..Answer::default() };
        let (until, max_attempts) = (lane.engine.now(), lane.engine.settings().dispatch.max_attempts);
        metrics::counter!(metric_definitions::ATTEMPTS, "channel" => lane.log.to_string(), "outcome" => LATE)
            .increment(1);
        record(lane, &parcel.row, attempt, AttemptOutcome::Postponed { answer, until, max_attempts }).await;
        return;
    }
    let begun = Instant::now();
    // A refused token may have to be waited for. What was not called by then is not called any more, and says so in time.
    let by = asked + lane.engine.settings().dispatch.lease.mul_f32(CALLED_BY);
    let sent = client.send_by(&request, by).await;
    if let SendOutcome::Refused { class: RefusalClass::NotAuthorized, .. } = &sent {
        lane.engine.suspect_authorization(&client.key().appid).await;
    }
    let channel = lane.log.to_string();
    metrics::histogram!(metric_definitions::CALL_SECONDS, "channel" => channel.clone())
        .record(begun.elapsed());

    let now = lane.engine.now();
    let Meaning { outcome, word, hold } =
        meaning(sent, attempt, now, lane.engine.settings().dispatch.max_attempts);
    metrics::counter!(metric_definitions::ATTEMPTS, "channel" => channel, "outcome" => word).increment(1);
    tracing::debug!(
        log.name = %lane.log, delivery.id = %parcel.row.delivery, delivery.attempt = attempt, outcome = word,
        duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), "attempt ended"
    );
    if let Some(until) = hold {
        lane.hold(until, word);
    }
    record(lane, &parcel.row, attempt, outcome).await;
}

/// Records "started". `None` if WeChat must not be called.
async fn start(lane: &Lane, row: &QueueRow) -> Option<u16> {
    let store = lane.engine.store();
    let give_back = async |due_at: Timestamp| {
        if let Err(error) = store.unclaim(&lane.log, &[row.delivery], due_at).await {
            // The lease runs out by itself.
            tracing::debug!(log.name = %lane.log, error = %error, "a claim could not be given back");
        }
    };
    if lane.stop.is_cancelled() {
        give_back(lane.engine.now()).await;
        return None;
    }
    match submit(&lane.engine, &lane.log, "start", Start { row: row.clone() }).await {
        Ok(StartAnswer::Go(attempt)) => Some(attempt),
        Ok(StartAnswer::Ended) => None,
        Err(SubmitError::Refused(LedgerError::Busy(_))) => {
            give_back(lane.engine.now().plus_seconds(BUSY_WAIT_SECONDS)).await;
            None
        }
        // Retracted, settled or started by another node since it was claimed.
        Err(SubmitError::Refused(_)) => None,
        // If the commit went through unseen, the lease turns the delivery into a doubt: it must not be called twice.
        Err(SubmitError::Store { maybe_recorded: true, .. }) => None,
        Err(error) => {
            tracing::warn!(log.name = %lane.log, delivery.id = %row.delivery, error = %error, "\"started\" was not recorded");
            give_back(lane.engine.now().plus_seconds(BUSY_WAIT_SECONDS)).await;
            None
        }
    }
}

/// Records an outcome, trying until the database takes it.
async fn record(lane: &Lane, row: &QueueRow, attempt: u16, outcome: AttemptOutcome) {
    let mut tries_when_stopping = 0;
    loop {
        let work = Settle { row: row.clone(), attempt, outcome: outcome.clone() };
        match submit(&lane.engine, &lane.log, "settle", work).await {
            Ok(()) => return,
            // Recorded by an earlier try whose answer was lost, or settled by hand in the meantime.
            Err(SubmitError::Refused(error)) => {
                tracing::debug!(log.name = %lane.log, delivery.id = %row.delivery, error = %error, "already settled");
                return;
            }
            Err(error) => {
                tracing::warn!(log.name = %lane.log, delivery.id = %row.delivery, error = %error, "an outcome waits to be recorded");
            }
        }
        if lane.stop.is_cancelled() {
            tries_when_stopping += 1;
            if tries_when_stopping >= RECORD_TRIES_WHEN_STOPPING {
                tracing::error!(log.name = %lane.log, delivery.id = %row.delivery, "an outcome is lost; the delivery will be in doubt");
                return;
            }
        }
        tokio::time::sleep(RECORD_PAUSE).await;
    }
}
