//! The rules, told as given/when/then, as properties and as stored examples.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod app_spec;
mod binding_spec;
mod channel_spec;
mod golden;
mod ledger_doubt_spec;
mod ledger_policy_spec;
mod ledger_push_spec;
mod ledger_spec;
mod ledger_tap_spec;
mod message_spec;
mod person_spec;
mod platform_spec;
mod properties;
#[rustfmt::skip] // Short enough to be read at one sitting, and it should stay so.
mod reference_model;
mod shapes;
mod support;
mod template_values;
mod truth;
