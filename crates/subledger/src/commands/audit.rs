//! `subledger audit`: numbers and the events behind them, read from the log and from nothing else.
//!
//! Every question can be asked about now or about the past; "now" is the newest position of the log.

mod adjust;
mod doubts;
mod ledger;
mod message;
mod templates;
mod user;

use std::process::ExitCode;

use serde_json::{Value, json};
use subledger_audit::history::{At, History, HistoryError, Language, Point, Speaker, zone};
use subledger_domain::{ChannelCode, LogName, Openid, SubjectId, Timestamp, UserId};
use subledger_projection::{QueryError, ReplayError};
use subledger_store::{Recorded, Store, StoreError};

use super::{channel_code, erase, no_channel, settings};
use crate::{
    cli::{Audit, Common, Lang, Past, Who},
    exit::SettingsError,
    node, output,
};

pub(super) async fn run(audit: Audit) -> anyhow::Result<ExitCode> {
    match audit {
        Audit::Ledger { channel, who, template, explain, past, common, json } => {
            let template = template.parse().map_err(|error| SettingsError(format!("--template: {error}")))?;
            let audit = Auditor::open(&common, &channel, &past, json).await?;
            audit.ledger(&who, &template, explain).await?;
            audit.store.close().await;
        }
        Audit::Message { channel, msgid, past, common, json } => {
            let msgid = msgid.parse().map_err(|error| SettingsError(format!("the message: {error}")))?;
            let audit = Auditor::open(&common, &channel, &past, json).await?;
            audit.message(msgid).await?;
            audit.store.close().await;
        }
        Audit::Verify(verify) => return super::verify::run(verify).await,
        Audit::Doubts(doubts) => return doubts::run(doubts).await,
        Audit::Adjust(adjust) => return adjust::run(adjust).await,
        Audit::EraseUser(wish) => return erase::run(wish).await,
        Audit::User { channel, who, past, common, json } => {
            let audit = Auditor::open(&common, &channel, &past, json).await?;
            audit.user(&who).await?;
            audit.store.close().await;
        }
        Audit::Templates { channel, past, common, json } => {
            let audit = Auditor::open(&common, &channel, &past, json).await?;
            audit.templates().await?;
            audit.store.close().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One question about one channel at one point in time.
struct Auditor {
    store: Store,
    history: History,
    channel: ChannelCode,
    log: LogName,
    at: Point,
    /// Whether the point was asked for; then "not known yet" is an answer.
    asked: bool,
    speaker: Speaker,
    json: bool,
}

impl Auditor {
    async fn open(common: &Common, channel: &str, past: &Past, json: bool) -> anyhow::Result<Self> {
        let channel = channel_code(channel)?;
        let log = LogName::channel(&channel);
        let wrong = |name: &str, error: &dyn std::fmt::Display| SettingsError(format!("--{name}: {error}"));
        let zone = zone(&past.zone).map_err(|error| wrong("zone", &error))?;
        let at = past.at.as_deref().map(|text| At::parse(text, &zone)).transpose();
        let at = at.map_err(|error| wrong("at", &error))?;
        let speaker = Speaker { language: language(past.lang), zone };
        let store = node::open_store(&settings(common)?.store()?).await?;
        let history = History::new(store.clone());
        let point = match at {
            Some(at) => history.point(&log, at).await,
            None => history.now(&log).await,
        };
        let at_point = point.map_err(told)?;
        if at_point.position.0 == 0 && store.head(&log).await?.position.0 == 0 {
            return Err(no_channel(&channel));
        }
        Ok(Self { store, history, channel, log, at: at_point, asked: at.is_some(), speaker, json })
    }

    /// Whose ledger is meant: for a userid, the openid that it had then.
    async fn subject(&self, who: &Who) -> anyhow::Result<Option<SubjectId>> {
        if let Some(subject) = &who.subject {
            let subject = subject.parse().map_err(|error| SettingsError(format!("--subject: {error}")))?;
            return Ok(Some(subject));
        }
        if let Some(openid) = &who.openid {
            let openid: Openid =
                openid.parse().map_err(|error| SettingsError(format!("--openid: {error}")))?;
            return Ok(Some(self.store.subject_of(&self.channel, &openid)));
        }
        let user = self.store.user_ref_of(&userid(who)?);
        let binding = self.history.binding(&self.log, user, self.at.position).await.map_err(told)?;
        Ok(binding.and_then(|row| row.subject))
    }

    /// The openid behind a subject; none if it was erased.
    async fn openid(&self, subject: SubjectId) -> anyhow::Result<Option<Openid>> {
        Ok(self.store.openids(&self.log, &[subject]).await?.remove(&subject))
    }

    fn point(&self) -> Value {
        json!({ "position": self.at.position, "time": self.at.time.map(output::time) })
    }

    fn entry(&self, event: &Recorded) -> Value {
        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
        json!({
            "position": event.position, "version": event.version, "recorded_at": output::time(event.recorded_at),
            "kind": event.kind_name(), "text": self.speaker.sentence(event), "data": parse(&event.data),
            "cause": parse(&event.cause),
        })
    }

    fn entries(&self, events: &[Recorded]) -> Vec<Value> {
        events.iter().map(|event| self.entry(event)).collect()
    }
}

fn userid(who: &Who) -> anyhow::Result<UserId> {
    let text = who.userid.as_deref().unwrap_or_default();
    text.parse().map_err(|error| SettingsError(format!("--userid: {error}")).into())
}

/// The language asked for, or that of the environment, as POSIX has it.
pub(super) fn language(asked: Option<Lang>) -> Language {
    let variable = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match asked {
        Some(Lang::Zh) => Language::Zh,
        Some(Lang::En) => Language::En,
        None => ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(variable)
            .map_or(Language::En, |locale| Language::of_locale(&locale)),
    }
}

/// What kept the past from being told, as the error that decides the exit code.
fn told(error: HistoryError) -> anyhow::Error {
    match error {
        HistoryError::BeyondHead { .. } => SettingsError(format!("--at: {error}")).into(),
        HistoryError::Store(error) | HistoryError::Query(QueryError::Store(error)) => error.into(),
        HistoryError::Replay(ReplayError::Newer(event)) => StoreError::Newer(event).into(),
        other => other.into(),
    }
}

fn maybe_time(at: Option<Timestamp>) -> Option<String> {
    at.map(output::time)
}
