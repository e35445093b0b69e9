//! `subledger audit doubts`: what is in doubt, and settling it on a person's word.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use subledger_domain::{ChannelCode, DeliveryId, LogName, TemplateId};
use subledger_engine::doubts::{DoubtFilter, ManualVerdict};
use subledger_store::QueueEntry;

use super::super::{channel_code, engine, no_channel, operator, settings};
use crate::{
    cli::{Doubts, Verdict, WhichDoubts},
    exit::SettingsError,
    node, output,
};

pub(super) async fn run(doubts: Doubts) -> anyhow::Result<ExitCode> {
    match doubts {
        Doubts::List { which, common, json } => {
            let (channel, template) = names(&which)?;
            // Reads the queue and nothing else, so it works beside a server that has the file.
            let store = node::open_store(&settings(&common)?.store()?).await?;
            let log = LogName::channel(&channel);
            if store.head(&log).await?.position.0 == 0 {
                return Err(no_channel(&channel));
            }
            let until = store.clock().now().plus_seconds(-i64::from(which.older_than_s));
            let found = store.overdue_doubts(&log, until, template.as_ref(), which.limit).await?;
            store.close().await;
            if json {
                found.iter().try_for_each(|entry| output::json(&told(entry)))?;
            } else {
                table(&found, "Nothing is in doubt.");
            }
        }
        Doubts::Settle { msgid, index, channel, verdict, reason, common, json } => {
            let channel = channel_code(&channel)?;
            let msgid = msgid.parse().map_err(|error| SettingsError(format!("the message: {error}")))?;
            let delivery = DeliveryId::new(msgid, index);
            let engine = engine(&common).await?;
            let done =
                engine.resolve_doubt(&operator()?, &channel, delivery, word(verdict), reason, None).await;
            engine.shutdown().await;
            let position = done?.position;
            if json {
                output::json(&json!({ "delivery": delivery.to_string(), "position": position }))?;
            } else {
                println!("Delivery {delivery} is settled, at position {position} of the channel's log.");
            }
        }
        Doubts::SettleAll { which, verdict, reason, yes, common, json } => {
            let (channel, template) = names(&which)?;
            let engine = engine(&common).await?;
            let since = Some(engine.now().plus_seconds(-i64::from(which.older_than_s)));
            let filter = DoubtFilter { template, since, limit: which.limit };
            let done =
                engine.settle_doubts(&operator()?, &channel, &filter, word(verdict), reason, !yes).await;
            engine.shutdown().await;
            let done = done.context("settling the doubts")?;
            let (matched, more) = (&done.answer.matched, done.answer.more);
            if json {
                let matched: Vec<Value> = matched.iter().map(told).collect();
                output::json(&json!({
                    "dry_run": !yes, "matched": matched, "settled": done.answer.settled, "more": more,
                    "position": done.position,
                }))?;
                return Ok(ExitCode::SUCCESS);
            }
            table(matched, "No doubt fits.");
            if yes {
                println!("{} of {} settled.", done.answer.settled, matched.len());
            } else if !matched.is_empty() {
                println!("Nothing was changed: {} would be settled with --yes.", matched.len());
            }
            if more {
                println!("More fit than --limit {}; run it again for the rest.", which.limit);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(which: &WhichDoubts) -> anyhow::Result<(ChannelCode, Option<TemplateId>)> {
    let template = which.template.as_deref().map(str::parse).transpose();
    let template = template.map_err(|error| SettingsError(format!("--template: {error}")))?;
    Ok((channel_code(&which.channel)?, template))
}

const fn word(verdict: Verdict) -> ManualVerdict {
    match verdict {
        Verdict::Sent => ManualVerdict::Sent,
        Verdict::NotSent => ManualVerdict::NotSent,
    }
}

fn told(entry: &QueueEntry) -> Value {
    json!({
        "msgid": entry.row.delivery.message.to_string(), "index": entry.row.delivery.index,
        "template_id": entry.row.template.as_str(), "subject": entry.row.subject.to_string(),
        "in_doubt_since": output::time(entry.since), "attempts": entry.row.attempts,
    })
}

fn table(entries: &[QueueEntry], empty: &str) {
    let row = |entry: &QueueEntry| {
        vec![
            entry.row.delivery.message.to_string(),
            entry.row.delivery.index.to_string(),
            entry.row.template.to_string(),
            output::time(entry.since),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    output::table(&["MSGID", "INDEX", "TEMPLATE", "IN DOUBT SINCE"], &rows, empty);
}
