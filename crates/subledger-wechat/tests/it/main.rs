//! The adapter against a scripted WeChat on the loopback interface, and pushes as bytes.
//!
//! The server is raw TCP, because most of what matters here is what no well-behaved server does: closing, resetting,
//! hanging, cutting off.
#![allow(clippy::unwrap_used, missing_docs)]

mod calls;
mod capture;
mod component;
mod never_twice;
mod push;
mod quota;
mod secrets;
mod send_outcomes;
mod server;
mod tokens;
mod tokens_shared;
mod tokens_stale;
