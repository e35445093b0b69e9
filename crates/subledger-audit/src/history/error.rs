//! Why the past was not told.

use subledger_projection::{QueryError, ReplayError};
use subledger_store::{Position, StoreError};
use thiserror::Error;

/// A question about the past was not answered.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The position is in the future.
    #[error("position {asked} is beyond the end of the log, which stands at {head}")]
    BeyondHead {
        /// The position asked for.
        asked: Position,
        /// The newest position of the log.
        head: Position,
    },
    /// There is more than can be explained at once.
    #[error("the ledger has more than {limit} events up to there; ask for an earlier point in time")]
    TooLong {
        /// The most events.
        limit: usize,
    },
    /// An event cannot be read or applied: it is of a newer version, or it was tampered with.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A read model could not be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
}
