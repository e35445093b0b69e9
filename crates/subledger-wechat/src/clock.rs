//! Where this crate reads the time.
//!
//! Token expiry is compared with the wall clock, so tests must be able to move it. Nothing here may sleep or set timers;
//! a clock that jumps costs at most one extra refresh, because WeChat itself tells us when a token is stale.

use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now_micros(&self) -> i64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl<F: Fn() -> i64 + Send + Sync> Clock for F {
    fn now_micros(&self) -> i64 {
        self()
    }
}
