//! Settling a doubt by hand.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, DeliveryId, Evidence, EvidenceSource, LogName, StreamName,
    ledger::{Ledger, LedgerCommand, Verdict},
    message::Message,
};
use subledger_store::{Done, Known, QueueRow, QueueState, Stage, Stop, StreamRef, Work};

use crate::{
    Caller, Engine, EngineError,
    dispatch::queue_effects,
    limits,
    messages::unknown_message,
    submit::{done_with, receipt},
    text::check_text,
};

/// How a person settles a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManualVerdict {
    /// Treat it as sent: the grant is spent.
    Sent,
    /// Treat it as not sent: the grant is open again.
    NotSent,
}

struct Resolve {
    row: QueueRow,
    verdict: ManualVerdict,
    by: String,
    reason: String,
}

impl Work for Resolve {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.row.ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        let evidence = Evidence {
            reason: Some(self.reason.clone()),
            ..Evidence::new(EvidenceSource::Operator, self.by.clone(), stage.now())
        };
        let verdict = match self.verdict {
            ManualVerdict::Sent => Verdict::Sent { wechat_msgid: None },
            ManualVerdict::NotSent => Verdict::NotSent,
        };
        let command = LedgerCommand::Resolve { delivery: self.row.delivery, verdict, evidence };
        let ledger = self.row.ledger();
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(|_| Stop::Refuse(not_in_doubt()))?;
        queue_effects(stage, &events);
        Ok(())
    }
}

fn not_in_doubt() -> EngineError {
    EngineError::conflict("not_in_doubt", "this delivery is not in doubt; there is nothing to settle")
}

impl Engine {
    /// Settles a doubt on a person's word, which the books keep with their reason.
    pub async fn resolve_doubt(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        delivery: DeliveryId,
        verdict: ManualVerdict,
        reason: String,
        idempotency_key: Option<&str>,
    ) -> Result<Done<()>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        let log = LogName::channel(channel);
        let receipt = receipt("resolve", caller, idempotency_key, &(delivery, verdict, &reason))?;
        if let Some(done) = self.answered(&log, receipt.as_ref()).await? {
            return Ok(done);
        }
        let (message, _) = self.store().load::<Message>(&log, &StreamName::message(delivery.message)).await?;
        if message.accepted().is_none() {
            return Err(unknown_message());
        }
        let rows = self.store().queue_of(&log, delivery.message).await?;
        let entry = rows.into_iter().find(|entry| entry.row.delivery == delivery);
        let row = match entry {
            Some(entry) if entry.state == QueueState::InDoubt => entry.row,
            _ => return Err(not_in_doubt()),
        };
        let work = Resolve { row, verdict, by: caller.who(), reason };
        Ok(done_with(self.submit(log, caller, "resolve_doubt", receipt, work).await?, ()))
    }
}
