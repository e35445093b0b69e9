//! `subledger migrate`: bring the schema up to date.

use std::process::ExitCode;

use serde_json::json;

use super::settings;
use crate::{cli::Migrate, node, output};

pub(super) async fn run(migrate: Migrate) -> anyhow::Result<ExitCode> {
    let settings = settings(&migrate.common)?;
    // Opening migrates, and proves that the master key belongs to this database.
    let store = node::open_store(&settings.store()?).await?;
    let version = store.schema_version();
    store.close().await;
    if migrate.json {
        output::json(&json!({ "schema_version": version }))?;
    } else {
        println!("The database is at schema version {version}.");
    }
    Ok(ExitCode::SUCCESS)
}
