//! One Mini Program's calls, with the token taken care of.
//!
//! Joins the client, the keeper and the app's secret. On a stale-token answer it refreshes at most once and repeats the call
//! at most once: WeChat has refused the first one before doing anything, so the repeat is no duplicate. Nothing else is ever
//! repeated here. Dropping the future of a send may leave a message under way; whoever does so must treat it as unknown.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use secrecy::SecretString;

use crate::calls::login::LoginIdentity;
use crate::calls::quota::ApiQuota;
use crate::calls::send::{Accepted, SendRequest};
use crate::calls::templates::TemplateList;
use crate::client::{Api, WeChatClient};
use crate::codes::lookup;
use crate::keeper::fetcher::{AppSecretFetcher, TokenFetcher, TokenObserver, TokenSource};
use crate::keeper::secret::{SecretSource, SecretUnavailable};
use crate::keeper::{IssuedToken, TokenError, TokenKeeper, TokenKey};
use crate::outcome::{CallError, NotSentReason, SendOutcome};
use crate::patterns::caller_ip;

/// WeChat refused a token and then its fresh successor: another system replaces the tokens of this app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConflict {
    /// WeChat's code for the second token.
    pub code: i64,
    /// WeChat's message, verbatim up to [`crate::MESSAGE_CAP_CHARS`].
    pub message: String,
    /// WeChat's request id.
    pub rid: Option<String>,
    /// Age of the second token when it was refused, in microseconds.
    pub token_age_micros: i64,
}

/// Why a call of a channel has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// No access token, or for login no secret; the call was not made.
    #[error("no access token for the call")]
    NoToken(#[source] TokenError),
    /// Two tokens in a row were refused; the call was not carried out.
    #[error("WeChat refused two access tokens in a row, the last with code {}", .0.code)]
    TokenConflict(TokenConflict),
    /// The call failed. Never [`CallError::StaleToken`].
    #[error("the call failed")]
    Call(#[source] CallError),
}

/// A path whose quota nobody has.
const NOWHERE: &str = "/cgi-bin/subledger/nowhere";

/// What an operator should do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

/// Whether WeChat accepts the channel's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Seconds the fetched token still lives, or why there is none (WeChat's own words inside).
    pub result: Result<i64, TokenError>,
    /// What to do about WeChat's code, if it is a known one.
    pub advice: Option<Advice>,
    /// The address WeChat saw us call from, if it named one (40164, 61004).
    pub caller_ip: Option<String>,
}

/// Calls WeChat for one Mini Program. Cheap to clone.
#[derive(Clone)]
pub struct ChannelClient {
    client: WeChatClient,
    keeper: TokenKeeper,
    key: TokenKey,
    source: TokenSource,
    secret: Option<Arc<dyn SecretSource>>,
}

impl fmt::Debug for ChannelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelClient").field("key", &self.key).finish_non_exhaustive()
    }
}

impl ChannelClient {
    /// Joins the parts for an app whose tokens come from elsewhere. `key` names the app and where its tokens come from,
    /// `fetcher` gets them when needed. Without an AppSecret, [`Self::login`] fails.
    #[must_use]
    pub fn new(
        client: WeChatClient,
        keeper: TokenKeeper,
        key: TokenKey,
        fetcher: Arc<dyn TokenFetcher>,
    ) -> Self {
        Self { client, keeper, key, source: fetcher.into(), secret: None }
    }

    /// Joins the parts for an app whose AppSecret `source` gives when needed.
    #[must_use]
    pub fn with_secret(
        client: WeChatClient,
        keeper: TokenKeeper,
        key: TokenKey,
        source: Arc<dyn SecretSource>,
    ) -> Self {
        let fetcher = AppSecretFetcher::new(client.clone(), key.appid.clone(), key.mode, Arc::clone(&source));
        let fetcher: Arc<dyn TokenFetcher> = Arc::new(fetcher);
        Self { client, keeper, key, source: fetcher.into(), secret: Some(source) }
    }

    /// The same client, whose `observer` hears of trouble with its tokens.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn TokenObserver>) -> Self {
        self.source.observer = Some(observer);
        self
    }

    /// Whose calls these are.
    #[must_use]
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// Sends one message, handing it to WeChat at most once.
    pub async fn send(&self, request: &SendRequest) -> SendOutcome {
        let client = &self.client;
        self.authorized(None, |token| async move { client.send(&token, request).await }).await.into()
    }

    /// The same, but WeChat is not called once it is `by`, however long a token was waited for: not sent, then.
    pub async fn send_by(&self, request: &SendRequest, by: Instant) -> SendOutcome {
        let client = &self.client;
        self.authorized(Some(by), |token| async move { client.send(&token, request).await }).await.into()
    }

    /// The account's templates.
    ///
    /// # Errors
    /// [`ChannelError`]
    pub async fn templates(&self) -> Result<TemplateList, ChannelError> {
        let client = &self.client;
        self.authorized(None, |token| async move { client.get_templates(&token).await }).await
    }

    /// How much of the daily quota of sending is used up, by everybody who calls for this account.
    ///
    /// # Errors
    /// [`ChannelError`]
    pub async fn send_quota(&self) -> Result<ApiQuota, ChannelError> {
        let client = &self.client;
        self.authorized(None, |token| async move { client.api_quota(&token, Api::Send.path()).await }).await
    }

    /// Sets the day's counts of all calls of the account back to nothing; ten times a month.
    ///
    /// # Errors
    /// [`ChannelError`]
    pub async fn clear_quota(&self) -> Result<(), ChannelError> {
        let (client, appid) = (&self.client, self.key.appid.as_str());
        self.authorized(None, |token| async move { client.clear_quota(&token, appid).await }).await
    }

    /// The address WeChat sees calls of this process come from. WeChat tells it of calls that it gave a request id: so one is
    /// made that must be refused (a quota of a path that does not exist, 76021), and WeChat is asked about it. `None` if it
    /// does not say.
    ///
    /// # Errors
    /// [`ChannelError`]
    pub async fn seen_address(&self) -> Result<Option<String>, ChannelError> {
        let client = &self.client;
        let nowhere =
            self.authorized(None, |token| async move { client.api_quota(&token, NOWHERE).await }).await;
        let rid = match nowhere {
            Err(ChannelError::Call(CallError::Refused { rid: Some(rid), .. })) => rid,
            Ok(_) | Err(ChannelError::Call(CallError::Refused { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let rid = rid.as_str();
        let told = self.authorized(None, |token| async move { client.address_of(&token, rid).await }).await;
        match told {
            Ok(address) => Ok(Some(address)),
            Err(ChannelError::Call(CallError::Refused { .. } | CallError::Unknown(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Turns the code of `wx.login` into an openid. Presents the secret, not a token.
    ///
    /// # Errors
    /// [`ChannelError`]
    pub async fn login(&self, code: &SecretString) -> Result<LoginIdentity, ChannelError> {
        let no_secret = |error| ChannelError::NoToken(TokenError::Secret(error));
        let source = self.secret.as_ref().ok_or_else(|| no_secret(SecretUnavailable::NotSet))?;
        let secret = source.secret(&self.key.appid).await.map_err(no_secret)?;
        self.client.jscode2session(&self.key.appid, &secret, code).await.map_err(ChannelError::Call)
    }

    /// Tries the credentials by fetching a token, which is kept if it is given. In [`crate::TokenMode::Normal`] this retires
    /// the previous token, as every fetch does there.
    pub async fn probe(&self) -> Probe {
        let fetched = self.keeper.fetch_now(&self.key, &self.source).await;
        let result = fetched.map(|token| self.remains_s(&token));
        let (advice, caller_ip) = match &result {
            Err(TokenError::Call(error)) => (error.code().and_then(advice), seen_ip(error)),
            _ => (None, None),
        };
        Probe { result, advice, caller_ip }
    }

    /// A token that was good when last heard of: to be lent, never to be logged.
    ///
    /// # Errors
    /// [`TokenError`] if there is none and none can be fetched now.
    pub async fn token(&self) -> Result<IssuedToken, TokenError> {
        self.keeper.token(&self.key, &self.source).await
    }

    /// Takes somebody's word that WeChat refused the token with this number (40001), so that the next [`Self::token`] is a newer
    /// one. The number must be one that a token has had.
    pub fn refuse_token(&self, version: u64) {
        self.keeper.refuse(&self.key, version, 40001);
    }

    /// Has the token replaced although it lives; see [`TokenKeeper::force`].
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn force_token(&self) -> Result<IssuedToken, TokenError> {
        self.keeper.force(&self.key, &self.source).await
    }

    /// Seconds until a token ends at the latest.
    #[must_use]
    pub fn remains_s(&self, token: &IssuedToken) -> i64 {
        token.expires_at_micros.saturating_sub(self.keeper.now()).max(0) / 1_000_000
    }

    /// A token that is there before `by`.
    async fn token_by(&self, by: Option<Instant>) -> Result<IssuedToken, TokenError> {
        let Some(by) = by else { return self.token().await };
        let token = tokio::time::timeout_at(by.into(), self.token()).await;
        token.unwrap_or(Err(TokenError::Interrupted)).and_then(|token| match Instant::now() < by {
            true => Ok(token),
            false => Err(TokenError::Interrupted),
        })
    }

    /// Makes a call with a token; on a stale token refreshes once and repeats once.
    async fn authorized<T, F>(
        &self,
        by: Option<Instant>,
        call: impl Fn(SecretString) -> F,
    ) -> Result<T, ChannelError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let first = self.token_by(by).await.map_err(ChannelError::NoToken)?;
        let stale = match call(first.token).await {
            Err(CallError::StaleToken { code, .. }) => code,
            result => return result.map_err(ChannelError::Call),
        };
        self.keeper.invalidate_if(&self.key, first.version, stale);
        let second = self.token_by(by).await.map_err(ChannelError::NoToken)?;
        match call(second.token).await {
            Err(CallError::StaleToken { code, message, rid }) => {
                let token_age_micros = self.keeper.now().saturating_sub(second.issued_at_micros);
                tracing::warn!(
                    wechat.appid = self.key.appid,
                    wechat.errcode = code,
                    wechat.rid = rid,
                    token.age_ms = token_age_micros / 1000,
                    "WeChat refused two access tokens in a row"
                );
                Err(ChannelError::TokenConflict(TokenConflict { code, message, rid, token_age_micros }))
            }
            result => result.map_err(ChannelError::Call),
        }
    }
}

fn advice(code: i64) -> Option<Advice> {
    lookup(code).map(|entry| Advice { en: entry.advice_en, zh: entry.advice_zh })
}

fn seen_ip(error: &CallError) -> Option<String> {
    match error {
        CallError::Refused { code: 40164 | 61004, message, .. } => caller_ip(message).map(str::to_owned),
        _ => None,
    }
}

impl From<Result<Accepted, ChannelError>> for SendOutcome {
    fn from(result: Result<Accepted, ChannelError>) -> Self {
        let error = match result {
            Ok(Accepted { msgid }) => return Self::Accepted { msgid },
            Err(ChannelError::NoToken(error)) => {
                return Self::NotSent { reason: NotSentReason::NoToken(error) };
            }
            Err(ChannelError::TokenConflict(conflict)) => {
                return Self::NotSent { reason: NotSentReason::TokenConflict(conflict) };
            }
            Err(ChannelError::Call(error)) => error,
        };
        match error {
            CallError::Refused { code, message, rid, class } => Self::Refused { code, message, rid, class },
            CallError::TryAgain { code, message, rid, when } => Self::TryAgain { code, rid, message, when },
            CallError::NotReached(failure) => Self::NotSent { reason: NotSentReason::NotReached(failure) },
            CallError::Unknown(reason) => Self::Unknown { reason },
            // `authorized` never lets a stale token through; WeChat refused the call, so "not sent" is the truth anyway.
            CallError::StaleToken { code, message, rid } => {
                let conflict = TokenConflict { code, message, rid, token_age_micros: 0 };
                Self::NotSent { reason: NotSentReason::TokenConflict(conflict) }
            }
        }
    }
}
