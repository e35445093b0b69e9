//! The names of this crate's metrics, in one place.
//!
//! Labels are closed sets. Never a host: whoever configures endpoints could make as many as they like.

use metrics::{Unit, describe_counter, describe_histogram};

/// Attempts to deliver; label `outcome`.
pub(crate) const ATTEMPTS: &str = "subledger_webhook_attempts_total";
/// Duration of an attempt in seconds, from the look-up of the name to the end of the answer.
pub(crate) const ATTEMPT_SECONDS: &str = "subledger_webhook_attempt_duration_seconds";

/// Registers descriptions of all metrics of this crate with the installed recorder.
pub fn describe_metrics() {
    describe_counter!(ATTEMPTS, "attempts to deliver to integrators' URLs by outcome");
    describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, "duration of attempts to deliver");
}
