//! The metrics of the HTTP adapter. Labels are route templates, never paths: a path may name a user.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Requests answered. Labels: `route`, `method`, `status`.
pub(crate) const REQUESTS: &str = "subledger_http_requests_total";
/// Seconds from the head of a request to the head of its answer. Labels: `route`, `method`, `status`.
pub(crate) const SECONDS: &str = "subledger_http_request_seconds";
/// Requests to the API under way.
pub(crate) const IN_FLIGHT: &str = "subledger_http_requests_in_flight";

/// Event streams that are open.
pub(crate) const STREAMS: &str = "subledger_http_event_streams_open";

/// Registers units and help texts with the installed recorder.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by route template, method and status");
    describe_histogram!(SECONDS, Unit::Seconds, "Time to answer, by route template, method and status");
    describe_gauge!(STREAMS, Unit::Count, "Event streams that are open");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Requests to the API under way");
}
