//! Calls of a third-party platform, and the access tokens of the Mini Programs that authorized it.
//!
//! A chain of tokens, each bought with the one before it: the ticket that WeChat pushed and the platform's AppSecret buy the
//! platform's token; that and a Mini Program's refresh token buy an access token. Both tokens are the keeper's, as all
//! others are. The refresh token is written each time WeChat hands one out, against the version that was read: whoever
//! was slower than a new authorization drops what it got.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{LogName, StreamName, platform::Platform};
use subledger_store::{Authorizer, Store, StoreError};
use subledger_wechat::{
    CallError, ChannelError, RefusalClass, SourceFailure, TokenError, TokenFailure, TokenFetcher,
    TokenFuture, TokenGrant, TokenKeeper, TokenKey, TokenMode, TokenSource,
    component::{AuthorizerGrant, ComponentClient, MOST_LISTED},
};
use tokio::sync::Notify;

use super::Gateway;

/// WeChat's code for a refresh token that is superseded, withdrawn or was never given.
const REFRESH_TOKEN_WRONG: i64 = 61023;
/// Times that a refresh is tried anew because another refresh token was written meanwhile.
const MAX_ROUNDS: u32 = 3;
/// Pages of the list of authorizers that are read to find a refresh token again: 50,000 Mini Programs.
const MAX_PAGES: u64 = 100;

/// Mini Programs of which WeChat said something that does not fit our books, by platform and appid. Somebody has to ask WeChat
/// how they stand.
#[derive(Default)]
pub(crate) struct Suspicions {
    /// Std mutex: held for an insert, never across an await. Only known authorizers come in, so it is bounded by them.
    suspected: Mutex<BTreeSet<(String, String)>>,
    pub(crate) wake: Notify,
}

impl Suspicions {
    /// Has somebody ask WeChat how a Mini Program stands with a platform.
    pub(crate) fn note(&self, component_appid: &str, appid: &str) {
        let mut suspected = self.suspected.lock().unwrap_or_else(PoisonError::into_inner);
        suspected.insert((component_appid.to_owned(), appid.to_owned()));
        drop(suspected);
        self.wake.notify_one();
    }

    pub(crate) fn take(&self) -> BTreeSet<(String, String)> {
        std::mem::take(&mut *self.suspected.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One platform, with its token taken care of. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Component {
    client: ComponentClient,
    keeper: TokenKeeper,
    key: TokenKey,
    store: Store,
    source: TokenSource,
    suspicions: Arc<Suspicions>,
}

impl Gateway {
    /// The platform with this appid.
    pub(crate) fn component(&self, component_appid: &str) -> Component {
        let client = ComponentClient::new(self.client.clone(), component_appid);
        let fetcher: Arc<dyn TokenFetcher> =
            Arc::new(PlatformFetcher { client: client.clone(), store: self.store.clone() });
        Component {
            client,
            keeper: self.keeper.clone(),
            key: TokenKey { appid: component_appid.to_owned(), mode: TokenMode::Platform },
            store: self.store.clone(),
            source: fetcher.into(),
            suspicions: Arc::clone(&self.suspicions),
        }
    }

    /// Forgets the token and the refusal that are remembered of a Mini Program or a platform: it was authorized anew, withdrew,
    /// or has other secrets.
    pub(crate) fn forget_platform_token(&self, appid: &str) {
        self.keeper.forget(&TokenKey { appid: appid.to_owned(), mode: TokenMode::Platform });
    }

    /// Fetches another access token of a Mini Program that was authorized anew, whatever is kept. A failure is of no
    /// consequence: the next call tries again and tells.
    pub(crate) async fn renew_platform_token(&self, appid: &str) {
        self.forget_platform_token(appid);
        let key = TokenKey { appid: appid.to_owned(), mode: TokenMode::Platform };
        let source: TokenSource = self.authorizer_fetcher(appid).into();
        if let Err(error) = self.keeper.fetch_now(&key, &source).await {
            tracing::warn!(wechat.appid = appid, error = %error, "no access token of a Mini Program that was just authorized");
        }
    }

    pub(crate) fn suspicions(&self) -> &Suspicions {
        &self.suspicions
    }

    /// What fetches access tokens of a Mini Program through the platform it authorized.
    pub(super) fn authorizer_fetcher(&self, appid: &str) -> Arc<dyn TokenFetcher> {
        Arc::new(AuthorizerFetcher { gateway: self.clone(), appid: appid.to_owned() })
    }
}

impl Component {
    /// The calls, for those that need no token.
    pub(crate) fn client(&self) -> &ComponentClient {
        &self.client
    }

    /// Makes a call with the platform's token; on a stale token buys another once and repeats once.
    pub(crate) async fn call<T, F>(
        &self,
        call: impl Fn(ComponentClient, SecretString) -> F,
    ) -> Result<T, ChannelError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let first = self.keeper.token(&self.key, &self.source).await.map_err(ChannelError::NoToken)?;
        let stale = match call(self.client.clone(), first.token).await {
            Err(CallError::StaleToken { code, .. }) => code,
            result => return result.map_err(ChannelError::Call),
        };
        self.keeper.invalidate_if(&self.key, first.version, stale);
        let second = self.keeper.token(&self.key, &self.source).await.map_err(ChannelError::NoToken)?;
        call(self.client.clone(), second.token).await.map_err(ChannelError::Call)
    }

    /// An access token of a Mini Program; the refresh token that came with it is kept.
    async fn access_token(&self, appid: &str) -> Result<TokenGrant, TokenError> {
        let mut refused = None;
        for _ in 0..MAX_ROUNDS {
            let Some(authorizer) = self.authorizer(appid).await? else { return Err(not_authorized()) };
            let (version, refresh_token) = match authorizer.refresh_token {
                Some(token) if refused != Some(authorizer.version) => (authorizer.version, token),
                _ => match self.recover(appid, authorizer.version).await? {
                    Some(found) => found,
                    // Somebody wrote another one meanwhile.
                    None => continue,
                },
            };
            let granted = self
                .call(|client, token| {
                    let refresh_token = refresh_token.clone();
                    async move { client.authorizer_token(&token, appid, &refresh_token).await }
                })
                .await;
            let AuthorizerGrant { token, refresh_token: fresh } = match granted {
                Ok(granted) => granted,
                Err(ChannelError::Call(CallError::Refused { code: REFRESH_TOKEN_WRONG, .. }))
                    if refused != Some(version) =>
                {
                    refused = Some(version);
                    continue;
                }
                Err(error) => {
                    self.suspect_if_refused(appid, &error);
                    return Err(token_error(error));
                }
            };
            let changed = |fresh: &SecretString| fresh.expose_secret() != refresh_token.expose_secret();
            let Some(fresh) = fresh.filter(changed) else { return Ok(token) };
            let component = self.key.appid.as_str();
            let kept = self.store.replace_refresh_token(component, appid, version, &fresh).await;
            if kept.map_err(|error| store_failure(&error))? {
                return Ok(token);
            }
        }
        self.suspicions.note(&self.key.appid, appid);
        Err(source(
            "WeChat refuses the Mini Program's refresh token again and again; it is looked into",
            TokenFailure::Transient,
        ))
    }

    /// Looks a lost or refused refresh token up in WeChat's list. Answers with its version, or with nothing if another one was
    /// written meanwhile.
    async fn recover(&self, appid: &str, version: u64) -> Result<Option<(u64, SecretString)>, TokenError> {
        let component = self.key.appid.as_str();
        let mut unreadable = 0;
        for page in 0..MAX_PAGES {
            let listed = self
                .call(|client, token| async move {
                    client.authorizer_list(&token, page * u64::from(MOST_LISTED), MOST_LISTED).await
                })
                .await
                .map_err(token_error)?;
            unreadable += listed.undecodable;
            let seen = listed.accounts.len() + listed.undecodable;
            if let Some(account) = listed.accounts.into_iter().find(|account| account.appid == appid) {
                let Some(token) = account.refresh_token else { break };
                let kept = self.store.replace_refresh_token(component, appid, version, &token).await;
                let kept = kept.map_err(|error| store_failure(&error))?;
                tracing::warn!(
                    platform.appid = component,
                    wechat.appid = appid,
                    platform.recovered = kept,
                    "a refresh token was looked up in WeChat's list"
                );
                return Ok(kept.then_some((version + 1, token)));
            }
            if seen == 0 || (page + 1) * u64::from(MOST_LISTED) >= listed.total {
                break;
            }
        }
        if unreadable == 0 {
            self.suspicions.note(component, appid);
        }
        Err(source(
            "no refresh token of the Mini Program is known and WeChat's list has none; have its administrator authorize again",
            TokenFailure::Configuration,
        ))
    }

    async fn authorizer(&self, appid: &str) -> Result<Option<Authorizer>, TokenError> {
        self.store.authorizer(&self.key.appid, appid).await.map_err(|error| store_failure(&error))
    }

    fn suspect_if_refused(&self, appid: &str, error: &ChannelError) {
        if let ChannelError::Call(CallError::Refused { class: RefusalClass::NotAuthorized, .. }) = error {
            self.suspicions.note(&self.key.appid, appid);
        }
    }
}

/// Buys the platform's own token.
struct PlatformFetcher {
    client: ComponentClient,
    store: Store,
}

impl PlatformFetcher {
    async fn buy(&self) -> Result<TokenGrant, TokenError> {
        let component = self.client.component_appid();
        let failed = |error: StoreError| store_failure(&error);
        let (platform, _) = self
            .store
            .load::<Platform>(&LogName::main(), &StreamName::platform(component))
            .await
            .map_err(failed)?;
        let secret = match platform.secret() {
            Some(reference) => self.store.secret(&reference.0).await.map_err(failed)?,
            None => None,
        };
        let configuration = TokenFailure::Configuration;
        let secret =
            secret.ok_or_else(|| source("the third-party platform is not set up here", configuration))?;
        let ticket = self.store.ticket(component).await.map_err(failed)?.ok_or_else(|| {
            let reason = "WeChat has pushed no ticket to the platform yet; it does so every ten minutes, if the URL for \
                          authorization events is entered in the open platform's console";
            source(reason, configuration)
        })?;
        self.client.component_token(&secret, &ticket.ticket).await.map_err(TokenError::Call)
    }
}

impl TokenFetcher for PlatformFetcher {
    fn fetch(&self) -> TokenFuture<'_> {
        Box::pin(self.buy())
    }
}

/// Fetches access tokens of one Mini Program through the platform that its channel is authorized to.
struct AuthorizerFetcher {
    gateway: Gateway,
    appid: String,
}

impl AuthorizerFetcher {
    async fn buy(&self) -> Result<TokenGrant, TokenError> {
        let found = self.gateway.store.authorizer_in_use(&self.appid).await;
        let found = found.map_err(|error| store_failure(&error))?;
        let component = found.ok_or_else(not_authorized)?.component_appid;
        self.gateway.component(&component).access_token(&self.appid).await
    }
}

impl TokenFetcher for AuthorizerFetcher {
    fn fetch(&self) -> TokenFuture<'_> {
        Box::pin(self.buy())
    }
}

fn token_error(error: ChannelError) -> TokenError {
    match error {
        ChannelError::NoToken(error) => error,
        ChannelError::Call(error) => TokenError::Call(error),
        ChannelError::TokenConflict(conflict) => source(
            &format!("WeChat refused two tokens in a row with {}", conflict.code),
            TokenFailure::Transient,
        ),
    }
}

fn not_authorized() -> TokenError {
    source(
        "the Mini Program is not authorized to a third-party platform here; begin with POST /channels/{code}/authorization",
        TokenFailure::Configuration,
    )
}

fn store_failure(error: &StoreError) -> TokenError {
    tracing::warn!(error = %error, "what a platform's token needs could not be read");
    source("the database cannot be read now", TokenFailure::Transient)
}

fn source(reason: &str, failure: TokenFailure) -> TokenError {
    TokenError::Source(SourceFailure { reason: reason.to_owned(), failure })
}
