//! JSON bodies.
//!
//! The body is read here rather than by axum's own extractor, because a refusal has to say where: the line and column of
//! broken JSON, the pointer of a wrong field. A body over the limit is read on for a while and thrown away: answering
//! while the caller still writes makes most clients report a broken connection instead of the problem.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;
use subledger_engine::EngineError;

use super::faults::field_error;
use crate::{context::Context, problem::ApiError};

/// How much of a body over the limit is read and thrown away, in multiples of the limit.
const PATIENCE: usize = 4;

/// A JSON body, read strictly.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Context> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Context) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        let body = read(request.into_body(), context.settings().max_body_bytes).await?;
        Ok(Self(parse(&body)?))
    }
}

/// The same of at most `MAX` bytes, for callers who are trusted less.
pub(crate) struct SmallJson<T, const MAX: usize>(pub(crate) T);

impl<T: DeserializeOwned, const MAX: usize> FromRequest<Context> for SmallJson<T, MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Context) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        let body = read(request.into_body(), context.settings().max_body_bytes.min(MAX)).await?;
        Ok(Self(parse(&body)?))
    }
}

/// No body, or an empty object: what an action without arguments takes.
pub(crate) struct NoBody;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl FromRequest<Context> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Context) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        let body = read(request.into_body(), context.settings().max_body_bytes).await?;
        if !body.is_empty() {
            require_json(&headers)?;
            parse::<Nothing>(&body)?;
        }
        Ok(Self)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let charset = parameters.trim().to_ascii_lowercase();
    let utf8 = !charset.starts_with("charset=")
        || matches!(charset.trim_start_matches("charset=").trim_matches('"'), "utf-8" | "utf8");
    if essence == "application/json" && utf8 {
        return Ok(());
    }
    let detail = "send the body as JSON in UTF-8, with Content-Type: application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut frames = body.into_data_stream();
    let mut first = Bytes::new();
    let mut kept = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "body_broken_off", "the body ended before it was whole")
                .caused_by(error)
        })?;
        length = length.saturating_add(frame.len());
        if length <= limit {
            // Most bodies come in one piece, which need not be copied.
            if length == frame.len() {
                first = frame;
                continue;
            }
            if kept.is_empty() {
                kept.extend_from_slice(&first);
            }
            kept.extend_from_slice(&frame);
        } else if length > limit.saturating_mul(PATIENCE) {
            break;
        }
    }
    if length > limit {
        let detail = format!("the body is larger than {limit} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(if kept.is_empty() { first } else { Bytes::from(kept) })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Keeping track of the path costs as much as reading; only a refusal needs it, so only a refusal pays for it.
    serde_json::from_slice(body).or_else(|_| parse_with_path(body))
}

fn parse_with_path<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, inner) = (error.path().clone(), error.into_inner());
        match inner.classify() {
            Category::Data => wrong_field(&path, &inner),
            _ => malformed(&inner),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn wrong_field(path: &serde_path_to_error::Path, error: &serde_json::Error) -> ApiError {
    let field = field_error(path, &error.to_string());
    let place = if field.pointer.is_empty() { "the body".to_owned() } else { field.pointer.clone() };
    let detail = format!("{place}: {}", field.detail);
    EngineError { fields: vec![field], ..EngineError::invalid("invalid_body", detail) }.into()
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body is not JSON: {error}");
    let field = subledger_engine::FieldError {
        pointer: String::new(),
        rule: "json".to_owned(),
        detail: format!("line {line}, column {column}"),
    };
    ApiError::new(StatusCode::BAD_REQUEST, "malformed_json", detail).with_fields(vec![field])
}

#[cfg(test)]
mod tests;
