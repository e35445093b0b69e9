//! End-to-end tests: the real binary in its own processes, real HTTP, the simulated WeChat, both databases.
//!
//! The checker reads only the public API and the simulated WeChat's journal; it shares no code with what it checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, unreachable_pub, reason = "tests")]

mod authorize;
mod books;
mod commands;
mod degraded;
mod direct;
mod doctor;
mod keys;
mod kill;
mod main_job;
mod nodes;
mod oracle;
mod past;
mod proof;
mod pushes;
mod reports;
mod secrets;
mod support;
mod tokens;
