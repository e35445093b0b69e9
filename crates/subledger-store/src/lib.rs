//! The event log of subledger, on SQLite and on PostgreSQL.
mod config;
mod effects;
mod error;
mod executor;
mod recorded;
mod store;
mod work;

pub use config::{MasterKey, StoreConfig};
pub use effects::{Effect, QueueRow, QueueState};
pub use error::{OpenError, StoreError, SubmitError};
pub use executor::{Executor, ExecutorConfig};
pub use recorded::{Cause, Head, Link, Position, Recorded};
pub use store::{Claimed, Clock, QueueEntry, QueueStats, Store, Swept};
pub use work::{AnyState, Done, Known, ReceiptKey, Stage, StageError, Stop, StreamRef, Submission, Work};
