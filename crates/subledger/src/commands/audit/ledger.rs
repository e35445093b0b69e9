//! `subledger audit ledger`: where every grant is, every event that led there, and on demand the explanation.

use anyhow::bail;
use serde_json::{Value, json};
use subledger_audit::history::{Explanation, PastLedger, Person};
use subledger_domain::{Openid, StreamName, SubjectId, TemplateId};
use subledger_projection::LotRow;
use subledger_store::Recorded;

use super::{Auditor, maybe_time, told};
use crate::{
    cli::Who,
    output::{self, time},
};

/// One ledger and all there is to say about it.
pub(super) struct Told {
    subject: SubjectId,
    template: TemplateId,
    openid: Option<Openid>,
    past: Option<PastLedger>,
    explanation: Option<Explanation>,
    events: Vec<Recorded>,
}

impl Auditor {
    pub(super) async fn ledger(&self, who: &Who, template: &TemplateId, explain: bool) -> anyhow::Result<()> {
        let Some(subject) = self.subject(who).await? else {
            if !self.asked {
                bail!("this user is not bound in this channel");
            }
            return self.unbound(template);
        };
        let told = self.tell_ledger(subject, template, explain).await?;
        if self.json {
            return output::json(&self.ledger_json(&told));
        }
        print!("{}", self.ledger_text(&told));
        Ok(())
    }

    /// The user had no openid then, and so no ledger.
    fn unbound(&self, template: &TemplateId) -> anyhow::Result<()> {
        if self.json {
            return output::json(&json!({
                "channel": self.channel, "at": self.point(), "known": false, "template_id": template,
            }));
        }
        print!("{}", self.speaker.nothing_yet(self.at));
        Ok(())
    }

    pub(super) async fn tell_ledger(
        &self,
        subject: SubjectId,
        template: &TemplateId,
        explain: bool,
    ) -> anyhow::Result<Told> {
        let (log, at) = (&self.log, self.at.position);
        let (past, explanation) = if explain {
            let explained = self.history.explain(&self.channel, subject, template, at, usize::MAX).await;
            explained.map_err(told)?.unzip()
        } else {
            (self.history.ledger(log, subject, template, at).await.map_err(told)?, None)
        };
        let stream = StreamName::ledger(subject, template);
        let events = self.history.all_events(log, &stream, at).await.map_err(told)?;
        let openid = self.openid(subject).await?;
        Ok(Told { subject, template: template.clone(), openid, past, explanation, events })
    }

    pub(super) fn ledger_text(&self, told: &Told) -> String {
        // Before anything was recorded nobody had been seen, so nobody was erased either.
        let openid = match (&told.openid, told.events.is_empty()) {
            (None, true) => Person::Unasked,
            (openid, _) => Person::of(openid.as_ref().map(Openid::as_str)),
        };
        let row = told.past.as_ref().map(|past| &past.row);
        let of = (told.subject, told.template.as_str());
        let mut text = self.speaker.ledger(self.channel.as_str(), of, openid, self.at, row, &told.events);
        if let Some(explanation) = &told.explanation {
            text.push('\n');
            text.push_str(&self.speaker.explanation(explanation));
        }
        text
    }

    pub(super) fn ledger_json(&self, told: &Told) -> Value {
        let row = told.past.as_ref().map(|past| &past.row);
        let lots = told.past.as_ref().map(|past| past.lots.as_slice()).unwrap_or_default();
        let open: Vec<u64> = lots
            .iter()
            .filter(|lot| lot.state == subledger_projection::LotState::Open)
            .map(|lot| lot.lot)
            .collect();
        let number = |pick: fn(&subledger_projection::LedgerRow) -> u64| row.map_or(0, pick);
        let mut shown = json!({
            "channel": self.channel, "at": self.point(), "known": row.is_some(), "subject": told.subject,
            "openid": told.openid, "template_id": told.template,
            "version": told.events.last().map_or(0, |event| event.version),
            "balance": number(|row| row.balance), "reserved": number(|row| row.reserved),
            "in_doubt": number(|row| row.in_doubt), "granted": number(|row| row.granted),
            "consumed": number(|row| row.consumed), "voided": number(|row| row.voided),
            "rejected": number(|row| row.rejected),
            "suspended_since": maybe_time(row.and_then(|row| row.suspended_since)),
            "open_lots": open, "lots": lots.iter().map(lot).collect::<Vec<_>>(),
            "entries": self.entries(&told.events),
        });
        if let (Some(explanation), Some(shown)) = (&told.explanation, shown.as_object_mut()) {
            shown.insert("explanation".to_owned(), json!(explanation));
        }
        shown
    }
}

fn lot(row: &LotRow) -> Value {
    json!({
        "lot": row.lot, "state": row.state, "granted_at": time(row.granted_at), "word": row.word,
        "evidence_source": row.evidence_source.as_str(), "evidence_ref": row.evidence_ref,
        "delivery": row.delivery, "doubted_by": row.doubted_by, "changed_at": time(row.changed_at),
    })
}
