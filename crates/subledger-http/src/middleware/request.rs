//! The one layer around every route: request id, span, metrics, limits, key, panics, rendering of problems, security headers.
//!
//! It is one layer rather than seven because its parts need each other (the problem needs the id, the span and the metrics
//! need the final status) and because each layer of the router costs every request two boxes and a move of the whole request.
//! Each concern with a rule of its own stands in its own file; this one says in which order they are asked. Nothing here reads
//! a body or a path: spans and metrics carry the route template, because a path may name a user, and no header but the
//! request id and the key.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::BoxFuture};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    context::Context,
    meters::Meters,
    middleware::{auth, limits, security},
    problem::{self, ApiError},
};

/// The request id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a request id taken over from the caller at most.
const MAX_REQUEST_ID: usize = 64;
/// The route of requests that match none.
const UNMATCHED: &str = "unmatched";

/// The id of this request, as the header that the answer carries. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The caller's id, if it is one that can stand in logs and events, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let sane = |id: &&HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&id.len())
                && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let fresh = || {
            let mut text = uuid::Uuid::encode_buffer();
            let text = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text);
            // Hexadecimal digits and hyphens are always a header's value.
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
        };
        Self(headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(fresh))
    }
}

/// Who may pass.
#[derive(Clone)]
pub(crate) enum Door {
    /// Everybody, and none of the limits applies: health and metrics answer when it matters most.
    Open,
    /// Who has a key, within the limits.
    Keyed(Context),
    /// Who has a user token, within the limits.
    Token(Context),
}

/// The layer.
#[derive(Clone)]
pub(crate) struct Wrap {
    meters: Arc<Meters>,
    door: Door,
}

impl Wrap {
    pub(crate) fn new(meters: Arc<Meters>, door: Door) -> Self {
        Self { meters, door }
    }
}

impl<S> Layer<S> for Wrap {
    type Service = Wrapped<S>;

    fn layer(&self, inner: S) -> Wrapped<S> {
        Wrapped { wrap: self.clone(), inner }
    }
}

/// A route with the layer around it.
#[derive(Clone)]
pub(crate) struct Wrapped<S> {
    wrap: Wrap,
    inner: S,
}

impl<S> Service<Request> for Wrapped<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let started = Instant::now();
        let Wrap { meters, door } = self.wrap.clone();
        let id = RequestId::of(request.headers());
        let method = method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let span = tracing::info_span!(
            "http.request",
            "http.method" = method,
            "http.route" = route_of(route.as_ref()),
            "http.status" = Empty,
            "duration_ms" = Empty,
            "request.id" = id.as_str(),
            "app.id" = Empty,
        );
        // The service that was found ready; the one left behind is another.
        let inner = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, inner);
        let answered = async move {
            let asked = ask(&door, request, id.clone(), inner);
            let answer = AssertUnwindSafe(asked).catch_unwind().await;
            let answer = answer.unwrap_or_else(|panic| panicked(&*panic).into_response());
            Ok(finish(&meters, answer, id, method, route_of(route.as_ref()), started))
        };
        Box::pin(answered.instrument(span))
    }
}

/// What happens to a request before and in its handler.
async fn ask<S>(door: &Door, mut request: Request, id: RequestId, mut inner: S) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let context = match door {
        Door::Open => {
            request.extensions_mut().insert(id);
            return inner.call(request).await.unwrap_or_else(|never| match never {});
        }
        Door::Keyed(context) | Door::Token(context) => context,
    };
    let within = async {
        let admitted = match door {
            Door::Token(_) => auth::admit_holder(context, request.headers()).await.map(|holder| {
                Span::current().record("app.id", holder.app.as_str());
                drop(request.extensions_mut().insert(auth::Held { holder, request: id }));
            }),
            _ => auth::admit(context, request.headers()).await.map(|rights| {
                Span::current().record("app.id", rights.app.as_str());
                drop(request.extensions_mut().insert(auth::Admitted { rights, request: id }));
            }),
        };
        match admitted {
            Ok(()) => inner.call(request).await.unwrap_or_else(|never| match never {}),
            Err(error) => error.into_response(),
        }
    };
    limits::bound(context, within).await
}

/// What happens to every answer.
fn finish(
    meters: &Meters,
    answer: Response,
    id: RequestId,
    method: &'static str,
    route: &str,
    started: Instant,
) -> Response {
    let mut response = problem::render(answer, id.as_str());
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    meters.answered(route, method, status, elapsed);
    // The fields stand in this one line; where it is not wanted, writing them out would be for nothing.
    if tracing::enabled!(tracing::Level::DEBUG) {
        let span = Span::current();
        span.record("http.status", status);
        span.record("duration_ms", elapsed.as_secs_f64() * 1_000.0);
        tracing::debug!("request answered");
    }
    let headers = response.headers_mut();
    security::protect(route, headers);
    headers.insert(REQUEST_ID, id.0);
    response
}

fn route_of(matched: Option<&MatchedPath>) -> &str {
    matched.map_or(UNMATCHED, MatchedPath::as_str)
}

/// The answer to a request whose handler panicked: a defect, told to the log and not to the caller.
fn panicked(panic: &(dyn std::any::Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    ApiError::internal(format!("a handler panicked: {text}"))
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
