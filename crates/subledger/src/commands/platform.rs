//! `subledger platform`: third-party platforms of a running service.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::{
    cli::{Platform, PlatformSet},
    exit::SettingsError,
    output,
    remote::Service,
};

/// The secrets: name in the API, environment variable that hands it over, name in the open platform's console.
const SECRETS: [(&str, &str, &str); 3] = [
    ("secret", "SUBLEDGER_PLATFORM_SECRET", "AppSecret"),
    ("token", "SUBLEDGER_PLATFORM_TOKEN", "消息校验 Token"),
    ("encoding_aes_key", "SUBLEDGER_PLATFORM_KEY", "消息加解密 Key (EncodingAESKey)"),
];
/// What every answer about a platform has.
const APPID: &str = "component_appid";
/// Longest standard input that is read, in bytes.
const MOST_INPUT: u64 = 64 * 1024;

pub(super) async fn run(platform: Platform) -> anyhow::Result<ExitCode> {
    match platform {
        Platform::Set(asked) => set(asked).await?,
        Platform::Show { component_appid, remote, json } => {
            let shown = Service::new(&remote)?.get(&["platforms", &component_appid], APPID).await?;
            show(&shown, json)?;
        }
        Platform::StartTicket { component_appid, remote, json } => {
            let path = ["platforms", &component_appid, "start-ticket"];
            let answer = Service::new(&remote)?.post(&path, &json!({}), "message").await?;
            if json {
                output::json(&answer)?;
            } else {
                let words = answer["message"].as_str().unwrap_or("ok");
                println!("WeChat pushes tickets again, every ten minutes ({words}).");
                println!("How old the newest is: subledger platform show {component_appid}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(asked: PlatformSet) -> anyhow::Result<()> {
    let service = Service::new(&asked.remote)?;
    let path = ["platforms", asked.component_appid.as_str()];
    let before = match service.get(&path, APPID).await {
        Ok(before) => Some(before),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let kept = |name: &str| before.as_ref().and_then(|before| before[name].as_str()).map(str::to_owned);
    let mut body = Map::new();
    let name = asked.name.clone().or_else(|| kept("name")).unwrap_or_else(|| asked.component_appid.clone());
    body.insert("name".to_owned(), name.into());
    let public_url = asked.public_url.clone().or_else(|| kept("public_url")).ok_or_else(|| {
        SettingsError("--public-url is needed: where browsers and WeChat reach this service".to_owned())
    })?;
    body.insert("public_url".to_owned(), public_url.into());
    for (name, secret) in secrets(&asked, before.is_none())? {
        body.insert(name.to_owned(), secret.expose_secret().into());
    }
    let set = service.put(&path, &Value::Object(body), APPID).await?;
    if asked.json {
        return output::json(&set);
    }
    let done = if before.is_none() { "set up" } else { "changed" };
    println!("Platform {} is {done}.", asked.component_appid);
    println!();
    console(&set);
    println!();
    println!(
        "WeChat pushes a ticket every ten minutes. Whether it came: subledger platform show {}",
        asked.component_appid
    );
    Ok(())
}

/// The secrets that are given. A new platform needs all three: what is missing is asked for at a terminal.
fn secrets(asked: &PlatformSet, new: bool) -> anyhow::Result<Vec<(&'static str, SecretString)>> {
    let from_input = if asked.stdin { Some(input()?) } else { None };
    let at_terminal = std::io::stdin().is_terminal() && from_input.is_none();
    let mut given = Vec::new();
    for (name, variable, label) in SECRETS {
        let told = match &from_input {
            Some(input) => input.get(name).cloned(),
            None => std::env::var(variable).ok().filter(|text| !text.is_empty()).map(SecretString::from),
        };
        let secret = match told {
            Some(secret) => secret,
            None if (new || asked.ask) && at_terminal => {
                let typed = rpassword::prompt_password(format!("{label}: ")).context("the prompt")?;
                SecretString::from(typed.trim())
            }
            None if new || asked.ask => {
                let how =
                    if asked.stdin { format!("{name:?} on standard input") } else { variable.to_owned() };
                return Err(
                    SettingsError(format!("{how} is missing; it hands the platform's {label} over")).into()
                );
            }
            None => continue,
        };
        given.push((name, secret));
    }
    Ok(given)
}

/// A JSON object of secrets on standard input. An unknown name is a mistake rather than something to pass over.
fn input() -> anyhow::Result<std::collections::BTreeMap<String, SecretString>> {
    let wrong = |what: String| SettingsError(format!("standard input: {what}"));
    let mut text = String::new();
    std::io::stdin().take(MOST_INPUT).read_to_string(&mut text).context("standard input")?;
    // Its own words could quote a secret; the place is all that is told.
    let read: std::collections::BTreeMap<String, SecretString> =
        serde_json::from_str(&text).map_err(|error| {
            wrong(format!("no JSON object of texts (line {}, column {})", error.line(), error.column()))
        })?;
    if let Some(name) = read.keys().find(|name| SECRETS.iter().all(|(known, ..)| known != name)) {
        let known = SECRETS.map(|(name, ..)| name).join(", ");
        return Err(wrong(format!("there is no secret {name:?}; there are {known}")).into());
    }
    Ok(read)
}

/// What to enter in the open platform's console.
fn console(platform: &Value) {
    let text = |name: &str| platform[name].as_str().unwrap_or_default();
    println!("Enter in the open platform's console (open.weixin.qq.com), 第三方平台 → 开发资料:");
    println!();
    println!("  授权事件接收 URL     {}", text("authorization_url"));
    println!("  消息与事件接收 URL   {}", text("message_url"));
    println!("  授权发起页域名       {}", text("login_domain"));
    println!("  白名单 IP 地址列表   the addresses this service calls from");
}

fn show(platform: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(platform);
    }
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let secret = |name: &str| match &platform[name] {
        Value::Null => "none".to_owned(),
        secret => format!("fingerprint {}, set {}", text(&secret["fingerprint"]), text(&secret["set_at"])),
    };
    let ticket = &platform["ticket"];
    let age = ticket["age_s"].as_u64().map_or_else(String::new, |age| format!(", {age} s old"));
    let rows = [
        ("name", text(&platform["name"])),
        ("public URL", text(&platform["public_url"])),
        ("AppSecret", secret("app_secret")),
        ("push token", secret("token")),
        ("EncodingAESKey", secret("encoding_aes_key")),
        ("the one before", secret("previous_encoding_aes_key")),
        ("ticket", format!("{}{age}", text(&ticket["state"]))),
        ("newest came", text(&ticket["received_at"])),
        ("tickets in all", ticket["received"].to_string()),
        ("last asked for", text(&ticket["asked_at"])),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&["PLATFORM", platform["component_appid"].as_str().unwrap_or_default()], &rows, "");
    if let Some(advice) = ticket["advice"].as_str() {
        println!("\n{advice}.");
    }
    println!();
    console(platform);
    Ok(())
}
