//! `subledger admin keys`, `rotate-master-key`, `rotate-data-key`: replacing keys while the service runs.
//!
//! These work on the database itself, beside the service: a new master key never travels over a network.

use std::{process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use subledger_store::{KeyError, KeyState, Pace, ResealReport, Resealed};

use super::settings;
use crate::{
    cli::Common,
    exit::{FAILED, SettingsError},
    node, output,
    settings::{MASTER_KEY, NEW_MASTER_KEY, master_key},
};

/// How often, and after what pause each, it is tried again while another process works on the keys. One that was killed is
/// waited for until its lease has run out.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_millis(250);

pub(super) async fn show(common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let store = node::open_store(&settings(common)?.store()?).await?;
    let state = store.key_state().await?;
    let left = store.left_to_reseal().await?;
    let unfinished = store.reseal_is_unfinished().await?;
    store.close().await;
    if json {
        let left: serde_json::Map<_, _> =
            left.into_iter().map(|(table, left)| (table.to_owned(), left.into())).collect();
        let mut told = state_json(&state);
        told["values_under_older_keys"] = left.into();
        told["re_sealing_is_unfinished"] = unfinished.into();
        output::json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let master = |key: &subledger_store::MasterKeyState| {
        let ours = if key.ours { "in SUBLEDGER_MASTER_KEY" } else { "" };
        let nodes = state.nodes.iter().filter(|node| node.master == key.id).count();
        vec![key.id.clone(), output::time(key.added_at), nodes.to_string(), ours.to_owned()]
    };
    let masters: Vec<_> = state.masters.iter().map(master).collect();
    output::table(&["MASTER KEY", "ADDED", "NODES", ""], &masters, "no master key");
    println!();
    let data_key = |key: &subledger_store::DataKeyState| {
        let word = match (key.current, key.retired_at) {
            (true, _) => "seals".to_owned(),
            (false, Some(at)) => format!("retired {}", output::time(at)),
            (false, None) => "opens".to_owned(),
        };
        vec![key.id.to_string(), output::time(key.created_at), word]
    };
    let data_keys: Vec<_> = state.data_keys.iter().map(data_key).collect();
    output::table(&["DATA KEY", "MADE", "STATE"], &data_keys, "no data key");
    println!();
    let rows: Vec<_> = left.iter().map(|(table, left)| vec![(*table).to_owned(), left.to_string()]).collect();
    output::table(&["VALUES OF", "UNDER OLDER DATA KEYS"], &rows, "no values");
    if unfinished {
        println!("\nRe-sealing has not come to its end: subledger admin rotate-data-key");
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the new master key.
pub(super) async fn begin(common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(common)?;
    let new = master_key(NEW_MASTER_KEY)?.ok_or_else(|| {
        SettingsError(format!(
            "{NEW_MASTER_KEY} is not set. Make a key with `subledger admin master-key`, keep it safe, and set it in the \
             environment, beside {MASTER_KEY} with the key in use"
        ))
    })?;
    let store = node::open_store(&settings.store()?).await?;
    let added = patiently(async || store.add_master_key(&new).await).await;
    let state = store.key_state().await;
    store.close().await;
    let (added, state, id) = (added?, state?, new.id());
    if json {
        let mut told = state_json(&state);
        told["added"] = added.into();
        told["new_master_key"] = id.into();
        output::json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    if added {
        println!("Master key {id} is added: nodes start with it as well as with the one in use.");
    } else {
        println!("Master key {id} was added before; nothing is changed.");
    }
    println!("Next: restart every node, one after the other, with key {id} as {MASTER_KEY}.");
    for node in state.nodes.iter().filter(|node| node.master != id) {
        println!("  node {} was started with key {}", node.name, node.master);
    }
    println!("Then: subledger admin rotate-master-key --finish");
    Ok(ExitCode::SUCCESS)
}

/// Drops the old one.
pub(super) async fn finish(anyway: bool, common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(common)?;
    let config = match master_key(NEW_MASTER_KEY)? {
        Some(new) => settings.store_with(new),
        None => settings.store()?,
    };
    let store = node::open_store(&config).await?;
    let dropped = patiently(async || store.drop_other_master_keys(anyway).await).await;
    let state = store.key_state().await;
    let id = store.master_key_id();
    store.close().await;
    let (dropped, state) = (dropped?, state?);
    if json {
        let mut told = state_json(&state);
        told["dropped"] = dropped.into();
        output::json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    match dropped.as_slice() {
        [] => println!("Only master key {id} unlocks this database; nothing is changed."),
        keys => println!("Dropped master key {}: only {id} unlocks this database now.", keys.join(", ")),
    }
    println!(
        "Backups made before open with the old key still. If it leaked: subledger admin rotate-data-key"
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes a data key, unless one waits for its values already, and seals everything under it.
pub(super) async fn rotate_data_key(pace: Pace, common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let store = node::open_store(&settings(common)?.store()?).await?;
    let unfinished = store.reseal_is_unfinished().await?;
    if !unfinished {
        let key = patiently(async || store.add_data_key().await).await?;
        if !json {
            println!("Data key {key} is made; new values are sealed under it from now on.");
        }
    } else if !json {
        println!("Going on where re-sealing was stopped.");
    }
    let mut bars = Bars::default();
    let report = patiently(async || {
        let report = store.reseal(pace, |table| bars.show(table)).await;
        bars.finish();
        report
    })
    .await;
    store.close().await;
    told(&report?, unfinished, json)
}

fn told(report: &ResealReport, went_on: bool, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let table = |table: &Resealed| {
            json!({
                "table": table.table, "seen": table.seen, "re_sealed": table.resealed,
                "damaged": table.damaged, "left": table.left, "took_ms": table.took.as_millis(),
                "started_at": output::time(table.started_at),
            })
        };
        output::json(&json!({
            "data_key": report.data_key, "went_on": went_on, "retired_older": report.retired,
            "nodes_behind": report.behind, "tables": report.tables.iter().map(table).collect::<Vec<_>>(),
        }))?;
    } else {
        let row = |table: &Resealed| {
            vec![
                table.table.to_owned(),
                table.seen.to_string(),
                table.resealed.to_string(),
                table.damaged.to_string(),
                table.left.to_string(),
                format!("{:.1} s", table.took.as_secs_f64()),
            ]
        };
        let rows: Vec<_> = report.tables.iter().map(row).collect();
        output::table(&["TABLE", "SEEN", "RE-SEALED", "DAMAGED", "LEFT", "TOOK"], &rows, "no tables");
        for node in &report.behind {
            println!("Node {node} does not know data key {} and seals under an older one.", report.data_key);
        }
        if report.retired {
            println!("Everything is sealed under data key {}; older ones are retired.", report.data_key);
        } else {
            println!(
                "Not everything is sealed under data key {}; older ones stay. Run this again.",
                report.data_key
            );
        }
    }
    Ok(if report.retired { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn state_json(state: &KeyState) -> serde_json::Value {
    let master = |key: &subledger_store::MasterKeyState| json!({ "id": key.id, "added_at": output::time(key.added_at), "ours": key.ours });
    let data_key = |key: &subledger_store::DataKeyState| {
        json!({
            "id": key.id, "created_at": output::time(key.created_at),
            "retired_at": key.retired_at.map(output::time), "seals": key.current,
        })
    };
    let node = |node: &subledger_store::KeyNode| json!({ "name": node.name, "master_key": node.master, "data_key": node.data_key });
    json!({
        "master_keys": state.masters.iter().map(master).collect::<Vec<_>>(),
        "data_keys": state.data_keys.iter().map(data_key).collect::<Vec<_>>(),
        "nodes": state.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// Tries again while another process works on the keys.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, KeyError>) -> Result<T, KeyError> {
    for _ in 1..TRIES {
        match work().await {
            Err(KeyError::Busy) => tokio::time::sleep(AGAIN).await,
            done => return done,
        }
    }
    work().await
}

/// Shows one bar per table, on a terminal only.
#[derive(Default)]
struct Bars {
    current: Option<(&'static str, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, table: &Resealed) {
        if self.current.as_ref().is_none_or(|(name, _)| *name != table.table) {
            self.finish();
            let bar = ProgressBar::new(table.total);
            if let Ok(style) =
                ProgressStyle::with_template("{prefix:<28} {bar:30} {pos}/{len} values ETA {eta}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(table.table);
            // What an earlier run has done takes no time now.
            bar.reset_eta();
            self.current = Some((table.table, bar));
        }
        if let Some((_, bar)) = &self.current {
            bar.set_length(table.total);
            bar.set_position(table.seen);
        }
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish();
        }
    }
}
