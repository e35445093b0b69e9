//! `subledger audit adjust`: a correction of one ledger, with its reason.

use std::process::ExitCode;

use serde_json::json;
use subledger_engine::corrections::{Adjustment, Corrected, Numbers, Whose};

use super::super::{channel_code, engine, operator};
use crate::{cli::Adjust, exit::SettingsError, output};

pub(super) async fn run(adjust: Adjust) -> anyhow::Result<ExitCode> {
    let channel = channel_code(&adjust.channel)?;
    let wrong = |flag: &str, error: &dyn std::fmt::Display| SettingsError(format!("--{flag}: {error}"));
    let who = match (&adjust.userid, &adjust.openid) {
        (Some(userid), _) => Whose::Userid(userid.parse().map_err(|error| wrong("userid", &error))?),
        (None, Some(openid)) => Whose::Openid(openid.parse().map_err(|error| wrong("openid", &error))?),
        (None, None) => return Err(SettingsError("give --userid or --openid".to_owned()).into()),
    };
    let by = adjust.add.map(i64::from).or_else(|| adjust.remove.map(|count| -i64::from(count)));
    let adjustment = Adjustment {
        who,
        template: adjust.template.parse().map_err(|error| wrong("template", &error))?,
        by: by.ok_or_else(|| SettingsError("give --add or --remove".to_owned()))?,
        reason: adjust.reason,
        idempotency_key: None,
    };
    let engine = engine(&adjust.common).await?;
    let done = engine.adjust_ledger(&operator()?, &channel, adjustment).await;
    engine.shutdown().await;
    let done = done?;
    let Corrected { subject, template, before, after, added, removed } = done.answer;
    let numbers = |n: Numbers| json!({ "granted": n.granted, "balance": n.balance, "voided": n.voided });
    if adjust.json {
        output::json(&json!({
            "subject": subject.to_string(), "template_id": template.as_str(), "before": numbers(before),
            "after": numbers(after), "added": added, "removed": removed, "position": done.position,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let line =
        |word: &str, before: u64, after: u64| vec![word.to_owned(), before.to_string(), after.to_string()];
    let rows = [
        line("granted", before.granted, after.granted),
        line("balance", before.balance, after.balance),
        line("voided", before.voided, after.voided),
    ];
    output::table(&["", "BEFORE", "AFTER"], &rows, "");
    let list = |lots: &[u64]| lots.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if !added.is_empty() {
        println!("New lots: {}", list(&added));
    }
    if !removed.is_empty() {
        println!("Lots that are void now: {}", list(&removed));
    }
    println!("Recorded at position {} of the channel's log.", done.position);
    Ok(ExitCode::SUCCESS)
}
