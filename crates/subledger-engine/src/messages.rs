//! Retracting a message: what was not handed to WeChat yet is taken back, and its grants are open again.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, LogName, MessageId, StreamName,
    ledger::{Ledger, LedgerCommand, ReleaseRequest},
    message::{Message, MessageCommand, Retracted},
};
use subledger_store::{Done, Effect, Known, QueueRow, QueueState, Stage, Stop, StreamRef, Work};

use crate::{Caller, Engine, EngineError, submit::receipt};

/// What a retraction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetractAnswer {
    /// Deliveries taken back; their grants are open again.
    pub retracted: u32,
    /// Recipients that had been handed over, had ended, or had been skipped before.
    pub too_late: u32,
}

struct Retract {
    msgid: MessageId,
    caller: Caller,
    waiting: Vec<QueueRow>,
}

impl Retract {
    fn ledgers(&self) -> impl Iterator<Item = (StreamName, &QueueRow)> {
        self.waiting.iter().map(|row| (row.ledger(), row))
    }
}

impl Work for Retract {
    type Answer = RetractAnswer;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![StreamRef::of::<Message>(StreamName::message(self.msgid))];
        streams.extend(self.ledgers().map(|(name, _)| StreamRef::of::<Ledger>(name)));
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<RetractAnswer, Stop<EngineError>> {
        let stream = StreamName::message(self.msgid);
        let Some(accepted) = stage.state::<Message>(&stream)?.accepted() else {
            return Err(Stop::Refuse(unknown_message()));
        };
        let targeted = accepted.targeted;
        let mut released = 0;
        for (ledger, row) in self.ledgers() {
            let command = LedgerCommand::Release { delivery: row.delivery, request: ReleaseRequest::Retract };
            // A refusal means that it was handed over or has ended since we looked: too late for this one.
            if stage.ask::<Ledger>(&ledger, command)?.is_ok() {
                stage.effect(Effect::Dequeue(row.delivery));
                released += 1;
            }
        }
        let answer = RetractAnswer { retracted: released, too_late: targeted.saturating_sub(released) };
        if released > 0 {
            let retracted = Retracted { app: self.caller.app.clone(), released };
            stage
                .ask::<Message>(&stream, MessageCommand::Retract(retracted))?
                .map_err(|error| Stop::Refuse(EngineError::internal(error.to_string())))?;
        }
        Ok(answer)
    }
}

pub(crate) fn unknown_message() -> EngineError {
    EngineError::not_found("unknown_message", "there is no message with this id in this channel")
}

impl Engine {
    /// Takes back what was not handed over. Deliveries that WeChat may have are never touched.
    pub async fn retract(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        msgid: MessageId,
        idempotency_key: Option<&str>,
    ) -> Result<Done<RetractAnswer>, EngineError> {
        let log = LogName::channel(channel);
        let receipt = receipt("retract", caller, idempotency_key, &msgid)?;
        let rows = self.store().queue_of(&log, msgid).await?;
        let waits = |state| matches!(state, QueueState::Queued | QueueState::Claimed);
        let waiting = rows.into_iter().filter(|entry| waits(entry.state)).map(|entry| entry.row).collect();
        let work = Retract { msgid, caller: caller.clone(), waiting };
        self.submit(log, caller, "retract", receipt, work).await
    }
}
