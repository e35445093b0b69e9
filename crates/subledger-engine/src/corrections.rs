//! What people put on the books: a correction of one ledger with a reason, and balances that were counted elsewhere.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, LogName, LotId, Openid, StreamName, SubjectId, TemplateId,
    TemplateKind, UserId,
    binding::Binding,
    channel::Channel,
    ledger::{Ledger, LedgerCommand, LedgerError, LedgerEvent},
};
use subledger_store::{Done, Effect, Known, Position, ReceiptKey, Stage, Stop, StreamRef, Work};

use crate::{
    Caller, Engine, EngineError, ErrorKind, FieldError, limits,
    submit::{fingerprint, receipt},
    text::check_text,
    users::{require_channel, unknown_user},
};

/// Rows of an import that are handed to the executor at once.
const ROWS_AT_ONCE: usize = 128;

/// Whose ledger is corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A bound user's.
    Userid(UserId),
    /// An openid's.
    Openid(Openid),
}

/// A correction of the number of open grants of one ledger.
#[derive(Debug, Clone)]
pub struct Adjustment {
    /// Whose ledger.
    pub who: Whose,
    /// Of which template.
    pub template: TemplateId,
    /// How many grants more (or, below zero, fewer); not 0.
    pub by: i64,
    /// Why; kept in the books for ever.
    pub reason: String,
    /// Makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// The numbers of a ledger that a correction moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Grants ever counted.
    pub granted: u64,
    /// Grants that a new send may use.
    pub balance: u64,
    /// Grants found void or taken away.
    pub voided: u64,
}

impl Numbers {
    fn of(ledger: &Ledger) -> Self {
        let totals = ledger.totals();
        Self { granted: totals.granted, balance: totals.open, voided: totals.voided }
    }
}

/// What a correction came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    /// Whose ledger.
    pub subject: SubjectId,
    /// Of which template.
    pub template: TemplateId,
    /// The numbers before.
    pub before: Numbers,
    /// The numbers after.
    pub after: Numbers,
    /// The new lots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<LotId>,
    /// The lots that are void now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<LotId>,
}

/// A balance that was counted elsewhere.
#[derive(Debug, Clone)]
pub struct OpeningRow {
    /// Its id in the import: the same row again changes nothing.
    pub row: String,
    /// Whose.
    pub who: Whose,
    /// Of which template.
    pub template: TemplateId,
    /// How many grants, from 1.
    pub count: u32,
}

/// What one row of an import came to.
#[derive(Debug)]
pub struct OpenedRow {
    /// Its id in the import.
    pub row: String,
    /// The balance it made, or why it was refused. A refused row records nothing and may be tried again.
    pub result: Result<Done<Corrected>, EngineError>,
}

enum Change {
    Adjust { by: i64, who: String, reason: String },
    Open { count: u32, reference: String },
}

struct Correct {
    channel: StreamName,
    binding: Option<StreamName>,
    openid: Option<(SubjectId, Openid)>,
    template: TemplateId,
    change: Change,
}

impl Correct {
    fn new(
        engine: &Engine,
        channel: &ChannelCode,
        who: &Whose,
        template: TemplateId,
        change: Change,
    ) -> Self {
        let store = engine.store();
        let (binding, openid) = match who {
            Whose::Userid(userid) => (Some(StreamName::binding(store.user_ref_of(userid))), None),
            Whose::Openid(openid) => (None, Some((store.subject_of(channel, openid), openid.clone()))),
        };
        Self { channel: StreamName::channel(), binding, openid, template, change }
    }

    fn subject(&self, binding: Option<&Binding>) -> Option<SubjectId> {
        match &self.openid {
            Some((subject, _)) => Some(*subject),
            None => binding?.subject(),
        }
    }
}

impl Work for Correct {
    type Answer = Corrected;
    type Refusal = EngineError;

    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![StreamRef::of::<Channel>(self.channel.clone())];
        streams.extend(self.binding.clone().map(StreamRef::of::<Binding>));
        if let Some(subject) = self.subject(self.binding.as_ref().and_then(|name| known.state(name))) {
            streams.push(StreamRef::of::<Ledger>(StreamName::ledger(subject, &self.template)));
        }
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Corrected, Stop<EngineError>> {
        require_channel(stage)?;
        let binding = self.binding.as_ref().map(|name| stage.state::<Binding>(name)).transpose()?;
        let subject = self.subject(binding).ok_or_else(|| Stop::Refuse(unknown_user()))?;
        // A tap is counted whatever its template, because it cannot be had again. This can: a mistyped id is refused.
        match stage.state::<Channel>(&self.channel)?.template(&self.template) {
            None => return Err(Stop::Refuse(unknown_template())),
            Some(known) if known.template.kind == TemplateKind::LongTerm => {
                return Err(Stop::Refuse(long_term()));
            }
            Some(_) => {}
        }
        let now = stage.now();
        let command = match &self.change {
            Change::Adjust { by, who, reason } => LedgerCommand::Adjust {
                by: *by,
                evidence: Evidence {
                    reason: Some(reason.clone()),
                    ..Evidence::new(EvidenceSource::Operator, who.clone(), now)
                },
            },
            Change::Open { count, reference } => LedgerCommand::RecordOpeningBalance {
                count: *count,
                evidence: Evidence::new(EvidenceSource::Import, reference.clone(), now),
            },
        };
        let ledger = StreamName::ledger(subject, &self.template);
        let before = Numbers::of(stage.state::<Ledger>(&ledger)?);
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(|error| Stop::Refuse(refusal(&error)))?;
        let after = Numbers::of(stage.state::<Ledger>(&ledger)?);
        if let Some((subject, openid)) = &self.openid {
            stage.effect(Effect::KeepOpenid { subject: *subject, openid: openid.clone() });
        }
        let removed = events.iter().find_map(|event| match event {
            LedgerEvent::Adjusted(adjusted) => Some(adjusted.removed.clone()),
            _ => None,
        });
        Ok(Corrected {
            subject,
            template: self.template.clone(),
            before,
            after,
            added: (before.granted + 1..=after.granted).collect(),
            removed: removed.unwrap_or_default(),
        })
    }
}

fn unknown_template() -> EngineError {
    EngineError::not_found(
        "unknown_template",
        "the channel has no template with this id; refresh its templates if it is new",
    )
}

fn long_term() -> EngineError {
    EngineError::conflict("long_term_template", "a long-term template has no balance to correct or to import")
}

fn refusal(error: &LedgerError) -> EngineError {
    match error {
        LedgerError::NotEnoughOpen { .. } | LedgerError::TooManyLots { .. } => {
            EngineError::conflict(error.code(), error.to_string())
        }
        _ => EngineError::field("bad_count", "/count", error.code(), error.to_string()),
    }
}

/// Whether an id may stand in the books and in a receipt.
fn is_id(text: &str) -> bool {
    (1..=limits::MAX_IMPORT_ID_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Who is meant, as a fingerprint may hold it: not by name.
fn whose(engine: &Engine, channel: &ChannelCode, who: &Whose) -> String {
    match who {
        Whose::Userid(userid) => format!("user:{}", engine.store().user_ref_of(userid)),
        Whose::Openid(openid) => format!("openid:{}", engine.store().subject_of(channel, openid)),
    }
}

impl Engine {
    /// Corrects the number of open grants of a ledger on a person's word, which the books keep with the reason.
    pub async fn adjust_ledger(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        adjustment: Adjustment,
    ) -> Result<Done<Corrected>, EngineError> {
        let Adjustment { who, template, by, reason, idempotency_key } = adjustment;
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        let body = (whose(self, channel, &who), &template, by, &reason);
        let receipt = receipt("adjust", caller, idempotency_key.as_deref(), &body)?;
        let change = Change::Adjust { by, who: caller.who(), reason };
        let work = Correct::new(self, channel, &who, template, change);
        self.submit(LogName::channel(channel), caller, "adjust_ledger", receipt, work).await
    }

    /// Counts balances from before the books began, or from another system. Each row is counted once per import: the same
    /// row of the same import again answers as it did. At most [`limits::MAX_OPENING_ROWS`] rows.
    ///
    /// Rows stand alone: a refused one keeps no other from being counted. An error as a whole means that the database was
    /// lost on the way; the same request again finishes it.
    pub async fn import_balances(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        import: &str,
        rows: Vec<OpeningRow>,
    ) -> Result<Done<Vec<OpenedRow>>, EngineError> {
        check_import(import, &rows)?;
        self.registered(channel).await?;
        let log = LogName::channel(channel);
        let mut pending = Vec::with_capacity(rows.len());
        for OpeningRow { row, who, template, count } in rows {
            let reference = format!("{import}/{row}");
            let body = (whose(self, channel, &who), &template, count);
            let receipt = ReceiptKey { id: format!("opening:{reference}"), fingerprint: fingerprint(&body)? };
            let work = Correct::new(self, channel, &who, template, Change::Open { count, reference });
            let log = log.clone();
            pending.push(async move {
                let result = self.submit(log, caller, "import_balances", Some(receipt), work).await;
                OpenedRow { row, result }
            });
        }
        let mut counting = stream::iter(pending).buffered(ROWS_AT_ONCE);
        let (mut opened, mut position, mut replayed) = (Vec::new(), Position(0), true);
        while let Some(OpenedRow { row, result }) = counting.next().await {
            match result {
                Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) => {
                    return Err(error);
                }
                Ok(done) => {
                    position = position.max(done.position);
                    replayed &= done.replayed;
                    opened.push(OpenedRow { row, result: Ok(done) });
                }
                refused @ Err(_) => {
                    replayed = false;
                    opened.push(OpenedRow { row, result: refused });
                }
            }
        }
        Ok(Done { answer: opened, position, replayed })
    }
}

fn check_import(import: &str, rows: &[OpeningRow]) -> Result<(), EngineError> {
    let most = limits::MAX_OPENING_ROWS;
    if rows.is_empty() || rows.len() > most {
        let rule = format!("must be 1 to {most} rows; found {}", rows.len());
        return Err(EngineError::field("bad_rows", "/rows", "row_count", rule));
    }
    let rule =
        format!("must be 1 to {} printable ASCII characters without space", limits::MAX_IMPORT_ID_CHARS);
    if !is_id(import) {
        return Err(EngineError::field("bad_import_id", "/import_id", "bad_import_id", rule));
    }
    let (mut seen, mut fields) = (HashSet::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let mut wrong = |rule: &str, detail: String| {
            let pointer = format!("/rows/{index}/row_id");
            fields.push(FieldError { pointer, rule: rule.to_owned(), detail });
        };
        if !is_id(&row.row) {
            wrong("bad_row_id", rule.clone());
        } else if !seen.insert(&row.row) {
            wrong("duplicate", "stands earlier in the same request".to_owned());
        }
    }
    if fields.is_empty() {
        return Ok(());
    }
    fields.truncate(limits::MAX_FIELDS);
    let detail = "some rows have no id of their own";
    Err(EngineError { fields, ..EngineError::invalid("bad_rows", detail) })
}
