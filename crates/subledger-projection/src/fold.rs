//! Folds: how an event changes rows. Pure and in memory; the same code for both databases and for rebuilds.
//!
//! A [`Model`] takes the events of a batch, says which rows it needs (as often as it has to), folds, and holds the changed
//! rows ready; it may live for many batches. It must never ask anything but the rows and the events: no clock, no
//! database, no other projection, or a rebuild would come to another result.

mod apps;
mod bindings;
mod channels;
mod counters;
mod counting;
mod doubts;
mod drift;
mod incoming;
mod ledgers;
mod messages;

use subledger_domain::{DecodeError, Timestamp};
use subledger_store::Position;
use thiserror::Error;

use crate::{
    ProjectionName,
    cache::Held,
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

pub(crate) use incoming::{About, Incoming, LedgerKey};
pub(crate) use ledgers::LedgerBook;

/// When and where an event was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
}

/// Why an event cannot be applied.
#[derive(Debug, Error)]
pub(crate) enum FoldError {
    /// Its payload is not what its kind says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its stream is not named as streams of its aggregate are.
    #[error("stream {0} is not named as it should be")]
    Stream(String),
    /// It cannot have happened after what was applied before.
    #[error("{0}")]
    Contradiction(String),
}

/// An event that cannot be applied.
#[derive(Debug)]
pub(crate) struct Poison {
    pub(crate) position: Position,
    pub(crate) error: FoldError,
}

/// One projection during one batch or many.
pub(crate) trait Model: Send + Sync {
    /// Takes the next event, in order; events of no concern are passed over.
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError>;
    /// The rows it needs next. Asked again after each load, until it needs none; and once texts that could not be named have
    /// got their numbers.
    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need>;
    /// Takes rows it needed; those that do not exist are left out.
    fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable>;
    /// Applies the events, in order. After an error the model is of no use any more.
    fn fold(&mut self) -> Result<(), Poison>;
    /// The rows of its tables.
    fn tables(&mut self) -> Vec<&mut dyn Held>;
}

/// An empty model of a projection.
pub(crate) fn model(projection: ProjectionName) -> Box<dyn Model> {
    match projection {
        ProjectionName::Channels => Box::new(channels::Channels::default()),
        ProjectionName::Bindings => Box::new(bindings::Bindings::default()),
        ProjectionName::Ledgers => Box::new(ledgers::Ledgers::default()),
        ProjectionName::Messages => Box::new(messages::Messages::default()),
        ProjectionName::Apps => Box::new(apps::Apps::default()),
    }
}

#[cfg(test)]
mod tests;
