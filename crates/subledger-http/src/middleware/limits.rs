//! Load shedding and the time limit of API requests.
//!
//! A request over the limit is refused at once: a queue in front of a saturated database only adds waiting to refusal.
//! Health and metrics do not pass here, so they answer when it matters most.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{context::Context, metric_definitions, problem::ApiError};

/// Counts a request while it is under way, also when its future is dropped.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!(metric_definitions::IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(metric_definitions::IN_FLIGHT).decrement(1.0);
    }
}

/// Bounds requests by number and time.
pub(crate) async fn bound(State(context): State<Context>, request: Request, next: Next) -> Response {
    let Ok(_slot) = context.slots().clone().try_acquire_owned() else {
        let detail = "too many requests are under way; try again shortly";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).into_response();
    };
    let _counted = Counted::new();
    match tokio::time::timeout(context.settings().timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; a write may still be recorded: \
                          repeat it with the same Idempotency-Key to learn the outcome";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timed_out", detail).into_response()
        }
    }
}
