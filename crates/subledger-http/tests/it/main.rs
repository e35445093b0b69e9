//! The whole server over real HTTP: SQLite, the simulated WeChat, and a client that knows only what is documented.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod bad_input;
mod feed;
mod findings;
mod idempotency;
mod journey;
mod limits;
mod paging;
mod past;
mod paused;
mod people;
mod place;
mod platforms;
mod pushes;
mod quotas;
mod reader;
mod reports;
mod rights;
mod support;
mod tokens;
mod user_tokens;
