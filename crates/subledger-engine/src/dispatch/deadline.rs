//! Closing doubts that nobody settled within the channel's deadline, as its policy says.
//!
//! Any node may do it, and several at once: the ledger lets a doubt end once.

use subledger_domain::{
    Evidence, EvidenceSource, LogName, StreamName, Timestamp,
    channel::{Channel, Policy},
    ledger::{DoubtVerdict, Ledger, LedgerCommand, LedgerError, Phase, Verdict},
};
use subledger_store::{Known, QueueEntry, QueueRow, Stage, Stop, StoreError, StreamRef, Work};

use super::{queue_effects, submit, sweep::recorded};
use crate::{Engine, metric_definitions};

/// Closes one doubt, if it is old enough for the policy of the moment.
struct Close {
    row: QueueRow,
    since: Timestamp,
}

impl Work for Close {
    /// The verdict, where there was something to close.
    type Answer = Option<bool>;
    type Refusal = LedgerError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Channel>(StreamName::channel()), StreamRef::of::<Ledger>(self.row.ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Option<bool>, Stop<LedgerError>> {
        let policy = stage.state::<Channel>(&StreamName::channel())?.policy();
        let now = stage.now();
        let (ledger, delivery) = (self.row.ledger(), self.row.delivery);
        // Asked here and not left to the rules: those let a doubt that was settled as "not sent" be corrected to "sent", and
        // a deadline proves nothing.
        let in_doubt = stage.state::<Ledger>(&ledger)?.outstanding().get(&delivery);
        if in_doubt.is_none_or(|one| one.phase != Phase::InDoubt) || self.since > latest(policy, now) {
            return Ok(None);
        }
        let (word, verdict) = match policy.doubt_verdict {
            DoubtVerdict::AssumeSent => ("assume_sent", Verdict::Sent { wechat_msgid: None }),
            DoubtVerdict::Release => ("release", Verdict::NotSent),
        };
        let reference = format!("doubt_verdict={word} doubt_deadline_s={}", policy.doubt_deadline_s);
        let evidence = Evidence::new(EvidenceSource::Policy, reference, now);
        let sent = verdict != Verdict::NotSent;
        let command = LedgerCommand::Resolve { delivery, verdict, evidence };
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(Stop::Refuse)?;
        queue_effects(stage, &events);
        Ok(Some(sent))
    }
}

/// What is in doubt since this moment or longer is in doubt too long.
fn latest(policy: Policy, now: Timestamp) -> Timestamp {
    now.plus_seconds(-i64::from(policy.doubt_deadline_s))
}

/// Closes up to `limit` doubts of a log. Answers whether there may be more to close at once, and whether all that were found
/// could be dealt with.
pub(super) async fn close(engine: &Engine, log: &LogName, limit: u32) -> Result<(bool, bool), StoreError> {
    let (channel, _) = engine.store().load::<Channel>(log, &StreamName::channel()).await?;
    let until = latest(channel.policy(), engine.now());
    let overdue = engine.store().overdue_doubts(log, until, None, limit).await?;
    let full = overdue.len() >= limit as usize;
    let closing = overdue
        .into_iter()
        .map(|QueueEntry { row, since, .. }| submit(engine, log, "close_doubt", Close { row, since }));
    // All at once: the executor writes them in few batches.
    let (mut all, mut closed) = (true, 0_u64);
    for done in futures::future::join_all(closing).await {
        if let Ok(Some(sent)) = done {
            let verdict = if sent { "sent" } else { "not_sent" };
            metrics::counter!(metric_definitions::DOUBTS_CLOSED, "channel" => log.to_string(), "verdict" => verdict)
                .increment(1);
            closed += 1;
        }
        all &= recorded(done.map(|_| ()));
    }
    if closed > 0 {
        tracing::info!(log.name = %log, doubts = closed, "doubts that nobody settled were closed by the channel's policy");
        // Neighbours of the same user and template have waited for this.
        engine.signals().of(log).wake.notify_one();
    }
    // Where nothing was closed, another node was quicker, and looking again at once would find the same.
    Ok((full && closed > 0, all))
}
