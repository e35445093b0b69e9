//! Settling doubts by hand: one, or all that fit.

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, DeliveryId, Evidence, EvidenceSource, LogName, StreamName, TemplateId, Timestamp,
    ledger::{Ledger, LedgerCommand, Phase, Verdict},
    message::Message,
};
use subledger_store::{Done, Known, QueueEntry, QueueRow, QueueState, Stage, Stop, StreamRef, Work};

use crate::{
    Caller, Engine, EngineError, ErrorKind,
    dispatch::queue_effects,
    limits,
    messages::unknown_message,
    submit::{done_with, receipt},
    text::check_text,
};

/// How a person settles a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManualVerdict {
    /// Treat it as sent: the grant is spent.
    Sent,
    /// Treat it as not sent: the grant is open again.
    NotSent,
}

/// Doubts settled at the same time.
const SETTLED_TOGETHER: usize = 128;

/// Which doubts to settle together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtFilter {
    /// Only of this template.
    pub template: Option<TemplateId>,
    /// Only those in doubt since then or longer; the future is taken for now.
    pub since: Option<Timestamp>,
    /// How many, longest in doubt first: 1 to [`limits::MAX_SETTLED_AT_ONCE`].
    pub limit: u32,
}

/// What settling several doubts came to, or would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledDoubts {
    /// The doubts that fitted, longest in doubt first.
    pub matched: Vec<QueueEntry>,
    /// How many of them were settled by this; the others had ended in the meantime, or nothing was to be done.
    pub settled: u32,
    /// Whether more fit than the limit allows.
    pub more: bool,
}

struct Resolve {
    row: QueueRow,
    verdict: ManualVerdict,
    by: String,
    reason: String,
}

impl Work for Resolve {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.row.ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        let evidence = Evidence {
            reason: Some(self.reason.clone()),
            ..Evidence::new(EvidenceSource::Operator, self.by.clone(), stage.now())
        };
        let verdict = match self.verdict {
            ManualVerdict::Sent => Verdict::Sent { wechat_msgid: None },
            ManualVerdict::NotSent => Verdict::NotSent,
        };
        let ledger = self.row.ledger();
        // Settled since the queue was looked at. The rules would let "sent" correct "not sent", which is for WeChat's word.
        let phase =
            stage.state::<Ledger>(&ledger)?.outstanding().get(&self.row.delivery).map(|one| one.phase);
        if phase != Some(Phase::InDoubt) {
            return Err(Stop::Refuse(not_in_doubt()));
        }
        let command = LedgerCommand::Resolve { delivery: self.row.delivery, verdict, evidence };
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(|_| Stop::Refuse(not_in_doubt()))?;
        queue_effects(stage, &events);
        Ok(())
    }
}

fn not_in_doubt() -> EngineError {
    EngineError::conflict("not_in_doubt", "this delivery is not in doubt; there is nothing to settle")
}

impl Engine {
    /// Settles a doubt on a person's word, which the books keep with their reason.
    pub async fn resolve_doubt(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        delivery: DeliveryId,
        verdict: ManualVerdict,
        reason: String,
        idempotency_key: Option<&str>,
    ) -> Result<Done<()>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        let log = LogName::channel(channel);
        let receipt = receipt("resolve", caller, idempotency_key, &(delivery, verdict, &reason))?;
        if let Some(done) = self.answered(&log, receipt.as_ref()).await? {
            return Ok(done);
        }
        let (message, _) = self.store().load::<Message>(&log, &StreamName::message(delivery.message)).await?;
        if message.accepted().is_none() {
            return Err(unknown_message());
        }
        let rows = self.store().queue_of(&log, delivery.message).await?;
        let entry = rows.into_iter().find(|entry| entry.row.delivery == delivery);
        let row = match entry {
            Some(entry) if entry.state == QueueState::InDoubt => entry.row,
            _ => return Err(not_in_doubt()),
        };
        let work = Resolve { row, verdict, by: caller.who(), reason };
        let done = self.submit(log, caller, "resolve_doubt", receipt, work).await?;
        // Neighbours of the same user and template have waited for this.
        self.signals().wake(channel);
        Ok(done_with(done, ()))
    }

    /// The doubts that fit, longest in doubt first.
    pub async fn doubts(
        &self,
        channel: &ChannelCode,
        filter: &DoubtFilter,
    ) -> Result<(Vec<QueueEntry>, bool), EngineError> {
        let most = limits::MAX_SETTLED_AT_ONCE;
        if !(1..=most).contains(&filter.limit) {
            let rule = format!("must be 1 to {most}; found {}", filter.limit);
            return Err(EngineError::field("bad_limit", "/limit", "bad_limit", rule));
        }
        self.registered(channel).await?;
        let now = self.now();
        let until = filter.since.map_or(now, |since| since.min(now));
        let log = LogName::channel(channel);
        let limit = filter.limit as usize;
        let mut found =
            self.store().overdue_doubts(&log, until, filter.template.as_ref(), filter.limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Settles all doubts that fit on a person's word; with `dry_run` only says which. A repetition settles what still fits.
    pub async fn settle_doubts(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        filter: &DoubtFilter,
        verdict: ManualVerdict,
        reason: String,
        dry_run: bool,
    ) -> Result<Done<SettledDoubts>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        let (matched, more) = self.doubts(channel, filter).await?;
        let log = LogName::channel(channel);
        let mut position = self.store().head(&log).await?.position;
        let mut settled = 0;
        if !dry_run {
            let works: Vec<_> = matched
                .iter()
                .map(|entry| Resolve {
                    row: entry.row.clone(),
                    verdict,
                    by: caller.who(),
                    reason: reason.clone(),
                })
                .collect();
            let mut pending = Vec::with_capacity(works.len());
            for work in works {
                pending.push(self.submit(log.clone(), caller, "settle_doubts", None, work));
            }
            let mut settling = stream::iter(pending).buffered(SETTLED_TOGETHER);
            while let Some(done) = settling.next().await {
                match done {
                    Ok(done) => {
                        settled += 1;
                        position = position.max(done.position);
                    }
                    // It ended in the meantime.
                    Err(error) if error.kind == ErrorKind::Conflict => {}
                    Err(error) => return Err(error),
                }
            }
            self.signals().wake(channel);
        }
        Ok(Done { answer: SettledDoubts { matched, settled, more }, position, replayed: false })
    }
}
