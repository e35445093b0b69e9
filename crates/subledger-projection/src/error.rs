//! What can go wrong with read models.

use subledger_domain::LogName;
use subledger_store::{Position, StoreError};
use thiserror::Error;

use crate::ProjectionName;

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
    #[error("projection {projection} of log {log} cannot apply the event at position {position}: {error}")]
    Poison {
        /// The log.
        log: LogName,
        /// The projection.
        projection: ProjectionName,
        /// The event.
        position: Position,
        /// Why.
        error: String,
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

/// The position waited for is not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the read models stand at position {at}")]
pub struct NotYet {
    /// Where the slowest of the projections waited for stands.
    pub at: Position,
}
