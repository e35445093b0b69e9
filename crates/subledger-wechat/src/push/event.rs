//! What a push says.

use std::fmt;

use super::tree::{Node, parse};

/// What a content turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A push about a user.
    Push(Push),
    /// WeChat's cloud hosting asks whether somebody is there: `{"action":"CheckContainerPath"}`.
    ContainerCheck,
}

/// A push about a user. `Debug` does not print who the user is.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// The Mini Program by its original id (`gh_…`), which is not its appid.
    pub to_user: String,
    /// The user's openid. Personal data.
    pub from_user: String,
    /// When it happened, in seconds since the Unix epoch, by WeChat's clock. Several things can happen in one second.
    pub created_at: i64,
    /// What happened.
    pub what: PushEvent,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("to_user", &self.to_user)
            .field("created_at", &self.created_at)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// What happened. Lists are never empty and keep WeChat's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// `subscribe_msg_popup_event`: the user has answered a request, all its templates at once.
    Popup(Vec<PopupItem>),
    /// `subscribe_msg_change_event`: the user has changed a setting. WeChat reports switching off only.
    Change(Vec<ChangeItem>),
    /// `subscribe_msg_sent_event`: what became of messages.
    Sent(Vec<SentItem>),
    /// Anything else: chat messages, other events, the console's `debug_demo`. To be kept for the relay.
    Other {
        /// WeChat's `MsgType`: `event`, `text`, `image` ….
        msg_type: String,
        /// WeChat's `Event`, if it is one.
        event: Option<String>,
    },
}

impl PushEvent {
    /// A stable word for counters: `popup`, `change`, `sent` or `other`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Popup(_) => "popup",
            Self::Change(_) => "change",
            Self::Sent(_) => "sent",
            Self::Other { .. } => "other",
        }
    }
}

/// The answer for one template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PopupItem {
    /// WeChat's `priTmplId`.
    pub template_id: String,
    /// WeChat's `SubscribeStatusString`: `accept`, `reject`; others beginning with `accept` are likely.
    pub status: String,
    /// WeChat's `PopupScene`. Only 0 is defined for Mini Programs, and WeChat's own sample has 2; nothing hangs on it.
    pub scene: Option<i64>,
}

/// The new setting of one template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeItem {
    /// WeChat's `priTmplId`.
    pub template_id: String,
    /// WeChat's `SubscribeStatusString`; only `reject` is documented.
    pub status: String,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentItem {
    /// WeChat's `priTmplId`.
    pub template_id: String,
    /// The id that WeChat's answer to the send carried, as text: 19 digits are more than a double holds. `None` if absent, zero
    /// or inexact, because a wrong id is worse than none.
    pub msgid: Option<String>,
    /// WeChat's `ErrorCode`, 0 for delivered. `None` if absent or no whole number.
    pub error_code: Option<i64>,
    /// `ErrorCode` as it is written. Codes other than 0 are not published, so nobody knows that all are numbers.
    pub error_code_text: Option<String>,
    /// WeChat's `ErrorStatus`: `success`, or words that are not published.
    pub error_status: Option<String>,
}

/// Longest body that can be the cloud-hosting check.
const MAX_CHECK_BYTES: usize = 256;

/// Whether a body is exactly `{"action":"CheckContainerPath"}`, but for white space.
pub(super) fn is_container_check(body: &[u8]) -> bool {
    body.len() <= MAX_CHECK_BYTES && parse(body).is_ok_and(|root| is_check(&root))
}

pub(super) fn is_check(root: &Node) -> bool {
    match root.fields() {
        Some([(name, Node::Text(action))]) => name == "action" && action == "CheckContainerPath",
        _ => false,
    }
}
