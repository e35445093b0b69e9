//! `subledger audit erase-user`, and what is said of somebody who was erased.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Context;
use serde_json::{Value, json};
use subledger_domain::{ChannelCode, LogName, Openid, StreamName, Timestamp, UserId, person::Person};
use subledger_engine::erasure::{Erasure, Where, Whom};
use subledger_store::Store;

use super::{channel_code, engine, operator};
use crate::{
    cli::{EraseUser, Who},
    exit::SettingsError,
    output,
};

/// Erases a person, after asking whether that is meant.
pub(super) async fn run(erase: EraseUser) -> anyhow::Result<ExitCode> {
    let whom = match (&erase.userid, &erase.openid) {
        (Some(userid), _) => {
            Whom::Userid(userid.parse().map_err(|error| SettingsError(format!("--userid: {error}")))?)
        }
        (None, Some(openid)) => {
            Whom::Openid(openid.parse().map_err(|error| SettingsError(format!("--openid: {error}")))?)
        }
        (None, None) => return Err(SettingsError("give --userid or --openid".to_owned()).into()),
    };
    let from = match &erase.channel {
        Some(channel) => Where::Channel(channel_code(channel)?),
        None => Where::Everywhere,
    };
    if !erase.yes && !confirmed(&from)? {
        println!("Nothing was erased.");
        return Ok(ExitCode::from(crate::exit::FAILED));
    }
    let engine = engine(&erase.common).await?;
    let wish = Erasure {
        whom,
        from,
        reason: erase.reason,
        force: erase.force,
        vacuum: erase.vacuum,
        idempotency_key: None,
    };
    let done = engine.erase_user(&operator()?, wish).await;
    engine.shutdown().await;
    let done = done?;
    let answer = done.answer;
    if erase.json {
        output::json(&json!({
            "already": answer.already, "channels": answer.channels, "userid_erased": answer.userid,
            "openids": answer.openids, "shared_openids": answer.shared_openids, "contents": answer.contents,
            "pushes": answer.pushes, "retracted": answer.retracted, "erased_at": output::time(answer.at), "erased_by": answer.by,
            "reason": answer.reason, "position": done.position,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (at, by) = (output::time(answer.at), &answer.by);
    if answer.already {
        println!("Already erased at {at} by {by}: {}. Nothing was left to do.", answer.reason);
        return Ok(ExitCode::SUCCESS);
    }
    let channels: Vec<String> = answer.channels.into_iter().map(String::from).collect();
    println!("Erased from {} at {at} by {by}.", channels.join(", "));
    println!(
        "openids {}   userid {}",
        answer.openids,
        if answer.userid { "erased" } else { "not kept, or still in use" }
    );
    println!(
        "contents {}   pushes {}   deliveries taken back {}",
        answer.contents, answer.pushes, answer.retracted
    );
    if answer.shared_openids > 0 {
        println!("{} openid(s) stay: another user is bound to them.", answer.shared_openids);
    }
    println!("The record is in the log main at position {}.", done.position);
    Ok(ExitCode::SUCCESS)
}

/// Asks at the terminal; without one, `--yes` is needed.
fn confirmed(from: &Where) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(SettingsError("nobody can be asked whether this is meant; give --yes".to_owned()).into());
    }
    let place = match from {
        Where::Channel(code) => format!("channel {code}"),
        Where::Everywhere => "every channel".to_owned(),
    };
    print!("Erase this person from {place}? Identity and contents cannot be brought back. Type yes: ");
    std::io::stdout().flush().context("the question could not be asked")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("the answer could not be read")?;
    Ok(answer.trim() == "yes")
}

/// What the books say of an erasure.
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) json: Value,
}

/// What the books say of the person's newest erasure, if there was one.
pub(super) async fn record(
    store: &Store,
    channel: &ChannelCode,
    who: &Who,
) -> anyhow::Result<Option<Record>> {
    let stream = if let Some(userid) = &who.userid {
        let userid: UserId = userid.parse().map_err(|error| SettingsError(format!("--userid: {error}")))?;
        StreamName::user(store.user_ref_of(&userid))
    } else if let Some(openid) = &who.openid {
        let openid: Openid = openid.parse().map_err(|error| SettingsError(format!("--openid: {error}")))?;
        StreamName::subject(store.subject_of(channel, &openid))
    } else {
        let subject = who.subject.as_deref().unwrap_or_default();
        StreamName::subject(subject.parse().map_err(|error| SettingsError(format!("--subject: {error}")))?)
    };
    let (person, _) = store.load::<Person>(&LogName::main(), &stream).await?;
    Ok(person.erased().map(|erased| Record {
        at: erased.evidence.at,
        by: erased.evidence.reference.clone(),
        reason: erased.evidence.reason.clone().unwrap_or_default(),
        json: json!({
            "at": output::time(erased.evidence.at), "by": erased.evidence.reference,
            "reason": erased.evidence.reason, "channels": erased.channels, "userid_erased": erased.userid,
            "openids": erased.openids, "contents": erased.contents, "pushes": erased.pushes,
            "retracted": erased.retracted,
            "times": person.times(),
        }),
    }))
}
