//! Ledgers, their lots and their entries.

use serde::Serialize;
use serde_json::Value;
use subledger_projection::{LedgerRow, LotRow};
use subledger_store::Recorded;
use utoipa::ToSchema;

use super::words::{ChoiceWord, LotStateWord};
use crate::{moment::Moment, people::People};

/// The subscription quota of one (channel, openid, template).
///
/// `granted = balance + reserved + in_doubt + consumed + voided`, always.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerView {
    /// What stands for the openid in the log.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015")]
    subject: String,
    /// The openid; null if the person was erased.
    openid: Option<String>,
    /// The template.
    template_id: String,
    /// Open grants: what a new send may use, unless suspended.
    balance: u64,
    /// Grants set aside for deliveries that wait or are started.
    reserved: u64,
    /// Grants held by deliveries in doubt.
    in_doubt: u64,
    /// Grants ever recorded.
    granted: u64,
    /// Grants spent.
    consumed: u64,
    /// Grants found void.
    voided: u64,
    /// Taps that were not an accept.
    rejected: u64,
    /// Whether sends are refused until a newer accept.
    suspended: bool,
    /// Since when sends are refused, according to the evidence.
    suspended_since: Option<Moment>,
    /// Whether a long-term template was ever accepted.
    consented: bool,
    /// When the newest grant or consent was made.
    last_grant_at: Option<Moment>,
    /// The last answer to a popup.
    last_choice: Option<ChoiceWord>,
    /// When the newest entry was recorded.
    last_entry_at: Moment,
}

impl LedgerView {
    pub(crate) fn new(row: LedgerRow, people: &People) -> Self {
        Self {
            openid: people.openid(row.subject),
            subject: row.subject.to_string(),
            template_id: row.template.to_string(),
            balance: row.balance,
            reserved: row.reserved,
            in_doubt: row.in_doubt,
            granted: row.granted,
            consumed: row.consumed,
            voided: row.voided,
            rejected: row.rejected,
            suspended: row.suspended_since.is_some(),
            suspended_since: row.suspended_since.map(Moment),
            consented: row.consented,
            last_grant_at: row.last_grant_at.map(Moment),
            last_choice: row.last_choice.map(ChoiceWord::from),
            last_entry_at: Moment(row.last_event_at),
        }
    }
}

/// One grant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LotView {
    /// Its number in the ledger, from 1.
    lot: u64,
    /// Where it is.
    state: LotStateWord,
    /// When the grant was made, according to its evidence.
    granted_at: Moment,
    /// WeChat's own word for the choice; null for an imported balance.
    #[schema(example = "acceptWithAlert")]
    word: Option<String>,
    /// Where the evidence came from.
    #[schema(example = "client_report")]
    evidence_source: String,
    /// What identifies the evidence there, such as the report's id.
    evidence_ref: String,
    /// The delivery that holds it, spent it or held it last: msgid, dash, index.
    delivery: Option<String>,
    /// A delivery in doubt that was settled as "not sent" and may have spent this grant all the same.
    doubted_by: Option<String>,
    /// When it last moved.
    changed_at: Moment,
}

impl From<LotRow> for LotView {
    fn from(row: LotRow) -> Self {
        Self {
            lot: row.lot,
            state: row.state.into(),
            granted_at: Moment(row.granted_at),
            word: row.word,
            evidence_source: row.evidence_source.as_str().to_owned(),
            evidence_ref: row.evidence_ref,
            delivery: row.delivery.map(String::from),
            doubted_by: row.doubted_by.map(String::from),
            changed_at: Moment(row.changed_at),
        }
    }
}

/// One event of a ledger, as recorded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    /// Its place in the channel's log.
    position: u64,
    /// Its place in the ledger, from 1.
    version: u64,
    /// What happened.
    #[schema(example = "ledger.granted")]
    kind: String,
    /// When it was recorded.
    recorded_at: Moment,
    /// The payload as stored. Times in it are microseconds since 1970-01-01T00:00:00Z.
    #[schema(value_type = Object)]
    data: Value,
    /// Who asked, through which command and request.
    #[schema(value_type = Object)]
    cause: Value,
}

impl EntryView {
    /// The entry, unless its stored bytes are not JSON.
    pub(crate) fn new(recorded: &Recorded) -> Result<Self, serde_json::Error> {
        Ok(Self {
            position: recorded.position.0,
            version: recorded.version,
            kind: recorded.kind_name(),
            recorded_at: Moment(recorded.recorded_at),
            data: serde_json::from_slice(&recorded.data)?,
            cause: serde_json::from_slice(&recorded.cause)?,
        })
    }
}
