//! The statements for PostgreSQL.
//!
//! Same files and same function names as [`crate::sqlite`]: a reader of one knows the other. Batches travel as arrays
//! and are unpacked by `unnest`; nothing here decides anything. A lock and the reads it protects are separate
//! statements, because each statement sees the database as it was when the statement began.

pub(crate) mod append;
pub(crate) mod by_stream;
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

/// One column of rows, as an array.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}
