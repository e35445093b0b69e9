//! `subledger channel callback`, `pushes` and `push-health`: WeChat's pushes, set up and looked at.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subledger_domain::{
    ChannelCode, LogName,
    channel::{CallbackFormat, CallbackMode},
};
use subledger_engine::{
    callback::{CallbackRequest, SecretChange},
    intake,
};
use subledger_store::{KeptPush, PushFilter, PushKey, PushPage, SecretMark};

use super::{channel_code, engine, node, operator, settings};
use crate::{
    cli::{Callback, Common, Pushes},
    exit::SettingsError,
    output,
};

/// The environment variables that hand secrets over.
const TOKEN: &str = "SUBLEDGER_PUSH_TOKEN";
const KEY: &str = "SUBLEDGER_PUSH_KEY";

/// A word of a closed set, which clap has checked.
fn word<T: DeserializeOwned>(text: Option<&str>) -> anyhow::Result<Option<T>> {
    Ok(text.map(|text| serde_json::from_value(json!(text))).transpose()?)
}

fn secret(variable: &str, flag: &str, made_up: bool) -> anyhow::Result<SecretChange> {
    match (std::env::var(variable).ok(), made_up) {
        (Some(_), true) => {
            Err(SettingsError(format!("{variable} is set and {flag} is given; use one of them")).into())
        }
        (Some(secret), false) => Ok(SecretChange::Given(SecretString::from(secret))),
        (None, true) => Ok(SecretChange::Generate),
        (None, false) => Ok(SecretChange::Keep),
    }
}

pub(super) async fn callback(asked: Callback) -> anyhow::Result<ExitCode> {
    let code = channel_code(&asked.code)?;
    let token = secret(TOKEN, "--new-token", asked.new_token)?;
    let key = secret(KEY, "--new-key", asked.new_key)?;
    let engine = engine(&asked.common).await?;
    let before = engine.callback(&code).await?;
    let mode: Option<CallbackMode> = word(asked.mode.as_deref())?;
    let format: Option<CallbackFormat> = word(asked.format.as_deref())?;
    let kept = |change: &SecretChange| matches!(change, SecretChange::Keep);
    let nothing =
        mode.is_none() && format.is_none() && asked.original_id.is_none() && kept(&token) && kept(&key);
    let (set, made_up_token, made_up_key) = match before {
        Some(before) if nothing => (before, None, None),
        before => {
            let request = CallbackRequest {
                mode: mode.or(before.as_ref().map(|it| it.mode)).unwrap_or_default(),
                format: format.or(before.as_ref().map(|it| it.format)).unwrap_or_default(),
                token,
                key,
                original_id: asked.original_id,
            };
            let set = engine.configure_callback(&operator()?, &code, request).await?.answer;
            (set.callback, set.token, set.key)
        }
    };
    engine.shutdown().await;
    let url = format!("{}/callbacks/wechat/{code}", asked.url_base.trim_end_matches('/'));
    let shown = |secret: &Option<SecretString>| secret.as_ref().map(|it| it.expose_secret().to_owned());
    if asked.json {
        output::json(&json!({
            "url": url,
            "mode": set.mode,
            "format": set.format,
            "generated_token": shown(&made_up_token),
            "generated_key": shown(&made_up_key),
            "token_fingerprint": set.token.fingerprint,
            "token_set_at": output::time(set.token.set_at),
            "key_fingerprint": set.key.as_ref().map(|key| &key.fingerprint),
            "key_set_at": set.key.as_ref().map(|key| output::time(key.set_at)),
            "previous_key_fingerprint": set.previous_key.as_ref().map(|key| &key.fingerprint),
            "previous_key_set_at": set.previous_key.as_ref().map(|key| output::time(key.set_at)),
            "original_id": set.original_id,
            "warning": set.warning(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let or_kept = |made_up: &Option<SecretString>, mark: &SecretMark| match shown(made_up) {
        Some(secret) => format!("{secret}   (made up; shown this once)"),
        None => {
            format!(
                "as it is kept here (fingerprint {}, set {})",
                mark.fingerprint,
                output::time(mark.set_at)
            )
        }
    };
    println!("Enter in WeChat's console (mp.weixin.qq.com), 开发管理 → 消息推送:");
    println!();
    println!("  URL (服务器地址)              {url}");
    println!("  Token (令牌)                  {}", or_kept(&made_up_token, &set.token));
    if let Some(key) = &set.key {
        println!("  EncodingAESKey (消息加密密钥)  {}", or_kept(&made_up_key, key));
    }
    println!("  加密方式                      {}", mode_in_console(set.mode));
    println!("  数据格式                      {}", format_in_console(set.format));
    println!();
    if let Some(previous) = &set.previous_key {
        println!("The key before it (fingerprint {}) goes on opening what comes late.", previous.fingerprint);
    }
    match &set.original_id {
        Some(id) => println!("Original id: {id}"),
        None => println!("Original id: learned from the first push."),
    }
    if let Some(warning) = set.warning() {
        println!("WARNING: {warning}.");
    }
    println!("Afterwards: subledger channel push-health {code}");
    Ok(ExitCode::SUCCESS)
}

const fn mode_in_console(mode: CallbackMode) -> &'static str {
    match mode {
        CallbackMode::Plaintext => "明文模式 (plaintext)",
        CallbackMode::Compatible => "兼容模式 (compatible)",
        CallbackMode::Secure => "安全模式 (secure)",
    }
}

const fn format_in_console(format: CallbackFormat) -> &'static str {
    match format {
        CallbackFormat::Json => "JSON",
        CallbackFormat::Xml => "XML",
    }
}

pub(super) async fn run(pushes: Pushes) -> anyhow::Result<ExitCode> {
    match pushes {
        Pushes::List { code, kind, state, limit, common, json } => {
            let code = channel_code(&code)?;
            let filter = PushFilter {
                kind: word(kind.as_deref())?,
                state: word(state.as_deref())?,
                ..PushFilter::default()
            };
            list(&code, &filter, limit, &common, json).await
        }
        Pushes::Show { code, key, raw, common } => {
            show(&channel_code(&code)?, push_key(&key)?, raw, &common).await
        }
        Pushes::Redo { code, id, common, json } => {
            let code = channel_code(&code)?;
            let key = id.as_deref().map(push_key).transpose()?;
            let engine = engine(&common).await?;
            let redone = engine.redo_pushes(&operator()?, &code, key).await?;
            engine.shutdown().await;
            if json {
                output::json(&redone)?;
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "{} tried: {} acted on, {} with nothing to do, {} failed, {} still unreadable.",
                redone.tried, redone.acted, redone.ignored, redone.failed, redone.undecodable
            );
            if redone.more {
                println!("There are more; run it again.");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn push_key(text: &str) -> anyhow::Result<PushKey> {
    text.parse().map_err(|error| SettingsError(format!("{text}: {error}")).into())
}

fn effect(push: &KeptPush) -> Value {
    push.effect.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn line(push: &KeptPush) -> Value {
    json!({
        "key": push.key,
        "received_at": output::time(push.received_at),
        "kind": push.kind,
        "event": push.event,
        "subject": push.subject,
        "mode": push.mode,
        "format": push.format,
        "state": push.state,
        "effect": effect(push),
        "seen": push.seen,
    })
}

async fn list(
    code: &ChannelCode,
    filter: &PushFilter,
    limit: u32,
    common: &Common,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let settings = settings(common)?;
    let store = node::open_store(&settings.store()?).await?;
    let found = store.pushes(&LogName::channel(code), filter, PushPage::Newest, limit).await;
    store.close().await;
    let mut rows = Vec::new();
    for push in found? {
        if json {
            output::json(&line(&push))?;
            continue;
        }
        rows.push(vec![
            push.key.to_string(),
            output::time(push.received_at),
            push.kind.as_str().to_owned(),
            push.event.clone(),
            push.state.as_str().to_owned(),
            push.seen.to_string(),
        ]);
    }
    if !json {
        let empty = "Nothing was pushed that fits.";
        output::table(&["KEY", "RECEIVED", "KIND", "EVENT", "STATE", "SEEN"], &rows, empty);
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(code: &ChannelCode, key: PushKey, raw: bool, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = settings(common)?;
    let store = node::open_store(&settings.store()?).await?;
    let found = store.push(&LogName::channel(code), key).await;
    store.close().await;
    let found = found?.ok_or_else(|| anyhow!("channel {code} has no push {key}; old ones are deleted"))?;
    let mut shown = line(&found.push);
    match intake::describe(&found.body) {
        Ok(decoded) => shown["decoded"] = decoded,
        Err(reason) => shown["undecodable"] = reason.into(),
    }
    if raw {
        shown["body"] = String::from_utf8_lossy(&found.body).into();
    }
    println!("{}", serde_json::to_string_pretty(&shown).context("the push could not be written as JSON")?);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn health(code: &str, common: &Common, json: bool) -> anyhow::Result<ExitCode> {
    let code = channel_code(code)?;
    let engine = engine(common).await?;
    engine.caught_up(&LogName::channel(&code), None).await;
    let health = engine.push_health(&code).await?;
    engine.shutdown().await;
    if json {
        let kinds: serde_json::Map<String, Value> = health
            .kept
            .kinds
            .iter()
            .map(|(kind, it)| {
                (kind.as_str().to_owned(), json!({ "kept": it.kept, "last_at": output::time(it.last_at) }))
            })
            .collect();
        let hints: Vec<_> =
            health.hints.iter().map(|hint| json!({ "code": hint, "advice": hint.advice() })).collect();
        output::json(&json!({
            "kinds": kinds,
            "states": health.kept.states,
            "sent_last_day": health.sent_last_day,
            "taps_last_day": health.taps_last_day,
            "hints": hints,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(callback) = &health.callback {
        println!("Channel {code}: {}", mode_in_console(callback.mode));
    }
    let rows: Vec<_> = health
        .kept
        .kinds
        .iter()
        .map(|(kind, it)| vec![kind.as_str().to_owned(), it.kept.to_string(), output::time(it.last_at)])
        .collect();
    output::table(&["KIND", "KEPT", "LAST SEEN"], &rows, "Nothing was pushed yet.");
    let rows: Vec<_> = health
        .kept
        .states
        .iter()
        .map(|(state, kept)| vec![state.as_str().to_owned(), kept.to_string()])
        .collect();
    if !rows.is_empty() {
        println!();
        output::table(&["STATE", "KEPT"], &rows, "");
    }
    println!();
    println!("Last 24 hours: {} sent, {} taps told of.", health.sent_last_day, health.taps_last_day);
    for hint in &health.hints {
        println!("! {}", hint.advice());
    }
    if health.hints.is_empty() {
        println!("Nothing to look at.");
    }
    println!(
        "What a running node has refused since it started, it tells itself: GET /api/v1/channels/{code}/push-health"
    );
    Ok(ExitCode::SUCCESS)
}
