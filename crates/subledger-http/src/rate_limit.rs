//! A token bucket per API key.
//!
//! In memory and per node on purpose: the limit protects this process from one caller's loop, and a shared counter would cost
//! a write per request. Only keys that were authenticated get a bucket, so nobody can fill the table with invented ones.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets kept before full ones, which say nothing, are dropped.
const MANY_BUCKETS: usize = 4_096;

/// The buckets of all keys.
pub(crate) struct RateLimiter {
    per_second: f64,
    burst: f64,
    /// By the public part of the key. Std mutex: held for arithmetic, never across an await.
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimiter {
    /// Buckets that refill with `per_second` tokens and hold `burst`, both from 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (f64::from(per_second.max(1)), f64::from(burst.max(1)));
        Self { per_second, burst, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let (per_second, burst) = (self.per_second, self.burst);
        let level = |bucket: &Bucket| {
            let idle = now.saturating_duration_since(bucket.at).as_secs_f64();
            idle.mul_add(per_second, bucket.tokens).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY_BUCKETS && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| level(bucket) < burst);
        }
        let tokens = buckets.get(key).map_or(burst, level);
        let (left, answer) = if tokens < 1.0 {
            (tokens, Err(Duration::from_secs_f64((1.0 - tokens) / per_second)))
        } else {
            (tokens - 1.0, Ok(()))
        };
        let bucket = Bucket { tokens: left, at: now };
        match buckets.get_mut(key) {
            Some(known) => *known = bucket,
            None => drop(buckets.insert(key.to_owned(), bucket)),
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
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }
}
