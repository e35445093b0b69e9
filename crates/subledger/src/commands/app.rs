//! `subledger app`: sender apps and their keys.

use std::{collections::BTreeSet, process::ExitCode};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subledger_domain::{
    AppId, ChannelCode, LogName,
    app::{Created, Right},
};
use subledger_engine::Engine;
use subledger_projection::PageRequest;

use super::{Reading, engine, operator};
use crate::{cli::App, exit::SettingsError, output};

pub(super) async fn run(app: App) -> anyhow::Result<ExitCode> {
    match app {
        App::Create { id, name, rights, channels, common, json } => {
            let app = app_id(&id)?;
            let created = Created {
                name: name.unwrap_or(id),
                rights: parse_rights(&rights)?,
                channels: parse_channels(channels)?,
            };
            let engine = engine(&common).await?;
            let key = engine.create_app(&operator()?, app.clone(), created).await;
            finish(&engine, &app, key?, json).await
        }
        App::AddKey { id, common, json } => {
            let app = app_id(&id)?;
            let engine = engine(&common).await?;
            let key = engine.add_key(&operator()?, app.clone()).await;
            finish(&engine, &app, key?, json).await
        }
        App::RevokeKey { id, key, common } => {
            let engine = engine(&common).await?;
            engine.revoke_key(&operator()?, app_id(&id)?, &key).await?;
            engine.shutdown().await;
            println!("The key no longer works.");
            Ok(ExitCode::SUCCESS)
        }
        App::List { common, json } => list(Reading::of(&common, &LogName::main()).await?, json).await,
    }
}

async fn finish(engine: &Engine, app: &AppId, key: SecretString, json: bool) -> anyhow::Result<ExitCode> {
    engine.caught_up(&LogName::main(), None).await;
    engine.shutdown().await;
    if json {
        output::json(&json!({ "app": app, "key": key.expose_secret() }))?;
    } else {
        println!("{}", key.expose_secret());
        eprintln!("This key of app {app} is shown once. Use it as: Authorization: Bearer <key>");
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(reading: Reading, json: bool) -> anyhow::Result<ExitCode> {
    let mut page = PageRequest::first(subledger_projection::MAX_PAGE);
    let mut rows = Vec::new();
    loop {
        let answer = reading.queries.apps(&page).await?;
        for app in answer.items {
            let rights: Vec<&str> = app.rights.iter().map(|right| right.as_str()).collect();
            let channels =
                app.channels.as_ref().map(|codes| codes.iter().map(ToString::to_string).collect::<Vec<_>>());
            if json {
                let created_at = output::time(app.created_at);
                output::json(
                    &json!({ "id": app.id, "name": app.name, "rights": rights, "channels": channels, "created_at": created_at }),
                )?;
                continue;
            }
            let channels = channels.map_or_else(|| "all".to_owned(), |codes| codes.join(","));
            rows.push(vec![
                app.id.to_string(),
                app.name,
                rights.join(","),
                channels,
                output::time(app.created_at),
            ]);
        }
        match answer.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    reading.close().await;
    if !json {
        let empty = "No sender app yet. Make one: subledger app create shop";
        output::table(&["APP", "NAME", "RIGHTS", "CHANNELS", "CREATED"], &rows, empty);
    }
    Ok(ExitCode::SUCCESS)
}

fn app_id(text: &str) -> anyhow::Result<AppId> {
    text.parse().map_err(|error| SettingsError(format!("the app: {error}")).into())
}

fn parse_rights(names: &[String]) -> Result<BTreeSet<Right>, SettingsError> {
    let all = Right::ALL.map(Right::as_str).join(", ");
    let right = |name: &String| {
        Right::from_name(name.trim())
            .ok_or_else(|| SettingsError(format!("--rights: {name:?} is none of {all}")))
    };
    names.iter().map(right).collect()
}

fn parse_channels(codes: Option<Vec<String>>) -> Result<Option<BTreeSet<ChannelCode>>, SettingsError> {
    let parse =
        |code: String| code.trim().parse().map_err(|error| SettingsError(format!("--channels: {error}")));
    codes.map(|codes| codes.into_iter().map(parse).collect()).transpose()
}
