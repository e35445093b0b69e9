//! Tests of the module above.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use axum::{http::HeaderValue, response::IntoResponse};
use serde_json::Value;

use super::*;
use crate::problem::render;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Order {
    name: String,
    #[serde(default)]
    lines: Vec<Line>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Line {
    count: u32,
}

async fn problem(error: ApiError) -> Value {
    let response = render(error.into_response(), "r");
    serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

async fn check(body: &str, code: &str, pointer: &str, rule: &str) {
    let error = parse::<Order>(body.as_bytes()).unwrap_err();
    let problem = problem(error).await;
    let found = (&problem["code"], &problem["errors"][0]["pointer"], &problem["errors"][0]["rule"]);
    assert_eq!(found, (&code.into(), &pointer.into(), &rule.into()), "{body}: {problem}");
}

#[tokio::test]
async fn a_wrong_field_is_named_with_its_rule() {
    check(r#"{}"#, "invalid_body", "/name", "required").await;
    check(r#"{"name": 7}"#, "invalid_body", "/name", "type").await;
    check(r#"{"name": "a", "nmae": "b"}"#, "invalid_body", "/nmae", "unknown_field").await;
    check(r#"{"name": "a", "name": "b"}"#, "invalid_body", "/name", "duplicate_field").await;
    check(
        r#"{"name": "a", "lines": [{"count": 1}, {"count": -1}]}"#,
        "invalid_body",
        "/lines/1/count",
        "invalid",
    )
    .await;
    check(r#"{"name": "a", "lines": [{"count": 1}, {}]}"#, "invalid_body", "/lines/1/count", "required")
        .await;
    check(r#"{"name": "a", "lines": [{"count": 1, "x": 2}]}"#, "invalid_body", "/lines/0/x", "unknown_field")
        .await;
    check(r#"{"name": "a", "notes": {"a/b~c": 1}}"#, "invalid_body", "/notes/a~1b~0c", "type").await;
    check(r#"[]"#, "invalid_body", "", "length").await;
    check(r#"7"#, "invalid_body", "", "type").await;
}

#[tokio::test]
async fn broken_json_is_told_by_line_and_column() {
    for body in ["", "{", "{\"name\": }", "{\"name\": \"a\"} x", "\u{feff}{}"] {
        let problem = problem(parse::<Order>(body.as_bytes()).unwrap_err()).await;
        assert_eq!((&problem["code"], &problem["status"]), (&"malformed_json".into(), &400.into()), "{body}");
    }
    let problem = problem(parse::<Order>(b"{\n  \"name\": oops\n}").unwrap_err()).await;
    assert_eq!(problem["errors"][0]["detail"], "line 2, column 11");
}

#[test]
fn only_json_in_utf8_is_taken() {
    let check = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        require_json(&headers).is_ok()
    };
    assert!(check("application/json"));
    assert!(check("Application/JSON; charset=UTF-8"));
    assert!(check("application/json;charset=\"utf-8\""));
    for wrong in [
        "text/plain",
        "application/json; charset=gbk",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        assert!(!check(wrong), "{wrong}");
    }
    assert!(require_json(&HeaderMap::new()).is_err());
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_not_a_byte_more() {
    assert_eq!(read(Body::from(vec![b' '; 10]), 10).await.unwrap().len(), 10);
    let problem = problem(read(Body::from(vec![b' '; 11]), 10).await.unwrap_err()).await;
    assert_eq!((&problem["code"], &problem["status"]), (&"body_too_large".into(), &413.into()));
}
