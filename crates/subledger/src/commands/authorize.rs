//! `subledger channel authorize`: hand out a link, and wait for what the administrator decides.
//!
//! The service does the work: WeChat's answer comes to it, by redirect and by push. This command asks it where things stand,
//! and may be ended at any time without ending anything but the waiting.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    cli::Authorize,
    exit, output,
    remote::{RemoteError, Service},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the service may be gone while one waits: a restart must not end the waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an authorization ended, for this command.
enum Ended {
    /// It is given, with all that sending needs.
    Authorized(Value),
    /// It is given, without a set that sending needs.
    Incomplete(Value),
    Refused(Value),
    /// Nobody scanned in time.
    Expired(Value),
    /// The time to wait is over; the link may still be good.
    StillWaiting(Value),
}

pub(super) async fn run(asked: Authorize) -> anyhow::Result<ExitCode> {
    let service = Service::new(&asked.remote)?;
    let path = ["channels", &asked.code, "authorization"];
    let platform = asked.platform.as_ref().map(|appid| ("component_appid", appid));
    let begun = service.post(&path, &json!(platform.into_iter().collect::<BTreeMap<_, _>>()), "id").await?;
    let id = begun["id"].as_str().context("the service's answer has no id")?.to_owned();
    if asked.json {
        output::json(&begun)?;
    } else {
        show_links(&asked.code, &begun);
    }
    if asked.no_wait {
        if !asked.json {
            println!("Not waiting. How it stands: GET {}/api/v1/{}/{id}", service.url(), path.join("/"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let ended = wait(&service, &[&path[..], &[&id]].concat(), asked.wait).await?;
    tell(&asked, &ended)
}

fn show_links(code: &str, begun: &Value) {
    let text = |name: &str| begun[name].as_str().unwrap_or_default();
    println!("Have the administrator of the Mini Program authorize channel {code}.");
    println!();
    println!("On a computer, open this page; it leads to WeChat's, which shows a code to scan:");
    println!("  {}", text("start_url"));
    println!();
    println!("On a phone, open this link inside WeChat, or scan the code below with WeChat:");
    println!("  {}", text("h5_url"));
    println!();
    match output::qr(text("h5_url")) {
        Some(lines) => lines.iter().for_each(|line| println!("{line}")),
        None => println!("  (the link is too long for a QR code)"),
    }
    println!();
    println!(
        "Permission set 18 (development and data analysis) is needed. While the platform holds it, no other platform can,"
    );
    println!("and the customer cannot publish the Mini Program through WeChat's own console.");
    println!("The link is good until {}.", text("expires_at"));
}

/// Looks again and again until it has ended or the time is over.
async fn wait(service: &Service, path: &[&str], most: Option<Duration>) -> anyhow::Result<Ended> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message("waiting for the administrator");
    bar.enable_steady_tick(Duration::from_millis(120));
    let begun = Instant::now();
    let mut heard = begun;
    let ended = loop {
        match service.get(path, "status").await {
            Ok(now) => {
                heard = Instant::now();
                let over = most.is_some_and(|most| begun.elapsed() >= most);
                if let Some(ended) = ended(now, over) {
                    break ended;
                }
            }
            Err(RemoteError::Unreached { .. }) if heard.elapsed() < PATIENCE => {
                bar.set_message("the service does not answer; still trying");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    };
    bar.finish_and_clear();
    Ok(ended)
}

fn ended(now: Value, over: bool) -> Option<Ended> {
    let missing = now["missing"].as_array().is_some_and(|missing| !missing.is_empty());
    match now["status"].as_str() {
        Some("authorized") if missing => Some(Ended::Incomplete(now)),
        Some("authorized") => Some(Ended::Authorized(now)),
        Some("refused") => Some(Ended::Refused(now)),
        Some("expired") => Some(Ended::Expired(now)),
        _ => over.then_some(Ended::StillWaiting(now)),
    }
}

fn tell(asked: &Authorize, ended: &Ended) -> anyhow::Result<ExitCode> {
    let code = &asked.code;
    let (answer, exit) = match ended {
        Ended::Authorized(answer) => (answer, 0),
        Ended::Refused(answer) => (answer, exit::FAILED),
        Ended::Expired(answer) | Ended::StillWaiting(answer) => (answer, exit::NOT_SCANNED),
        Ended::Incomplete(answer) => (answer, exit::SET_MISSING),
    };
    if asked.json {
        output::json(answer)?;
        return Ok(ExitCode::from(exit));
    }
    let reason = answer["detail"].as_str().or_else(|| answer["reason"].as_str());
    match ended {
        Ended::Authorized(_) => {
            println!("Authorized: channel {code} sends through the platform from now on.");
            println!("Next: POST /api/v1/channels/{code}/templates/refresh");
        }
        Ended::Incomplete(answer) => {
            println!(
                "Authorized, but without permission set {}: sends of channel {code} wait.",
                answer["missing"]
            );
            println!("Run this command again and have the administrator tick it.");
        }
        Ended::Refused(_) => println!("Refused: {}", reason.unwrap_or("the service does not say why")),
        Ended::Expired(_) => println!("Nobody scanned in time. Run this command again for a new link."),
        Ended::StillWaiting(answer) => println!(
            "Nobody has scanned yet. The link is good until {}; the service finishes by itself.",
            answer["expires_at"].as_str().unwrap_or_default()
        ),
    }
    Ok(ExitCode::from(exit))
}
