//! What can go wrong with the store.

use thiserror::Error;

/// A read or a write failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database does not answer; worth trying again.
    #[error("the database does not answer while {doing}")]
    Unavailable {
        /// The step.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The database answered with an error.
    #[error("the database refused while {doing}")]
    Database {
        /// The step.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// What is stored cannot be what was written.
    #[error("stored data is broken: {0}")]
    Corrupt(String),
}

/// The database could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is of no known kind.
    #[error("{0}")]
    Url(String),
    /// The master key does not unlock this database.
    #[error("SUBLEDGER_MASTER_KEY is not the key this database was set up with")]
    WrongMasterKey,
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database does not answer or is broken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A submission failed.
#[derive(Debug, Error)]
pub enum SubmitError<R> {
    /// The command was refused; nothing is recorded.
    #[error("refused")]
    Refused(R),
    /// The same command id was used with another body.
    #[error("the command id was used before with another body")]
    ReceiptConflict,
    /// Too many commands wait; try again shortly. Nothing is recorded.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The service is stopping. Nothing is recorded.
    #[error("the service is stopping")]
    ShuttingDown,
    /// The database failed. Nothing is recorded, unless `maybe_recorded`.
    #[error("the command could not be recorded")]
    Store {
        /// What failed.
        #[source]
        source: StoreError,
        /// The commit was under way when the connection broke: repeat with the same command id to find out.
        maybe_recorded: bool,
    },
    /// A defect in the work or in stored data.
    #[error("the command failed: {0}")]
    Fault(String),
}
