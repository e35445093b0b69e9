//! The person: what the books remember of somebody who asked to be forgotten. Lives in the log `main`.
//!
//! One stream per userid (`user/…`) and one per openid (`subject/…`), so that an erasure is found by whichever of them a
//! question names. The stream says that, when, why and at whose word a person was erased, and how much went; it names
//! nobody. Somebody who comes back stands under the same reference and may be erased again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ChannelCode, Decide, Evidence, Timestamp, decide::aggregate, event::stored_events};

aggregate!(Person, "user", PersonCommand, PersonEvent, PersonError);

stored_events! {
    /// Events of a person's stream.
    PersonEvent of "user" {
        /// The person was erased.
        Erased = 70, "user.erased", 1;
    }
}

/// Payload of [`PersonEvent::Erased`]. Counts only: who it was stands nowhere any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The channels the person was erased from.
    pub channels: BTreeSet<ChannelCode>,
    /// Whether the userid went, too. It stays while the user is bound in a channel that was not asked for.
    pub userid: bool,
    /// How many openids went.
    pub openids: u32,
    /// How many contents of messages went.
    pub contents: u32,
    /// How many pushes of WeChat went that the person had caused.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pushes: u32,
    /// How many deliveries still waited and were taken back for it.
    pub retracted: u32,
    /// Who asked, when, and why.
    pub evidence: Evidence,
}

/// Erasures of before pushes were kept say nothing of them, which means none.
fn is_none(pushes: &u32) -> bool {
    *pushes == 0
}

/// What can be asked of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonCommand {
    /// Record that the person was erased.
    Erase(Erased),
}

/// Why a person refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PersonError {
    /// An erasure without a reason proves nothing to an auditor.
    #[error("an erasure needs a reason")]
    NoReason,
    /// An erasure is from at least one channel.
    #[error("an erasure needs at least one channel")]
    NoChannel,
}

/// What is remembered of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Person {
    /// The newest erasure.
    erased: Option<Erased>,
    /// How many there were.
    times: u32,
}

impl Person {
    /// The newest erasure, if there was one.
    pub fn erased(&self) -> Option<&Erased> {
        self.erased.as_ref()
    }

    /// How often the person was erased: more than once if they came back in between.
    pub fn times(&self) -> u32 {
        self.times
    }

    fn fold(&mut self, event: &PersonEvent) {
        match event {
            PersonEvent::Erased(e) => {
                self.erased = Some(e.clone());
                self.times = self.times.saturating_add(1);
            }
        }
    }
}

impl Decide for Person {
    // 2: an erasure also counts pushes.
    const STATE: u16 = 2;

    type Ask = PersonCommand;

    fn decide(&self, ask: PersonCommand, _now: Timestamp) -> Result<Vec<PersonEvent>, PersonError> {
        match ask {
            PersonCommand::Erase(erased) if erased.channels.is_empty() => Err(PersonError::NoChannel),
            PersonCommand::Erase(erased)
                if erased.evidence.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) =>
            {
                Err(PersonError::NoReason)
            }
            PersonCommand::Erase(erased) => Ok(vec![PersonEvent::Erased(erased)]),
        }
    }
}
