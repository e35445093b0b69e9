//! The binding: which openid a user of the integrator has in this channel.
//!
//! One stream per (channel, user). A user has one openid per channel; binding another one moves the user. Two users may
//! share an openid (a family's phone), which is why the other direction is not a rule.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Decide, Evidence, SubjectId, Timestamp, decide::aggregate, event::stored_events};

aggregate!(Binding, "binding", BindingCommand, BindingEvent, BindingError);

stored_events! {
    /// Events of a binding stream.
    BindingEvent of "binding" {
        /// The user has an openid now.
        Bound = 20, "binding.bound", 1;
        /// The user has another openid now.
        Moved = 21, "binding.moved", 1;
        /// The user has no openid any more.
        Unbound = 22, "binding.unbound", 1;
    }
}

/// Payload of [`BindingEvent::Bound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The openid, as the log knows it.
    pub subject: SubjectId,
    /// Who said so.
    pub evidence: Evidence,
}

/// Payload of [`BindingEvent::Moved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The openid before.
    pub from: SubjectId,
    /// The openid now.
    pub subject: SubjectId,
    /// Who said so.
    pub evidence: Evidence,
}

/// Payload of [`BindingEvent::Unbound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbound {
    /// The openid before.
    pub subject: SubjectId,
    /// Who said so.
    pub evidence: Evidence,
}

/// What can be asked of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingCommand {
    /// Bind the user to this openid; binding the same again does nothing.
    Bind {
        /// The openid.
        subject: SubjectId,
        /// Who says so.
        evidence: Evidence,
    },
    /// Take the binding away.
    Unbind {
        /// Who says so.
        evidence: Evidence,
    },
}

/// Why a binding refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BindingError {
    /// There is nothing to unbind.
    #[error("the user is not bound in this channel")]
    NotBound,
}

/// Which openid a user has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Binding {
    subject: Option<SubjectId>,
}

impl Binding {
    /// The openid of the user, if bound.
    pub fn subject(&self) -> Option<SubjectId> {
        self.subject
    }

    fn fold(&mut self, event: &BindingEvent) {
        self.subject = match event {
            BindingEvent::Bound(e) => Some(e.subject),
            BindingEvent::Moved(e) => Some(e.subject),
            BindingEvent::Unbound(_) => None,
        };
    }
}

impl Decide for Binding {
    type Ask = BindingCommand;

    fn decide(&self, ask: BindingCommand, _now: Timestamp) -> Result<Vec<BindingEvent>, BindingError> {
        match (ask, self.subject) {
            (BindingCommand::Bind { subject, .. }, Some(current)) if subject == current => Ok(Vec::new()),
            (BindingCommand::Bind { subject, evidence }, Some(from)) => {
                Ok(vec![BindingEvent::Moved(Moved { from, subject, evidence })])
            }
            (BindingCommand::Bind { subject, evidence }, None) => {
                Ok(vec![BindingEvent::Bound(Bound { subject, evidence })])
            }
            (BindingCommand::Unbind { evidence }, Some(subject)) => {
                Ok(vec![BindingEvent::Unbound(Unbound { subject, evidence })])
            }
            (BindingCommand::Unbind { .. }, None) => Err(BindingError::NotBound),
        }
    }
}
