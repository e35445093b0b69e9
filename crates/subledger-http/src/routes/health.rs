//! For whoever runs the service: is it alive, can it work, what does it count. No key is needed and none of the limits apply.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use subledger_engine::{Engine, Readiness};
use utoipa::ToSchema;

use crate::context::Context;

/// Whether the node should get requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReadinessView {
    /// Whether it is ready.
    ready: bool,
    /// Whether the database answers.
    database: bool,
    /// Channels whose oldest due delivery is too old.
    undone: Vec<UndoneView>,
}

/// A channel that does not keep up.
#[derive(Serialize, ToSchema)]
pub(crate) struct UndoneView {
    /// The channel's code.
    channel: String,
    /// How long its oldest due delivery has waited.
    age_seconds: u64,
}

impl From<Readiness> for ReadinessView {
    fn from(readiness: Readiness) -> Self {
        let undone = readiness.undone.iter();
        Self {
            ready: readiness.ready(),
            database: readiness.database,
            undone: undone
                .map(|undone| UndoneView {
                    channel: undone.channel.to_string(),
                    age_seconds: undone.age.as_secs(),
                })
                .collect(),
        }
    }
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Can the node do its work?
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, body = ReadinessView),
    (status = 503, body = ReadinessView, description = "Not ready, and why")
))]
pub(crate) async fn readyz(State(engine): State<Engine>) -> impl IntoResponse {
    let view = ReadinessView::from(engine.readiness().await);
    let status = if view.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(view))
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], context.metrics().render())
}
