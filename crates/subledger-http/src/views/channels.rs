//! Channels.

use serde::{Deserialize, Serialize};
use subledger_domain::channel::Policy;
use subledger_projection::ChannelRow;
use subledger_store::QueueStats;
use utoipa::ToSchema;

use super::words::{TokenModeWord, UnknownBalanceWord};
use crate::moment::Moment;

/// How a channel treats what WeChat leaves open.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyView {
    /// Sends to users without a grant on the books.
    #[serde(default)]
    pub(crate) unknown_balance: UnknownBalanceWord,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        Self { unknown_balance: policy.unknown_balance.into() }
    }
}

impl From<PolicyView> for Policy {
    fn from(view: PolicyView) -> Self {
        Self { unknown_balance: view.unknown_balance.into() }
    }
}

/// One Mini Program set up for sending. Its AppSecret is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelView {
    /// Its code, chosen by the operator.
    #[schema(example = "wechatmp123")]
    code: String,
    /// A name for people.
    #[schema(example = "门店小程序")]
    name: String,
    /// The Mini Program's AppID.
    #[schema(example = "wx00000000demo0001")]
    appid: String,
    /// How access tokens are obtained.
    token_mode: TokenModeWord,
    /// Its policies.
    policy: PolicyView,
    /// Whether sending is stopped; what waits keeps waiting.
    paused: bool,
    /// Since when sending is stopped.
    paused_at: Option<Moment>,
    /// Why sending is stopped.
    pause_reason: Option<String>,
    /// When the AppSecret in use was handed in.
    secret_replaced_at: Moment,
    /// When the channel was set up.
    registered_at: Moment,
    /// When the template list was last read from WeChat.
    templates_refreshed_at: Option<Moment>,
    /// Templates WeChat listed then.
    templates_listed: u32,
    /// Templates that were listed once and are not any more.
    templates_vanished: u32,
}

impl From<ChannelRow> for ChannelView {
    fn from(row: ChannelRow) -> Self {
        Self {
            code: row.code.to_string(),
            paused: row.is_paused(),
            name: row.name,
            appid: row.appid,
            token_mode: row.token_mode.into(),
            policy: row.policy.into(),
            paused_at: row.paused_at.map(Moment),
            pause_reason: row.pause_reason,
            secret_replaced_at: Moment(row.secret_replaced_at),
            registered_at: Moment(row.registered_at),
            templates_refreshed_at: row.templates_refreshed_at.map(Moment),
            templates_listed: row.templates_listed,
            templates_vanished: row.templates_vanished,
        }
    }
}

/// How much undone work a channel has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Deliveries waiting for their turn.
    queued: u64,
    /// Taken up by a node, not started.
    claimed: u64,
    /// Handed to WeChat, answer outstanding.
    started: u64,
    /// Handed to WeChat, answer unknown.
    in_doubt: u64,
    /// Since when the oldest waiting delivery has been due.
    oldest_due_at: Option<Moment>,
}

impl From<QueueStats> for QueueView {
    fn from(stats: QueueStats) -> Self {
        Self {
            queued: stats.queued,
            claimed: stats.claimed,
            started: stats.started,
            in_doubt: stats.in_doubt,
            oldest_due_at: stats.oldest_due_at.map(Moment),
        }
    }
}
