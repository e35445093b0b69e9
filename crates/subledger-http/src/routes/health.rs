//! For whoever runs the service: is it alive, can it work, what does it count. No key is needed and none of the limits apply.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use subledger_engine::{Engine, PauseReason, PausedModel, Readiness};
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
    /// Read models that stopped at an event they cannot apply. Their answers are old; everything else works, so they do not
    /// make the node unready.
    paused: Vec<PausedView>,
}

/// A channel that does not keep up.
#[derive(Serialize, ToSchema)]
pub(crate) struct UndoneView {
    /// The channel's code.
    channel: String,
    /// How long its oldest due delivery has waited.
    age_seconds: u64,
}

/// A read model that stopped.
#[derive(Serialize, ToSchema)]
pub(crate) struct PausedView {
    /// The log: a channel's code, or `main`.
    log: String,
    /// The read model.
    projection: String,
    /// The position of the event it stopped at.
    position: u64,
    /// The event's kind, or `unknown.<number>`.
    kind: String,
    /// Why: `unknown_kind` (a newer version wrote the event) or `not_applicable`.
    reason: &'static str,
    /// What to do.
    advice: &'static str,
}

impl From<PausedModel> for PausedView {
    fn from(paused: PausedModel) -> Self {
        let (reason, advice) = match paused.reason {
            PauseReason::UnknownKind => (
                "unknown_kind",
                "upgrade this node to the version that wrote the event; a read model that stopped is tried again at the start",
            ),
            PauseReason::NotApplicable => (
                "not_applicable",
                "subledger projections status says why; upgrade this node if a newer version wrote the event, else keep what \
                 it says and run subledger projections rebuild",
            ),
        };
        Self {
            log: paused.log.to_string(),
            projection: paused.projection.to_string(),
            position: paused.position.0,
            kind: paused.kind,
            reason,
            advice,
        }
    }
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
            paused: readiness.paused.into_iter().map(PausedView::from).collect(),
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
