//! The message: one accepted send request, to one or many recipients.
//!
//! The message knows what was asked, who was skipped and why, and whether it was retracted. What became of the recipients
//! that got a reservation is told by their ledgers, which name the delivery. So
//! `targeted = skipped + reserved` holds here, and every reserved one ends in its ledger.
//!
//! There is no "completed" event on purpose: a message is complete when its last delivery has ended, and an event that
//! repeats what other events already say can only ever disagree with them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    AppId, Decide, SubjectId, TemplateId, TemplateKind, Timestamp, UserRef, decide::aggregate,
    event::stored_events,
};

/// The most recipients of one send request; larger audiences are planned in chunks.
pub const MAX_RECIPIENTS: usize = 1_000;

aggregate!(Message, "message", MessageCommand, MessageEvent, MessageError);

stored_events! {
    /// Events of a message stream.
    MessageEvent of "message" {
        /// A send request was accepted.
        Accepted = 50, "message.accepted", 1;
        /// Some of its recipients were planned: reserved or skipped.
        Planned = 51, "message.planned", 1;
        /// The caller took back what was not handed over yet.
        Retracted = 52, "message.retracted", 1;
    }
}

/// Payload of [`MessageEvent::Accepted`]. The values to send are not here: they stand sealed in the content store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The sender app that asked.
    pub app: AppId,
    /// The template.
    pub template: TemplateId,
    /// Its kind when the message was accepted.
    pub kind: TemplateKind,
    /// How many recipients were asked for.
    pub targeted: u32,
    /// A delivery that was not handed over by then ends as expired.
    pub expires_at: Timestamp,
}

/// Why a recipient is skipped. Skips are data, not errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The user has no openid in this channel.
    NotBound,
    /// No open grant is left.
    NoGrant,
    /// The user's permission is suspended until a newer accept.
    Suspended,
    /// The same recipient stands earlier in the same request.
    Duplicate,
}

impl SkipReason {
    /// The name used in events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotBound => "not_bound",
            Self::NoGrant => "no_grant",
            Self::Suspended => "suspended",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A recipient that will not be written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Its place in the request, from 0.
    pub index: u32,
    /// Why.
    pub reason: SkipReason,
    /// The user, if asked for by userid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// The openid, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
}

/// Payload of [`MessageEvent::Planned`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The first index planned here.
    pub from: u32,
    /// How many were reserved; their ledgers name them.
    pub reserved: u32,
    /// Who was skipped, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skip>,
}

/// Payload of [`MessageEvent::Retracted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retracted {
    /// The sender app that asked.
    pub app: AppId,
    /// How many deliveries were still waiting and were taken out with this event.
    pub released: u32,
}

/// What can be asked of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageCommand {
    /// Accept a send request.
    Accept(Accepted),
    /// Record the plan of the next recipients.
    Plan(Planned),
    /// Record that the caller takes back what waits.
    Retract(Retracted),
}

/// Why a message refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The msgid is taken.
    #[error("the message was already accepted")]
    AlreadyAccepted,
    /// There is no such message.
    #[error("there is no such message")]
    NotAccepted,
    /// A message needs a recipient.
    #[error("a message needs at least one recipient")]
    NoRecipients,
    /// The plan does not continue where the last one ended, or goes past the recipients asked for.
    #[error("the plan does not fit: {planned} of {targeted} recipients are planned")]
    PlanDoesNotFit {
        /// Recipients planned so far.
        planned: u32,
        /// Recipients asked for.
        targeted: u32,
    },
}

/// One accepted send request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Message {
    accepted: Option<Accepted>,
    planned: u32,
    reserved: u32,
    skipped: u32,
    retracted: bool,
}

impl Message {
    /// The request, if it was accepted.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// Recipients planned so far: reserved or skipped.
    pub fn planned(&self) -> u32 {
        self.planned
    }

    /// Recipients that got a reservation.
    pub fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Recipients that were skipped.
    pub fn skipped(&self) -> u32 {
        self.skipped
    }

    /// Whether the caller took it back.
    pub fn is_retracted(&self) -> bool {
        self.retracted
    }

    fn fold(&mut self, event: &MessageEvent) {
        match event {
            MessageEvent::Accepted(e) => self.accepted = Some(e.clone()),
            MessageEvent::Planned(e) => {
                let skipped = u32::try_from(e.skipped.len()).unwrap_or(u32::MAX);
                self.reserved = self.reserved.saturating_add(e.reserved);
                self.skipped = self.skipped.saturating_add(skipped);
                self.planned = self.reserved.saturating_add(self.skipped);
            }
            MessageEvent::Retracted(_) => self.retracted = true,
        }
    }
}

impl Decide for Message {
    type Ask = MessageCommand;

    fn decide(&self, ask: MessageCommand, _now: Timestamp) -> Result<Vec<MessageEvent>, MessageError> {
        match (ask, &self.accepted) {
            (MessageCommand::Accept(_), Some(_)) => Err(MessageError::AlreadyAccepted),
            (MessageCommand::Accept(request), None) if request.targeted == 0 => {
                Err(MessageError::NoRecipients)
            }
            (MessageCommand::Accept(request), None) => Ok(vec![MessageEvent::Accepted(request)]),
            (_, None) => Err(MessageError::NotAccepted),
            (MessageCommand::Plan(plan), Some(accepted)) => {
                self.check_plan(&plan, accepted.targeted)?;
                Ok(vec![MessageEvent::Planned(plan)])
            }
            (MessageCommand::Retract(retracted), Some(_)) => Ok(vec![MessageEvent::Retracted(retracted)]),
        }
    }
}

impl Message {
    fn check_plan(&self, plan: &Planned, targeted: u32) -> Result<(), MessageError> {
        let misfit = MessageError::PlanDoesNotFit { planned: self.planned, targeted };
        let count = plan.skipped.len() as u64 + u64::from(plan.reserved);
        let end = u64::from(plan.from) + count;
        let indexes: BTreeSet<u32> = plan.skipped.iter().map(|skip| skip.index).collect();
        let inside = |index: &u32| *index >= plan.from && u64::from(*index) < end;
        let fits = plan.from == self.planned
            && end <= u64::from(targeted)
            && indexes.len() == plan.skipped.len()
            && indexes.iter().all(inside);
        if fits { Ok(()) } else { Err(misfit) }
    }
}
