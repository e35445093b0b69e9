//! The read models against a rebuild, without writing to the database that is looked at.
//!
//! The live rows are digested where they are; the log is replayed into a SQLite file of its own in the folder for
//! temporary files, which is removed at the end. It grows to the size of the read models.

use std::{collections::BTreeMap, sync::Arc};

use subledger_domain::LogName;
use subledger_projection::{Comparison, LiveDigest, ProjectionName, live_digests};
use subledger_store::{
    Inspector, LogSnapshot, MasterKey, OpenError, Position, Recorded, Store, StoreConfig, SystemClock,
};
use tempfile::TempDir;

use super::{
    VerifyError,
    finding::{Check, Finding, Findings},
    report::LogReport,
};

/// The live rows of all logs, and the scratch store.
pub(super) struct Models {
    scratch: Store,
    live: BTreeMap<LogName, Vec<LiveDigest>>,
    _folder: TempDir,
}

/// One log being replayed.
pub(super) struct Running<'a> {
    comparison: Comparison<'a>,
    live: Vec<LiveDigest>,
    /// Read models that the log feeds and that nothing is there of: new ones, or the file of the views is not there.
    missing: Vec<&'static str>,
    /// An event was wrong: the rows it leads to would be, too.
    pub(super) broken: bool,
}

impl Models {
    pub(super) async fn look(inspector: &Inspector, logs: &[LogName]) -> Result<Self, VerifyError> {
        let mut live = BTreeMap::new();
        for log in logs {
            live.insert(log.clone(), live_digests(inspector.database(), log).await?);
        }
        let folder = tempfile::Builder::new().prefix("subledger-audit-").tempdir()?;
        let config = StoreConfig {
            url: format!("sqlite://{}", folder.path().join("scratch.db").display()).into(),
            // Nothing is ever sealed in it.
            master_key: MasterKey::generate(),
            max_connections: 2,
        };
        let scratch: Result<Store, OpenError> = Store::open(&config, Arc::new(SystemClock)).await;
        Ok(Self { scratch: scratch.map_err(VerifyError::Scratch)?, live, _folder: folder })
    }

    /// Begins the comparison of one log.
    pub(super) async fn begin(
        &self,
        log: &LogSnapshot,
        findings: &mut Findings,
    ) -> Result<Running<'_>, VerifyError> {
        let mut live = self.live.get(&log.log).cloned().unwrap_or_default();
        let missing = ProjectionName::of_log(&log.log)
            .iter()
            .filter(|name| !live.iter().any(|live| live.projection == **name))
            .map(|name| name.as_str())
            .collect();
        let head = Position(u64::try_from(log.position).unwrap_or(0));
        live.retain(|one| {
            let beyond = one.digest.position > head;
            if beyond {
                let expected =
                    format!("{} to stand at position {head} at most, the end of the log", one.projection);
                let found = format!("position {}", one.digest.position);
                let finding = Finding::new(Check::ReadModels, Some(&log.log), expected, found);
                findings.add(finding.at(i64::try_from(head.0 + 1).unwrap_or(i64::MAX)));
            }
            !beyond
        });
        let targets: Vec<_> = live.iter().map(|one| (one.projection, one.digest.position)).collect();
        let comparison = Comparison::begin(&self.scratch, &log.log, &targets).await?;
        Ok(Running { comparison, live, missing, broken: false })
    }
}

impl Running<'_> {
    /// Applies the next events.
    pub(super) async fn apply(&mut self, events: &[Recorded]) -> Result<(), VerifyError> {
        Ok(self.comparison.apply(events).await?)
    }

    /// Compares, unless the log itself is broken.
    pub(super) async fn finish(
        self,
        report: &mut LogReport,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            report
                .notes
                .push(format!("read models that were not compared, for nothing is built yet: {missing}"));
        }
        if self.broken {
            report.notes.push("read models were not compared: the log itself is broken".to_owned());
            return Ok(());
        }
        for (live, (projection, built)) in self.live.iter().zip(self.comparison.finish().await?) {
            if let Some(pause) = &live.pause {
                report
                    .notes
                    .push(format!("{projection} is paused at position {}: {}", pause.position, pause.error));
            }
            let position = i64::try_from(live.digest.position.0).unwrap_or(i64::MAX);
            match built {
                Ok(built) if built.position == live.digest.position && built.digest == live.digest.digest => {
                    report.read_models.push(projection.to_string());
                }
                Ok(built) => {
                    let rows = |rows: u64, digest: &str| {
                        format!("{rows} rows with digest {}", digest.get(..16).unwrap_or(digest))
                    };
                    let expected =
                        format!("{projection} to be {}, as rebuilt", rows(built.rows, &built.digest));
                    let found = rows(live.digest.rows, &live.digest.digest);
                    let finding = Finding::new(Check::ReadModels, Some(&report.log), expected, found);
                    findings.add(finding.at(position));
                }
                Err(pause) if report.newer.is_empty() => {
                    let expected = format!("an event that {projection} can apply");
                    let finding = Finding::new(Check::ReadModels, Some(&report.log), expected, pause.error);
                    findings.add(finding.at(i64::try_from(pause.position.0).unwrap_or(i64::MAX)));
                }
                Err(pause) => report.notes.push(format!(
                    "{projection} was not compared: a newer version's event at position {}",
                    pause.position
                )),
            }
        }
        Ok(())
    }
}
