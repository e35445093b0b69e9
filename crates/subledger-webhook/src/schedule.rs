//! When to try again.
//!
//! Pure arithmetic on given facts: no clock, no dice, no sleeping. A receiver that is being restarted is back within seconds,
//! one that broke on a Friday evening on Monday, so the waits grow quickly and then stay bearable, and the whole lasts three
//! days. Chance is added to every wait, so that all that piled up while a receiver was away does not come back in one
//! moment.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Waits by attempts already made, the first after the first attempt; the last one repeats.
pub const DELAYS: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * MINUTE),
    Duration::from_secs(10 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(HOUR),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(4 * HOUR),
];
/// No attempt is made later than this after the first. The last one is made when the time is over, so an endpoint that
/// comes back on the third day is still reached.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * DAY);
/// At most so much of a wait is added to it by chance, in percent. Nothing is ever taken away.
pub const JITTER_PERCENT: u32 = 10;
/// Longest wait a receiver may ask for with `Retry-After`; a longer one counts as this. It can lengthen a wait of the schedule
/// and not shorten it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(12 * HOUR);

/// How long to wait until the next attempt; `None` if no further one is to be made.
///
/// * `attempts_made`: 1 after the first attempt; 0 counts as 1.
/// * `since_first`: time from the first attempt to now.
/// * `retry_after`: what the receiver asked for, as in [`crate::Outcome::TryAgain`].
/// * `dice`: any number, all equally likely, such as `rand::random()`.
#[must_use]
pub fn next_delay(
    attempts_made: u32,
    since_first: Duration,
    retry_after: Option<Duration>,
    dice: u32,
) -> Option<Duration> {
    let [first, .., last] = DELAYS;
    let left = GIVE_UP_AFTER.saturating_sub(since_first);
    if left < first {
        return None;
    }
    let step = usize::try_from(attempts_made.saturating_sub(1)).unwrap_or(usize::MAX);
    let planned = DELAYS.get(step).copied().unwrap_or(last);
    let wait = planned.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
    let jitter = wait.mul_f64(f64::from(JITTER_PERCENT) / 100.0 * f64::from(dice) / f64::from(u32::MAX));
    Some((wait + jitter).min(left))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Plays attempts that all fail at once; returns the waits.
    fn play(retry_after: Option<Duration>, dice: u32) -> Vec<Duration> {
        let (mut waits, mut since_first) = (Vec::new(), Duration::ZERO);
        while let Some(wait) = next_delay(waits.len() as u32 + 1, since_first, retry_after, dice) {
            waits.push(wait);
            since_first += wait;
        }
        waits
    }

    #[test]
    fn waits_grow_and_end_after_three_days() {
        let waits: Vec<u64> = play(None, 0).iter().map(Duration::as_secs).collect();
        let mut expected = vec![5, 30, 120, 600, 1800, 3600, 7200];
        expected.extend([14400; 17]);
        // What is left of the three days after these.
        expected.push(1045);
        assert_eq!(waits, expected);
        assert_eq!(waits.iter().sum::<u64>(), 3 * DAY);
    }

    #[test]
    fn the_last_attempt_is_made_at_the_end_whatever_chance_says() {
        for dice in [0, 1, u32::MAX / 3, u32::MAX] {
            let total: Duration = play(None, dice).iter().sum();
            assert!(total <= GIVE_UP_AFTER && GIVE_UP_AFTER - total < DELAYS[0], "{dice}: {total:?}");
        }
    }

    #[test]
    fn chance_adds_up_to_a_tenth_and_takes_nothing() {
        assert_eq!(next_delay(1, Duration::ZERO, None, 0), Some(Duration::from_secs(5)));
        assert_eq!(next_delay(1, Duration::ZERO, None, u32::MAX), Some(Duration::from_millis(5500)));
        let half = next_delay(1, Duration::ZERO, None, u32::MAX / 2).unwrap();
        assert!((5249..=5251).contains(&half.as_millis()), "{half:?}");
    }

    #[test]
    fn a_receiver_may_lengthen_a_wait_within_bounds_and_not_shorten_it() {
        let asked = |seconds, made| {
            next_delay(made, Duration::ZERO, Some(Duration::from_secs(seconds)), 0).unwrap().as_secs()
        };
        assert_eq!(asked(0, 1), 5);
        assert_eq!(asked(60, 1), 60);
        assert_eq!(asked(60, 8), 4 * HOUR);
        assert_eq!(asked(u64::MAX, 1), 12 * HOUR);
        // A receiver that always asks for the most is still tried at the end.
        assert_eq!(play(Some(Duration::MAX), 0).iter().sum::<Duration>(), GIVE_UP_AFTER);
    }

    #[test]
    fn odd_numbers_do_not_break_it() {
        assert_eq!(next_delay(0, Duration::ZERO, None, 0), Some(DELAYS[0]));
        assert_eq!(next_delay(u32::MAX, Duration::ZERO, None, 0), Some(DELAYS[7]));
        assert_eq!(next_delay(1, Duration::MAX, None, u32::MAX), None);
        assert_eq!(next_delay(1, GIVE_UP_AFTER, None, 0), None);
        let almost = GIVE_UP_AFTER - Duration::from_secs(5);
        assert_eq!(next_delay(30, almost, None, 0), Some(Duration::from_secs(5)));
        assert_eq!(next_delay(30, almost + Duration::from_millis(1), None, 0), None);
    }
}
