//! Callers in a closed loop: each sends its next operation when the last one is answered.
//!
//! Latencies are kept as they are, four bytes each, and not as a histogram: percentiles are then exact, and a hundred
//! thousand of them take less memory than the buckets of 256 histograms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{Latency, Record};

/// When a measurement ends: at whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Operations at most.
    pub operations: u64,
    /// Time at most.
    pub time: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Operations that were answered.
    pub operations: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// How long one took.
    pub latency: Latency,
}

impl Measured {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Puts the figures into a line.
    #[must_use]
    pub fn into_record(self, record: Record, unit: &str) -> Record {
        let record = record.value(self.rate(), unit);
        Record {
            operations: self.operations,
            seconds: self.elapsed.as_secs_f64(),
            latency_us: Some(self.latency),
            ..record
        }
    }
}

/// Runs `operation(n)` from so many callers, `n` counting up from `first`. The first error ends the run.
pub async fn run<F, R>(callers: u64, first: u64, limit: Limit, operation: F) -> anyhow::Result<Measured>
where
    F: Fn(u64) -> R + Send + Sync + 'static,
    R: Future<Output = anyhow::Result<()>> + Send,
{
    let operation = Arc::new(operation);
    let next = Arc::new(AtomicU64::new(first));
    let failed = Arc::new(AtomicBool::new(false));
    let end = first.saturating_add(limit.operations);
    let begun = Instant::now();
    let callers = (0..callers).map(|_| {
        let (operation, next, failed) = (Arc::clone(&operation), Arc::clone(&next), Arc::clone(&failed));
        tokio::spawn(async move {
            let mut latencies: Vec<u32> = Vec::new();
            while begun.elapsed() < limit.time && !failed.load(Ordering::Relaxed) {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= end {
                    break;
                }
                let called = Instant::now();
                if let Err(error) = operation(n).await {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error.context(format!("operation {n}")));
                }
                latencies.push(u32::try_from(called.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(latencies)
        })
    });
    let ended = futures::future::join_all(callers).await;
    let elapsed = begun.elapsed();
    let mut latencies = Vec::new();
    for caller in ended {
        latencies.append(&mut caller??);
    }
    if latencies.is_empty() {
        bail!("nothing was answered within {:?}", limit.time);
    }
    Ok(Measured { operations: latencies.len() as u64, elapsed, latency: Latency::of(&mut latencies) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn every_operation_runs_once() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let limit = Limit { operations: 1_000, time: LONG };
        let measured = run(7, 100, limit, move |n| {
            record.lock().unwrap().push(n);
            async { Ok(()) }
        })
        .await
        .unwrap();
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (100..1_100).collect::<Vec<_>>());
        assert_eq!(measured.operations, 1_000);
    }

    #[tokio::test]
    async fn an_error_ends_the_run_and_is_told() {
        let limit = Limit { operations: u64::MAX, time: LONG };
        let refuse = |n| async move { if n == 5 { Err(anyhow::anyhow!("refused")) } else { Ok(()) } };
        let error = run(1, 0, limit, refuse).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "operation 5: refused");
    }

    #[tokio::test]
    async fn time_ends_the_run() {
        let limit = Limit { operations: u64::MAX, time: Duration::from_millis(20) };
        let yielding = |_| async {
            tokio::task::yield_now().await;
            Ok(())
        };
        let measured = run(2, 0, limit, yielding).await.unwrap();
        assert!(measured.elapsed >= limit.time && measured.operations > 0, "{measured:?}");
    }

    #[tokio::test]
    async fn a_run_without_an_answer_is_no_result() {
        let limit = Limit { operations: 0, time: LONG };
        run(3, 0, limit, |_| async { Ok(()) }).await.unwrap_err();
    }
}
