//! Where the keeper gets a new token from.
//!
//! The keeper decides when a token is fetched, and by whom; a fetcher makes the one call and knows nothing of the rest. It is
//! asked with no lock held, and never twice at once for one key.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::secret::SecretSource;
use super::{TokenError, TokenKey, TokenMode};
use crate::calls::token::TokenGrant;
use crate::client::WeChatClient;

/// A future that yields a token.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<TokenGrant, TokenError>> + Send + 'a>>;

/// Fetches the tokens of one app in one mode.
pub trait TokenFetcher: Send + Sync {
    /// Fetches a token. Whatever it needs is read afresh each time, so what was replaced is picked up.
    fn fetch(&self) -> TokenFuture<'_>;

    /// Fetches a token that is new, even though the one before still lives. For an operator only: where this differs from
    /// [`Self::fetch`], it breaks every other system that shares the token.
    fn fetch_forced(&self) -> TokenFuture<'_> {
        self.fetch()
    }
}

/// WeChat refused a token long before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSuspicion {
    /// Whose.
    pub key: TokenKey,
    /// How old it was.
    pub age: Duration,
    /// How long it should have lived.
    pub life: Duration,
    /// WeChat's code.
    pub code: i64,
}

/// Hears of trouble with a channel's tokens.
pub trait TokenObserver: Send + Sync {
    /// Somebody else seems to replace the tokens. Told once per token, by the process that noticed first. Must not block.
    fn suspected(&self, suspicion: &TokenSuspicion);
}

/// Where the tokens of a channel come from, and who hears of trouble with them. Cheap to clone.
#[derive(Clone)]
pub struct TokenSource {
    /// Fetches them.
    pub fetcher: Arc<dyn TokenFetcher>,
    /// Hears of trouble, if anybody does.
    pub observer: Option<Arc<dyn TokenObserver>>,
}

impl From<Arc<dyn TokenFetcher>> for TokenSource {
    fn from(fetcher: Arc<dyn TokenFetcher>) -> Self {
        Self { fetcher, observer: None }
    }
}

/// Fetches with AppID and AppSecret from WeChat itself.
pub struct AppSecretFetcher {
    client: WeChatClient,
    appid: String,
    /// Whether the older call is used, where every fetch retires the token before. Otherwise the stable one.
    older_call: bool,
    secret: Arc<dyn SecretSource>,
}

impl AppSecretFetcher {
    /// The fetcher for `mode`; anything but [`TokenMode::Normal`] uses the stable call.
    #[must_use]
    pub fn new(
        client: WeChatClient,
        appid: impl Into<String>,
        mode: TokenMode,
        secret: Arc<dyn SecretSource>,
    ) -> Self {
        Self { client, appid: appid.into(), older_call: mode == TokenMode::Normal, secret }
    }

    async fn call(&self, force: bool) -> Result<TokenGrant, TokenError> {
        let secret = self.secret.secret(&self.appid).await.map_err(TokenError::Secret)?;
        match self.older_call {
            true => self.client.token(&self.appid, &secret).await,
            false => self.client.stable_token(&self.appid, &secret, force).await,
        }
        .map_err(TokenError::Call)
    }
}

impl TokenFetcher for AppSecretFetcher {
    fn fetch(&self) -> TokenFuture<'_> {
        Box::pin(self.call(false))
    }

    fn fetch_forced(&self) -> TokenFuture<'_> {
        Box::pin(self.call(true))
    }
}
