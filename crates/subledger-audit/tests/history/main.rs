//! Past states and explanations on real databases: SQLite always, PostgreSQL where `SUBLEDGER_TEST_POSTGRES` names a
//! server. The databases and the scripts are those of the read models' own tests.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod points;
mod random;
mod story;

#[allow(dead_code)]
#[path = "../../../subledger-projection/tests/it/history.rs"]
mod history;
#[allow(dead_code)]
#[path = "../../../subledger-projection/tests/it/support.rs"]
mod support;
