//! An answer about now or about the past: the same shape, and for the past the point it stands at.

use axum::{
    Json,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use subledger_audit::history::Point;
use utoipa::ToSchema;

use super::POSITION;
use crate::moment::Moment;

/// A point of a channel's log.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct PointView {
    /// The position; zero is before the first event.
    position: u64,
    /// When the event there was recorded; null before the first event.
    time: Option<Moment>,
}

impl From<Point> for PointView {
    fn from(point: Point) -> Self {
        Self { position: point.position.0, time: point.time.map(Moment) }
    }
}

/// An answer about the past.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Known<T: ToSchema> {
    #[serde(flatten)]
    answer: T,
    /// The point in time.
    at: PointView,
    /// Always true: it was known then.
    known: bool,
}

/// Nothing was known then; something was recorded since.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotYet {
    /// The point in time.
    at: PointView,
    /// Always false.
    known: bool,
    /// The position of the channel's log that this shows.
    position: u64,
}

/// Without `at`, what is known now. With `at`, what was known then, or that nothing was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Past<T: ToSchema> {
    Now(T),
    // Inlined: the generator names it after its outermost type alone, so all of them would be one schema.
    Then(#[schema(inline)] Known<T>),
    NotYet(NotYet),
}

impl<T: ToSchema> Past<T> {
    /// What was known then.
    pub(crate) fn then(point: Point, answer: T) -> Self {
        Self::Then(Known { answer, at: point.into(), known: true })
    }

    /// Nothing was known then.
    pub(crate) fn not_yet(point: Point) -> Self {
        Self::NotYet(NotYet { at: point.into(), known: false, position: point.position.0 })
    }
}

impl<T: ToSchema + Serialize + IntoResponse> IntoResponse for Past<T> {
    fn into_response(self) -> Response {
        let position = match &self {
            Self::Now(_) => None,
            Self::Then(known) => Some(known.at.position),
            Self::NotYet(not_yet) => Some(not_yet.position),
        };
        match (self, position) {
            (Self::Now(answer), _) => answer.into_response(),
            (past, position) => {
                ([(POSITION, HeaderValue::from(position.unwrap_or_default()))], Json(past)).into_response()
            }
        }
    }
}
