//! `subledger channel token`, `token-source`: what is known of access tokens, and where they come from. A token is never printed.

use std::process::ExitCode;

use anyhow::Context;
use secrecy::SecretString;
use serde_json::json;
use subledger_domain::{
    LogName, StreamName,
    channel::{Channel, TokenMode},
};
use subledger_engine::tokens::TokenSourceWish;
use subledger_store::TokenState;

use super::{channel::APP_SECRET, channel_code, engine, no_channel, operator, settings};
use crate::{cli::Common, node, output};

/// The environment variable that hands the credential for a token server over.
const CREDENTIAL: &str = "SUBLEDGER_TOKEN_SERVER_CREDENTIAL";

pub(super) async fn token(
    code: &str,
    force: bool,
    common: &Common,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let code = channel_code(code)?;
    if force {
        let engine = engine(common).await?;
        let done = engine.force_token(&operator()?, &code).await?;
        engine.shutdown().await;
        let replaced = done.answer;
        if as_json {
            output::json(&json!({
                "token_mode": replaced.mode,
                "version": replaced.version,
                "expires_at": output::time(replaced.expires_at),
                "position": done.position,
            }))?;
        } else {
            let end = output::time(replaced.expires_at);
            println!("Channel {code} has a new token: version {}, until {end}.", replaced.version);
            println!(
                "Nodes take it up with their next call; other systems that shared the old one must ask again."
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Looking disturbs nobody, whoever writes the database.
    let store = node::open_store(&settings(common)?.store()?).await?;
    let (channel, _) = store.load::<Channel>(&LogName::channel(&code), &StreamName::channel()).await?;
    let Some(registered) = channel.registered() else {
        store.close().await;
        return Err(no_channel(&code));
    };
    let mode = registered.token_mode;
    let state = store.token_states(&[(registered.appid.as_str(), mode.as_str())]).await?.pop();
    let (url, now) = (registered.token_url.clone(), store.clock().now());
    store.close().await;
    let moment = |micros: u128, sign: i64| {
        output::time(now.plus_micros(sign * i64::try_from(micros).unwrap_or_default()))
    };
    let known = state.as_ref();
    let issued_at = known.map(|state| moment(state.age.as_micros(), -1));
    let expires_at = known.map(|state| moment(state.remains.as_micros(), 1));
    let spent_at = known.and_then(|state| state.spent_ago).map(|ago| moment(ago.as_micros(), -1));
    if as_json {
        output::json(&json!({
            "token_mode": mode,
            "token_url": url,
            "version": known.map_or(0, |state| state.version),
            "issued_at": issued_at,
            "expires_at": expires_at,
            "refused": known.is_some_and(|state| state.refused),
            "fetches_last_hour": known.map_or(0, |state| state.fetches_last_hour),
            "forced_last_day": known.map_or(0, |state| state.forced_last_day),
            "budget_spent_at": spent_at,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("Tokens of channel {code} come from: {}{}", mode.as_str(), of(url.as_deref()));
    match known.filter(|state| 0 < state.version) {
        Some(state) => tell(state, issued_at.as_deref(), expires_at.as_deref()),
        None => println!("None was fetched yet."),
    }
    if let Some(at) = spent_at {
        println!("The budget of fetches was spent at {at}: something keeps killing the token.");
    }
    Ok(ExitCode::SUCCESS)
}

fn of(url: Option<&str>) -> String {
    url.map(|url| format!(" ({url})")).unwrap_or_default()
}

fn tell(state: &TokenState, issued_at: Option<&str>, expires_at: Option<&str>) {
    let (issued_at, expires_at) = (issued_at.unwrap_or_default(), expires_at.unwrap_or_default());
    println!("Version {}, fetched {issued_at}, until {expires_at}", state.version);
    if state.refused {
        println!("WeChat refuses it; the next call has it replaced.");
    }
    println!(
        "{} fetches in the last hour, {} forced in the last day",
        state.fetches_last_hour, state.forced_last_day
    );
}

pub(super) async fn source(
    code: &str,
    mode: &str,
    url: Option<String>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let code = channel_code(code)?;
    // The words of the flag are those of the mode itself.
    let mode: TokenMode = serde_json::from_value(json!(mode)).context("--mode")?;
    let variable = if mode == TokenMode::External { CREDENTIAL } else { APP_SECRET };
    let secret = std::env::var(variable).ok().map(SecretString::from);
    let engine = engine(common).await?;
    let wish = TokenSourceWish { mode, secret, url };
    let changed = engine.change_token_source(&operator()?, &code, wish).await;
    engine.shutdown().await;
    changed?;
    println!("Tokens of channel {code} come from {} now.", mode.as_str());
    Ok(ExitCode::SUCCESS)
}
