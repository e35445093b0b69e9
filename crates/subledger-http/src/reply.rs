//! The three shapes of an answer: a page, one thing as it stood at a position, and what a write came to.
//!
//! All of them say the position of the channel's log, in the body and in the header `Subledger-Position`, so that a caller
//! can wait for its own write (`min_position`) wherever it reads next.

mod past;

use axum::{
    Json,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use subledger_projection::Page as Rows;
use subledger_store::{Done, Position};
use utoipa::ToSchema;

pub(crate) use self::past::Past;

/// The position of the log that an answer rests on.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("subledger-position");
/// Whether a write is the stored answer of an earlier, identical one.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T: ToSchema> {
    /// The rows.
    pub(crate) items: Vec<T>,
    /// Hand it back as `cursor` for the next page; null after the last row.
    pub(crate) next_cursor: Option<String>,
    /// The position of the channel's log that the page shows.
    pub(crate) position: u64,
}

impl<T: ToSchema> Page<T> {
    /// The page of a query, each row turned by `view`.
    pub(crate) fn of<R>(rows: Rows<R>, view: impl FnMut(R) -> T) -> Self {
        let Rows { items, next, position } = rows;
        Self { items: items.into_iter().map(view).collect(), next_cursor: next, position: position.0 }
    }
}

/// One thing, as it stood at a position.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct At<T: ToSchema> {
    #[serde(flatten)]
    pub(crate) value: T,
    /// The position of the channel's log that this shows.
    pub(crate) position: u64,
}

impl<T: ToSchema> At<T> {
    pub(crate) fn new(position: Position, value: T) -> Self {
        Self { value, position: position.0 }
    }
}

/// What a write came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written<T: ToSchema> {
    #[serde(flatten)]
    pub(crate) answer: T,
    /// The position of the channel's log with this write in it: wait for it to read your own write.
    pub(crate) position: u64,
    /// Whether this is the stored answer of an earlier, identical request.
    pub(crate) replayed: bool,
}

impl<T: ToSchema> Written<T> {
    pub(crate) fn of<A>(done: Done<A>, view: impl FnOnce(A) -> T) -> Self {
        Self { answer: view(done.answer), position: done.position.0, replayed: done.replayed }
    }
}

/// Nothing to say besides the position.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acknowledged {}

/// The acknowledgement of a write.
pub(crate) fn acknowledged(done: Done<()>) -> Written<Acknowledged> {
    Written::of(done, |()| Acknowledged {})
}

impl<T: ToSchema + Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        ([(POSITION, HeaderValue::from(self.position))], Json(self)).into_response()
    }
}

impl<T: ToSchema + Serialize> IntoResponse for At<T> {
    fn into_response(self) -> Response {
        ([(POSITION, HeaderValue::from(self.position))], Json(self)).into_response()
    }
}

impl<T: ToSchema + Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        let stored = self.replayed;
        replayed(stored, ([(POSITION, HeaderValue::from(self.position))], Json(self)).into_response())
    }
}

/// Says in the header, too, that an answer was stored.
pub(crate) fn replayed(stored: bool, mut response: Response) -> Response {
    if stored {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
