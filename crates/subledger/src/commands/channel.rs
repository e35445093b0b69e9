//! `subledger channel`: set up, list, refresh, policies, pause, resume.

use std::process::ExitCode;

use secrecy::SecretString;
use serde_json::json;
use subledger_domain::{
    ChannelCode, LogName,
    channel::{Policy, PolicyChange, TokenMode},
};
use subledger_engine::{Engine, channels::NewChannel, secrets::KnownSecret};

use super::{Reading, channel_code, engine, operator, pushes, quota};
use crate::{
    cli::{Channel, PolicyFlags},
    exit::SettingsError,
    output,
};

/// The environment variable that hands the AppSecret over: never a flag, which would stand in the process list.
pub(super) const APP_SECRET: &str = "SUBLEDGER_APP_SECRET";

pub(super) async fn run(channel: Channel) -> anyhow::Result<ExitCode> {
    match channel {
        Channel::List { common, json } => list(Reading::of(&common, &LogName::main()).await?, json).await,
        Channel::Add { code, appid, name, common, json } => {
            let secret = std::env::var(APP_SECRET).map_err(|_| {
                SettingsError(format!("{APP_SECRET} is not set; it hands the Mini Program's AppSecret over"))
            })?;
            let new = NewChannel {
                name: name.unwrap_or_else(|| code.clone()),
                code: channel_code(&code)?,
                appid,
                secret: SecretString::from(secret),
                token_mode: TokenMode::default(),
                token_url: None,
                policy: Policy::default(),
                idempotency_key: None,
            };
            let engine = engine(&common).await?;
            let code = new.code.clone();
            let done = engine.register_channel(&operator()?, new).await?;
            let secrets = engine.channel_secrets(&code).await?;
            engine.shutdown().await;
            if json {
                let secrets: Vec<_> = secrets.iter().map(secret_json).collect();
                output::json(&json!({ "channel": code, "position": done.position, "secrets": secrets }))?;
            } else {
                println!("Channel {code} is set up: WeChat accepted its credentials.");
                for secret in &secrets {
                    println!(
                        "Its {} is kept under fingerprint {}.",
                        secret.kind.as_str(),
                        secret.mark.fingerprint
                    );
                }
                println!("Next: subledger channel refresh {code}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Channel::Authorize(asked) => super::authorize::run(asked).await,
        Channel::Token { code, force_refresh, common, json } => {
            super::tokens::token(&code, force_refresh, &common, json).await
        }
        Channel::TokenSource { code, mode, url, common } => {
            super::tokens::source(&code, &mode, url, &common).await
        }
        Channel::Refresh { code, common, json } => {
            refresh(&engine(&common).await?, &channel_code(&code)?, json).await
        }
        Channel::Policy { code, change, common, json } => {
            policy(&engine(&common).await?, &channel_code(&code)?, &change, json).await
        }
        Channel::Callback(callback) => pushes::callback(*callback).await,
        Channel::Pushes(command) => pushes::run(command).await,
        Channel::PushHealth { code, common, json } => pushes::health(&code, &common, json).await,
        Channel::Secrets { code, common, json } => {
            secrets(&engine(&common).await?, &channel_code(&code)?, json).await
        }
        Channel::Relay(relay) => super::relay::run(relay).await,
        Channel::Quota { code, common, json } => quota::show(&channel_code(&code)?, &common, json).await,
        Channel::ClearQuota { code, reason, common } => {
            let engine = engine(&common).await?;
            engine.clear_quota(&operator()?, &channel_code(&code)?, reason).await?;
            engine.shutdown().await;
            println!("WeChat has set the day's counts of {code} back.");
            Ok(ExitCode::SUCCESS)
        }
        Channel::Pause { code, reason, common } => {
            let engine = engine(&common).await?;
            engine.pause_channel(&operator()?, &channel_code(&code)?, reason).await?;
            engine.shutdown().await;
            println!("Channel {code} is paused. What waits keeps waiting.");
            Ok(ExitCode::SUCCESS)
        }
        Channel::Resume { code, reason, common } => {
            let engine = engine(&common).await?;
            engine.resume_channel(&operator()?, &channel_code(&code)?, reason).await?;
            engine.shutdown().await;
            println!("Channel {code} goes on sending.");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(reading: Reading, json: bool) -> anyhow::Result<ExitCode> {
    let answers = reading.queries.channels().await?;
    reading.close().await;
    let mut rows = Vec::new();
    for answer in answers {
        let row = answer.value;
        if json {
            output::json(&row)?;
            continue;
        }
        let refreshed = row.templates_refreshed_at.map_or_else(|| "never".to_owned(), output::time);
        let state = row.hold().map_or("active", |hold| hold.as_str());
        rows.push(vec![row.code.to_string(), row.name, row.appid, state.to_owned(), refreshed]);
    }
    if !json {
        let empty = "No channel yet. Set one up: subledger channel add wechatmp123 --appid wx…";
        output::table(&["CHANNEL", "NAME", "APPID", "STATE", "TEMPLATES REFRESHED"], &rows, empty);
    }
    Ok(ExitCode::SUCCESS)
}

fn secret_json(secret: &KnownSecret) -> serde_json::Value {
    json!({
        "kind": secret.kind.as_str(), "fingerprint": secret.mark.fingerprint,
        "set_at": output::time(secret.mark.set_at),
    })
}

async fn secrets(engine: &Engine, code: &ChannelCode, json: bool) -> anyhow::Result<ExitCode> {
    let secrets = engine.channel_secrets(code).await;
    engine.shutdown().await;
    let secrets = secrets?;
    if json {
        for secret in &secrets {
            output::json(&secret_json(secret))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let row = |secret: &KnownSecret| {
        let mark = &secret.mark;
        vec![secret.kind.as_str().to_owned(), mark.fingerprint.clone(), output::time(mark.set_at)]
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    output::table(&["SECRET", "FINGERPRINT", "SET"], &rows, "no secrets");
    Ok(ExitCode::SUCCESS)
}

async fn refresh(engine: &Engine, code: &ChannelCode, json: bool) -> anyhow::Result<ExitCode> {
    let done = engine.refresh_templates(&operator()?, code).await?;
    engine.shutdown().await;
    if json {
        output::json(&done.answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = &done.answer;
    println!(
        "WeChat lists {} templates: {} added, {} changed, {} vanished.",
        found.listed,
        found.added.len(),
        found.changed.len(),
        found.vanished.len()
    );
    let marked = [("+", &found.added), ("~", &found.changed), ("-", &found.vanished)];
    for (mark, ids) in marked {
        for id in ids {
            println!("  {mark} {id}");
        }
    }
    if found.unreadable > 0 {
        println!("  {} of a shape this version does not know were left out.", found.unreadable);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the flags name. Their words are those of the policies, so they are read as the policies themselves are.
fn named(flags: &PolicyFlags) -> anyhow::Result<PolicyChange> {
    let PolicyFlags {
        unknown_balance,
        taps,
        tap_window_s,
        doubt_deadline_s,
        doubt_verdict,
        refused_send,
        settings_off,
        bulk_reserve,
    } = flags;
    Ok(serde_json::from_value(json!({
        "unknown_balance": unknown_balance,
        "taps": taps,
        "tap_window_s": tap_window_s,
        "doubt_deadline_s": doubt_deadline_s,
        "doubt_verdict": doubt_verdict,
        "refused_send": refused_send,
        "settings_off": settings_off,
        "bulk_reserve": bulk_reserve,
    }))?)
}

async fn policy(
    engine: &Engine,
    code: &ChannelCode,
    flags: &PolicyFlags,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let change = named(flags)?;
    if change != PolicyChange::default() {
        engine.amend_policy(&operator()?, code, change).await?;
    }
    let Policy {
        unknown_balance,
        taps,
        tap_window_s,
        doubt_deadline_s,
        doubt_verdict,
        refused_send,
        settings_off,
        bulk_reserve,
    } = engine.registered(code).await?.policy;
    engine.shutdown().await;
    // With what is as by default, which is not stored.
    let policy = json!({
        "unknown_balance": unknown_balance,
        "taps": taps,
        "tap_window_s": tap_window_s,
        "doubt_deadline_s": doubt_deadline_s,
        "doubt_verdict": doubt_verdict,
        "refused_send": refused_send,
        "settings_off": settings_off,
        "bulk_reserve": bulk_reserve,
    });
    if json {
        output::json(&policy)?;
        return Ok(ExitCode::SUCCESS);
    }
    let words = policy.as_object().into_iter().flatten();
    let rows: Vec<_> = words
        .map(|(name, word)| vec![name.clone(), word.as_str().map_or_else(|| word.to_string(), str::to_owned)])
        .collect();
    output::table(&["POLICY", "VALUE"], &rows, "");
    Ok(ExitCode::SUCCESS)
}
