//! The outermost layer: request id, span, metrics, rendering of problems, security headers.
//!
//! It is one layer rather than five because its parts need each other: the problem needs the id, the span and the metrics
//! need the final status. Nothing here reads a body or a path: spans and metrics carry the route template, because a path
//! may name a user, and no header but the request id.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty};

use crate::{metric_definitions, middleware::security, problem};

/// The request id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a request id taken over from the caller at most.
const MAX_REQUEST_ID: usize = 64;
/// The route of requests that match none.
const UNMATCHED: &str = "unmatched";

/// The id of this request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's id, if it is one that can stand in logs and events, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let sane = |id: &&str| {
            (1..=MAX_REQUEST_ID).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        Self(given.map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Into::into))
    }
}

/// Wraps every request.
pub(crate) async fn wrap(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!(
        "http.request",
        "http.method" = method,
        "http.route" = route,
        "http.status" = Empty,
        "duration_ms" = Empty,
        "request.id" = id.as_str(),
        "app.id" = Empty,
    );
    finish(next.run(request), &id, method, &route, started).instrument(span).await
}

async fn finish(
    answer: impl Future<Output = Response>,
    id: &RequestId,
    method: &'static str,
    route: &str,
    started: Instant,
) -> Response {
    let mut response = problem::render(answer.await, id.as_str());
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
    metrics::counter!(metric_definitions::REQUESTS, &labels).increment(1);
    metrics::histogram!(metric_definitions::SECONDS, &labels).record(elapsed.as_secs_f64());
    let span = Span::current();
    span.record("http.status", status);
    span.record("duration_ms", elapsed.as_secs_f64() * 1_000.0);
    tracing::debug!("request answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    security::protect(route, headers);
    response
}

/// The method as a label; invented ones share one, or a caller could make as many series as it likes.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id_of(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_request_id_is_taken_over() {
        for id in ["a", "order-42.retry_1", &"x".repeat(64)] {
            assert_eq!(id_of(id), id);
        }
    }

    #[test]
    fn any_other_is_replaced_by_a_new_one() {
        for id in ["", "a b", "a\"b", "a;drop", "é", &"x".repeat(65)] {
            let made = id_of(id);
            assert_eq!(uuid::Uuid::parse_str(&made).unwrap().get_version_num(), 7, "{id}");
        }
    }
}
