//! What can go wrong with the store.
//!
//! The one distinction callers act on: a database that does not answer (try again, perhaps recorded) is
//! [`StoreError::Unavailable`]; a statement it refuses is [`StoreError::Database`]; an event that only a newer version of
//! the program can read is [`StoreError::Newer`]; bytes that cannot be what was written are [`StoreError::Corrupt`]. The sorting is done here and nowhere else.

use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};
use subledger_domain::{DecodeError, LogName};
use thiserror::Error;

use crate::Position;

/// What a database driver said. Nothing is behind it: drivers repeat in their words what lies behind theirs.
#[derive(Debug, Error)]
pub enum DriverError {
    /// Of PostgreSQL, or of SQLite where the store reads and other crates keep their tables.
    #[error("{0}")]
    Sqlx(sqlx::Error),
    /// Of SQLite where the log is written.
    #[error("{0}")]
    Rusqlite(rusqlite::Error),
    /// The words of one of these, for another caller that shares the failure.
    #[error("{0}")]
    Said(String),
}

impl From<sqlx::Error> for DriverError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl From<rusqlite::Error> for DriverError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Rusqlite(error)
    }
}

/// An event that a newer version of the program wrote. It is sound; an upgrade of this process makes it readable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this process is older than what wrote position {position} of log {log} ({reason}): upgrade it")]
pub struct NewerEvent {
    /// The log.
    pub log: LogName,
    /// The event.
    pub position: Position,
    /// What is new about it.
    pub reason: String,
}

impl NewerEvent {
    /// The event at this place, if that is why it was not decoded; none if what is stored is broken.
    pub fn of(log: &LogName, position: Position, error: &DecodeError) -> Option<Self> {
        error.is_newer().then(|| Self { log: log.clone(), position, reason: error.to_string() })
    }
}

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
        source: DriverError,
    },
    /// The database answered with an error.
    #[error("the database refused while {doing}")]
    Database {
        /// The step.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: DriverError,
    },
    /// Another process writes the SQLite file; this one may only read it.
    #[error("{0}")]
    WrittenElsewhere(String),
    /// What was asked for rests on an event of a newer version.
    #[error(transparent)]
    Newer(#[from] NewerEvent),
    /// What is stored cannot be what was written.
    #[error("stored data is broken: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Sorts what the driver said: away for now, damaged, or refused. For every crate that keeps tables in the database, so
    /// that all of them wait out the same failures.
    pub fn sort(doing: &'static str, source: impl Into<DriverError>) -> Self {
        let source = source.into();
        match fault_of(&source) {
            Fault::Unreachable => Self::Unavailable { doing, source },
            Fault::Damaged => Self::Corrupt(format!("{source}, found while {doing}")),
            Fault::Refused => Self::Database { doing, source },
        }
    }

    /// The same failure for another of the callers that share it. Driver errors cannot be cloned, their text can.
    pub(crate) fn again(&self) -> Self {
        let copy = |source: &DriverError| DriverError::Said(source.to_string());
        match self {
            Self::Unavailable { doing, source } => Self::Unavailable { doing, source: copy(source) },
            Self::Database { doing, source } => Self::Database { doing, source: copy(source) },
            Self::WrittenElsewhere(by) => Self::WrittenElsewhere(by.clone()),
            Self::Newer(event) => Self::Newer(event.clone()),
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
        }
    }
}

/// For `map_err`: sorts a driver error that came up while doing this step.
pub(crate) fn while_doing<E: Into<DriverError>>(doing: &'static str) -> impl Fn(E) -> StoreError + Copy {
    move |source| StoreError::sort(doing, source)
}

enum Fault {
    Unreachable,
    Damaged,
    Refused,
}

fn fault_of(error: &DriverError) -> Fault {
    match error {
        DriverError::Sqlx(error) => fault_of_sqlx(error),
        DriverError::Rusqlite(rusqlite::Error::SqliteFailure(error, _)) => {
            fault_of_sqlite(error.extended_code)
        }
        DriverError::Rusqlite(_) | DriverError::Said(_) => Fault::Refused,
    }
}

fn fault_of_sqlx(error: &sqlx::Error) -> Fault {
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => return Fault::Unreachable,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return Fault::Damaged,
        _ => return Fault::Refused,
    };
    if let Some(error) = database.try_downcast_ref::<PgDatabaseError>() {
        // Class 08: connection exceptions; class 53: out of disk, memory or connections; 57P0x and 57014: shut down, crashed,
        // starting up, cancelled; 25P03: the session was ended because it idled in a transaction; 40001, 40P01, 55P03: lost a race
        // for locks; 55000, 3D000 and class 28: the database takes no connections, is gone, or knows us no more, all of which
        // an operator may mend while we run; XX001, XX002: a damaged table or index.
        return match error.code() {
            "55000" | "3D000" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "40001"
            | "40P01" | "55P03" => Fault::Unreachable,
            "XX001" | "XX002" => Fault::Damaged,
            code if code.starts_with("08") || code.starts_with("28") || code.starts_with("53") => {
                Fault::Unreachable
            }
            _ => Fault::Refused,
        };
    }
    if database.try_downcast_ref::<SqliteError>().is_some() {
        let code: Option<i32> = database.code().and_then(|code| code.parse().ok());
        return code.map_or(Fault::Refused, fault_of_sqlite);
    }
    Fault::Refused
}

/// By the primary code, which extended codes carry in the low byte: 5 busy, 6 locked, 10 I/O error, 13 disk full, 14 cannot
/// open; 11 corrupt, 26 not a database.
const fn fault_of_sqlite(code: i32) -> Fault {
    match code & 0xff {
        5 | 6 | 10 | 13 | 14 => Fault::Unreachable,
        11 | 26 => Fault::Damaged,
        _ => Fault::Refused,
    }
}

/// The database could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is of no known kind.
    #[error("{0}")]
    Url(String),
    /// The server was not reached or lets us not in: not there, unknown to it, no such database.
    #[error("cannot connect to the database, {place}: {cause}")]
    Connect {
        /// Where and as whom; never a password.
        place: String,
        /// What the server or the system said.
        cause: String,
    },
    /// The database is too old.
    #[error("{0}")]
    Unsupported(String),
    /// The master key does not unlock this database.
    #[error("{}", wrong_key(given, fitting))]
    WrongMasterKey {
        /// The id of the key that was given.
        given: String,
        /// The ids of the keys that would do; none are known of a database that no version with ids has opened.
        fitting: Vec<String>,
    },
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database does not answer or is broken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn wrong_key(given: &str, fitting: &[String]) -> String {
    let not_this = format!("SUBLEDGER_MASTER_KEY is key {given}, which does not unlock this database");
    match fitting {
        [] => not_this,
        keys => format!("{not_this}; key {} does", keys.join(" or ")),
    }
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
    /// A stream it needs holds an event of a newer version. Nothing is recorded.
    #[error(transparent)]
    Newer(NewerEvent),
    /// A defect in the work or in stored data.
    #[error("the command failed: {0}")]
    Fault(String),
}
