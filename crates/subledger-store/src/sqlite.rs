//! The statements for SQLite.
//!
//! Same files and same function names as [`crate::postgres`]: a reader of one knows the other. What the
//! executor writes goes through one prepared statement a row, on a thread of its own ([`writer`]): taking JSON arrays
//! apart cost a third of that thread. Everything else reads or writes sets as `json_each` arrays (see
//! [`crate::json_rows`]). Nothing here decides anything.

pub(crate) mod append;
pub(crate) mod connect;
pub(crate) mod erasure;
pub(crate) mod head;
pub(crate) mod inspect;
pub(crate) mod lease;
pub(crate) mod migrate;
pub(crate) mod past;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod receipt;
pub(crate) mod retention;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod vault;
pub(crate) mod writer;
