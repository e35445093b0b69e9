//! Access tokens as others see them: what is known of one, lending it, replacing it, where it comes from, and what is told of
//! trouble with it.
//!
//! The keeper of the WeChat adapter decides when a token is fetched; [`shelf`] is where all nodes keep it. Here nothing decides
//! about that. A token leaves the process in one way only, by [`Engine::lease_token`], and that is in the books before it does.

pub(crate) mod server;
pub(crate) mod shelf;

use std::{collections::HashMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    channel::{ChannelCommand, Registered, TokenForced, TokenLeased, TokenMode, TokenSourceChanged},
};
use subledger_store::{Cause, Done, Submission, TokenState};
use subledger_wechat::{
    ChannelClient, FORCED_APART, FORCED_PER_DAY, IssuedToken, TokenError, TokenObserver, TokenSuspicion,
};

use crate::{
    Caller, Engine, EngineError, ErrorKind,
    channels::{Change, check_secret, new_secret_ref},
    gateway::{self, Credentials},
    submit::done_with,
};

/// A token that is lent. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct LeasedToken {
    /// The access token.
    pub token: SecretString,
    /// Where it comes from.
    pub mode: TokenMode,
    /// Its number.
    pub version: u64,
    /// Seconds until it ends at the latest.
    pub expires_in: i64,
    /// The same as a moment.
    pub expires_at: Timestamp,
}

/// A token that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedToken {
    /// Where it comes from.
    pub mode: TokenMode,
    /// The number of the new one.
    pub version: u64,
    /// When the new one ends at the latest.
    pub expires_at: Timestamp,
}

/// Where tokens are to come from.
#[derive(Debug, Clone)]
pub struct TokenSourceWish {
    /// The mode. [`TokenMode::Platform`] cannot be wished for: the Mini Program's administrator authorizes a platform.
    pub mode: TokenMode,
    /// The AppSecret, or the credential for the token server. If the channel has one of the same sort, it may be left out.
    pub secret: Option<SecretString>,
    /// The token server; in external mode, and there only.
    pub url: Option<String>,
}

/// Tells the books of a channel what its keeper suspects.
struct Watch {
    engine: Engine,
    log: LogName,
    mode: TokenMode,
}

impl TokenObserver for Watch {
    fn suspected(&self, suspicion: &TokenSuspicion) {
        let (engine, log) = (self.engine.clone(), self.log.clone());
        let command = ChannelCommand::SuspectTokenConflict {
            mode: self.mode,
            code: suspicion.code,
            age_s: seconds(suspicion.age),
            life_s: seconds(suspicion.life),
        };
        tokio::spawn(async move {
            let cause = Cause {
                by: "keeper".to_owned(),
                command: "suspect_token_conflict".to_owned(),
                request: None,
            };
            let work = Change { command, secrets: Vec::new() };
            let submission = Submission { log: log.clone(), receipt: None, cause, work };
            if let Err(error) = engine.executor().submit(submission).await.map_err(EngineError::from) {
                tracing::warn!(channel.code = %log, error = %error, "a suspected conflict was not recorded");
            }
        });
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

impl Engine {
    /// The client of a registered channel, whose trouble with tokens goes into the channel's books.
    pub(crate) fn client(&self, log: &LogName, registered: &Registered) -> ChannelClient {
        let watch = Watch { engine: self.clone(), log: log.clone(), mode: registered.token_mode };
        self.gateway().channel(registered).observed_by(Arc::new(watch))
    }

    /// Lends the channel's access token to an app. Recorded before it is handed out: who, which, until when.
    ///
    /// `refused` is the number of a token that WeChat refused the borrower: if it still is the newest, it is replaced first,
    /// once, whoever asks.
    pub async fn lease_token(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        refused: Option<u64>,
    ) -> Result<Done<LeasedToken>, EngineError> {
        let registered = self.registered(code).await?;
        let client = self.client(&LogName::channel(code), &registered);
        let state = self.token_state(&registered).await?;
        let newest = state.as_ref().map_or(0, |state| state.version);
        if let Some(version) = refused {
            check_version(version, newest)?;
        }
        // This node may hold a token that others have replaced or seen refused. It finds out when it calls WeChat; a borrower
        // must not have to.
        let useless =
            if state.is_some_and(|state| state.refused) { newest } else { newest.saturating_sub(1) };
        client.refuse_token(refused.map_or(useless, |version| version.max(useless)));
        let token = client.token().await.map_err(|error| gateway::probe_error(&error, None))?;
        let (expires_in, expires_at) = self.end_of(&client, &token);
        let lease = TokenLeased { app: caller.app.clone(), version: token.version, expires_at };
        let command = ChannelCommand::NoteTokenLease { lease };
        let done = self.change(caller, code, "lease_token", command).await?;
        let mode = registered.token_mode;
        let IssuedToken { token, version, .. } = token;
        Ok(done_with(done, LeasedToken { token, mode, version, expires_in, expires_at }))
    }

    /// Has WeChat make a new token although the present one lives. It kills the token of every other system that shares it.
    pub async fn force_token(
        &self,
        caller: &Caller,
        code: &ChannelCode,
    ) -> Result<Done<ReplacedToken>, EngineError> {
        let registered = self.registered(code).await?;
        let client = self.client(&LogName::channel(code), &registered);
        let token = client.force_token().await.map_err(|error| self.not_forced(&error))?;
        let (_, expires_at) = self.end_of(&client, &token);
        let (mode, version) = (registered.token_mode, token.version);
        let command = ChannelCommand::NoteTokenForced { forced: TokenForced { mode, version } };
        let done = self.change(caller, code, "force_token", command).await?;
        tracing::warn!(
            channel.code = %code,
            token.mode = mode.as_str(),
            token.version = version,
            "the access token was replaced by force"
        );
        Ok(done_with(done, ReplacedToken { mode, version, expires_at }))
    }

    fn not_forced(&self, error: &TokenError) -> EngineError {
        let TokenError::ForcedTooSoon { until_micros, of_day } = error else {
            return gateway::probe_error(error, None);
        };
        let wait = u64::try_from(until_micros.saturating_sub(self.now().micros())).unwrap_or_default();
        let detail = match of_day {
            true => format!("at most {FORCED_PER_DAY} forced refreshes in 24 hours; WeChat allows no more"),
            false => format!(
                "forced refreshes must be {} s apart; WeChat changes nothing on one that comes sooner",
                FORCED_APART.as_secs()
            ),
        };
        EngineError {
            retry_after: Some(Duration::from_micros(wait)),
            ..EngineError::new(ErrorKind::TooOften, "forced_too_soon", detail)
        }
    }

    fn end_of(&self, client: &ChannelClient, token: &IssuedToken) -> (i64, Timestamp) {
        let expires_in = client.remains_s(token);
        (expires_in, self.now().plus_seconds(expires_in))
    }

    /// What is known of a channel's token; `None` if none was ever asked for.
    pub async fn token_state(&self, registered: &Registered) -> Result<Option<TokenState>, EngineError> {
        let key = (registered.appid.as_str(), registered.token_mode.as_str());
        Ok(self.store().token_states(&[key]).await?.pop())
    }

    /// What is known of the tokens of many apps, by (appid, mode), in one read.
    pub async fn token_states(
        &self,
        keys: &[(&str, TokenMode)],
    ) -> Result<HashMap<(String, String), TokenState>, EngineError> {
        let keys: Vec<_> = keys.iter().map(|(appid, mode)| (*appid, mode.as_str())).collect();
        let states = self.store().token_states(&keys).await?;
        Ok(states.into_iter().map(|state| ((state.appid.clone(), state.mode.clone()), state)).collect())
    }

    /// Has the channel's tokens come from elsewhere, after one was had from there.
    pub async fn change_token_source(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        wish: TokenSourceWish,
    ) -> Result<Done<()>, EngineError> {
        let registered = self.registered(code).await?;
        let same_sort = match wish.mode {
            TokenMode::Platform => return Err(platform_is_authorized()),
            TokenMode::Stable | TokenMode::Normal => registered.token_mode.has_app_secret(),
            TokenMode::External => registered.token_mode == TokenMode::External,
        };
        let url = self.source_url(wish.mode, wish.url.as_deref())?;
        if let Some(secret) = &wish.secret {
            check_secret(secret)?;
        }
        let (reference, secret, fresh) = match (wish.secret, &registered.secret) {
            (Some(secret), _) => (new_secret_ref(code), secret, true),
            (None, Some(kept)) if same_sort => {
                let secret = self.store().secret(&kept.0).await?;
                let secret = secret.ok_or_else(|| EngineError::internal("a secret is not in the vault"))?;
                (kept.clone(), secret, false)
            }
            (None, _) => {
                let rule = match wish.mode {
                    TokenMode::External => "the credential for the token server is needed",
                    TokenMode::Stable | TokenMode::Normal | TokenMode::Platform => "the AppSecret is needed",
                };
                return Err(EngineError::field("bad_token_source", "/secret", "required", rule));
            }
        };
        self.probe(&registered.appid, credentials(wish.mode, secret.clone(), url.clone())).await?;
        let source = TokenSourceChanged { mode: wish.mode, secret: Some(reference.clone()), url };
        let secrets = if fresh { vec![(reference, secret)] } else { Vec::new() };
        let work = Change { command: ChannelCommand::ChangeTokenSource { source }, secrets };
        let done = self.submit(LogName::channel(code), caller, "change_token_source", None, work).await?;
        tracing::info!(channel.code = %code, token.mode = wish.mode.as_str(), "token source changed");
        Ok(done_with(done, ()))
    }

    /// The URL of a token source in its normal form: there must be one in external mode, and nowhere else.
    pub(crate) fn source_url(
        &self,
        mode: TokenMode,
        url: Option<&str>,
    ) -> Result<Option<String>, EngineError> {
        let wrong =
            |rule: &str, detail: String| EngineError::field("bad_token_source", "/token_url", rule, detail);
        match (mode, url) {
            (TokenMode::External, Some(url)) => {
                self.gateway().token_url(url).map(Some).map_err(|rule| wrong("token_url", rule))
            }
            (TokenMode::External, None) => {
                Err(wrong("required", "the mode external needs the URL of the token server".to_owned()))
            }
            (_, Some(_)) => {
                Err(wrong("does_not_fit", "only the mode external has a token server".to_owned()))
            }
            (_, None) => Ok(None),
        }
    }
}

/// A number that no token has had yet must not be taken for one that was refused: the next would be beyond it.
fn check_version(version: u64, newest: u64) -> Result<(), EngineError> {
    if version <= newest {
        return Ok(());
    }
    let rule = format!("must be the version of a token that was lent; the newest is {newest}");
    Err(EngineError::field("bad_version", "/refused_version", "refused_version", rule))
}

/// What is tried before a source is recorded.
pub(crate) fn credentials(mode: TokenMode, secret: SecretString, url: Option<String>) -> Credentials {
    match url {
        Some(url) => Credentials::TokenServer { url, credential: secret },
        None => Credentials::AppSecret { secret, mode },
    }
}

/// Why the mode platform cannot be set.
pub(crate) fn platform_is_authorized() -> EngineError {
    let rule = "a platform is not set but authorized by the Mini Program's administrator";
    EngineError::field("bad_token_source", "/token_mode", "does_not_fit", rule)
}
