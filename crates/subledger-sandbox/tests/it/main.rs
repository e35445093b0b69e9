//! The simulated WeChat seen from outside: real HTTP on a local port, and the journal behind it.
#![allow(clippy::unwrap_used)]

mod component_orders;
mod consent;
mod conservation;
mod control;
mod day;
mod faults;
mod orders;
mod platform_pushes;
mod platform_walk;
mod platform_world;
mod platforms;
mod profiles;
mod push_faults;
mod pushes;
mod quotas;
mod receiver;
mod sends;
mod support;
mod tokens;
mod users;
