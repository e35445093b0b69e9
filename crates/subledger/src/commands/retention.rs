//! `subledger admin retention`: deletes, or counts, what was kept long enough.

use std::process::ExitCode;

use serde_json::json;
use subledger_engine::retention::{self, ClassReport};

use super::{node, settings};
use crate::{cli::Common, output};

pub(super) async fn run(dry_run: bool, common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(common)?;
    let retention = settings.retention();
    let reports = if dry_run {
        let store = node::open_store(&settings.store()?).await?;
        let reports = retention::dry_run(&store, &retention).await;
        store.close().await;
        reports?
    } else {
        let engine = node::open_engine(&settings, &settings.store()?).await?;
        let reports = engine.retention(&retention).await;
        engine.shutdown().await;
        reports?
    };
    let oldest = |report: &ClassReport| report.oldest_left.map(output::time);
    if json {
        let class = |report: &ClassReport| {
            json!({
                "class": report.class.as_str(), "days": report.days, "rows": report.gone.rows,
                "bytes": report.gone.bytes, "open": report.open, "oldest_left": oldest(report),
            })
        };
        output::json(
            &json!({ "dry_run": dry_run, "classes": reports.iter().map(class).collect::<Vec<_>>() }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |report: &ClassReport| {
        vec![
            report.class.as_str().to_owned(),
            report.days.to_string(),
            report.gone.rows.to_string(),
            report.gone.bytes.to_string(),
            report.open.to_string(),
            oldest(report).unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let gone = if dry_run { "would go" } else { "gone" };
    let rows: Vec<_> = reports.iter().map(row).collect();
    output::table(&["class", "days", gone, "bytes", "open", "oldest left"], &rows, "no classes");
    Ok(ExitCode::SUCCESS)
}
