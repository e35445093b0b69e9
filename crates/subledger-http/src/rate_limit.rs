//! A token bucket per API key, and one per person who reports taps with a user token.
//!
//! In memory and per node on purpose: the limit protects this process from one caller's loop, and a shared counter would cost
//! a write per request. Only keys and tokens that were authenticated get a bucket, so nobody can fill the table with invented
//! ones.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets kept, at least, before full ones, which say nothing, are dropped.
const MANY_BUCKETS: usize = 4_096;

/// The buckets of all keys.
pub(crate) struct RateLimiter {
    per_second: f64,
    burst: f64,
    /// Std mutex: held for arithmetic, never across an await.
    buckets: Mutex<Buckets>,
}

struct Buckets {
    /// By the public part of the key, or by channel and person.
    by_key: HashMap<String, Bucket>,
    /// As soon as there are so many, full ones are dropped. Then twice what is left, so that one sweep is paid for by as
    /// many newcomers as it had to look at.
    sweep_at: usize,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimiter {
    /// Buckets that refill with `per_second` tokens and hold `burst`, both from 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self::filling(f64::from(per_second.max(1)), burst)
    }

    /// Buckets that hold `requests`, from 1, and fill up within a minute.
    pub(crate) fn per_minute(requests: u32) -> Self {
        Self::filling(f64::from(requests.max(1)) / 60.0, requests)
    }

    fn filling(per_second: f64, burst: u32) -> Self {
        let buckets = Buckets { by_key: HashMap::new(), sweep_at: MANY_BUCKETS };
        Self { per_second, burst: f64::from(burst.max(1)), buckets: Mutex::new(buckets) }
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let (per_second, burst) = (self.per_second, self.burst);
        let level = |bucket: &Bucket| {
            let idle = now.saturating_duration_since(bucket.at).as_secs_f64();
            idle.mul_add(per_second, bucket.tokens).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.by_key.len() >= buckets.sweep_at && !buckets.by_key.contains_key(key) {
            buckets.by_key.retain(|_, bucket| level(bucket) < burst);
            buckets.sweep_at = buckets.by_key.len().saturating_mul(2).max(MANY_BUCKETS);
        }
        let tokens = buckets.by_key.get(key).map_or(burst, level);
        let (left, answer) = if tokens < 1.0 {
            (tokens, Err(Duration::from_secs_f64((1.0 - tokens) / per_second)))
        } else {
            (tokens - 1.0, Ok(()))
        };
        let bucket = Bucket { tokens: left, at: now };
        match buckets.by_key.get_mut(key) {
            Some(known) => *known = bucket,
            None => drop(buckets.by_key.insert(key.to_owned(), bucket)),
        }
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, burst: u32) -> (RateLimiter, Instant) {
        (RateLimiter::new(per_second, burst), Instant::now())
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_token() {
        let (limiter, start) = limiter(10, 3);
        for _ in 0..3 {
            limiter.take("a", start).unwrap();
        }
        let wait = limiter.take("a", start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        limiter.take("a", start + wait).unwrap();
        limiter.take("a", start + wait).unwrap_err();
    }

    #[test]
    fn keys_do_not_share_a_bucket() {
        let (limiter, start) = limiter(1, 1);
        limiter.take("a", start).unwrap();
        limiter.take("b", start).unwrap();
        limiter.take("a", start).unwrap_err();
    }

    #[test]
    fn refusals_cost_nothing_and_a_bucket_never_overflows() {
        let (limiter, start) = limiter(1, 2);
        limiter.take("a", start).unwrap();
        limiter.take("a", start).unwrap();
        for _ in 0..50 {
            limiter.take("a", start).unwrap_err();
        }
        let later = start + Duration::from_secs(3600);
        limiter.take("a", later).unwrap();
        limiter.take("a", later).unwrap();
        limiter.take("a", later).unwrap_err();
    }

    #[test]
    fn full_buckets_are_dropped_when_there_are_many() {
        let (limiter, start) = limiter(1_000, 1);
        for number in 0..MANY_BUCKETS {
            limiter.take(&number.to_string(), start).unwrap();
        }
        limiter.take("one more", start + Duration::from_secs(1)).unwrap();
        assert_eq!(limiter.buckets.lock().unwrap().by_key.len(), 1);
    }

    #[test]
    fn a_bucket_per_minute_fills_up_in_a_minute() {
        let (limiter, start) = (RateLimiter::per_minute(30), Instant::now());
        for _ in 0..30 {
            limiter.take("a", start).unwrap();
        }
        assert_eq!(limiter.take("a", start).unwrap_err(), Duration::from_secs(2));
        let later = start + Duration::from_secs(60);
        for _ in 0..30 {
            limiter.take("a", later).unwrap();
        }
        limiter.take("a", later).unwrap_err();
    }

    #[test]
    fn buckets_in_use_are_not_looked_through_for_every_newcomer() {
        let (limiter, start) = (RateLimiter::per_minute(1), Instant::now());
        for number in 0..=MANY_BUCKETS {
            limiter.take(&number.to_string(), start).unwrap();
        }
        assert_eq!(limiter.buckets.lock().unwrap().sweep_at, 2 * MANY_BUCKETS);
        limiter.take("0", start).unwrap_err();
    }
}
