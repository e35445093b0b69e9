//! How fast a lane may go: a token bucket over the claims of one channel on this node.
//!
//! WeChat publishes no rate for sending, so there is none by default. An operator who knows the account's limit
//! (`openapi/quota/get` shows it) sets it and is spared the 45011 answers, each of which costs the whole lane the rest of the
//! minute. Time is handed in; the bucket holds at most one second's worth, so a pause is not made up for by a burst.

use subledger_domain::Timestamp;

/// A token bucket. Used by one lane alone, so it needs no lock.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Sends per second; 0 means as fast as it goes.
    per_second: u32,
    /// Millionths of a send that may be made now: at `n` sends per second, `n` of them come in a microsecond.
    tokens: u64,
    /// When the tokens were counted.
    counted_at: Timestamp,
}

const TOKEN: u64 = 1_000_000;

impl Pace {
    pub(super) fn new(per_second: u32, now: Timestamp) -> Self {
        Self { per_second, tokens: u64::from(per_second) * TOKEN, counted_at: now }
    }

    /// How many sends may be made at `now`, of the `wanted`.
    pub(super) fn allowed(&mut self, wanted: usize, now: Timestamp) -> usize {
        if self.per_second == 0 {
            return wanted;
        }
        let full = u64::from(self.per_second) * TOKEN;
        let elapsed = u64::try_from(now.micros().saturating_sub(self.counted_at.micros())).unwrap_or(0);
        let earned = elapsed.saturating_mul(u64::from(self.per_second));
        self.tokens = self.tokens.saturating_add(earned).min(full);
        self.counted_at = now;
        wanted.min(usize::try_from(self.tokens / TOKEN).unwrap_or(usize::MAX))
    }

    /// Takes the tokens of `made` sends.
    pub(super) fn spend(&mut self, made: usize) {
        let spent = u64::try_from(made).unwrap_or(u64::MAX).saturating_mul(TOKEN);
        self.tokens = self.tokens.saturating_sub(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000);

    #[test]
    fn without_a_rate_everything_is_allowed() {
        let mut pace = Pace::new(0, START);
        pace.spend(1_000);
        assert_eq!(pace.allowed(64, START), 64);
    }

    #[test]
    fn a_rate_holds_over_any_second_and_is_not_made_up_for() {
        let mut pace = Pace::new(10, START);
        assert_eq!(pace.allowed(64, START), 10);
        pace.spend(10);
        assert_eq!(pace.allowed(64, START), 0);
        assert_eq!(pace.allowed(64, START.plus_micros(99_999)), 0);
        assert_eq!(pace.allowed(64, START.plus_micros(100_000)), 1);
        assert_eq!(
            pace.allowed(64, START.plus_seconds(3_600)),
            10,
            "an hour's pause buys one second's worth"
        );
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing_and_breaks_nothing() {
        let mut pace = Pace::new(10, START);
        pace.spend(10);
        assert_eq!(pace.allowed(64, START.plus_seconds(-60)), 0);
        assert_eq!(pace.allowed(64, START.plus_seconds(-59)), 10);
    }
}
