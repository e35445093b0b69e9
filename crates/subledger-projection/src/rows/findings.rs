//! Drift and doubts, one row each, and the closed sets of words they are told by.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    EvidenceSource, MessageId, SubjectId, TemplateId, Timestamp,
    ledger::{DoubtCause, LateOutcome, SettledLate},
};
use subledger_store::Position;

use super::DeliveryState;

/// Implements `ALL`, `as_str` and `from_name`.
macro_rules! named {
    ($word:ident { $($name:ident = $text:literal),+ $(,)? }) => {
        impl $word {
            /// Every one, in the order of reports.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name used in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == name)
            }
        }
    };
}

/// What most likely made our balance and WeChat's differ. WeChat uses one code for everything, so it is read from what the
/// books know; the first that fits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftCause {
    /// WeChat told of a change in the user's settings at or after the newest grant.
    SettingsChanged,
    /// WeChat reported a send that no delivery explains while a grant that is void now was on the books: somebody else sends
    /// with this Mini Program.
    Stranger,
    /// A grant that is void now had no tap behind it: it was imported, or added by an operator.
    NotTapped,
    /// The same answer proved that a delivery had been sent which was settled as not sent: verdicts on this ledger were guesses.
    WrongVerdict,
    /// The newest grant was 90 days old or older.
    OldGrant,
    /// The books know nothing that would explain it.
    Unexplained,
}

named!(DriftCause {
    SettingsChanged = "settings_changed",
    Stranger = "stranger",
    NotTapped = "not_tapped",
    WrongVerdict = "wrong_verdict",
    OldGrant = "old_grant",
    Unexplained = "unexplained",
});

/// What ended a doubt, or corrected the verdict on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtEnd {
    /// WeChat's sent event.
    SentEvent,
    /// The answer of the call, which came late.
    LateAnswer,
    /// A person.
    ByHand,
    /// The channel's policy, after its deadline.
    Deadline,
    /// WeChat's 43101 to a later delivery: nothing was left, so this one had been sent. Only ever a correction.
    NoPermission,
}

named!(DoubtEnd {
    SentEvent = "sent_event",
    LateAnswer = "late_answer",
    ByHand = "by_hand",
    Deadline = "deadline",
    NoPermission = "no_permission",
});

impl DoubtEnd {
    /// Whose word it was.
    pub(crate) fn of(settled: &SettledLate) -> Self {
        match settled.evidence.source {
            EvidenceSource::WechatPush => Self::SentEvent,
            EvidenceSource::Policy => Self::Deadline,
            // The late answer of a call names the message, or nothing; a 43101 is named by its request.
            EvidenceSource::WechatAnswer => match &settled.outcome {
                LateOutcome::Sent { wechat_msgid: None } if !settled.evidence.reference.is_empty() => {
                    Self::NoPermission
                }
                _ => Self::LateAnswer,
            },
            EvidenceSource::Integrator
            | EvidenceSource::ClientReport
            | EvidenceSource::Import
            | EvidenceSource::Operator => Self::ByHand,
        }
    }
}

/// What became of a delivery when its doubt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtOutcome {
    /// It had been sent.
    Sent,
    /// It had not been sent.
    NotSent,
    /// WeChat had refused it.
    Refused,
    /// It had failed, and was tried as often as allowed.
    Failed,
    /// WeChat had asked to try again: it waits for another attempt.
    Postponed,
}

named!(DoubtOutcome {
    Sent = "sent",
    NotSent = "not_sent",
    Refused = "refused",
    Failed = "failed",
    Postponed = "postponed",
});

impl DoubtOutcome {
    /// The outcome that left a delivery in this state; none while it is in doubt.
    pub(crate) const fn left_in(state: DeliveryState) -> Option<Self> {
        match state {
            DeliveryState::InDoubt => None,
            DeliveryState::Sent => Some(Self::Sent),
            DeliveryState::Refused => Some(Self::Refused),
            DeliveryState::Failed => Some(Self::Failed),
            DeliveryState::Queued | DeliveryState::Started => Some(Self::Postponed),
            DeliveryState::NotSent
            | DeliveryState::Expired
            | DeliveryState::Retracted
            | DeliveryState::Skipped => Some(Self::NotSent),
        }
    }
}

/// The causes of doubt, in the order of reports.
pub const DOUBT_CAUSES: [DoubtCause; 4] =
    [DoubtCause::Timeout, DoubtCause::ConnectionBroken, DoubtCause::Unintelligible, DoubtCause::NodeLost];

/// The name of what hid an answer.
pub const fn doubt_cause_word(cause: DoubtCause) -> &'static str {
    match cause {
        DoubtCause::Timeout => "timeout",
        DoubtCause::ConnectionBroken => "connection_broken",
        DoubtCause::Unintelligible => "unintelligible",
        DoubtCause::NodeLost => "node_lost",
    }
}

/// One finding of drift: grants that we believed in and WeChat did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRow {
    /// When it was recorded.
    pub found_at: Timestamp,
    /// The position of its event.
    pub position: Position,
    /// The template.
    pub template: TemplateId,
    /// The openid, as the log knows it.
    pub subject: SubjectId,
    /// The message whose delivery WeChat answered 43101 to.
    pub message: MessageId,
    /// That recipient's place in the request, from 0.
    #[serde(rename = "idx")]
    pub index: u32,
    /// How many grants are void.
    pub grants: u32,
    /// How many deliveries settled as not sent the same answer proved to have been sent; they explain other grants.
    pub explained: u32,
    /// What most likely explains it.
    pub cause: DriftCause,
    /// When the newest grant was made, according to its evidence.
    pub last_grant_at: Option<Timestamp>,
    /// When WeChat last told of a change in the user's settings.
    pub last_settings_at: Option<Timestamp>,
}

/// A ledger of which WeChat reported a send that no delivery explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StrangerRow {
    pub(crate) template: TemplateId,
    pub(crate) subject: SubjectId,
    /// How many grants had ever been recorded when it did so last, which is the number of the newest.
    pub(crate) lots: u64,
}

/// One doubt: an attempt whose answer was hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtRow {
    /// The message.
    pub message: MessageId,
    /// The recipient's place in the request, from 0.
    #[serde(rename = "idx")]
    pub index: u32,
    /// Which attempt of the delivery, from 1.
    pub attempt: u16,
    /// The template.
    pub template: TemplateId,
    /// The openid, as the log knows it.
    pub subject: Option<SubjectId>,
    /// What hid the answer.
    pub cause: DoubtCause,
    /// When it began.
    pub began_at: Timestamp,
    /// The position at which it began.
    pub position: Position,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// What ended it.
    pub ended: Option<DoubtEnd>,
    /// What became of the delivery then.
    pub outcome: Option<DoubtOutcome>,
    /// When a delivery settled as not sent was proved to have been sent, if it was.
    pub corrected_at: Option<Timestamp>,
    /// What proved it.
    pub corrected: Option<DoubtEnd>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use subledger_domain::{DeliveryId, Evidence};

    use super::*;

    #[test]
    fn whose_word_settled_is_told_by_the_evidence() {
        let settled = |source, wechat_msgid: Option<&str>, reference: &str| {
            DoubtEnd::of(&SettledLate {
                delivery: DeliveryId::new(MessageId::from_bytes([1; 16]), 0),
                outcome: LateOutcome::Sent { wechat_msgid: wechat_msgid.map(str::to_owned) },
                evidence: Evidence::new(source, reference, Timestamp::default()),
            })
        };
        for (source, msgid, reference, expected) in [
            (EvidenceSource::WechatPush, None, "push-1", DoubtEnd::SentEvent),
            (EvidenceSource::WechatAnswer, Some("33"), "33", DoubtEnd::LateAnswer),
            (EvidenceSource::WechatAnswer, None, "", DoubtEnd::LateAnswer),
            (EvidenceSource::WechatAnswer, None, "rid-1", DoubtEnd::NoPermission),
            (EvidenceSource::Policy, None, "policy", DoubtEnd::Deadline),
            (EvidenceSource::Operator, None, "ops", DoubtEnd::ByHand),
            (EvidenceSource::Integrator, None, "shop", DoubtEnd::ByHand),
        ] {
            assert_eq!(settled(source, msgid, reference), expected, "{source:?} {reference}");
        }
    }

    #[test]
    fn every_word_can_be_read_back() {
        DriftCause::ALL.iter().for_each(|word| assert_eq!(DriftCause::from_name(word.as_str()), Some(*word)));
        DoubtEnd::ALL.iter().for_each(|word| assert_eq!(DoubtEnd::from_name(word.as_str()), Some(*word)));
        let told = |word: &DoubtOutcome| serde_json::to_value(word).unwrap() == word.as_str();
        assert!(DoubtOutcome::ALL.iter().all(told));
        let told = |cause: &DoubtCause| serde_json::to_value(cause).unwrap() == doubt_cause_word(*cause);
        assert!(DOUBT_CAUSES.iter().all(told));
    }
}
