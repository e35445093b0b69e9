//! The SQL of the read models for PostgreSQL, and nothing else. Static, lower-case; the same file names as the other database's.

pub(crate) mod checkpoints;
pub(crate) mod reports;
pub(crate) mod rows;
