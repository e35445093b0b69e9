//! The API key or the user token: who calls, and how often it may.
//!
//! Both are looked at here and nowhere else; what goes on is the app and its rights, or the person and the channel. A request
//! without one learns nothing, not even whether a method exists. Neither is taken in the other's place: a user token opens
//! one route, and an API key must not be where user tokens are.

use std::{sync::Arc, time::Instant};

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use subledger_engine::{
    EngineError, ErrorKind,
    apps::{KeyRights, looks_like_key},
    user_tokens::{TokenHolder, looks_like_user_token},
};

use crate::{context::Context, middleware::request::RequestId, problem::ApiError};

/// What a request that was let in carries to its handler.
#[derive(Clone)]
pub(crate) struct Admitted {
    /// What its key allows.
    pub(crate) rights: Arc<KeyRights>,
    /// Its id.
    pub(crate) request: RequestId,
}

/// The same of a request with a user token.
#[derive(Clone)]
pub(crate) struct Held {
    /// Who may report taps, and where.
    pub(crate) holder: TokenHolder,
    /// Its id.
    pub(crate) request: RequestId,
}

/// Lets a request in if its key is good and has not been used too often.
pub(super) async fn admit(context: &Context, headers: &HeaderMap) -> Result<Arc<KeyRights>, ApiError> {
    let key = bearer(headers).ok_or_else(ApiError::missing_key)?;
    if looks_like_user_token(&key) {
        let detail = "a user token is good for POST /api/v1/client-reports only; send an API key here";
        return Err(wrong_credential("user_token_not_accepted", detail));
    }
    let rights = context.engine().authenticate(&key).await?;
    if let Some(limiter) = context.limiter() {
        // The public part names the key; the secret part is never kept.
        limiter.take(public_part(&key), Instant::now()).map_err(|wait| {
            let detail = "this key is used more often than allowed; slow down";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait)
        })?;
    }
    Ok(rights)
}

/// Lets a request in if its user token is good and the person does not report too often.
pub(super) async fn admit_holder(context: &Context, headers: &HeaderMap) -> Result<TokenHolder, ApiError> {
    let token = bearer(headers).ok_or_else(ApiError::missing_token)?;
    if looks_like_key(&token) {
        let detail =
            "send a user token here; an API key must never leave your back end: if this one did, revoke it";
        return Err(wrong_credential("api_key_not_accepted", detail));
    }
    let holder = context.engine().check_user_token(&token).await?;
    if let Some(limiter) = context.report_limiter() {
        let person = format!("{} {}", holder.channel, holder.who);
        limiter.take(&person, Instant::now()).map_err(|wait| {
            let detail = "this user reports more often than allowed; slow down";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait)
        })?;
    }
    Ok(holder)
}

fn wrong_credential(code: &'static str, detail: &str) -> ApiError {
    EngineError::new(ErrorKind::Unauthenticated, code, detail).into()
}

/// The public part of a key, which names it.
pub(crate) fn public_part(key: &SecretString) -> &str {
    key.expose_secret().split('_').nth(1).unwrap_or_default()
}

/// The key of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| SecretString::from(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_key_is_taken() {
        let key = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            bearer(&headers).map(|key| key.expose_secret().to_owned())
        };
        assert_eq!(key("Bearer slk_a_b").as_deref(), Some("slk_a_b"));
        assert_eq!(key("bearer   slk_a_b ").as_deref(), Some("slk_a_b"));
        for wrong in ["slk_a_b", "Basic c2xr", "Bearer", "Bearer  ", ""] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
    }
}
