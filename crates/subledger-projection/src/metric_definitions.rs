//! The names of this crate's metrics, in one place.
//!
//! Labels are closed sets: the name of a projection, and the log (one per channel, chosen by the operator).

use metrics::{describe_counter, describe_gauge};

/// Events applied; label `projection`.
pub(crate) const EVENTS: &str = "subledger_projection_events_total";
/// Events of the log that are not applied yet; labels `log`, `projection`.
pub(crate) const BEHIND: &str = "subledger_projection_behind_events";
/// How long the oldest event has waited that is not applied, in seconds; labels `log`, `projection`.
pub(crate) const BEHIND_SECONDS: &str = "subledger_projection_behind_seconds";
/// The position of the event that the projection is stopped at, 0 if it is not; labels `log`, `projection`.
pub(crate) const PAUSED_POSITION: &str = "subledger_projection_paused_position";
/// Events of kinds that this version does not know and that a projection passed over; label `projection`.
pub(crate) const UNKNOWN: &str = "subledger_projection_unknown_events_total";
/// Whether this node runs the projections of the log, 0 or 1; label `log`.
pub(crate) const RUNS: &str = "subledger_projection_runs";
/// Whether the projection is stopped at an event it cannot apply, 0 or 1; labels `log`, `projection`.
pub(crate) const PAUSED: &str = "subledger_projection_paused";
/// Batches that another node applied first; nothing is lost but the work.
pub(crate) const LOST_RACES: &str = "subledger_projection_lost_races_total";
/// Attempts that ended because the database did not answer or refused.
pub(crate) const FAILURES: &str = "subledger_projection_failures_total";

/// Registers descriptions of all metrics of this crate with the installed recorder.
pub fn describe_metrics() {
    describe_counter!(EVENTS, "events applied to read models by projection");
    describe_gauge!(BEHIND, "events of the log that a read model has not applied yet");
    describe_gauge!(BEHIND_SECONDS, "seconds the oldest event has waited that a read model has not applied");
    describe_gauge!(PAUSED_POSITION, "position of the event that a read model is stopped at, 0 if it is not");
    describe_counter!(UNKNOWN, "events of kinds unknown to this version that read models passed over");
    describe_gauge!(RUNS, "1 where this node runs the read models of the log");
    describe_gauge!(PAUSED, "1 where a read model is stopped at an event it cannot apply");
    describe_counter!(LOST_RACES, "batches for read models that another node applied first");
    describe_counter!(FAILURES, "attempts to bring a read model up to date that failed in the database");
}
