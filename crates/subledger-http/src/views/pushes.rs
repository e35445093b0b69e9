//! What WeChat pushed.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::Value;
use subledger_domain::ChannelCode;
use subledger_engine::intake::{self, PushHealthReport, Redone};
use subledger_store::{KeptPush, OpenPush};
use utoipa::ToSchema;

use super::words::{PushFormatWord, PushKindWord, PushModeWord, PushStateWord, RelayStateWord};
use crate::{moment::Moment, routes::push_setup::CallbackView};

/// A push that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushView {
    /// What it is known by: the evidence of events names it.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    key: String,
    /// When it first came.
    received_at: Moment,
    /// What it is.
    kind: PushKindWord,
    /// WeChat's word for it: its `Event`, or its `MsgType`.
    #[schema(example = "subscribe_msg_popup_event")]
    event: String,
    /// What stands for the user in the log; null if it names nobody or cannot be read.
    subject: Option<String>,
    /// How it was protected.
    mode: PushModeWord,
    /// How it is spelled.
    format: PushFormatWord,
    /// What became of it.
    state: PushStateWord,
    /// What came of it: per template the events it led to, or why it was refused; or why it could not be read.
    #[schema(value_type = Option<Object>)]
    effect: Option<Value>,
    /// How often it came.
    seen: u32,
    /// When it came last.
    last_seen_at: Moment,
    /// How far it is on its way to the integrator's back end.
    relay: RelayStateWord,
}

impl From<KeptPush> for PushView {
    fn from(push: KeptPush) -> Self {
        Self {
            key: push.key.to_string(),
            received_at: Moment(push.received_at),
            kind: push.kind.into(),
            event: push.event,
            subject: push.subject.map(|subject| subject.to_string()),
            mode: push.mode.into(),
            format: push.format.into(),
            state: push.state.into(),
            effect: push.effect.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            seen: push.seen,
            last_seen_at: Moment(push.last_seen_at),
            relay: push.relay.into(),
        }
    }
}

/// A push and what it says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushDetailView {
    #[serde(flatten)]
    push: PushView,
    /// What it says, without the user's openid.
    #[schema(value_type = Option<Object>)]
    decoded: Option<Value>,
    /// Why it cannot be read.
    undecodable: Option<String>,
}

impl From<OpenPush> for PushDetailView {
    fn from(push: OpenPush) -> Self {
        let (decoded, undecodable) = match intake::describe(&push.body) {
            Ok(decoded) => (Some(decoded), None),
            Err(reason) => (None, Some(reason)),
        };
        Self { push: push.push.into(), decoded, undecodable }
    }
}

/// The body of a push as it came.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushBodyView {
    /// As text, if it is text.
    text: Option<String>,
    /// In base64, if it is no text.
    base64: Option<String>,
}

impl PushBodyView {
    pub(crate) fn of(body: Vec<u8>) -> Self {
        match String::from_utf8(body) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(error) => Self { text: None, base64: Some(STANDARD.encode(error.as_bytes())) },
        }
    }
}

/// What trying again came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedoneView {
    /// Pushes that were tried.
    tried: u64,
    /// Acted on now.
    acted: u64,
    /// Read now, with nothing to act on.
    ignored: u64,
    /// Still not acted on.
    failed: u64,
    /// Still not read.
    undecodable: u64,
    /// Whether there are more: ask again.
    more: bool,
}

impl From<Redone> for RedoneView {
    fn from(redone: Redone) -> Self {
        let Redone { tried, acted, ignored, failed, undecodable, more } = redone;
        Self { tried, acted, ignored, failed, undecodable, more }
    }
}

/// The pushes of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindHealthView {
    /// How many are kept.
    kept: u64,
    /// When the newest came.
    last_at: Moment,
}

/// What the node that answers has seen since it started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeTallyView {
    /// Pushes taken in, by kind and result.
    taken: BTreeMap<String, u64>,
    /// Requests refused, and bodies that no key opened, by class: `wrong_signature`, `clock`, `unopened` and the like.
    refused: BTreeMap<String, u64>,
    /// When one was last refused.
    last_refused_at: Option<Moment>,
    /// Pushes that only the previous key opened.
    opened_with_previous_key: u64,
    /// When that was last so.
    last_previous_key_at: Option<Moment>,
}

/// Something to look at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HintView {
    /// A stable word.
    #[schema(example = "no_sent_events")]
    code: String,
    /// What it means and what to do.
    advice: String,
}

/// How a channel's pushes fare.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushHealthView {
    /// The configuration; null if there is none.
    callback: Option<CallbackView>,
    /// What is kept, by kind.
    kinds: BTreeMap<String, KindHealthView>,
    /// What is kept, by state.
    states: BTreeMap<String, u64>,
    /// What the node that answers has seen since it started.
    node: NodeTallyView,
    /// Deliveries sent in the last 24 hours.
    sent_last_day: u64,
    /// Taps told of in the last 24 hours.
    taps_last_day: u64,
    /// What to look at. Empty if all is well.
    hints: Vec<HintView>,
}

impl PushHealthView {
    pub(crate) fn of(code: &ChannelCode, health: PushHealthReport) -> Self {
        let kinds = health.kept.kinds.into_iter().map(|(kind, it)| {
            (kind.as_str().to_owned(), KindHealthView { kept: it.kept, last_at: Moment(it.last_at) })
        });
        let states = health.kept.states.into_iter().map(|(state, kept)| (state.as_str().to_owned(), kept));
        let code_of = |hint| serde_json::to_value(hint).ok().and_then(|it| it.as_str().map(str::to_owned));
        let hints = health.hints.into_iter().map(|hint| HintView {
            code: code_of(hint).unwrap_or_default(),
            advice: hint.advice().to_owned(),
        });
        let node = health.node;
        Self {
            callback: health.callback.map(|callback| CallbackView::of(code, callback)),
            kinds: kinds.collect(),
            states: states.collect(),
            node: NodeTallyView {
                taken: node.taken,
                refused: node.refused.into_iter().map(|(class, times)| (class.to_owned(), times)).collect(),
                last_refused_at: node.last_refused_at.map(Moment),
                opened_with_previous_key: node.opened_with_previous_key,
                last_previous_key_at: node.last_previous_key_at.map(Moment),
            },
            sent_last_day: health.sent_last_day,
            taps_last_day: health.taps_last_day,
            hints: hints.collect(),
        }
    }
}
