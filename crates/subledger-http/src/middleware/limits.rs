//! Load shedding and the time limit of API requests.
//!
//! A request over the limit is refused at once: a queue in front of a saturated database only adds waiting to refusal.
//! Health and metrics do not pass here, so they answer when it matters most.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{context::Context, problem::ApiError};

/// Bounds requests by number and time.
pub(super) async fn bound(context: &Context, answer: impl Future<Output = Response>) -> Response {
    let Ok(_slot) = context.slots().try_acquire() else {
        let detail = "too many requests are under way; try again shortly";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).into_response();
    };
    let _counted = context.meters().in_flight();
    match tokio::time::timeout(context.settings().timeout, answer).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; a write may still be recorded: \
                          repeat it with the same Idempotency-Key to learn the outcome";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timed_out", detail).into_response()
        }
    }
}
