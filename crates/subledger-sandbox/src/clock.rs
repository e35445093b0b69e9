//! Where the sandbox gets the time from.
//!
//! Token lives, quota days and login codes all hang on time, so the clock is handed in and can also be pushed forward through
//! the control API. Nothing else in the crate may read the system clock. The exceptions are injected latency and the
//! deadlines and pauses of pushes: they are real waiting, because whoever is under test waits in real time too.

use jiff::Timestamp;

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, before the sandbox's own advance is added.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still; time passes only through [`crate::Sandbox::advance`].
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// An instant as milliseconds since 1970, the form all arithmetic in this crate uses.
pub(crate) type Millis = i64;

pub(crate) const SECOND: Millis = 1_000;
pub(crate) const MINUTE: Millis = 60 * SECOND;
const DAY: Millis = 24 * 60 * MINUTE;
/// Quotas start anew at midnight China time (wechat-api §10, commonly understood).
const CHINA_OFFSET: Millis = 8 * 60 * MINUTE;

/// How many calls fell into the current minute or day; an older window is forgotten as soon as a new one starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    index: i64,
    count: u64,
}

impl Window {
    /// Counts one call in the minute of `now`; false, and not counted, when `limit` calls were already made (0 = no limit).
    pub(crate) fn admit_minute(&mut self, now: Millis, limit: u64) -> bool {
        self.admit(now.div_euclid(MINUTE), limit)
    }

    /// The same for the China-time day of `now`.
    pub(crate) fn admit_day(&mut self, now: Millis, limit: u64) -> bool {
        self.admit((now + CHINA_OFFSET).div_euclid(DAY), limit)
    }

    /// The same for the China-time calendar month of `now`.
    pub(crate) fn admit_month(&mut self, now: Millis, limit: u64) -> bool {
        let china = jiff::tz::offset(8).to_datetime(Timestamp::from_millisecond(now).unwrap_or_default());
        self.admit(i64::from(china.year()) * 12 + i64::from(china.month()), limit)
    }

    /// Calls counted so far in the China-time day of `now`.
    pub(crate) fn used_day(&self, now: Millis) -> u64 {
        if self.index == (now + CHINA_OFFSET).div_euclid(DAY) { self.count } else { 0 }
    }

    /// Forgets what was counted.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn admit(&mut self, index: i64, limit: u64) -> bool {
        if self.index != index {
            *self = Self { index, count: 0 };
        }
        if limit != 0 && self.count >= limit {
            return false;
        }
        self.count += 1;
        true
    }
}
