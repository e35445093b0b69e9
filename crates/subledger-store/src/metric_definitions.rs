//! The names of this crate's metrics. Operators build dashboards on them: do not rename.

/// Histogram: commands in one batch.
pub(crate) const BATCH_COMMANDS: &str = "subledger_store_batch_commands";
/// Histogram: seconds from the start of a batch to its answers.
pub(crate) const BATCH_SECONDS: &str = "subledger_store_batch_seconds";
/// Gauge, by executor: commands waiting.
pub(crate) const QUEUE_DEPTH: &str = "subledger_store_queue_depth";
/// Counter: events appended.
pub(crate) const EVENTS_APPENDED: &str = "subledger_store_events_appended_total";
/// Counter: batches that had to be halved because the database refused them.
pub(crate) const BATCHES_HALVED: &str = "subledger_store_batches_halved_total";
/// Counter: batches that had to be decided anew because another node had written to one of their logs.
pub(crate) const BATCHES_DISPLACED: &str = "subledger_store_batches_displaced_total";
/// Gauge: bytes of cached states, by estimate.
pub(crate) const CACHE_BYTES: &str = "subledger_store_cache_bytes";
/// Gauge: bytes of the write-ahead log (SQLite only).
pub(crate) const WAL_BYTES: &str = "subledger_store_wal_bytes";
