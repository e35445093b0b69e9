//! `subledger projections`: state, rebuild and verification of the read models.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use subledger_domain::LogName;
use subledger_projection::{Lag, Progress, ProjectionName, Verification};
use subledger_store::Store;

use super::{known_log, settings};
use crate::{
    cli::{Common, Projections},
    exit, node, output,
};

pub(super) async fn run(projections: Projections) -> anyhow::Result<ExitCode> {
    match projections {
        Projections::Status { common, json } => status(&open(&common).await?, json).await,
        Projections::Rebuild { log, common, json } => rebuild(&open(&common).await?, log, json).await,
        Projections::Verify { log, common, json } => verify(&open(&common).await?, log, json).await,
    }
}

async fn open(common: &Common) -> anyhow::Result<Store> {
    node::open_store(&settings(common)?.store()?).await
}

async fn logs(store: &Store, log: Option<String>) -> anyhow::Result<Option<Vec<LogName>>> {
    Ok(match log {
        Some(log) => Some(vec![known_log(store, log).await?]),
        None => None,
    })
}

async fn status(store: &Store, json: bool) -> anyhow::Result<ExitCode> {
    let states = subledger_projection::status(store).await?;
    let now = store.clock().now();
    store.close().await;
    let mut rows = Vec::new();
    for state in states {
        let age = state.age(now).map(|age| age.as_secs());
        if json {
            let paused = state.paused.as_ref().map(|pause| {
                json!({
                    "position": pause.position, "stream": pause.stream, "kind": pause.kind, "error": pause.error,
                })
            });
            output::json(&json!({
                "log": state.log, "projection": state.projection.to_string(), "position": state.position,
                "head": state.head, "behind": state.behind(), "behind_seconds": age,
                "unknown_events": state.unknown, "paused": paused,
            }))?;
            continue;
        }
        rows.push(vec![
            state.log.to_string(),
            state.projection.to_string(),
            state.position.to_string(),
            state_words(&state, age),
        ]);
    }
    if !json {
        output::table(&["LOG", "PROJECTION", "POSITION", "STATE"], &rows, "No log holds anything yet.");
    }
    Ok(ExitCode::SUCCESS)
}

fn state_words(state: &Lag, age: Option<u64>) -> String {
    let mut words = match &state.paused {
        Some(pause) => {
            format!("paused at {} ({} of {}): {}", pause.position, pause.kind, pause.stream, pause.error)
        }
        None => format!("{} behind", state.behind()),
    };
    if let Some(age) = age {
        words += &format!(", for {age} s");
    }
    if state.unknown > 0 {
        words += &format!("; {} events of unknown kinds passed over", state.unknown);
    }
    words
}

/// Shows one bar per log, on a terminal only: its projections are built together.
#[derive(Default)]
struct Bars {
    current: Option<(LogName, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, progress: &Progress) {
        if self.current.as_ref().is_none_or(|(log, _)| *log != progress.log) {
            self.finish();
            let bar = ProgressBar::new(progress.total.0);
            if let Ok(style) = ProgressStyle::with_template("{prefix:<28} {bar:30} {pos}/{len} events {msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(progress.log.to_string());
            self.current = Some((progress.log.clone(), bar));
        }
        if let Some((_, bar)) = &self.current {
            bar.set_length(progress.total.0);
            bar.set_position(progress.folded.0);
            // The bar's own estimate would count what an earlier, interrupted rebuild has done.
            if let Some(eta) = progress.eta {
                bar.set_message(format!("{:.0}/s ETA {} s", progress.rate, eta.as_secs()));
            }
        }
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish();
        }
    }
}

async fn rebuild(store: &Store, log: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let logs = logs(store, log).await?;
    let mut bars = Bars::default();
    let mut done: Vec<(LogName, ProjectionName, u64)> = Vec::new();
    subledger_projection::rebuild(store, logs.as_deref(), |progress| {
        bars.show(&progress);
        done.retain(|(log, projection, _)| !(*log == progress.log && *projection == progress.projection));
        done.push((progress.log, progress.projection, progress.done.0));
    })
    .await?;
    bars.finish();
    store.close().await;
    let mut rows = Vec::new();
    for (log, projection, events) in done {
        if json {
            output::json(&json!({ "log": log, "projection": projection.to_string(), "events": events }))?;
        } else {
            rows.push(vec![log.to_string(), projection.to_string(), events.to_string()]);
        }
    }
    if !json {
        output::table(&["LOG", "PROJECTION", "EVENTS"], &rows, "No log holds anything yet.");
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(store: &Store, log: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let logs = logs(store, log).await?;
    let mut bars = Bars::default();
    let verified =
        subledger_projection::verify(store, logs.as_deref(), |progress| bars.show(&progress)).await?;
    bars.finish();
    store.close().await;
    let equal = verified.iter().all(|one| one.equal);
    report(&verified, json)?;
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

fn report(verified: &[Verification], json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for one in verified {
        if json {
            output::json(&json!({
                "log": one.log, "projection": one.projection.to_string(), "position": one.position, "rows": one.rows,
                "live_digest": one.live_digest, "rebuilt_digest": one.rebuilt_digest, "equal": one.equal,
            }))?;
            continue;
        }
        let verdict = if one.equal {
            "equal".to_owned()
        } else {
            format!("DIFFERS from {}", short(&one.rebuilt_digest))
        };
        rows.push(vec![
            one.log.to_string(),
            one.projection.to_string(),
            one.position.to_string(),
            one.rows.to_string(),
            short(&one.live_digest),
            verdict,
        ]);
    }
    if !json {
        output::table(
            &["LOG", "PROJECTION", "POSITION", "ROWS", "DIGEST", "REBUILT"],
            &rows,
            "No log holds anything yet.",
        );
    }
    Ok(())
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}
