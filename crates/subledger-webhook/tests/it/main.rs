//! Deliveries against scripted receivers on the loopback interface.
//!
//! The receivers are raw TCP, because most of what matters is what no well-behaved server does. All of 127.0.0.0/8 is this
//! machine, so one address of it can stand for the public Internet (allowed by configuration) and another for the inside.
#![allow(clippy::unwrap_used, missing_docs)]

mod capture;
mod deliveries;
mod egress;
mod endings;
mod fetches;
mod privacy;
mod receiver;
mod verifier;
