//! Refusals as problem documents (RFC 9457).
//!
//! Handlers and middleware return an [`ApiError`]; [`render`] turns it into the document once, at the outermost layer, where
//! the request id is known, and logs what a caller must not see. So a cause is logged exactly once and never sent.
//!
//! Which kind of refusal is which status is decided here and nowhere else.

use std::{error::Error, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use subledger_engine::{EngineError, ErrorKind, FieldError};
use utoipa::ToSchema;

/// The media type of problem documents.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// What an unavailable service asks callers to wait where nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A refusal (RFC 9457). `code` is stable; `detail` and `title` are for people and may change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "/problems/bad_recipients",
    "title": "Bad recipients",
    "status": 422,
    "detail": "some recipients are not written as they should be",
    "code": "bad_recipients",
    "request_id": "019500aa-7c1e-7d0f-8f5e-0a4f5e6d7c8b",
    "errors": [{
        "pointer": "/recipients/3/openid",
        "rule": "bad_openid",
        "detail": "openid must be 16 to 64 letters, digits, - and _; found 3 characters"
    }]
}))]
pub(crate) struct Problem {
    /// Identifies the kind of problem; relative to this service. Stable.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, in one sentence.
    detail: String,
    /// The kind of problem as one stable word, for programs.
    code: String,
    /// The id of this request, to quote when asking for help.
    request_id: String,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// What WeChat said, if it was WeChat that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    wechat: Option<WechatProblem>,
}

/// One field at fault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body, or the name of a parameter or header after a slash.
    #[schema(example = "/recipients/3/openid")]
    pointer: String,
    /// The rule it breaks, as a stable word.
    #[schema(example = "bad_openid")]
    rule: String,
    /// The rule and what was found.
    detail: String,
}

/// WeChat's refusal and what to do about it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WechatProblem {
    /// WeChat's `errcode`.
    #[schema(example = 40164)]
    errcode: Option<i64>,
    /// WeChat's `errmsg`, verbatim.
    errmsg: String,
    /// WeChat's request id, to quote to its support.
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    /// What to do.
    advice: Advice,
    /// The address WeChat saw the call come from, if it named one: the one to add to the IP allow-list.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_ip: Option<String>,
}

/// What to do, in both languages of the console.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Advice {
    /// In English.
    en: String,
    /// In Chinese.
    zh: String,
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// Whether to send `WWW-Authenticate`, and its `error` parameter.
    challenge: Option<&'static str>,
    error: Box<EngineError>,
}

impl ApiError {
    /// A refusal that only HTTP knows.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, challenge: None, error: Box::new(EngineError::new(ErrorKind::Invalid, code, detail)) }
    }

    /// The same, naming the fields at fault.
    pub(crate) fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.error.fields = fields;
        self
    }

    /// The same, saying when to try again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.error.retry_after = Some(wait);
        self
    }

    /// The same, with a cause for the log.
    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.error.cause = Some(cause.into());
        self
    }

    /// A request without a bearer key.
    pub(crate) fn missing_key() -> Self {
        let detail = "send an API key: Authorization: Bearer slk_…";
        Self { challenge: Some(""), ..Self::new(StatusCode::UNAUTHORIZED, "missing_key", detail) }
    }

    /// A request without a user token, where one is needed.
    pub(crate) fn missing_token() -> Self {
        let detail = "send a user token: Authorization: Bearer …";
        Self { challenge: Some(""), ..Self::new(StatusCode::UNAUTHORIZED, "missing_token", detail) }
    }

    /// A defect of ours; `what` goes to the log.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        EngineError::internal(what).into()
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
            ErrorKind::TooOften => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let challenge = (status == StatusCode::UNAUTHORIZED).then_some("invalid_token");
        Self { status, challenge, error: Box::new(error) }
    }
}

impl From<subledger_projection::QueryError> for ApiError {
    fn from(error: subledger_projection::QueryError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<subledger_store::StoreError> for ApiError {
    fn from(error: subledger_store::StoreError) -> Self {
        EngineError::from(error).into()
    }
}

/// Carries an [`ApiError`] from where it arose to [`render`]. Behind a lock because extensions must be `Sync + Clone`.
#[derive(Clone)]
struct Carried(std::sync::Arc<std::sync::Mutex<Option<ApiError>>>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Carried(std::sync::Arc::new(std::sync::Mutex::new(Some(self)))));
        response
    }
}

/// Turns a refusal into its document; leaves every other answer alone.
pub(crate) fn render(mut response: Response, request_id: &str) -> Response {
    let carried = response.extensions_mut().remove::<Carried>();
    let carried =
        carried.and_then(|it| it.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    let error = match carried {
        Some(error) => error,
        None if response.status().is_client_error() || response.status().is_server_error() => {
            match foreign(&response) {
                Some(error) => error,
                None => return response,
            }
        }
        None => return response,
    };
    log(&error, request_id);
    let (status, challenge, retry_after) = (error.status, error.challenge, retry_after(&error));
    let document = document(error, request_id);
    let body = serde_json::to_vec(&document).unwrap_or_default();
    *response.status_mut() = status;
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(error) = challenge {
        let value = match error {
            "" => HeaderValue::from_static("Bearer realm=\"subledger\""),
            _ => HeaderValue::from_static("Bearer realm=\"subledger\", error=\"invalid_token\""),
        };
        headers.insert(HeaderName::from_static("www-authenticate"), value);
    }
    response
}

/// The refusal behind an error answer that was not made here (a file of the reader that does not exist, for one).
fn foreign(response: &Response) -> Option<ApiError> {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // JSON, and the page that a browser comes back to from WeChat, are our own.
    let own = |value: &str| value.starts_with("application/json") || value.starts_with("text/html");
    if content_type.is_some_and(own) {
        return None;
    }
    let status = response.status();
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => ("unknown_route", "there is nothing at this path"),
        status if status.is_server_error() => ("internal", "an internal error; the log has the details"),
        _ => ("bad_request", "the request cannot be understood"),
    };
    Some(ApiError::new(status, code, detail))
}

/// Seconds to wait, never zero: a client that waits zero seconds does not wait.
fn retry_after(error: &ApiError) -> Option<u64> {
    let default = (error.status == StatusCode::SERVICE_UNAVAILABLE).then_some(DEFAULT_RETRY_AFTER);
    let wait = error.error.retry_after.or(default)?;
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Some(seconds.max(1))
}

fn log(error: &ApiError, request_id: &str) {
    let (code, status, inner) = (error.error.code, error.status.as_u16(), &error.error);
    if error.status == StatusCode::INTERNAL_SERVER_ERROR {
        let cause = chain(inner.cause.as_deref());
        tracing::error!(request.id = request_id, error.code = code, error.cause = cause, "internal error");
    } else if error.status.is_server_error() && inner.cause.is_some() {
        let cause = chain(inner.cause.as_deref());
        tracing::warn!(
            request.id = request_id,
            error.code = code,
            http.status = status,
            error.cause = cause,
            "unavailable"
        );
    } else {
        tracing::debug!(request.id = request_id, error.code = code, http.status = status, "refused");
    }
}

/// An error and everything behind it, outermost first.
fn chain(error: Option<&(dyn Error + Send + Sync + 'static)>) -> String {
    let Some(error) = error else { return "none".to_owned() };
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

fn document(error: ApiError, request_id: &str) -> Problem {
    let status = error.status.as_u16();
    let error = *error.error;
    let field =
        |field: FieldError| FieldProblem { pointer: field.pointer, rule: field.rule, detail: field.detail };
    Problem {
        kind: format!("/problems/{}", error.code),
        title: title(error.code),
        status,
        detail: error.detail,
        code: error.code.to_owned(),
        request_id: request_id.to_owned(),
        errors: error.fields.into_iter().map(field).collect(),
        wechat: error.wechat.map(|said| WechatProblem {
            errcode: said.errcode,
            errmsg: said.errmsg,
            rid: said.rid,
            advice: Advice { en: said.advice_en, zh: said.advice_zh },
            caller_ip: said.caller_ip,
        }),
    }
}

/// `unknown_channel` for people: "Unknown channel".
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

#[cfg(test)]
mod tests;
