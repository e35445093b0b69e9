//! Sending: one message to up to a thousand recipients.
//!
//! The request is checked, then planned inside the executor: for each recipient a grant is set aside or a reason to skip it
//! is recorded, and everything — message, reservations, queue rows, sealed contents, receipt — is one commit. The answer
//! says per recipient what will happen. Handing over to WeChat is [`crate::dispatch`]'s.

mod plan;
mod request;

pub use request::{Recipient, SendRequest, To};

use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, LogName, MessageId, message::SkipReason};
use subledger_store::Done;

use crate::{Caller, Engine, EngineError, metric_definitions, submit::receipt};

/// What will happen to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum RecipientPlan {
    /// A delivery was queued, paid for by a grant (or by what a long-term template or the policy allows).
    Accepted,
    /// Nothing will be sent.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
}

/// A value that WeChat may well refuse; the message is accepted all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// JSON pointer into the request.
    pub pointer: String,
    /// The rule, as a stable word.
    pub rule: String,
    /// The rule, what was found, what to do.
    pub detail: String,
}

/// What will happen to a message. Kept in the receipt, so it names recipients by index only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAnswer {
    /// The message's id.
    pub msgid: MessageId,
    /// How many recipients were asked for.
    pub targeted: u32,
    /// How many deliveries were queued.
    pub accepted: u32,
    /// How many recipients were skipped.
    pub skipped: u32,
    /// Per recipient, in the order of the request.
    pub recipients: Vec<RecipientPlan>,
    /// Values that WeChat may refuse, at most [`plan::MAX_WARNINGS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl Engine {
    /// Accepts a message: durable when this returns.
    pub async fn send(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        request: SendRequest,
    ) -> Result<Done<SendAnswer>, EngineError> {
        let receipt = receipt("send", caller, request.idempotency_key.as_deref(), &request.body())?;
        if let Err(refusal) = request.check(self.now()) {
            // What was accepted once is answered again even when its `expires_at` has passed since.
            let answered = self.answered(&LogName::channel(channel), receipt.as_ref()).await?;
            return answered.ok_or(refusal);
        }
        let work = plan::Plan::new(self, caller, channel, request);
        let done = self.submit(LogName::channel(channel), caller, "send", receipt, work).await?;
        if !done.replayed {
            count(channel, &done.answer);
            self.signals().wake(channel);
        }
        Ok(done)
    }
}

fn count(channel: &ChannelCode, answer: &SendAnswer) {
    for plan in &answer.recipients {
        let result = match plan {
            RecipientPlan::Accepted => "accepted",
            RecipientPlan::Skipped { reason } => reason.as_str(),
        };
        metrics::counter!(metric_definitions::RECIPIENTS, "channel" => channel.to_string(), "result" => result).increment(1);
    }
}
