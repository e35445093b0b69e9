//! What is SQLite's own about the read models: how rows go in and out in sets, and SQL that the other database would not
//! understand. Lower-case; the same file names as the other database's.

pub(crate) mod checkpoints;
pub(crate) mod findings;
pub(crate) mod reports;
pub(crate) mod rows;
