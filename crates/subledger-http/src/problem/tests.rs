//! Tests of the module above.

#![allow(clippy::unwrap_used)]

use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::*;

async fn rendered(error: impl IntoResponse) -> (StatusCode, axum::http::HeaderMap, Value) {
    let response = render(error.into_response(), "request-1");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn every_kind_has_its_status() {
    let cases = [
        (ErrorKind::Invalid, 422),
        (ErrorKind::NotFound, 404),
        (ErrorKind::Conflict, 409),
        (ErrorKind::Forbidden, 403),
        (ErrorKind::Unauthenticated, 401),
        (ErrorKind::Upstream, 502),
        (ErrorKind::TooOften, 429),
        (ErrorKind::Unavailable, 503),
        (ErrorKind::Internal, 500),
    ];
    for (kind, status) in cases {
        let (got, headers, body) = rendered(ApiError::from(EngineError::new(kind, "some_code", "why"))).await;
        assert_eq!(got.as_u16(), status);
        assert_eq!(headers[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(
            body,
            json!({
                "type": "/problems/some_code", "title": "Some code", "status": status, "detail": "why",
                "code": "some_code", "request_id": "request-1",
            })
        );
        assert_eq!(headers.contains_key(header::RETRY_AFTER), status == 503);
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == 401);
    }
}

#[tokio::test]
async fn a_field_at_fault_is_named() {
    let error = EngineError::field("bad_page", "/page", "page", "must be a path");
    let (_, _, body) = rendered(ApiError::from(error)).await;
    assert_eq!(body["errors"], json!([{ "pointer": "/page", "rule": "page", "detail": "must be a path" }]));
}

#[tokio::test]
async fn a_cause_is_never_shown() {
    let (_, _, body) = rendered(ApiError::internal("password=hunter2")).await;
    assert_eq!(body["code"], "internal");
    assert!(!body.to_string().contains("hunter2"));
}

#[tokio::test]
async fn waits_are_whole_seconds_rounded_up_and_never_zero() {
    for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "slow down")
            .retry_after(Duration::from_millis(millis));
        let (_, headers, _) = rendered(error).await;
        assert_eq!(headers[header::RETRY_AFTER], seconds, "{millis} ms");
    }
}

#[tokio::test]
async fn a_missing_key_and_a_bad_one_get_different_challenges() {
    let (status, headers, body) = rendered(ApiError::missing_key()).await;
    assert_eq!((status.as_u16(), &body["code"]), (401, &json!("missing_key")));
    assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"subledger\"");
    let bad = EngineError::new(ErrorKind::Unauthenticated, "bad_key", "no");
    let (_, headers, _) = rendered(ApiError::from(bad)).await;
    assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"subledger\", error=\"invalid_token\"");
}

#[tokio::test]
async fn error_answers_made_elsewhere_become_problems_too() {
    let (status, _, body) = rendered((StatusCode::NOT_FOUND, "plain text")).await;
    assert_eq!((status.as_u16(), &body["code"]), (404, &json!("unknown_route")));
    let (_, _, body) = rendered((StatusCode::BAD_REQUEST, "plain text")).await;
    assert_eq!(body["code"], "bad_request");
}

#[test]
fn an_answer_that_is_no_refusal_is_left_alone() {
    let response = render((StatusCode::OK, "fine").into_response(), "request-1");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
}
