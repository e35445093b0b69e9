//! Tokens from the company's own token server: one GET with a bearer credential, answered in the shape of WeChat's.

use std::sync::Arc;

use subledger_webhook::{Deliverer, Fetched, Outcome};
use subledger_wechat::{
    SecretSource, SourceFailure, TokenError, TokenFailure, TokenFetcher, TokenFuture, TokenGrant,
};

use crate::limits::MAX_TOKEN_ANSWER_BYTES;

/// Fetches the tokens of one channel from its token server.
pub(crate) struct TokenServer {
    pub(crate) servers: Deliverer,
    pub(crate) url: String,
    pub(crate) credential: Arc<dyn SecretSource>,
}

impl TokenServer {
    async fn ask(&self) -> Result<TokenGrant, TokenError> {
        let credential = self.credential.secret("").await.map_err(TokenError::Secret)?;
        match self.servers.fetch(&self.url, &credential, MAX_TOKEN_ANSWER_BYTES).await {
            Fetched::Body(body) => TokenGrant::from_body(&body).ok_or_else(|| {
                let rule = "its answer is not {\"access_token\":\"…\",\"expires_in\":SECONDS}";
                failed(rule.to_owned(), TokenFailure::Configuration)
            }),
            Fetched::TooLong => {
                let rule = format!("its answer is longer than {MAX_TOKEN_ANSWER_BYTES} bytes");
                Err(failed(rule, TokenFailure::Configuration))
            }
            Fetched::Failed(outcome) => Err(sorted(&outcome)),
        }
    }
}

impl TokenFetcher for TokenServer {
    fn fetch(&self) -> TokenFuture<'_> {
        Box::pin(self.ask())
    }
}

fn failed(what: String, failure: TokenFailure) -> TokenError {
    TokenError::Source(SourceFailure { reason: format!("the token server gave no token: {what}"), failure })
}

fn sorted(outcome: &Outcome) -> TokenError {
    let status = outcome.status().map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    let failure = match outcome {
        Outcome::TryAgain { .. } => TokenFailure::Transient,
        Outcome::Refused(_) | Outcome::Gone | Outcome::Delivered { .. } => TokenFailure::Configuration,
    };
    failed(format!("{}{status}", outcome.word()), failure)
}
