//! What an explanation consists of, and how it is made.

mod json;

use serde::Serialize;
use subledger_domain::{
    ChannelCode, DeliveryId, Evidence, LogName, LotId, StreamName, SubjectId, TemplateId, Timestamp,
    ledger::{Answer, LedgerEvent},
};
use subledger_projection::{DeliveryState, LedgerRow, LotState, ProjectionName, Queries, Replay};
use subledger_store::{Cause, Position};

use super::{
    HistoryError,
    messages::unreadable,
    states::{CHUNK, History, PastLedger},
    tracker::Tracker,
};

/// A number of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberName {
    /// Open grants.
    Balance,
    /// Grants set aside for deliveries that wait or are started.
    Reserved,
    /// Grants held by deliveries in doubt.
    InDoubt,
    /// Grants ever recorded.
    Granted,
    /// Grants spent.
    Consumed,
    /// Grants found void.
    Voided,
    /// Taps that were not an accept.
    Rejected,
    /// One while sends are refused, else zero.
    Suspended,
}

impl NumberName {
    /// Every number, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Balance,
        Self::Reserved,
        Self::InDoubt,
        Self::Granted,
        Self::Consumed,
        Self::Voided,
        Self::Rejected,
        Self::Suspended,
    ];

    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Reserved => "reserved",
            Self::InDoubt => "in_doubt",
            Self::Granted => "granted",
            Self::Consumed => "consumed",
            Self::Voided => "voided",
            Self::Rejected => "rejected",
            Self::Suspended => "suspended",
        }
    }

    /// The number in a row of the read model.
    pub const fn of(self, row: &LedgerRow) -> u64 {
        match self {
            Self::Balance => row.balance,
            Self::Reserved => row.reserved,
            Self::InDoubt => row.in_doubt,
            Self::Granted => row.granted,
            Self::Consumed => row.consumed,
            Self::Voided => row.voided,
            Self::Rejected => row.rejected,
            Self::Suspended => row.suspended_since.is_some() as u64,
        }
    }
}

/// When and where an event was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stamp {
    /// Its position.
    pub position: Position,
    /// Its time.
    #[serde(serialize_with = "json::moment")]
    pub recorded_at: Timestamp,
}

/// One event that made a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where and when.
    #[serde(flatten)]
    pub event: Stamp,
    /// Its kind, such as `ledger.granted`.
    pub kind: &'static str,
    /// By how much the number changed. Zero for a suspension that was confirmed.
    pub change: i64,
    /// The number after it.
    pub value: u64,
    /// The delivery it is about.
    pub delivery: Option<DeliveryId>,
    /// What it rests on, where the event carries evidence.
    #[serde(serialize_with = "json::evidence")]
    pub evidence: Option<Evidence>,
    /// WeChat's answer, where the event carries one.
    pub answer: Option<Answer>,
    /// WeChat's message id, where the event carries one.
    pub wechat_msgid: Option<String>,
    /// Who asked, through which command and request.
    pub cause: Option<Cause>,
}

/// A number and the events that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Number {
    /// Which.
    pub name: NumberName,
    /// Its value: the sum of all changes.
    pub value: u64,
    /// Events left out of the list because they are older than the newest that were asked for.
    pub omitted: usize,
    /// The sum of their changes.
    pub omitted_change: i64,
    /// The events, oldest first.
    pub events: Vec<Step>,
}

/// The newest items of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// Items left out because they are older.
    pub omitted: usize,
    /// The items, oldest first.
    pub items: Vec<T>,
}

impl<T> Listed<T> {
    pub(super) const fn all(items: Vec<T>) -> Self {
        Self { omitted: 0, items }
    }

    fn cut(&mut self, limit: usize) {
        let omitted = self.items.len().saturating_sub(limit);
        self.items.drain(..omitted);
        self.omitted += omitted;
    }
}

/// How a delivery was, or is to be, paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paid {
    /// Its grant is set aside.
    Held,
    /// Its grant is spent.
    Spent,
    /// It ended unsent and gave its grant back.
    Returned,
    /// Its grant was found void, or was spent by another delivery, before its own turn came.
    Void,
    /// No grant is needed: the standing consent to a long-term template.
    LongTerm,
    /// No grant is known: the channel's policy let it in to learn from WeChat's answer.
    UnknownBalance,
    /// WeChat accepted it and our books had no grant left for it.
    Nothing,
}

impl Paid {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Spent => "spent",
            Self::Returned => "returned",
            Self::Void => "void",
            Self::LongTerm => "long_term",
            Self::UnknownBalance => "unknown_balance",
            Self::Nothing => "nothing",
        }
    }
}

/// A delivery and the tap that paid for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// How it is paid for.
    pub paid: Paid,
    /// The grant that pays for it, or was last set aside for it.
    pub lot: Option<LotId>,
    /// The tap or import behind that grant.
    #[serde(serialize_with = "json::evidence")]
    pub tap: Option<Evidence>,
    /// Where the tap was recorded.
    pub tap_recorded: Option<Stamp>,
    /// Where the delivery is.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u16,
    /// When it was planned.
    pub planned: Stamp,
    /// Its newest event.
    pub changed: Stamp,
}

/// Why a grant is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voided {
    /// The event that recorded it.
    #[serde(flatten)]
    pub event: Stamp,
    /// The delivery whose answer proved drift; none where the grant was cleared or taken away.
    pub found_by: Option<DeliveryId>,
    /// WeChat's answer that proved drift.
    pub answer: Option<Answer>,
    /// The change of settings that cleared the grant, or the correction that took it away.
    #[serde(serialize_with = "json::evidence")]
    pub evidence: Option<Evidence>,
}

/// A tap, or one grant of an import, and what it paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tap {
    /// The grant's number in the ledger.
    pub lot: LotId,
    /// Where it was recorded.
    #[serde(flatten)]
    pub event: Stamp,
    /// WeChat's own word for the choice; none for an import.
    pub word: Option<String>,
    /// The tap or the import.
    #[serde(serialize_with = "json::some_evidence")]
    pub evidence: Evidence,
    /// Where the grant is.
    pub state: LotState,
    /// The delivery that spent it, holds it or, if void, held it last.
    pub delivery: Option<DeliveryId>,
    /// Where that delivery is.
    pub outcome: Option<DeliveryState>,
    /// When the grant last moved.
    pub changed: Stamp,
    /// How often a delivery gave it back.
    pub returned: u32,
    /// Why it is void, if it is.
    pub voided: Option<Voided>,
    /// A delivery in doubt that was settled as "not sent" and may have spent it all the same.
    pub doubted_by: Option<DeliveryId>,
}

/// `taps + opened - consumed - voided - reserved - in_doubt = balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Grants from taps.
    pub taps: u64,
    /// Grants from imports and corrections.
    pub opened: u64,
    /// Grants spent.
    pub consumed: u64,
    /// Grants found void.
    pub voided: u64,
    /// Grants set aside.
    pub reserved: u64,
    /// Grants held by deliveries in doubt.
    pub in_doubt: u64,
    /// Open grants, as the ledger itself keeps them.
    pub balance: u64,
    /// Whether both sides are equal.
    pub holds: bool,
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum FindingKind {
    /// The sum does not come to the balance.
    Sum {
        /// What the terms come to.
        terms: i64,
        /// The balance.
        balance: u64,
    },
    /// What the events come to is not what the folded ledger says.
    Number {
        /// Which number.
        number: NumberName,
        /// What the events come to.
        events: u64,
        /// What the folded ledger says.
        ledger: u64,
    },
    /// The live read model shows another number than the events up to the same position.
    ReadModel {
        /// Which number.
        number: NumberName,
        /// What the events come to.
        events: u64,
        /// What the read model shows.
        shown: u64,
    },
    /// The live read model does not have the ledger, or differs in something else than a number.
    ReadModelRow,
    /// An event uses a grant that was not there to be used.
    Lot {
        /// The grant.
        lot: LotId,
    },
    /// An event is about a delivery that was not under way.
    Delivery {
        /// The delivery.
        delivery: DeliveryId,
    },
}

/// A disagreement, and where it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What does not agree.
    #[serde(flatten)]
    pub kind: FindingKind,
    /// The first event at which it shows; none where it only shows at the end.
    pub position: Option<Position>,
}

/// Every number of a ledger with the events behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The numbers, in the order of [`NumberName::ALL`].
    pub numbers: Vec<Number>,
    /// The sum.
    pub sum: Sum,
    /// For each delivery, the tap that paid for it.
    pub deliveries: Listed<Delivery>,
    /// For each tap, what it paid for.
    pub taps: Listed<Tap>,
    /// What does not agree; empty in sound books.
    pub findings: Vec<Finding>,
}

impl Explanation {
    /// Keeps the newest `limit` of each list. The sums stay whole: what is left out is counted.
    #[must_use]
    pub fn cut(mut self, limit: usize) -> Self {
        for number in &mut self.numbers {
            let omitted = number.events.len().saturating_sub(limit);
            number.omitted_change += number.events.drain(..omitted).map(|step| step.change).sum::<i64>();
            number.omitted += omitted;
        }
        self.deliveries.cut(limit);
        self.taps.cut(limit);
        self
    }
}

impl History {
    /// A ledger and its explanation; none where nothing had been recorded. Refuses a ledger with more than `max_events`
    /// events up to there: an explanation is kept in memory as a whole.
    pub async fn explain(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        template: &TemplateId,
        at: Position,
        max_events: usize,
    ) -> Result<Option<(PastLedger, Explanation)>, HistoryError> {
        let log = LogName::channel(code);
        let stream = StreamName::ledger(subject, template);
        let mut replay = Replay::new(ProjectionName::Ledgers);
        let mut tracker = Tracker::default();
        let (mut chunk, mut count) = (Vec::new(), 0_usize);
        self.each(&log, &[(stream, 0)], at, |recorded| {
            count += 1;
            if count > max_events {
                return Err(HistoryError::TooLong { limit: max_events });
            }
            let event: LedgerEvent = recorded.decode().map_err(|error| unreadable(&recorded, &error))?;
            tracker.take(&recorded, &event);
            chunk.push(recorded);
            if chunk.len() == CHUNK {
                replay.apply(&chunk)?;
                chunk.clear();
            }
            Ok(())
        })
        .await?;
        replay.apply(&chunk)?;
        let Some(row) = replay.ledgers().into_iter().next() else { return Ok(None) };
        let mut explanation = tracker.explain(&row);
        self.compare_with_read_model(code, &row, at, &mut explanation).await?;
        Ok(Some((PastLedger { row, lots: replay.lots() }, explanation)))
    }

    /// Where the live read model stands at the same position, it must show the same.
    async fn compare_with_read_model(
        &self,
        code: &ChannelCode,
        row: &LedgerRow,
        at: Position,
        explanation: &mut Explanation,
    ) -> Result<(), HistoryError> {
        let answer = Queries::new(self.store.clone()).ledger(code, row.subject, &row.template).await?;
        if answer.position != at || answer.value.as_ref() == Some(row) {
            return Ok(());
        }
        let findings = &mut explanation.findings;
        let before = findings.len();
        if let Some(shown) = &answer.value {
            findings.extend(
                explanation.numbers.iter().filter(|number| number.name.of(shown) != number.value).map(
                    |number| Finding {
                        kind: FindingKind::ReadModel {
                            number: number.name,
                            events: number.value,
                            shown: number.name.of(shown),
                        },
                        position: None,
                    },
                ),
            );
        }
        if findings.len() == before {
            findings.push(Finding { kind: FindingKind::ReadModelRow, position: None });
        }
        Ok(())
    }
}
