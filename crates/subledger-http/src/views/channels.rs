//! Channels.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    Timestamp,
    channel::{AuthorizationLoss, Hold, Policy, PolicyChange},
};
use subledger_engine::quota::Quota;
use subledger_projection::{CallbackRow, ChannelRow, PlatformRow};
use subledger_store::{QueueStats, TokenState};
use utoipa::ToSchema;

use super::{
    quota::QuotaView,
    relay::RelayView,
    tokens::TokenStateView,
    words::{
        CallbackFormatWord, CallbackModeWord, DoubtVerdictWord, RefusedSendWord, SettingsOffWord, TapsWord,
        TokenModeWord, UnknownBalanceWord,
    },
};
use crate::moment::Moment;

/// How a channel treats what WeChat leaves open.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyView {
    /// Sends to users without a grant on the books.
    pub(crate) unknown_balance: UnknownBalanceWord,
    /// Whose word for a tap is a grant.
    pub(crate) taps: TapsWord,
    /// How far apart in seconds a report and a push of one tap may be.
    #[schema(minimum = 1, maximum = 86_400, default = 300)]
    pub(crate) tap_window_s: u32,
    /// How long in seconds a doubt stays open that nobody settles.
    #[schema(minimum = 1, maximum = 2_592_000, default = 259_200)]
    pub(crate) doubt_deadline_s: u32,
    /// How it is closed then.
    pub(crate) doubt_verdict: DoubtVerdictWord,
    /// Whether a refused send uses up a grant.
    pub(crate) refused_send: RefusedSendWord,
    /// What becomes of the grants of a user who switches messages off.
    pub(crate) settings_off: SettingsOffWord,
    /// How much of WeChat's daily quota is kept for single sends, in per cent: messages to more than ten recipients are held
    /// once no more than that is left.
    #[schema(minimum = 0, maximum = 50, default = 10)]
    pub(crate) bulk_reserve: u8,
}

impl Default for PolicyView {
    fn default() -> Self {
        Policy::default().into()
    }
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        Self {
            unknown_balance: policy.unknown_balance.into(),
            taps: policy.taps.into(),
            tap_window_s: policy.tap_window_s,
            doubt_deadline_s: policy.doubt_deadline_s,
            doubt_verdict: policy.doubt_verdict.into(),
            refused_send: policy.refused_send.into(),
            settings_off: policy.settings_off.into(),
            bulk_reserve: policy.bulk_reserve,
        }
    }
}

impl From<PolicyView> for Policy {
    fn from(view: PolicyView) -> Self {
        Self {
            unknown_balance: view.unknown_balance.into(),
            taps: view.taps.into(),
            tap_window_s: view.tap_window_s,
            doubt_deadline_s: view.doubt_deadline_s,
            doubt_verdict: view.doubt_verdict.into(),
            refused_send: view.refused_send.into(),
            settings_off: view.settings_off.into(),
            bulk_reserve: view.bulk_reserve,
        }
    }
}

/// Policies to change; what is not named stays.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyChangeBody {
    /// Sends to users without a grant on the books.
    unknown_balance: Option<UnknownBalanceWord>,
    /// Whose word for a tap is a grant.
    taps: Option<TapsWord>,
    /// How far apart in seconds a report and a push of one tap may be.
    #[schema(minimum = 1, maximum = 86_400)]
    tap_window_s: Option<u32>,
    /// How long in seconds a doubt stays open that nobody settles.
    #[schema(minimum = 1, maximum = 2_592_000)]
    doubt_deadline_s: Option<u32>,
    /// How it is closed then.
    doubt_verdict: Option<DoubtVerdictWord>,
    /// Whether a refused send uses up a grant.
    refused_send: Option<RefusedSendWord>,
    /// What becomes of the grants of a user who switches messages off.
    settings_off: Option<SettingsOffWord>,
    /// How much of WeChat's daily quota is kept for single sends, in per cent.
    #[schema(minimum = 0, maximum = 50)]
    bulk_reserve: Option<u8>,
}

impl From<PolicyChangeBody> for PolicyChange {
    fn from(body: PolicyChangeBody) -> Self {
        Self {
            unknown_balance: body.unknown_balance.map(Into::into),
            taps: body.taps.map(Into::into),
            tap_window_s: body.tap_window_s,
            doubt_deadline_s: body.doubt_deadline_s,
            doubt_verdict: body.doubt_verdict.map(Into::into),
            refused_send: body.refused_send.map(Into::into),
            settings_off: body.settings_off.map(Into::into),
            bulk_reserve: body.bulk_reserve,
        }
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
    /// Why deliveries wait, if they do.
    hold: Option<HoldView>,
    /// When the AppSecret in use was handed in, or the credential for the token server.
    secret_replaced_at: Moment,
    /// When the channel was set up.
    registered_at: Moment,
    /// When the template list was last read from WeChat.
    templates_refreshed_at: Option<Moment>,
    /// Templates WeChat listed then.
    templates_listed: u32,
    /// Templates that were listed once and are not any more.
    templates_vanished: u32,
    /// How WeChat pushes to it; null if that was never set.
    callback: Option<ChannelCallbackView>,
    /// Where its pushes are relayed to, or were; null if never.
    relay: Option<RelayView>,
    /// Its authorization to a third-party platform; null if there never was one.
    authorization: Option<ChannelAuthorizationView>,
    /// What is known of its access token.
    token: TokenStateView,
    /// WeChat's daily quota of sending; null in lists.
    quota: Option<QuotaView>,
}

/// Why deliveries wait. They do not fail for it; what is over `expires_at` meanwhile expires.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldView {
    /// `paused`, `unauthorized` or `permission_missing`.
    #[schema(example = "unauthorized")]
    reason: &'static str,
    /// What to do.
    advice: &'static str,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let advice = match hold {
            Hold::Paused => "an operator has paused the channel; resume it",
            Hold::Unauthorized => {
                "the Mini Program is not authorized to the third-party platform any more; begin with POST \
                 /channels/{code}/authorization and have its administrator scan"
            }
            Hold::PermissionMissing => {
                "the authorization lacks permission set 18; begin with POST /channels/{code}/authorization and have the \
                 administrator tick it"
            }
        };
        Self { reason: hold.as_str(), advice }
    }
}

/// The authorization of a channel to a third-party platform.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelAuthorizationView {
    /// The platform's appid.
    component_appid: String,
    /// Whether it stands.
    authorized: bool,
    /// The permission sets, by WeChat's numbers.
    permissions: Vec<u32>,
    /// Those that sending needs and that are not granted.
    missing: Vec<u32>,
    /// The Mini Program's original id (`gh_…`).
    original_id: String,
    /// When it was last given.
    authorized_at: Moment,
    /// When the permission sets were last changed since.
    updated_at: Option<Moment>,
    /// Since when it is lost.
    lost_at: Option<Moment>,
    /// How that was noticed: `pushed` (WeChat told) or `refused` (WeChat answered a call so).
    loss: Option<&'static str>,
}

impl From<PlatformRow> for ChannelAuthorizationView {
    fn from(row: PlatformRow) -> Self {
        let (lost_at, loss) = row.lost.unzip();
        Self {
            component_appid: row.appid,
            authorized: lost_at.is_none(),
            permissions: row.permissions.into_iter().collect(),
            missing: row.missing.into_iter().collect(),
            original_id: row.original_id,
            authorized_at: Moment(row.authorized_at),
            updated_at: row.updated_at.map(Moment),
            lost_at: lost_at.map(Moment),
            loss: loss.map(|loss| match loss {
                AuthorizationLoss::Pushed => "pushed",
                AuthorizationLoss::Refused => "refused",
            }),
        }
    }
}

/// How WeChat pushes to a channel. More of it at `/callback`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelCallbackView {
    /// How pushes are protected. `plaintext` is for trying out only.
    mode: CallbackModeWord,
    /// How they are spelled.
    format: CallbackFormatWord,
    /// When it was last set.
    configured_at: Moment,
    /// The Mini Program's original id (`gh_…`), once it is known.
    original_id: Option<String>,
}

impl From<CallbackRow> for ChannelCallbackView {
    fn from(row: CallbackRow) -> Self {
        Self {
            mode: row.mode.into(),
            format: row.format.into(),
            configured_at: Moment(row.configured_at),
            original_id: row.original_id,
        }
    }
}

impl ChannelView {
    /// The row, with what all nodes know of its token at `now`.
    pub(crate) fn of(row: ChannelRow, token: Option<&TokenState>, now: Timestamp) -> Self {
        Self {
            code: row.code.to_string(),
            paused: row.is_paused(),
            hold: row.hold().map(Into::into),
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
            callback: row.callback.map(Into::into),
            relay: row.relay.map(Into::into),
            authorization: row.platform.map(Into::into),
            token: TokenStateView::of(token, row.token, now),
            quota: None,
        }
    }
}

impl ChannelView {
    pub(crate) fn with_quota(self, quota: Quota) -> Self {
        Self { quota: Some(quota.into()), ..self }
    }
}

/// How much undone work a channel has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Deliveries waiting for their turn.
    queued: u64,
    /// Those of them that belong to bulk messages.
    bulk: u64,
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
            bulk: stats.bulk,
            claimed: stats.claimed,
            started: stats.started,
            in_doubt: stats.in_doubt,
            oldest_due_at: stats.oldest_due_at.map(Moment),
        }
    }
}
