//! The statements for SQLite.
//!
//! Same files and same function names as [`crate::postgres`]: a reader of one knows the other. Batches travel as
//! `json_each` arrays (see [`crate::json_rows`]); nothing here decides anything.

pub(crate) mod append;
pub(crate) mod connect;
pub(crate) mod head;
pub(crate) mod lease;
pub(crate) mod migrate;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod receipt;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod vault;
