//! `subledger audit message`: what was asked, who was skipped and why, what became of each delivery.

use std::collections::{BTreeMap, HashMap};

use anyhow::bail;
use serde_json::{Value, json};
use subledger_audit::history::PastMessage;
use subledger_domain::{
    MessageId, Openid, StreamName, SubjectId, UserId, UserRef, ledger::LedgerEvent, message::MessageEvent,
};
use subledger_projection::{DeliveryRow, DeliveryState};
use subledger_store::Recorded;

use super::{Auditor, maybe_time, told};
use crate::output::{self, time};

/// The events behind a message: its own, and those of each delivery by its index.
#[derive(Default)]
struct Events {
    own: Vec<Recorded>,
    deliveries: BTreeMap<u32, Vec<Recorded>>,
}

impl Events {
    fn of(past: &PastMessage) -> Self {
        let mut events = Self::default();
        for event in &past.events {
            match event.decode::<LedgerEvent>().ok().and_then(|event| event.delivery()) {
                Some(delivery) => {
                    events.deliveries.entry(delivery.index).or_default().push(event.clone());
                }
                None => events.own.push(event.clone()),
            }
        }
        events
    }

    fn delivery(&self, index: u32) -> &[Recorded] {
        self.deliveries.get(&index).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Who the recipients are, as far as they were not erased.
#[derive(Default)]
struct Names {
    userids: HashMap<UserRef, UserId>,
    openids: HashMap<SubjectId, Openid>,
}

impl Names {
    fn userid(&self, row: &DeliveryRow) -> Option<&UserId> {
        row.user_ref.and_then(|user| self.userids.get(&user))
    }

    fn openid(&self, row: &DeliveryRow) -> Option<&Openid> {
        row.subject.and_then(|subject| self.openids.get(&subject))
    }

    /// The userid; else the openid; else the subject that stands in the books for ever.
    fn of(&self, row: &DeliveryRow) -> Option<String> {
        let userid = self.userid(row).map(|userid| format!("userid {}", userid.as_str()));
        let openid = || self.openid(row).map(|openid| format!("openid {}", openid.as_str()));
        let subject = || row.subject.map(|subject| format!("subject {subject}"));
        userid.or_else(openid).or_else(subject)
    }
}

impl Auditor {
    async fn names(&self, past: Option<&PastMessage>) -> anyhow::Result<Names> {
        let Some(past) = past else { return Ok(Names::default()) };
        let users: Vec<_> = past.deliveries.iter().filter_map(|row| row.user_ref).collect();
        let subjects: Vec<_> = past.deliveries.iter().filter_map(|row| row.subject).collect();
        let userids = self.store.userids(&users).await?;
        Ok(Names { userids, openids: self.store.openids(&self.log, &subjects).await? })
    }

    pub(super) async fn message(&self, msgid: MessageId) -> anyhow::Result<()> {
        let past = self.history.message(&self.log, msgid, self.at.position).await.map_err(told)?;
        let never = past.is_none()
            && !self.history.exists(&self.log, &StreamName::message(msgid)).await.map_err(told)?;
        if never {
            bail!("there is no message {msgid} in channel {}", self.channel);
        }
        let events = past.as_ref().map(Events::of).unwrap_or_default();
        let names = self.names(past.as_ref()).await?;
        if self.json {
            return output::json(&self.message_json(msgid, past.as_ref(), &events, &names));
        }
        let text = self.speaker.message(
            self.channel.as_str(),
            msgid,
            self.at,
            past.as_ref(),
            &events.own,
            |delivery| (names.of(delivery), events.delivery(delivery.index)),
        );
        print!("{text}");
        Ok(())
    }

    fn message_json(
        &self,
        msgid: MessageId,
        past: Option<&PastMessage>,
        events: &Events,
        names: &Names,
    ) -> Value {
        let Some(past) = past else {
            return json!({ "channel": self.channel, "at": self.point(), "known": false, "msgid": msgid });
        };
        let row = &past.row;
        let plans = events.own.iter().filter_map(|event| match event.decode() {
            Ok(MessageEvent::Planned(planned)) => Some((planned.reserved as usize, planned.skipped.len())),
            _ => None,
        });
        let (reserved, skipped) = plans.fold((0, 0), |sum, plan| (sum.0 + plan.0, sum.1 + plan.1));
        let counts: BTreeMap<&str, u32> =
            DeliveryState::ALL.into_iter().map(|state| (state.as_str(), row.counts.of(state))).collect();
        let delivery = |row: &DeliveryRow| {
            json!({
                "index": row.index, "state": row.state.as_str(), "reason": row.reason, "subject": row.subject,
                "userid": names.userid(row), "openid": names.openid(row),
                "lot": row.lot, "attempts": row.attempts, "wechat_msgid": row.wechat_msgid,
                "entries": self.entries(events.delivery(row.index)),
            })
        };
        json!({
            "channel": self.channel, "at": self.point(), "known": true, "msgid": msgid, "app": row.app,
            "template_id": row.template, "targeted": row.targeted, "reserved": reserved, "skipped": skipped,
            "counts": counts, "complete": row.is_complete(), "accepted_at": time(row.accepted_at),
            "expires_at": time(row.expires_at), "retracted_at": maybe_time(row.retracted_at),
            "entries": self.entries(&events.own),
            "deliveries": past.deliveries.iter().map(delivery).collect::<Vec<_>>(),
        })
    }
}
