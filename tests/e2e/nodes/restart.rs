//! The database goes away under load, and comes back.
