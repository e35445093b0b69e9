//! Fetching access tokens.
//!
//! Two families that do not touch each other: `stable_token` (normal mode gives every asker the same token, so it is the
//! default) and the older `token`, where every call retires the previous token. Callers should not use these directly but
//! through [`crate::TokenKeeper`], which makes sure that one refresh at a time happens.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::answer::whole_number;
use crate::client::{Api, WeChatClient};
use crate::outcome::CallError;

/// The longest life WeChat gives a token, in seconds; a longer claim is cut to it.
const LONGEST_LIFE_SECONDS: i64 = 7200;

/// A token as WeChat issued it.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// The access token.
    pub token: SecretString,
    /// Its remaining life in seconds, 1–7200.
    pub expires_in: i64,
}

impl TokenGrant {
    /// Reads an answer of the shape of WeChat's, `{"access_token": …, "expires_in": …}`, as a token server gives it.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Option<Self> {
        read_grant(&serde_json::from_slice(body).ok()?)
    }
}

impl WeChatClient {
    /// `POST /cgi-bin/stable_token`. `force` makes a new token and kills the old one: at most 20 a day, 30 s apart, and it
    /// breaks every other system that shares the token; the keeper never uses it.
    ///
    /// # Errors
    /// [`CallError`]; a wrong secret is a refusal of class `ChannelConfig`.
    pub async fn stable_token(
        &self,
        appid: &str,
        secret: &SecretString,
        force: bool,
    ) -> Result<TokenGrant, CallError> {
        let body = json!({
            "grant_type": "client_credential",
            "appid": appid,
            "secret": secret.expose_secret(),
            "force_refresh": force,
        });
        let request = self.post(Api::StableToken, &[], &body);
        self.call(Api::StableToken, request, &[secret], read_grant).await
    }

    /// `GET /cgi-bin/token`. Every call retires the previous token (both work for about five minutes); 2000 calls a day.
    ///
    /// # Errors
    /// [`CallError`]; a wrong secret is a refusal of class `ChannelConfig`.
    pub async fn token(&self, appid: &str, secret: &SecretString) -> Result<TokenGrant, CallError> {
        let query =
            [("grant_type", "client_credential"), ("appid", appid), ("secret", secret.expose_secret())];
        let request = self.get(Api::Token, &query);
        self.call(Api::Token, request, &[secret], read_grant).await
    }
}

fn read_grant(body: &Value) -> Option<TokenGrant> {
    read_named_grant(body, "access_token")
}

/// Reads a token that stands under `name`, and its life beside it.
pub(crate) fn read_named_grant(body: &Value, name: &str) -> Option<TokenGrant> {
    let token = body.get(name)?.as_str().filter(|token| !token.is_empty())?;
    let life = whole_number(body.get("expires_in")?).filter(|seconds| *seconds > 0)?;
    Some(TokenGrant { token: SecretString::from(token), expires_in: life.min(LONGEST_LIFE_SECONDS) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grant_needs_a_token_and_a_life() {
        let grant = read_grant(&json!({"access_token": "T", "expires_in": "1843"})).unwrap();
        assert_eq!((grant.token.expose_secret(), grant.expires_in), ("T", 1843));
        let long = read_grant(&json!({"access_token": "T", "expires_in": 999_999_999})).unwrap();
        assert_eq!(long.expires_in, 7200);
        for bad in [
            json!({"access_token": "T"}),
            json!({"expires_in": 7200}),
            json!({"access_token": "", "expires_in": 7200}),
            json!({"access_token": "T", "expires_in": 0}),
            json!({"access_token": 5, "expires_in": 7200}),
        ] {
            assert!(read_grant(&bad).is_none(), "{bad}");
        }
    }
}
