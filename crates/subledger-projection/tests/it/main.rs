//! The read models on real databases: SQLite always, PostgreSQL where `SUBLEDGER_TEST_POSTGRES` names a server.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod digests;
mod findings;
mod history;
mod paging;
mod queries;
mod random;
mod rebuilds;
mod report_views;
mod reports;
mod runner;
mod support;
mod views;
