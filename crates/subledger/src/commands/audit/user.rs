//! `subledger audit user`: the binding then, and every ledger of the openid that the user had then.

use serde_json::json;
use subledger_audit::history::Person;
use subledger_domain::{Openid, StreamName, UserId};

use super::{Auditor, erase, maybe_time, told, userid};
use crate::{
    cli::Who,
    output::{self, time},
};

/// Somebody who is not found was erased, if the books know of them at all.
const fn named(in_books: bool, found: Option<&str>) -> Person<'_> {
    match (in_books, found) {
        (_, Some(text)) => Person::Known(text),
        (true, None) => Person::Erased,
        (false, None) => Person::Unasked,
    }
}

impl Auditor {
    pub(super) async fn user(&self, who: &Who) -> anyhow::Result<()> {
        let (mut binding, mut events, mut known) = (None, Vec::new(), None);
        if who.userid.is_some() {
            let user = self.store.user_ref_of(&userid(who)?);
            let stream = StreamName::binding(user);
            binding = self.history.binding(&self.log, user, self.at.position).await.map_err(told)?;
            events = self.history.all_events(&self.log, &stream, self.at.position).await.map_err(told)?;
            known = self.store.userids(&[user]).await?.remove(&user);
        }
        let subject = self.subject(who).await?;
        let (mut ledgers, mut openid) = (Vec::new(), None);
        if let Some(subject) = subject {
            openid = self.openid(subject).await?;
            let rows = self.history.ledgers_of(&self.log, subject, self.at.position).await.map_err(told)?;
            for row in rows {
                ledgers.push(self.tell_ledger(subject, &row.template, false).await?);
            }
        }
        let erased = erase::record(&self.store, &self.channel, who).await?;
        let is_known = binding.is_some() || !ledgers.is_empty();
        if self.json {
            return output::json(&json!({
                "channel": self.channel, "at": self.point(), "known": is_known, "subject": subject,
                "erased": erased.map(|record| record.json),
                "userid": known, "openid": openid,
                "binding": binding.as_ref().map(|row| json!({
                    "subject": row.subject, "bound_at": time(row.bound_at), "moved_at": maybe_time(row.moved_at),
                    "unbound_at": maybe_time(row.unbound_at),
                })),
                "bindings": self.entries(&events),
                "ledgers": ledgers.iter().map(|told| self.ledger_json(told)).collect::<Vec<_>>(),
            }));
        }
        // Of a userid that nobody was bound by there is nothing to be erased.
        let asked = who.userid.as_deref().filter(|_| binding.is_none());
        let people = (
            named(binding.is_some(), known.as_ref().map(UserId::as_str).or(asked)),
            named(subject.is_some() && is_known, openid.as_ref().map(Openid::as_str)),
        );
        print!("{}", self.speaker.user(self.channel.as_str(), people, self.at, binding.as_ref(), &events));
        if let Some(record) = &erased {
            print!("{}", self.speaker.erased(record.at, &record.by, &record.reason));
        }
        if ledgers.is_empty() {
            print!("{}", self.speaker.no_ledger());
        }
        for told in &ledgers {
            println!();
            print!("{}", self.ledger_text(told));
        }
        Ok(())
    }
}
