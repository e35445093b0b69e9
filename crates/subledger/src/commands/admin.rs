//! `subledger admin`: keys, settings, retention.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use secrecy::ExposeSecret;
use subledger_store::{MasterKey, Pace};

use super::{keys, retention};
use crate::{cli::Admin, node, settings};

pub(super) async fn run(admin: Admin) -> anyhow::Result<ExitCode> {
    match admin {
        Admin::MasterKey => println!("{}", MasterKey::generate().encode().expose_secret()),
        Admin::SigningKey { common } => {
            let store = node::open_store(&super::settings(&common)?.store()?).await?;
            println!("{}", store.signing_key()?);
            store.close().await;
        }
        Admin::Keys { common, json } => return keys::show(&common, json).await,
        Admin::RotateMasterKey { finish: false, common, json, .. } => {
            return keys::begin(&common, json).await;
        }
        Admin::RotateMasterKey { finish: true, anyway, common, json } => {
            return keys::finish(anyway, &common, json).await;
        }
        Admin::RotateDataKey { batch, pause_ms, common, json } => {
            let pace = Pace { values: batch, rest: Duration::from_millis(pause_ms) };
            return keys::rotate_data_key(pace, &common, json).await;
        }
        Admin::Settings => print!("{}", settings::DEFAULTS),
        Admin::Retention { dry_run, common, json } => return retention::run(dry_run, &common, json).await,
        Admin::Openapi => {
            let document = subledger_http::openapi().to_pretty_json();
            println!("{}", document.context("the OpenAPI document could not be written")?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
