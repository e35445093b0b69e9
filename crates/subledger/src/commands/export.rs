//! `subledger events export`: a log as lines, with a signed end.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use subledger_audit::proof::{self, Exported};
use subledger_domain::LogName;
use subledger_store::{Position, Store};

use super::{settings, verify::Bar};
use crate::{cli::Common, node};

/// Exports the log named, or all of them.
pub(super) async fn run(log: Option<String>, out: &Path, after: u64, common: &Common) -> anyhow::Result<()> {
    let store = node::open_store(&settings(common)?.store()?).await?;
    let logs = match log {
        Some(log) => vec![LogName::new(log)],
        None => store.heads().await?.into_iter().map(|head| head.log).collect(),
    };
    anyhow::ensure!(!logs.is_empty(), "there is no log yet, so there is nothing to export");
    let exported = if out.as_os_str() == "-" {
        let mut writer = BufWriter::new(std::io::stdout());
        let exported = write(&store, &logs, after, &mut writer).await?;
        writer.flush()?;
        exported
    } else {
        to_file(&store, &logs, after, out).await?
    };
    store.close().await;
    for one in exported {
        eprintln!(
            "log {}: {} events up to position {}, signed by key {}",
            one.signed.log, one.events, one.signed.position, one.signed.key
        );
    }
    Ok(())
}

/// Writes beside the file and renames: a file of the name asked for is always whole.
async fn to_file(store: &Store, logs: &[LogName], after: u64, out: &Path) -> anyhow::Result<Vec<Exported>> {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let file = File::create(&partial).with_context(|| format!("{} cannot be written", partial.display()))?;
    let mut writer = BufWriter::new(file);
    let written = write(store, logs, after, &mut writer).await;
    let exported = match written {
        Ok(exported) => exported,
        Err(error) => {
            drop(writer);
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&partial, out).with_context(|| format!("{} cannot be written", out.display()))?;
    Ok(exported)
}

async fn write(
    store: &Store,
    logs: &[LogName],
    after: u64,
    out: &mut (impl Write + Send),
) -> anyhow::Result<Vec<Exported>> {
    let mut bar = Bar::default();
    let mut exported = Vec::with_capacity(logs.len());
    for log in logs {
        let one = proof::export(store, log, Position(after), out, |progress| bar.show(&progress)).await;
        bar.finish();
        exported.push(one?);
    }
    Ok(exported)
}
