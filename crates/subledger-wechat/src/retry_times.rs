//! When WeChat's own "try again" answers may be tried again.
//!
//! Pure arithmetic on given facts: no clock, no randomness, no sleeping. WeChat publishes no retry times; the ladder and
//! boundaries follow the retry table of the reference (§2.5). China has had no daylight saving since 1991 and Asia/Shanghai
//! is UTC+8 throughout the life of the API, so a fixed offset is exact and needs no time zone database.

use crate::client::Api;
use crate::codes::{CodeClass, classify};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;
const SHANGHAI_OFFSET_MICROS: i64 = 8 * 60 * MICROS_PER_MINUTE;

/// Waits of [`RetryHint::Backoff`], by attempts already made; the last one repeats.
const BACKOFF_SECONDS: [i64; 5] = [1, 5, 30, 120, 300];

/// Base wait of [`RetryHint::SameLane`]: about two normal answers, by when the concurrent call has ended.
const SAME_LANE_MICROS: i64 = 200_000;

/// What kind of wait a "try again" answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryHint {
    /// Wait longer each time (-1 "system busy").
    Backoff,
    /// Retry soon, in the lane of the same openid, alone (43108 "concurrent calls to the same OpenID").
    SameLane,
    /// Not before the next full minute (45011).
    NextMinute,
    /// Not before the next day in Asia/Shanghai, or until the quota is cleared by hand (45009).
    NextDay,
}

impl RetryHint {
    /// The earliest time to try again, in microseconds since the Unix epoch; always after `now_micros`.
    ///
    /// `attempt` is the number of attempts already made (1 after the first; 0 counts as 1) and only matters to
    /// [`RetryHint::Backoff`]. `jitter_micros` is added as given, negative values count as 0; the caller chooses it, so
    /// that many waiters do not wake at once.
    #[must_use]
    pub fn not_before(self, attempt: u32, now_micros: i64, jitter_micros: i64) -> i64 {
        let base = match self {
            Self::Backoff => {
                let last = BACKOFF_SECONDS.len() - 1;
                let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(last);
                let wait = BACKOFF_SECONDS.get(step.min(last)).copied().unwrap_or(1);
                now_micros.saturating_add(wait * MICROS_PER_SECOND)
            }
            Self::SameLane => now_micros.saturating_add(SAME_LANE_MICROS),
            Self::NextMinute => next_boundary(now_micros, MICROS_PER_MINUTE),
            Self::NextDay => {
                let local = now_micros.saturating_add(SHANGHAI_OFFSET_MICROS);
                next_boundary(local, MICROS_PER_DAY).saturating_sub(SHANGHAI_OFFSET_MICROS)
            }
        };
        base.saturating_add(jitter_micros.max(0))
    }
}

/// The first multiple of `step` strictly after `now`.
fn next_boundary(now: i64, step: i64) -> i64 {
    now.saturating_sub(now.rem_euclid(step)).saturating_add(step)
}

/// [`RetryHint::not_before`] for the code WeChat answered to a send; `None` if that code is not to be tried again.
#[must_use]
pub fn retry_not_before(code: i64, attempt: u32, now_micros: i64, jitter_micros: i64) -> Option<i64> {
    match classify(Api::Send, code) {
        CodeClass::TryAgain(hint) => Some(hint.not_before(attempt, now_micros, jitter_micros)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-01T15:59:59.999999Z, one microsecond before midnight in Shanghai.
    const BEFORE_MIDNIGHT: i64 = 1_709_308_799_999_999;

    #[test]
    fn a_busy_answer_waits_longer_each_time_and_then_steadily() {
        let waits: Vec<i64> =
            (0..8).map(|attempt| RetryHint::Backoff.not_before(attempt, 0, 0) / MICROS_PER_SECOND).collect();
        assert_eq!(waits, [1, 1, 5, 30, 120, 300, 300, 300]);
    }

    #[test]
    fn the_daily_quota_waits_for_midnight_in_shanghai() {
        assert_eq!(retry_not_before(45009, 1, BEFORE_MIDNIGHT, 0), Some(BEFORE_MIDNIGHT + 1));
        // At midnight sharp the new day has begun: a refusal then belongs to that day and waits for the next one.
        let midnight = BEFORE_MIDNIGHT + 1;
        assert_eq!(retry_not_before(45009, 1, midnight, 7), Some(midnight + MICROS_PER_DAY + 7));
    }

    #[test]
    fn the_minute_limit_waits_for_the_next_full_minute() {
        assert_eq!(retry_not_before(45011, 1, BEFORE_MIDNIGHT, 0), Some(BEFORE_MIDNIGHT + 1));
        assert_eq!(retry_not_before(45011, 9, 61 * MICROS_PER_SECOND, 5), Some(120 * MICROS_PER_SECOND + 5));
    }

    #[test]
    fn a_concurrent_call_is_retried_soon_with_the_callers_jitter() {
        assert_eq!(retry_not_before(43108, 1, 10, 33), Some(10 + 200_000 + 33));
        assert_eq!(retry_not_before(43108, 1, 10, -33), Some(10 + 200_000));
    }

    #[test]
    fn other_codes_have_no_retry_time() {
        for code in [0, 40003, 43101, 40001, 123_456] {
            assert_eq!(retry_not_before(code, 1, 0, 0), None, "{code}");
        }
    }

    #[test]
    fn extreme_clocks_do_not_overflow() {
        for hint in [RetryHint::Backoff, RetryHint::SameLane, RetryHint::NextMinute, RetryHint::NextDay] {
            for now in [i64::MIN, -1, 0, i64::MAX] {
                let _ = hint.not_before(u32::MAX, now, i64::MAX);
            }
        }
    }
}
