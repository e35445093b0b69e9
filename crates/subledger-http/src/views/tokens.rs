//! Access tokens: what is known of one, one that is lent, one that was replaced.

use secrecy::ExposeSecret;
use serde::Serialize;
use subledger_domain::{Timestamp, channel::TokenMode};
use subledger_engine::tokens::{LeasedToken, ReplacedToken};
use subledger_projection::{TokenConflictRow, TokenRow};
use subledger_store::TokenState;
use utoipa::ToSchema;

use super::words::TokenModeWord;
use crate::moment::Moment;

/// What is known of a channel's access token, over all nodes. The token itself is not shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenStateView {
    /// The company's token server; in external mode only.
    url: Option<String>,
    /// Its number: grows with each new token. 0 if none was fetched yet.
    version: u64,
    /// When its fetch began.
    issued_at: Option<Moment>,
    /// When it ends at the latest; it is replaced before.
    expires_at: Option<Moment>,
    /// Whether WeChat is known to refuse it.
    refused: bool,
    /// Whether a node is fetching the next one.
    being_fetched: bool,
    /// Fetches that began in the last hour. More than a few mean that something keeps killing the token.
    fetches_last_hour: u32,
    /// Forced ones of the last 24 hours; WeChat allows 20.
    forced_last_day: u32,
    /// When a fetch was last held back because the budget of the hour was spent; null if never.
    budget_spent_at: Option<Moment>,
    /// The last conflict that was suspected since the source was set; null if none.
    conflict: Option<TokenConflictView>,
}

/// WeChat refused a token long before its end: another system replaces the tokens of this Mini Program.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenConflictView {
    /// When it was told of; at most once an hour.
    at: Moment,
    /// How tokens were obtained.
    token_mode: TokenModeWord,
    /// WeChat's code.
    errcode: i64,
    /// How old the token was, in seconds.
    age_s: u32,
    /// What to do.
    advice_en: &'static str,
    /// What to do, in Chinese.
    advice_zh: &'static str,
}

impl From<TokenConflictRow> for TokenConflictView {
    fn from(row: TokenConflictRow) -> Self {
        let (advice_en, advice_zh) = advice(row.mode);
        let TokenConflictRow { at, mode, code, age_s } = row;
        Self { at: Moment(at), token_mode: mode.into(), errcode: code, age_s, advice_en, advice_zh }
    }
}

const fn advice(mode: TokenMode) -> (&'static str, &'static str) {
    match mode {
        TokenMode::Normal => (
            "another system fetches tokens with this AppSecret; set token_mode to stable, which shares nothing with it",
            "有其他系统使用同一 AppSecret 获取 access_token；请将 token_mode 改为 stable，两者互不影响",
        ),
        TokenMode::Stable => (
            "another system forces new stable tokens, or the AppSecret was reset; have it stop forcing, or borrow the token from here",
            "有其他系统强制刷新稳定版 access_token，或 AppSecret 已被重置；请停止强制刷新，或改为向本服务获取 access_token",
        ),
        TokenMode::External => (
            "the token server hands out tokens that somebody replaces; there must be one place that fetches them",
            "令牌服务器提供的 access_token 被其他系统刷新；请确保只有一处获取 access_token",
        ),
        TokenMode::Platform => (
            "another system refreshes the tokens of this authorization; a platform's refresh token must be used in one place only",
            "有其他系统在刷新该授权的 access_token；第三方平台的 refresh_token 只能在一处使用",
        ),
    }
}

impl TokenStateView {
    /// What is known at `now`, by the shared state and the read model.
    pub(crate) fn of(state: Option<&TokenState>, row: Option<TokenRow>, now: Timestamp) -> Self {
        let TokenRow { url, conflict } = row.unwrap_or_default();
        let before = |span: std::time::Duration| Moment(now.plus_micros(-micros(span)));
        let kept = state.filter(|state| 0 < state.version);
        Self {
            url,
            version: kept.map_or(0, |state| state.version),
            issued_at: kept.map(|state| before(state.age)),
            expires_at: kept.map(|state| Moment(now.plus_micros(micros(state.remains)))),
            refused: state.is_some_and(|state| state.refused),
            being_fetched: state.is_some_and(|state| state.being_fetched),
            fetches_last_hour: state.map_or(0, |state| state.fetches_last_hour),
            forced_last_day: state.map_or(0, |state| state.forced_last_day),
            budget_spent_at: state.and_then(|state| state.spent_ago).map(before),
            conflict: conflict.map(Into::into),
        }
    }
}

fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// An access token that is lent. Whoever has it can do at WeChat whatever the Mini Program can: keep it in memory only.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenLeaseView {
    /// The token, as WeChat's calls take it.
    access_token: String,
    /// Seconds until it ends at the latest. Ask again before.
    expires_in: i64,
    /// The same as a moment.
    expires_at: Moment,
    /// Its number: grows with each new token.
    version: u64,
    /// Where it comes from.
    token_mode: TokenModeWord,
}

impl From<LeasedToken> for TokenLeaseView {
    fn from(lease: LeasedToken) -> Self {
        Self {
            access_token: lease.token.expose_secret().to_owned(),
            expires_in: lease.expires_in,
            expires_at: Moment(lease.expires_at),
            version: lease.version,
            token_mode: lease.mode.into(),
        }
    }
}

/// A token that was replaced. The new one is not shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenReplacedView {
    /// Where it comes from.
    token_mode: TokenModeWord,
    /// Its number.
    version: u64,
    /// When it ends at the latest.
    expires_at: Moment,
}

impl From<ReplacedToken> for TokenReplacedView {
    fn from(replaced: ReplacedToken) -> Self {
        let ReplacedToken { mode, version, expires_at } = replaced;
        Self { token_mode: mode.into(), version, expires_at: Moment(expires_at) }
    }
}
