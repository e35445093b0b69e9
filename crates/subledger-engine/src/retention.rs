//! Retention: deletes, class by class, what was kept long enough. The log is kept for ever.
//!
//! A sweep may run on several nodes at once: every piece deletes rows that are due whoever asks. [`Turn`] merely spares
//! the work; a deployment with a lease hands one in.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use subledger_domain::Timestamp;
use subledger_store::{Amount, RetentionClass, Store};
use tokio_util::sync::CancellationToken;

use crate::{Engine, EngineError, metric_definitions};

/// Rows deleted in one statement, so that no command waits long behind it.
const PIECE_ROWS: u32 = 1_000;
/// How often the sweeper runs.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// Receipts are kept at least this long: a caller may repeat a request so late.
pub const MIN_RECEIPTS_DAYS: u32 = 30;

/// How long each class is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Contents, in days after their message ended.
    pub contents_days: u32,
    /// Receipts, in days; at least [`MIN_RECEIPTS_DAYS`].
    pub receipts_days: u32,
    /// Pushes from WeChat, in days after they came.
    pub pushes_days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { contents_days: 30, receipts_days: 30, pushes_days: 30 }
    }
}

impl RetentionSettings {
    fn days(&self, class: RetentionClass) -> u32 {
        match class {
            RetentionClass::Contents => self.contents_days,
            RetentionClass::Receipts => self.receipts_days.max(MIN_RECEIPTS_DAYS),
            RetentionClass::Pushes => self.pushes_days,
        }
    }

    /// What is older than this is due.
    fn limit(&self, class: RetentionClass, now: Timestamp) -> Timestamp {
        now.plus_seconds(-i64::from(self.days(class)) * 24 * 3_600)
    }
}

/// Whose turn it is to sweep.
pub trait Turn: Send + Sync + 'static {
    /// Whether this node should sweep now.
    fn mine(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// Always ours: right for one node, and harmless for several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Always;

impl Turn for Always {
    fn mine(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }
}

/// What became of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The class.
    pub class: RetentionClass,
    /// How long it is kept, in days.
    pub days: u32,
    /// What went, or in a dry run would go.
    pub gone: Amount,
    /// Rows that stay however old they are: contents of messages that have not ended, pushes that wait to be acted on or
    /// relayed.
    pub open: u64,
    /// Since when the time of the oldest row runs that stays.
    pub oldest_left: Option<Timestamp>,
}

/// What would be deleted. It only reads, so it works beside the process that writes a SQLite file.
pub async fn dry_run(store: &Store, settings: &RetentionSettings) -> Result<Vec<ClassReport>, EngineError> {
    let mut reports = Vec::new();
    for class in RetentionClass::ALL {
        let held = store.held(class, settings.limit(class, store.clock().now())).await?;
        let (gone, open, oldest_left) = (held.due, held.open, held.oldest_left);
        reports.push(ClassReport { class, days: settings.days(class), gone, open, oldest_left });
    }
    Ok(reports)
}

impl Engine {
    /// What retention would delete now. Changes nothing.
    pub async fn retention_dry_run(
        &self,
        settings: &RetentionSettings,
    ) -> Result<Vec<ClassReport>, EngineError> {
        dry_run(self.store(), settings).await
    }

    /// Deletes what is due, piece by piece.
    pub async fn retention(&self, settings: &RetentionSettings) -> Result<Vec<ClassReport>, EngineError> {
        self.store().note_ended().await?;
        let mut reports = Vec::new();
        for class in RetentionClass::ALL {
            let before = settings.limit(class, self.now());
            let mut gone = Amount::default();
            loop {
                let piece = self.store().delete_due(class, before, PIECE_ROWS).await?;
                gone.rows += piece.rows;
                gone.bytes += piece.bytes;
                metrics::counter!(metric_definitions::RETENTION_ROWS, "class" => class.as_str())
                    .increment(piece.rows);
                metrics::counter!(metric_definitions::RETENTION_BYTES, "class" => class.as_str())
                    .increment(piece.bytes);
                if piece.rows == 0 {
                    break;
                }
            }
            let held = self.store().held(class, before).await?;
            let (open, oldest_left) = (held.open, held.oldest_left);
            reports.push(ClassReport { class, days: settings.days(class), gone, open, oldest_left });
            if gone.rows > 0 {
                tracing::info!(
                    retention.class = class.as_str(),
                    retention.rows = gone.rows,
                    retention.bytes = gone.bytes,
                    "old rows were deleted"
                );
            }
        }
        Ok(reports)
    }
}

/// Sweeps until `stop`, at once and then every hour, whenever it is this node's turn.
pub(crate) async fn run(
    engine: Engine,
    settings: RetentionSettings,
    turn: Arc<dyn Turn>,
    stop: CancellationToken,
) {
    loop {
        let sweep = async {
            if turn.mine().await
                && let Err(error) = engine.retention(&settings).await
            {
                tracing::warn!(error = %error, cause = ?error.cause, "old rows could not be deleted; trying again later");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sweep => {}
        }
    }
}
