//! `subledger audit`: numbers and the events behind them, read from the log and from nothing else.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use subledger_domain::{
    ChannelCode, DeliveryId, LogName, MessageId, Openid, StreamName, SubjectId, TemplateId, UserId,
    binding::Binding,
    ledger::{Ledger, LedgerEvent},
    message::Message,
};
use subledger_projection::{PageRequest, Queries};
use subledger_store::{Recorded, Store};

use super::{channel_code, erase, settings, timeline::sentence};
use crate::{
    cli::{Audit, Common, Who},
    exit::SettingsError,
    node, output,
};

/// Events of one stream read in one go.
const CHUNK: u32 = 1_000;

pub(super) async fn run(audit: Audit) -> anyhow::Result<ExitCode> {
    match audit {
        Audit::Ledger { channel, who, template, common, json } => {
            let audit = Auditor::open(&common, &channel, json).await?;
            let template = template.parse().map_err(|error| SettingsError(format!("--template: {error}")))?;
            audit.ledger(audit.subject(&who).await?, &template).await?;
            audit.store.close().await;
        }
        Audit::Message { channel, msgid, common, json } => {
            let audit = Auditor::open(&common, &channel, json).await?;
            let msgid = msgid.parse().map_err(|error| SettingsError(format!("the message: {error}")))?;
            audit.message(msgid).await?;
            audit.store.close().await;
        }
        Audit::EraseUser(wish) => return erase::run(wish).await,
        Audit::User { channel, who, common, json } => {
            let audit = Auditor::open(&common, &channel, json).await?;
            audit.user(&who).await?;
            audit.store.close().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Auditor {
    store: Store,
    channel: ChannelCode,
    log: LogName,
    json: bool,
}

impl Auditor {
    async fn open(common: &Common, channel: &str, json: bool) -> anyhow::Result<Self> {
        let channel = channel_code(channel)?;
        let store = node::open_store(&settings(common)?.store()?).await?;
        let log = LogName::channel(&channel);
        Ok(Self { store, channel, log, json })
    }

    async fn subject(&self, who: &Who) -> anyhow::Result<SubjectId> {
        if let Some(subject) = &who.subject {
            return subject.parse().map_err(|error| SettingsError(format!("--subject: {error}")).into());
        }
        if let Some(openid) = &who.openid {
            let openid: Openid =
                openid.parse().map_err(|error| SettingsError(format!("--openid: {error}")))?;
            return Ok(self.store.subject_of(&self.channel, &openid));
        }
        let stream = StreamName::binding(self.store.user_ref_of(&userid(who)?));
        let (binding, _) = self.store.load::<Binding>(&self.log, &stream).await?;
        binding.subject().context("this user is not bound in this channel")
    }

    async fn stream(&self, stream: &StreamName) -> anyhow::Result<Vec<Recorded>> {
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |event: &Recorded| event.version);
            let more = self.store.read_stream(&self.log, stream, after, CHUNK).await?;
            if more.is_empty() {
                return Ok(events);
            }
            events.extend(more);
        }
    }

    async fn ledger(&self, subject: SubjectId, template: &TemplateId) -> anyhow::Result<()> {
        let stream = StreamName::ledger(subject, template);
        let events = self.stream(&stream).await?;
        let (ledger, version) = self.store.load::<Ledger>(&self.log, &stream).await?;
        let totals = ledger.totals();
        if self.json {
            let lots: Vec<u64> = ledger.lots().iter().map(|lot| lot.id).collect();
            return output::json(&json!({
                "channel": self.channel, "subject": subject, "template_id": template, "version": version,
                "balance": totals.open, "reserved": totals.reserved, "in_doubt": totals.in_doubt,
                "granted": totals.granted, "consumed": totals.consumed, "voided": totals.voided,
                "suspended_since": ledger.suspension().map(|suspension| output::time(suspension.since)),
                "open_lots": lots, "entries": events.iter().map(entry).collect::<Vec<_>>(),
            }));
        }
        println!("Ledger of subject {subject}, template {template}, channel {}", self.channel);
        println!(
            "balance {}   reserved {}   in doubt {}   |   granted {} = consumed {} + void {} + held {}",
            totals.open,
            totals.reserved,
            totals.in_doubt,
            totals.granted,
            totals.consumed,
            totals.voided,
            totals.open + totals.reserved + totals.in_doubt
        );
        if let Some(suspension) = ledger.suspension() {
            println!(
                "suspended since {}: sends are refused until a newer accept",
                output::time(suspension.since)
            );
        }
        if events.is_empty() {
            println!("No event yet: no tap was reported and nothing was sent.");
        }
        print_events(&events);
        Ok(())
    }

    async fn message(&self, msgid: MessageId) -> anyhow::Result<()> {
        let stream = StreamName::message(msgid);
        let events = self.stream(&stream).await?;
        let (message, _) = self.store.load::<Message>(&self.log, &stream).await?;
        let Some(accepted) = message.accepted() else {
            bail!("there is no message {msgid} in channel {}", self.channel);
        };
        let deliveries = self.deliveries(msgid).await?;
        if self.json {
            return output::json(&json!({
                "channel": self.channel, "msgid": msgid, "app": accepted.app, "template_id": accepted.template,
                "targeted": accepted.targeted, "reserved": message.reserved(), "skipped": message.skipped(),
                "expires_at": output::time(accepted.expires_at),
                "entries": events.iter().map(entry).collect::<Vec<_>>(), "deliveries": deliveries,
            }));
        }
        println!("Message {msgid}, template {}, channel {}", accepted.template, self.channel);
        println!(
            "targeted {} = reserved {} + skipped {}",
            accepted.targeted,
            message.reserved(),
            message.skipped()
        );
        print_events(&events);
        for delivery in &deliveries {
            let text = |key: &str| delivery.get(key).and_then(Value::as_str).unwrap_or_default();
            println!("\nRecipient {}: {} {}", delivery["index"], text("state"), text("reason"));
            for entry in delivery["entries"].as_array().into_iter().flatten() {
                let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
                println!("{:>8}  {}  {}", entry["position"], text("recorded_at"), text("text"));
            }
        }
        Ok(())
    }

    /// Every delivery with the events of its ledger that name it.
    async fn deliveries(&self, msgid: MessageId) -> anyhow::Result<Vec<Value>> {
        let queries = Queries::new(self.store.clone());
        let mut page = PageRequest::first(subledger_projection::MAX_PAGE);
        let mut deliveries = Vec::new();
        loop {
            let answer = queries.deliveries(&self.channel, msgid, None, &page).await?;
            for row in answer.items {
                let mut entries = Vec::new();
                if let Some(subject) = row.subject {
                    let events = self.stream(&StreamName::ledger(subject, &row.template)).await?;
                    entries.extend(events.iter().filter(|event| names(event, row.id())).map(entry));
                }
                deliveries.push(json!({
                    "index": row.id().index, "state": row.state.as_str(), "reason": row.reason, "subject": row.subject,
                    "entries": entries,
                }));
            }
            match answer.next {
                Some(next) => page.after = Some(next),
                None => return Ok(deliveries),
            }
        }
    }

    async fn user(&self, who: &Who) -> anyhow::Result<()> {
        let mut bindings = Vec::new();
        if who.userid.is_some() {
            bindings = self.stream(&StreamName::binding(self.store.user_ref_of(&userid(who)?))).await?;
        }
        let erased = erase::record(&self.store, &self.channel, who).await?;
        let subject = match (self.subject(who).await, &erased) {
            (Ok(subject), _) => subject,
            (Err(_), Some(record)) => {
                if self.json {
                    return output::json(&json!({
                        "channel": self.channel, "erased": record, "subject": null,
                        "bindings": bindings.iter().map(entry).collect::<Vec<_>>(), "ledgers": [],
                    }));
                }
                println!("{}", erase::sentence(record));
                print_events(&bindings);
                return Ok(());
            }
            (Err(error), None) => return Err(error),
        };
        let queries = Queries::new(self.store.clone());
        let ledgers = queries.ledgers_of(&self.channel, subject).await?.value;
        if self.json {
            return output::json(&json!({
                "channel": self.channel, "subject": subject, "erased": erased,
                "bindings": bindings.iter().map(entry).collect::<Vec<_>>(), "ledgers": ledgers,
            }));
        }
        println!("Subject {subject}, channel {}", self.channel);
        if let Some(record) = &erased {
            println!("{}", erase::sentence(record));
        }
        print_events(&bindings);
        if ledgers.is_empty() {
            println!("No ledger yet: no tap was reported and nothing was sent.");
        }
        for ledger in ledgers {
            println!();
            self.ledger(subject, &ledger.template).await?;
        }
        Ok(())
    }
}

fn userid(who: &Who) -> anyhow::Result<UserId> {
    let text = who.userid.as_deref().unwrap_or_default();
    text.parse().map_err(|error| SettingsError(format!("--userid: {error}")).into())
}

fn names(event: &Recorded, delivery: DeliveryId) -> bool {
    event.decode::<LedgerEvent>().is_ok_and(|event| event.delivery() == Some(delivery))
}

fn entry(event: &Recorded) -> Value {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
    json!({
        "position": event.position, "version": event.version, "recorded_at": output::time(event.recorded_at),
        "kind": event.kind_name(), "text": sentence(event), "data": parse(&event.data), "cause": parse(&event.cause),
    })
}

fn print_events(events: &[Recorded]) {
    for event in events {
        println!("{:>8}  {}  {}", event.position.0, output::time(event.recorded_at), sentence(event));
    }
}
