//! `subledger doctor`: what is wrong, and what to do about it.
//!
//! It opens nothing that could write, so it works beside a running service, and it tells of a database that is away or a key that
//! does not fit instead of failing.

use std::{io::IsTerminal, process::ExitCode};

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use subledger_audit::history::Language;
use subledger_engine::doctor::{
    Finding, Health, Report, Text,
    outside::{Known, Place, examine},
};

use super::{audit::language, channel_code, no_channel, settings};
use crate::{cli::Doctor, output, settings::Settings};

/// Warnings, and nothing worse.
const WARNINGS: u8 = 1;
/// Something does not work.
const FAILURES: u8 = 2;

pub(super) async fn run(asked: Doctor) -> anyhow::Result<ExitCode> {
    let channel = asked.channel.as_deref().map(channel_code).transpose()?;
    let settings = settings(&asked.common)?;
    let place = Place {
        url: settings.database.url.expose_secret().to_owned(),
        key: Settings::master_key().map_err(|error| error.to_string()),
        wechat: settings.wechat(),
        settings: settings.engine()?,
    };
    let (report, known) = examine(place, channel.as_ref()).await;
    if let (Some(channel), Known::No) = (&channel, known) {
        return Err(no_channel(channel));
    }
    if asked.json {
        output::json(&as_json(&report))?;
    } else {
        print(&report, language(asked.lang) == Language::Zh);
    }
    Ok(match report.worst() {
        Health::Ok | Health::Skipped => ExitCode::SUCCESS,
        Health::Warn => ExitCode::from(WARNINGS),
        Health::Fail => ExitCode::from(FAILURES),
    })
}

/// The same shape as the API's.
fn as_json(report: &Report) -> Value {
    let text = |text: &Text| json!({ "en": text.en, "zh": text.zh });
    let finding = |finding: &Finding| {
        json!({
            "check": finding.check.as_str(),
            "channel": finding.channel.as_ref().map(ToString::to_string),
            "state": finding.health.as_str(),
            "found": text(&finding.found),
            "advice": finding.advice.as_ref().map(text),
            "docs": finding.check.docs(),
        })
    };
    json!({
        "worst": report.worst().as_str(),
        "checked_at": output::time(report.checked_at),
        "warnings": report.count(Health::Warn),
        "failures": report.count(Health::Fail),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn print(report: &Report, zh: bool) {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let say = |text: &Text| if zh { text.zh.clone() } else { text.en.clone() };
    let name = |finding: &Finding| match &finding.channel {
        Some(channel) => format!("{channel} {}", finding.check.as_str()),
        None => finding.check.as_str().to_owned(),
    };
    let width = report.findings.iter().map(|finding| name(finding).chars().count()).max().unwrap_or(0);
    for finding in &report.findings {
        let state = format!("{:<7}", finding.health.as_str());
        let state = if colour { painted(&state, finding.health) } else { state };
        println!("{state}  {:<width$}  {}", name(finding), say(&finding.found));
        if let Some(advice) = &finding.advice {
            println!("{:<7}  {:<width$}  → {} ({})", "", "", say(advice), finding.check.docs());
        }
    }
    let (warnings, failures) = (report.count(Health::Warn), report.count(Health::Fail));
    println!();
    match (zh, warnings, failures) {
        (false, 0, 0) => println!("All is well."),
        (true, 0, 0) => println!("一切正常。"),
        (false, ..) => println!("Failures: {failures}. Warnings: {warnings}."),
        (true, ..) => println!("{failures} 项不可用，{warnings} 项警告。"),
    }
}

fn painted(text: &str, health: Health) -> String {
    let code = match health {
        Health::Ok => 32,
        Health::Skipped => 90,
        Health::Warn => 33,
        Health::Fail => 31,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
