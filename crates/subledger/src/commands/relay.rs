//! `subledger channel relay`: forward pushes to the integrator's back end.

use std::process::ExitCode;

use anyhow::Context;
use secrecy::ExposeSecret;
use serde_json::json;
use subledger_domain::channel::RelayKind;
use subledger_engine::relay::{RelayReport, RelayWish};

use super::{channel_code, engine, operator};
use crate::{cli::Relay, exit, output};

pub(super) async fn run(relay: Relay) -> anyhow::Result<ExitCode> {
    match relay {
        Relay::Set { code, url, form, kinds, rotate_secret, common, json } => {
            // The words of the flags are those of the relay itself.
            let kinds = match kinds.as_slice() {
                [] => RelayKind::ALL.into(),
                kinds => serde_json::from_value(json!(kinds)).context("--kind")?,
            };
            let form = serde_json::from_value(json!(form)).context("--form")?;
            let engine = engine(&common).await?;
            let wish = RelayWish { url, form, kinds, rotate_secret };
            let done = engine.configure_relay(&operator()?, &channel_code(&code)?, wish).await?;
            engine.shutdown().await;
            let secret = done.answer.secret.as_ref().map(ExposeSecret::expose_secret);
            let until = done.answer.previous_until.map(output::time);
            if json {
                output::json(&json!({ "secret": secret, "previous_secret_until": until }))?;
                return Ok(ExitCode::SUCCESS);
            }
            println!("Pushes of channel {code} are relayed.");
            if let Some(secret) = secret {
                println!("Signing secret, shown this once: {secret}");
            }
            if let Some(until) = until {
                println!("The secret before it signs, too, until {until}.");
            }
            println!("Next: subledger channel relay test {code}");
        }
        Relay::Show { code, common, json } => {
            let engine = engine(&common).await?;
            let report = engine.relay_report(&channel_code(&code)?).await?;
            engine.shutdown().await;
            show(&report, json)?;
        }
        Relay::Test { code, common } => {
            let engine = engine(&common).await?;
            let tested = engine.test_relay(&channel_code(&code)?).await?;
            engine.shutdown().await;
            let status = tested.status.map_or_else(String::new, |status| format!(", HTTP {status}"));
            println!("{}{status}, after {} ms", tested.outcome, tested.took.as_millis());
            if !tested.delivered {
                return Ok(ExitCode::from(exit::FAILED));
            }
        }
        Relay::Stop { code, common } => {
            let engine = engine(&common).await?;
            engine.stop_relay(&operator()?, &channel_code(&code)?).await?;
            engine.shutdown().await;
            println!("Pushes of channel {code} are relayed no more.");
        }
        Relay::Redrive { code, common } => {
            let engine = engine(&common).await?;
            let redriven = engine.redrive_relay(&channel_code(&code)?, None).await?;
            engine.shutdown().await;
            println!("{redriven} pushes wait again.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(report: &RelayReport, json: bool) -> anyhow::Result<()> {
    let RelayReport { relay, health, .. } = report;
    let oldest = health.oldest_waiting_at.map(output::time);
    if json {
        return output::json(&json!({
            "url": relay.as_ref().map(|relay| &relay.url),
            "form": relay.as_ref().map(|relay| relay.form),
            "kinds": relay.as_ref().map(|relay| &relay.kinds),
            "waiting": health.waiting,
            "oldest_waiting_at": oldest,
            "given_up": health.given_up,
            "last_status": health.last_status,
        }));
    }
    let none = || "none".to_owned();
    let word = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let relay_word = |value: Option<serde_json::Value>| value.map_or_else(none, word);
    let rows = [
        ("url", relay.as_ref().map_or_else(none, |relay| relay.url.clone())),
        ("form", relay_word(relay.as_ref().map(|relay| json!(relay.form)))),
        ("kinds", relay_word(relay.as_ref().map(|relay| json!(relay.kinds)))),
        ("waiting", health.waiting.to_string()),
        ("oldest waiting", oldest.unwrap_or_else(none)),
        ("given up", health.given_up.to_string()),
        ("last outcome", health.last_status.clone().unwrap_or_else(none)),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&["RELAY", "VALUE"], &rows, "");
    Ok(())
}
