//! Proof, attacked: every promise has a test that breaks it and sees it named. On both databases.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod export;
mod receipts;
mod support;
mod tampering;
mod vectors;
mod whole;
mod world;
