//! The door to WeChat: one [`ChannelClient`] per Mini Program, credentials from the secrets vault.

mod platform;

use std::sync::Arc;

use secrecy::SecretString;
use subledger_domain::channel::{Registered, TokenMode};
use subledger_store::Store;
use subledger_wechat::{
    Advice, CallError, ChannelClient, ChannelError, KeeperSettings, Probe, SecretFuture, SecretSource,
    SecretUnavailable, SetupError, SourceFailure, SystemClock, TokenError, TokenFailure, TokenFetcher,
    TokenFuture, TokenKeeper, TokenKey, WeChatClient, WeChatConfig, caller_ip, lookup,
};

pub(crate) use self::platform::Suspicions;
use crate::{EngineError, ErrorKind, error::WechatSaid};

/// Makes channel clients. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Gateway {
    client: WeChatClient,
    keeper: TokenKeeper,
    store: Store,
    suspicions: Arc<Suspicions>,
}

/// Reads an AppSecret from the vault each time it is needed, so nothing but the vault remembers it.
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
    /// A gateway to the WeChat at `config.base_url`.
    ///
    /// # Errors
    /// [`SetupError`] if the settings make no sense.
    pub fn new(config: WeChatConfig, store: Store) -> Result<Self, SetupError> {
        let client = WeChatClient::new(config)?;
        let keeper = TokenKeeper::new(KeeperSettings::default(), Arc::new(SystemClock));
        Ok(Self { client, keeper, store, suspicions: Arc::default() })
    }

    /// The client of a registered channel.
    pub fn channel(&self, registered: &Registered) -> ChannelClient {
        let key = TokenKey { appid: registered.appid.clone(), mode: mode(registered.token_mode) };
        let (client, keeper) = (self.client.clone(), self.keeper.clone());
        match &registered.secret {
            Some(secret) if registered.token_mode.has_app_secret() => {
                let source = Vaulted { store: self.store.clone(), reference: secret.0.clone() };
                ChannelClient::with_secret(client, keeper, key, Arc::new(source))
            }
            _ if registered.token_mode == TokenMode::Platform => {
                let fetcher = self.authorizer_fetcher(&registered.appid);
                ChannelClient::new(client, keeper, key, fetcher)
            }
            _ => ChannelClient::new(client, keeper, key, Arc::new(NoSource(registered.token_mode))),
        }
    }

    /// Tries credentials that are not stored yet.
    pub async fn probe(&self, appid: &str, secret: SecretString, token_mode: TokenMode) -> Probe {
        let key = TokenKey { appid: appid.to_owned(), mode: mode(token_mode) };
        // A token or a refusal remembered from an earlier secret proves nothing about this one.
        self.keeper.forget(&key);
        let probe = ChannelClient::with_secret(
            self.client.clone(),
            self.keeper.clone(),
            key.clone(),
            Arc::new(secret),
        )
        .probe()
        .await;
        if probe.result.is_err() {
            self.keeper.forget(&key);
        }
        probe
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
