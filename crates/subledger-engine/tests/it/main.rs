//! The use cases against a real store, real read models and the simulated WeChat over HTTP.
//!
//! What the whole binary does is tested in the workspace's `tests/`; here stand the cases that need a hand inside: faults at a
//! chosen moment, races, policies.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "tests")]

mod capture;
mod channels;
mod deadlines;
mod dispatching;
mod doctoring;
mod forgetting;
mod granting;
mod place;
mod platforms;
mod quotas;
mod receiver;
mod relaying;
mod sending;
mod sweeping;
mod world;
