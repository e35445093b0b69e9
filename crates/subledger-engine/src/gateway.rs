//! The door to WeChat: one [`ChannelClient`] per Mini Program, credentials from the secrets vault.

mod platform;

use std::sync::Arc;

use secrecy::SecretString;
use subledger_domain::channel::{Registered, SecretRef, TokenMode};
use subledger_store::Store;
use subledger_wechat::{
    Advice, ApiQuota, CallError, ChannelClient, ChannelError, KeeperSettings, Probe, Reach, SecretFuture,
    SecretSource, SecretUnavailable, SetupError, SourceFailure, SystemClock, TokenError, TokenFailure,
    TokenFetcher, TokenFuture, TokenKeeper, TokenKey, WeChatClient, WeChatConfig, caller_ip, lookup,
};

use subledger_webhook::{Deliverer, DelivererConfig};

pub(crate) use self::platform::Suspicions;
use crate::{
    EngineError, ErrorKind,
    error::WechatSaid,
    tokens::{server::TokenServer, shelf::StoreShelf},
};

/// How tokens are kept and fetched.
#[derive(Debug, Clone, Default)]
pub struct TokenSettings {
    /// How eagerly they are refreshed.
    pub keeper: KeeperSettings,
    /// Where companies' own token servers may be, and how long they may take.
    pub servers: DelivererConfig,
}

/// Why a gateway could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The settings for WeChat make no sense.
    #[error(transparent)]
    Wechat(#[from] SetupError),
    /// The settings for token servers make no sense.
    #[error("token servers: {0}")]
    Servers(#[from] subledger_webhook::SetupError),
}

/// Makes channel clients. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Gateway {
    client: WeChatClient,
    keeper: TokenKeeper,
    servers: Deliverer,
    store: Store,
    suspicions: Arc<Suspicions>,
}

/// What a channel's tokens are fetched with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The Mini Program's AppSecret.
    AppSecret {
        /// The secret.
        secret: SecretString,
        /// [`TokenMode::Stable`] or [`TokenMode::Normal`].
        mode: TokenMode,
    },
    /// The company's own token server.
    TokenServer {
        /// Where it is asked.
        url: String,
        /// What it is asked with.
        credential: SecretString,
    },
}

/// Reads a secret from the vault each time it is needed, so nothing but the vault remembers it.
struct Vaulted {
    store: Store,
    reference: String,
}

impl SecretSource for Vaulted {
    fn secret<'a>(&'a self, _appid: &'a str) -> SecretFuture<'a> {
        Box::pin(async move {
            match self.store.secret(&self.reference).await {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Err(SecretUnavailable::NotSet),
                Err(_) => Err(SecretUnavailable::Temporary),
            }
        })
    }
}

/// A channel whose tokens come from where this version cannot fetch them.
struct NoSource(TokenMode);

impl TokenFetcher for NoSource {
    fn fetch(&self) -> TokenFuture<'_> {
        let reason = format!("tokens of the mode {} cannot be fetched", self.0.as_str());
        let failure = TokenFailure::Configuration;
        Box::pin(std::future::ready(Err(TokenError::Source(SourceFailure { reason, failure }))))
    }
}

impl Gateway {
    /// A gateway to the WeChat at `config.base_url`, with tokens kept as usual. All nodes on one store share them.
    ///
    /// # Errors
    /// [`GatewayError`] if the settings make no sense.
    pub fn new(config: WeChatConfig, store: Store) -> Result<Self, GatewayError> {
        Self::with_tokens(config, store, TokenSettings::default())
    }

    /// The same with tokens kept as `tokens` says.
    ///
    /// # Errors
    /// [`GatewayError`] if the settings make no sense.
    pub fn with_tokens(
        config: WeChatConfig,
        store: Store,
        tokens: TokenSettings,
    ) -> Result<Self, GatewayError> {
        let client = WeChatClient::new(config)?;
        let shelf = Arc::new(StoreShelf::new(store.clone()));
        let keeper = TokenKeeper::with_shelf(tokens.keeper, Arc::new(SystemClock), shelf);
        let servers = Deliverer::new(tokens.servers)?;
        Ok(Self { client, keeper, servers, store, suspicions: Arc::default() })
    }

    /// The client of a registered channel.
    pub fn channel(&self, registered: &Registered) -> ChannelClient {
        let key = TokenKey { appid: registered.appid.clone(), mode: mode(registered.token_mode) };
        let (client, keeper) = (self.client.clone(), self.keeper.clone());
        let vaulted =
            |secret: &SecretRef| Arc::new(Vaulted { store: self.store.clone(), reference: secret.0.clone() });
        match (&registered.secret, &registered.token_url) {
            (Some(secret), None) if registered.token_mode.has_app_secret() => {
                ChannelClient::with_secret(client, keeper, key, vaulted(secret))
            }
            (Some(secret), Some(url)) if registered.token_mode == TokenMode::External => {
                let fetcher = self.token_server(url.clone(), vaulted(secret));
                ChannelClient::new(client, keeper, key, Arc::new(fetcher))
            }
            _ if registered.token_mode == TokenMode::Platform => {
                let fetcher = self.authorizer_fetcher(&registered.appid);
                ChannelClient::new(client, keeper, key, fetcher)
            }
            _ => ChannelClient::new(client, keeper, key, Arc::new(NoSource(registered.token_mode))),
        }
    }

    /// One call with a token that is fetched for it and kept nowhere: for the mode `stable`, in which everybody gets the same
    /// token and nobody loses one.
    pub(crate) async fn call_once(&self, registered: &Registered) -> Result<ApiQuota, ChannelError> {
        let absent = || ChannelError::NoToken(TokenError::Secret(SecretUnavailable::NotSet));
        let reference = registered.secret.as_ref().ok_or_else(absent)?;
        let secret = Vaulted { store: self.store.clone(), reference: reference.0.clone() };
        let secret = secret.secret(&registered.appid).await;
        let secret = secret.map_err(|error| ChannelError::NoToken(TokenError::Secret(error)))?;
        let fetched = self.client.stable_token(&registered.appid, &secret, false).await;
        let grant = fetched.map_err(|error| ChannelError::NoToken(TokenError::Call(error)))?;
        let called = self.client.api_quota(&grant.token, subledger_wechat::Api::Send.path()).await;
        called.map_err(ChannelError::Call)
    }

    /// Tries to reach WeChat, without any credential.
    pub async fn reach(&self) -> Reach {
        self.client.reach().await
    }

    /// A token server's URL in its normal form, if the egress rules allow it and it can be shown.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn token_url(&self, text: &str) -> Result<String, String> {
        let endpoint = self.servers.policy().endpoint(text).map_err(|error| error.to_string())?;
        if endpoint.as_str().contains('?') {
            return Err(
                "the URL must not have a query: it is recorded and shown, and the credential is sent \
                        as a header"
                    .to_owned(),
            );
        }
        Ok(endpoint.as_str().to_owned())
    }

    /// Tries credentials that are not stored yet.
    pub async fn probe(&self, appid: &str, credentials: Credentials) -> Probe {
        let (client, keeper) = (self.client.clone(), self.keeper.clone());
        let mode = credentials.mode();
        let key = TokenKey { appid: appid.to_owned(), mode };
        // A token or a refusal remembered from an earlier secret proves nothing about this one.
        self.keeper.forget(&key);
        let channel = match credentials {
            Credentials::AppSecret { secret, .. } => {
                ChannelClient::with_secret(client, keeper, key.clone(), Arc::new(secret))
            }
            Credentials::TokenServer { url, credential } => {
                let fetcher = self.token_server(url, Arc::new(credential));
                ChannelClient::new(client, keeper, key.clone(), Arc::new(fetcher))
            }
        };
        let probe = channel.probe().await;
        if probe.result.is_err() {
            self.keeper.forget(&key);
        }
        probe
    }

    fn token_server(&self, url: String, credential: Arc<dyn SecretSource>) -> TokenServer {
        TokenServer { servers: self.servers.clone(), url, credential }
    }
}

impl Credentials {
    fn mode(&self) -> subledger_wechat::TokenMode {
        match self {
            Self::AppSecret { mode, .. } => self::mode(*mode),
            Self::TokenServer { .. } => subledger_wechat::TokenMode::External,
        }
    }
}

const fn mode(mode: TokenMode) -> subledger_wechat::TokenMode {
    match mode {
        TokenMode::Stable => subledger_wechat::TokenMode::Stable,
        TokenMode::Normal => subledger_wechat::TokenMode::Normal,
        TokenMode::External => subledger_wechat::TokenMode::External,
        TokenMode::Platform => subledger_wechat::TokenMode::Platform,
    }
}

/// The error a caller sees when WeChat refuses credentials at set-up.
pub(crate) fn probe_error(error: &TokenError, advice: Option<Advice>) -> EngineError {
    match error {
        TokenError::Call(call) => call_error(call, advice),
        TokenError::Source(failure) => {
            let kind = match failure.failure {
                TokenFailure::Configuration => ErrorKind::Invalid,
                TokenFailure::Transient => ErrorKind::Upstream,
            };
            EngineError::new(kind, "token_source_failed", failure.reason.clone())
        }
        other => EngineError {
            retry_after: Some(std::time::Duration::from_secs(5)),
            ..EngineError::new(ErrorKind::Upstream, "wechat_token_unavailable", other.to_string())
        },
    }
}

/// The error a caller sees when a call on its behalf fails.
pub(crate) fn channel_error(error: &ChannelError) -> EngineError {
    match error {
        ChannelError::NoToken(error) => probe_error(error, None),
        ChannelError::Call(error) => call_error(error, None),
        ChannelError::TokenConflict(conflict) => refused(
            ErrorKind::Upstream,
            "wechat_token_conflict",
            Some(conflict.code),
            &conflict.message,
            conflict.rid.clone(),
            None,
        ),
    }
}

pub(crate) fn call_error(error: &CallError, advice: Option<Advice>) -> EngineError {
    match error {
        CallError::Refused { code, message, rid, .. } => {
            refused(ErrorKind::Invalid, "wechat_refused", Some(*code), message, rid.clone(), advice)
        }
        CallError::TryAgain { code, message, rid, .. } | CallError::StaleToken { code, message, rid } => {
            EngineError {
                retry_after: Some(std::time::Duration::from_secs(60)),
                ..refused(ErrorKind::Upstream, "wechat_try_again", Some(*code), message, rid.clone(), advice)
            }
        }
        CallError::NotReached(failure) => EngineError::new(
            ErrorKind::Upstream,
            "wechat_not_reached",
            format!("WeChat was not reached: {failure}"),
        ),
        CallError::Unknown(reason) => EngineError::new(
            ErrorKind::Upstream,
            "wechat_no_answer",
            format!("WeChat gave no usable answer: {reason}"),
        ),
    }
}

fn refused(
    kind: ErrorKind,
    code: &'static str,
    errcode: Option<i64>,
    errmsg: &str,
    rid: Option<String>,
    advice: Option<Advice>,
) -> EngineError {
    let advice = advice.or_else(|| {
        errcode.and_then(lookup).map(|entry| Advice { en: entry.advice_en, zh: entry.advice_zh })
    });
    let number = errcode.map_or_else(|| "no code".to_owned(), |code| code.to_string());
    let said = WechatSaid {
        errcode,
        errmsg: errmsg.to_owned(),
        rid,
        advice_en: advice.map(|advice| advice.en.to_owned()).unwrap_or_default(),
        advice_zh: advice.map(|advice| advice.zh.to_owned()).unwrap_or_default(),
        caller_ip: caller_ip(errmsg).map(str::to_owned),
    };
    let detail = if said.advice_en.is_empty() {
        format!("WeChat answered {number}: {errmsg}")
    } else {
        format!("WeChat answered {number}: {errmsg}. {}", said.advice_en)
    };
    EngineError { wechat: Some(Box::new(said)), ..EngineError::new(kind, code, detail) }
}
