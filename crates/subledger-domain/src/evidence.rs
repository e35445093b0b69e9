//! What an event rests on.
//!
//! Every credit and every correction names its evidence, so that an auditor can walk from a number to the tap, the
//! answer or the person behind it. Evidence holds references only: no openid, no text typed by a user.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Where a fact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// The integrator's back end said so through the API.
    Integrator,
    /// The Mini Program reported the result of `wx.requestSubscribeMessage`.
    ClientReport,
    /// WeChat pushed an event to us.
    WechatPush,
    /// WeChat answered a call of ours.
    WechatAnswer,
    /// An operator imported a balance from another system.
    Import,
    /// An operator corrected the books by hand.
    Operator,
    /// A policy of the channel decided after a deadline.
    Policy,
}

impl EvidenceSource {
    /// The name used in events, answers and exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integrator => "integrator",
            Self::ClientReport => "client_report",
            Self::WechatPush => "wechat_push",
            Self::WechatAnswer => "wechat_answer",
            Self::Import => "import",
            Self::Operator => "operator",
            Self::Policy => "policy",
        }
    }
}

/// The evidence of one fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it came from.
    pub source: EvidenceSource,
    /// What identifies it there: a report id, a push key, an import id, an operator's name.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When it happened according to its source. Client clocks may be wrong: use it for order between facts of
    /// one user, not across users.
    pub at: Timestamp,
    /// A reason given by a person, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Evidence {
    /// Evidence without a spoken reason.
    pub fn new(source: EvidenceSource, reference: impl Into<String>, at: Timestamp) -> Self {
        Self { source, reference: reference.into(), at, reason: None }
    }
}
