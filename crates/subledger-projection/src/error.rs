//! What can go wrong with read models.

use subledger_domain::LogName;
use subledger_store::{Position, StoreError};
use thiserror::Error;

use crate::{Pause, ProjectionName};

/// A query was not answered.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The limit of a page is outside 1 to [`crate::MAX_PAGE`].
    #[error("the limit of a page is 1 to {}", crate::MAX_PAGE)]
    Limit,
    /// The cursor was not made by this query.
    #[error("the cursor does not belong to this query")]
    Cursor,
    /// The database failed, or holds rows that cannot be ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A projection could not be built, rebuilt or verified.
#[derive(Debug, Error)]
pub enum ProjectionError {
    /// An event cannot be applied; the live rows are untouched.
    #[error(
        "projection {projection} of log {log} cannot apply the event at position {position} ({kind} of stream {stream}): {error}"
    )]
    Poison {
        /// The log.
        log: LogName,
        /// The projection.
        projection: ProjectionName,
        /// The event.
        position: Position,
        /// Its stream.
        stream: String,
        /// The name of its kind, or `unknown.<number>`.
        kind: String,
        /// Why.
        error: String,
    },
    /// An event is of a kind that this version does not know: rows built by it would miss what the event says.
    #[error(
        "the event at position {position} of log {log} (stream {stream}) is of kind {kind}, which this version does not know; \
         rebuild and verify with a version that does"
    )]
    UnknownKind {
        /// The log.
        log: LogName,
        /// The event.
        position: Position,
        /// Its stream.
        stream: String,
        /// Its kind number.
        kind: u16,
    },
    /// Another rebuild of the same log is under way.
    #[error("another rebuild of log {log} is under way")]
    Busy {
        /// The log.
        log: LogName,
    },
    /// The rows under construction changed under our hands: another rebuild of the same projection took them for
    /// abandoned. Start again.
    #[error("the generation of projection {projection} of log {log} under construction was taken away")]
    Displaced {
        /// The log.
        log: LogName,
        /// The projection.
        projection: ProjectionName,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ProjectionError {
    pub(crate) fn poison(log: &LogName, projection: ProjectionName, pause: Pause) -> Self {
        let Pause { position, stream, kind, error } = pause;
        Self::Poison { log: log.clone(), projection, position, stream, kind, error }
    }
}

/// The position waited for is not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the read models stand at position {at}")]
pub struct NotYet {
    /// Where the slowest of the projections waited for stands.
    pub at: Position,
}
