//! The limits of the HTTP adapter, by name.

use std::time::Duration;

/// How long WeChat waits for an answer is 5 s; what is not recorded a second before that is refused, so that it comes again.
pub(crate) const PUSH_DEADLINE: Duration = Duration::from_secs(4);
/// Requests to push URLs at once; more wait within their deadline. Bounds the memory that strangers can take.
pub(crate) const MAX_PUSHES_IN_FLIGHT: usize = 256;

/// Limits of the HTTP adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Bytes of a request body at most. Default 2 MiB: a thousand recipients with values of their own fit.
    pub max_body_bytes: usize,
    /// How long one request may take. Default 30 s.
    pub timeout: Duration,
    /// Requests to the API under way at most; beyond it callers get 503 at once rather than a place in a long queue.
    /// Default 1,024.
    pub max_in_flight: usize,
    /// Requests of one API key per second in the long run; 0 switches the limit off. Default 1,000.
    pub requests_per_second: u32,
    /// Requests of one API key at once after a pause, from 1. Default 2,000.
    pub burst: u32,
    /// Reports of one person with a user token per minute, on this node; 0 switches the limit off. Nobody taps so often, and a
    /// device that comes back with a pile of unsent reports only takes longer to be rid of it. Default 30.
    pub user_reports_per_minute: u32,
    /// Access tokens lent to one app per channel and minute, on this node; 0 switches the limit off. A token lives for two hours,
    /// and each lease is in the books for ever. Default 10.
    pub token_leases_per_minute: u32,
    /// Event streams of one API key at once. Default 8.
    pub max_streams_per_key: usize,
    /// Event streams of all keys at once. Default 1,024.
    pub max_streams: usize,
    /// How long an event stream may be silent before it sends a comment, and looks whether its key still holds. Default 15 s.
    pub heartbeat: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 2 * 1024 * 1024,
            timeout: Duration::from_secs(30),
            max_in_flight: 1_024,
            requests_per_second: 1_000,
            burst: 2_000,
            user_reports_per_minute: 30,
            token_leases_per_minute: 10,
            max_streams_per_key: 8,
            max_streams: 1_024,
            heartbeat: Duration::from_secs(15),
        }
    }
}
