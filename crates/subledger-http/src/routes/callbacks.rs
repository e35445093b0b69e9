//! What WeChat calls: the push URL of a channel. It needs no API key, because each request carries its own proof.
//!
//! WeChat gives up a push after a few seconds and repeats it a few times, so this answers in time whatever happens: what was
//! not recorded by then is refused, and comes again. Strangers can call it, too. So a request costs little before its proof was
//! checked: a small body, a bounded number of requests at once, and no look at the database for what is not set up.

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use subledger_engine::intake::PushAnswer;
use subledger_store::MAX_PUSH_BYTES;
use utoipa::IntoParams;

use crate::{context::Context, middleware::request::RequestId, problem::ApiError, settings::PUSH_DEADLINE};

/// What WeChat takes for an acknowledgement.
const SUCCESS: &str = "success";

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct PushPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    channel: String,
}

/// Answer WeChat's check of the push URL.
///
/// Called once when the URL is entered in WeChat's console, with `signature`, `timestamp`, `nonce` and `echostr`. The answer is
/// `echostr`.
#[utoipa::path(get, path = "/callbacks/wechat/{channel}", tag = "wechat", params(PushPath), responses(
    (status = 200, body = String, content_type = "text/plain", description = "`echostr`, as it came"),
    (status = 403, description = "The signature does not fit, or the time is too far from ours"),
    (status = 404, description = "No channel of this name takes pushes"),
))]
pub(crate) async fn check_push_url(
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    State(context): State<Context>,
) -> Response {
    let Ok(Path(channel)) = channel else { return answer(PushAnswer::Unknown) };
    let query = query.unwrap_or_default();
    in_time(&context, async { Ok(context.engine().check_push_url(&channel, query.as_bytes()).await?) }).await
}

/// Take a push of WeChat in.
///
/// Signed by the channel's token and, in compatible and secure mode, sealed with its EncodingAESKey. The answer is `success`
/// once the push is on disk; a repetition changes nothing.
#[utoipa::path(post, path = "/callbacks/wechat/{channel}", tag = "wechat", params(PushPath), responses(
    (status = 200, body = String, content_type = "text/plain", description = "`success`"),
    (status = 400, description = "It is no push"),
    (status = 403, description = "The signature does not fit, or the time is too far from ours"),
    (status = 404, description = "No channel of this name takes pushes"),
    (status = 413, description = "Larger than any push"),
    (status = 503, description = "Not recorded in time; WeChat tries again"),
))]
pub(crate) async fn take_push(
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    State(context): State<Context>,
    Extension(id): Extension<RequestId>,
    body: Body,
) -> Response {
    let Ok(Path(channel)) = channel else { return answer(PushAnswer::Unknown) };
    let query = query.unwrap_or_default();
    let taking = async {
        let Ok(body) = to_bytes(body, MAX_PUSH_BYTES).await else { return Ok(PushAnswer::TooLarge) };
        Ok(context.engine().take_push(&channel, query.as_bytes(), &body, Some(id.as_str())).await?)
    };
    in_time(&context, taking).await
}

/// Bounds requests by number and time.
pub(super) async fn in_time(
    context: &Context,
    taking: impl Future<Output = Result<PushAnswer, ApiError>>,
) -> Response {
    let bounded = async {
        // Waiting for a place counts, too. The semaphore is never closed.
        let _slot = context.push_slots().acquire().await;
        taking.await
    };
    match tokio::time::timeout(PUSH_DEADLINE, bounded).await {
        Ok(Ok(taken)) => answer(taken),
        Ok(Err(error)) => error.into_response(),
        Err(_) => {
            let detail = "the push was not recorded in time; it is taken when it comes again";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timed_out", detail).into_response()
        }
    }
}

pub(super) fn answer(answer: PushAnswer) -> Response {
    let refusal = |status, code, detail: &str| ApiError::new(status, code, detail).into_response();
    match answer {
        PushAnswer::Taken => text(SUCCESS.to_owned()),
        PushAnswer::Echo(echo) => text(echo),
        PushAnswer::Forbidden => refusal(
            StatusCode::FORBIDDEN,
            "bad_signature",
            "the request is not signed as the pushes to this URL are",
        ),
        PushAnswer::Rejected => refusal(StatusCode::BAD_REQUEST, "bad_push", "this is no push of WeChat's"),
        PushAnswer::TooLarge => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "no push of WeChat's is as large")
        }
        PushAnswer::Unknown => {
            refusal(StatusCode::NOT_FOUND, "unknown_route", "there is nothing at this path")
        }
    }
}

fn text(text: String) -> Response {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CONTENT_TYPE, plain)], text).into_response()
}
