//! Extractors that refuse bad input in the control API's own JSON form. An absent body counts as `{}`.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::ControlError;
use crate::serve::read_body;

/// Largest body of a control call.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A JSON body, whatever its content type says.
pub(super) struct Body<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ControlError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ControlError> {
        let bytes = read_body(request, BODY_LIMIT).await;
        let bytes = bytes.ok_or_else(|| ControlError::invalid("body", "is too large or broke off"))?;
        let bytes = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        serde_json::from_slice(bytes).map(Self).map_err(|e| ControlError::invalid("body", e.to_string()))
    }
}

/// Query parameters.
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ControlError> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        parsed.map(|q| Self(q.0)).map_err(|e| ControlError::invalid("query", e.body_text()))
    }
}

/// Path parameters.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ControlError> {
        let parsed = axum::extract::Path::from_request_parts(parts, state).await;
        parsed.map(|p| Self(p.0)).map_err(|e| ControlError::invalid("path", e.body_text()))
    }
}
