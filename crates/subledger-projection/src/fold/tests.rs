//! Folds against random histories: every row must say what the domain's own aggregates say, after every event and however
//! the events are cut into batches.

#![allow(clippy::unwrap_used)]

mod contradictions;
mod findings;
mod histories;
mod memory;
mod reports;
mod world;
