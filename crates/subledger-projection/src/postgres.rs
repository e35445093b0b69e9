//! The SQL of the read models for PostgreSQL, and nothing else. Static, lower-case; the same file names as the other database's.

pub(crate) mod apps;
pub(crate) mod bindings;
pub(crate) mod bulk;
pub(crate) mod channels;
pub(crate) mod checkpoints;
pub(crate) mod ledgers;
pub(crate) mod messages;
pub(crate) mod reports;
