//! Proof that a database, or an exported file, is what was written.
//!
//! [`verify`] looks at a database: the chain of every log, the streams, the legality of every event, receipts, queue and
//! read models. [`export`] writes a log as lines with a signed end; [`check_file`] checks such a file without any database,
//! and [`compare_with_file`] that a database still holds what was exported. All of them name the first bad event.
//!
//! Nothing here changes what it looks at. What is computed how, byte by byte, stands in `docs/proof.md`, so that somebody
//! who trusts nobody can write a checker of their own.
//!
//! A database is looked at in three steps. One short snapshot takes heads, receipts and queue as they stand at one moment.
//! Up to those heads events can no longer change, so they are read afterwards, twice, in pages: once in order of position
//! (chain, time, message plans, read models), once in order of stream (versions, folds, open deliveries). So memory holds
//! one aggregate, the messages that are not planned to the end, and the queue; never a log.

mod against;
mod export;
mod file;
mod finding;
mod format;
mod legal;
mod log_pass;
mod models;
mod plans;
mod queue;
mod report;
mod stream_pass;

use subledger_domain::LogName;
use subledger_projection::ProjectionError;
use subledger_store::{Inspector, LogSnapshot, OpenError, StoreError};
use thiserror::Error;

pub use self::{
    against::compare_with_file,
    export::{ExportError, Exported, export},
    file::{FileReport, Section, check_file},
    finding::{Check, Finding, MAX_KEPT},
    format::FORMAT,
    report::{Deliveries, LogReport, Report},
};
use self::{finding::Findings, models::Models, queue::Queue};

/// Events read at a time.
const PAGE: u32 = 1_000;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only this log; all, if none is named.
    pub log: Option<LogName>,
    /// Leave the comparison of the read models with a rebuild out.
    pub skip_read_models: bool,
}

/// How far a verification has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The log.
    pub log: LogName,
    /// What is being done, in a few words.
    pub step: &'static str,
    /// Events done.
    pub done: u64,
    /// Events to do.
    pub total: u64,
}

/// It could not be looked.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// There is no log of this name.
    #[error("there is no log {0}")]
    UnknownLog(LogName),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scratch database for the comparison of read models could not be made.
    #[error("the scratch database could not be made")]
    Scratch(#[source] OpenError),
    /// A read model could not be built.
    #[error("the read models could not be built for comparison")]
    Models(#[from] ProjectionError),
    /// The file could not be read.
    #[error("the file could not be read")]
    File(#[from] std::io::Error),
}

/// Looks at a database and says what is wrong with it. The service may be running.
pub async fn verify(
    inspector: &Inspector,
    options: &Options,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, VerifyError> {
    let names = match &options.log {
        Some(log) => vec![log.clone()],
        None => inspector.logs().await?.into_iter().map(|(_, log, _)| log).collect(),
    };
    // The read models first: wherever they stand now, the heads looked at next are at least as far.
    let models = if options.skip_read_models { None } else { Some(Models::look(inspector, &names).await?) };
    let snapshot = inspector.snapshot(options.log.as_ref()).await?;
    if let Some(log) = &options.log
        && snapshot.logs.is_empty()
    {
        return Err(VerifyError::UnknownLog(log.clone()));
    }
    let mut findings = Findings::default();
    for number in snapshot.headless {
        let found = format!("events or queue rows of log number {number}, which has no head");
        findings.add(Finding::new(Check::Head, None, "a head for every log", found));
    }
    let mut logs = Vec::new();
    for log in snapshot.logs {
        let mut one = LogReport::new(&log);
        match verify_log(inspector, log, models.as_ref(), &mut one, &mut findings, &mut progress).await {
            // Bytes that cannot be read at all are a finding, not a failure to look.
            Err(VerifyError::Store(StoreError::Corrupt(what))) => {
                findings.add(Finding::new(Check::Readable, Some(&one.log), "rows that can be read", what));
            }
            other => other?,
        }
        logs.push(one);
    }
    Ok(Report::new(logs, findings, !options.skip_read_models))
}

async fn verify_log(
    inspector: &Inspector,
    log: LogSnapshot,
    models: Option<&Models>,
    report: &mut LogReport,
    findings: &mut Findings,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), VerifyError> {
    for stray in &log.stray_receipts {
        let expected = format!("a position up to {}", log.position);
        let found = format!("receipt {} at position {}", hex::encode(&stray.key), stray.position);
        findings.add(Finding::new(Check::Receipts, Some(&log.log), expected, found).at(stray.position));
    }
    findings.uncounted(Check::Receipts, &log.log, log.stray.saturating_sub(log.stray_receipts.len() as u64));
    let mut comparison = match models {
        Some(models) => Some(models.begin(&log, findings).await?),
        None => None,
    };
    log_pass::run(inspector, &log, comparison.as_mut(), report, findings, progress).await?;
    if let Some(comparison) = comparison {
        comparison.finish(report, findings).await?;
    }
    let mut queue = Queue::new(&log, findings);
    stream_pass::run(inspector, &log, &mut queue, report, findings, progress).await?;
    queue.finish(&log.log, findings);
    report.settle(findings);
    Ok(())
}
