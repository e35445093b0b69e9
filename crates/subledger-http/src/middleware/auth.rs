//! The API key: who calls, and how often it may.
//!
//! The key is looked at here and nowhere else; what goes on is the app and its rights. A request without a key learns
//! nothing, not even whether a method exists.

use std::{sync::Arc, time::Instant};

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use subledger_engine::apps::KeyRights;

use crate::{context::Context, middleware::request::RequestId, problem::ApiError};

/// What a request that was let in carries to its handler.
#[derive(Clone)]
pub(crate) struct Admitted {
    /// What its key allows.
    pub(crate) rights: Arc<KeyRights>,
    /// Its id.
    pub(crate) request: RequestId,
}

/// Lets a request in if its key is good and has not been used too often.
pub(super) async fn admit(context: &Context, headers: &HeaderMap) -> Result<Arc<KeyRights>, ApiError> {
    let key = bearer(headers).ok_or_else(ApiError::missing_key)?;
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
