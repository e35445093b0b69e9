//! `subledger channel quota`: what is known of WeChat's daily quota. It only reads, beside a running service too.

use std::process::ExitCode;

use serde_json::json;
use subledger_domain::{ChannelCode, LogName};
use subledger_engine::quota::{self, Forecast};

use super::Reading;
use crate::{cli::Common, output};

/// Times are told as the quota runs.
const ZONE: &str = "Asia/Shanghai";

pub(super) async fn show(code: &ChannelCode, common: &Common, as_json: bool) -> anyhow::Result<ExitCode> {
    let reading = Reading::of(common, &LogName::channel(code)).await?;
    let found = quota::quota(&reading.store, &reading.queries, code).await;
    reading.close().await;
    let quota = found?;
    let figures = quota.figures;
    let (state, used_up_at) = match quota.forecast {
        Forecast::Unknown => ("unknown", None),
        Forecast::Lasts(_) => ("lasts", None),
        Forecast::UsedUp(at, _) => ("used_up", Some(at)),
    };
    if as_json {
        output::json(&json!({
            "channel": code.to_string(),
            "limit": figures.map(|it| it.limit),
            "used": figures.map(|it| it.used),
            "remaining": figures.map(|it| it.remaining),
            "read_at": figures.map(|it| output::time(it.read_at)),
            "sent_since": figures.map(|it| it.sent_since),
            "resets_at": output::time(quota.resets_at),
            "forecast": {
                "state": state,
                "at": used_up_at.map(output::time),
                "per_hour": quota.forecast.per_hour(),
            },
            "bulk_reserve": {
                "percent": quota.reserve_percent,
                "sends": quota.reserve,
                "held_until": quota.held.map(|held| output::time(held.until)),
                "waiting": quota.bulk_waiting,
            },
            "polled_at": quota.polled_at.map(output::time),
            "failure": quota.failure.as_ref().map(|it| json!({ "reason": it.word, "errcode": it.errcode })),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match figures {
        None => println!("WeChat has not told yet how much {code} may send."),
        Some(it) => {
            let read = output::time_in(it.read_at, ZONE);
            println!("Sends a day    {}", it.limit);
            println!(
                "Used today     {} (WeChat's figure of {read} and {} sent since)",
                it.used, it.sent_since
            );
            println!("Left           {} (WeChat may be about 1 % off)", it.remaining);
        }
    }
    println!("Begins anew    {}", output::time_in(quota.resets_at, ZONE));
    match quota.forecast {
        Forecast::Unknown => println!("Forecast       too little to go by"),
        Forecast::Lasts(rate) => println!("Forecast       not used up before midnight, at {rate:.0} an hour"),
        Forecast::UsedUp(at, rate) => {
            println!("Forecast       used up at {}, at {rate:.0} an hour", output::time_in(at, ZONE));
        }
    }
    let sends = quota.reserve.map_or_else(String::new, |sends| format!(" ({sends} sends)"));
    println!("Reserve        {} % for single sends{sends}", quota.reserve_percent);
    if let Some(held) = quota.held {
        println!(
            "Bulk is HELD   until {}; {} deliveries wait",
            output::time_in(held.until, ZONE),
            quota.bulk_waiting
        );
    }
    if let Some(failure) = &quota.failure {
        let code = failure.errcode.map_or_else(String::new, |code| format!(" (errcode {code})"));
        println!("WeChat did not tell when it was last asked: {}{code}", failure.word);
    }
    Ok(ExitCode::SUCCESS)
}
