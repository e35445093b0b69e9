//! The explanation of a ledger.

use serde::Serialize;
use subledger_audit::history::{
    Delivery, Explanation, Finding, Listed, Number, Stamp, Step, Sum, Tap, Voided,
};
use subledger_domain::{Evidence, ledger::Answer};
use utoipa::ToSchema;

use super::words::{DeliveryStateWord, LotStateWord};
use crate::moment::Moment;

/// What a fact rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EvidenceView {
    /// Where it came from.
    #[schema(example = "client_report")]
    source: String,
    /// What identifies it there.
    #[serde(rename = "ref")]
    reference: String,
    /// When it happened, according to its source.
    at: Moment,
    /// A reason given by a person.
    reason: Option<String>,
}

impl From<Evidence> for EvidenceView {
    fn from(evidence: Evidence) -> Self {
        Self {
            source: evidence.source.as_str().to_owned(),
            reference: evidence.reference,
            at: Moment(evidence.at),
            reason: evidence.reason,
        }
    }
}

/// WeChat's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerView {
    /// Its `errcode`.
    errcode: Option<i64>,
    /// Its request id.
    rid: Option<String>,
    /// The class of the code, or what kept us from reaching WeChat.
    class: String,
}

impl From<Answer> for AnswerView {
    fn from(answer: Answer) -> Self {
        Self { errcode: answer.code, rid: answer.rid, class: answer.class }
    }
}

/// An event's place in the channel's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StampView {
    position: u64,
    recorded_at: Moment,
}

impl From<Stamp> for StampView {
    fn from(stamp: Stamp) -> Self {
        Self { position: stamp.position.0, recorded_at: Moment(stamp.recorded_at) }
    }
}

/// One event that made a number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    #[serde(flatten)]
    event: StampView,
    /// What happened.
    #[schema(example = "ledger.granted")]
    kind: String,
    /// By how much the number changed.
    change: i64,
    /// The number after it.
    value: u64,
    /// The delivery it is about: msgid, dash, index.
    delivery: Option<String>,
    /// What it rests on, where the event carries evidence.
    evidence: Option<EvidenceView>,
    /// WeChat's answer, where the event carries one.
    answer: Option<AnswerView>,
    /// WeChat's message id, where the event carries one.
    wechat_msgid: Option<String>,
    /// Who asked.
    by: Option<String>,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        Self {
            event: step.event.into(),
            kind: step.kind.to_owned(),
            change: step.change,
            value: step.value,
            delivery: step.delivery.map(String::from),
            evidence: step.evidence.map(EvidenceView::from),
            answer: step.answer.map(AnswerView::from),
            wechat_msgid: step.wechat_msgid,
            by: step.cause.map(|cause| cause.by),
        }
    }
}

/// A number and the events that made it: `value` is `omitted_change` and all changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NumberView {
    /// Which number of the ledger. `suspended` is 1 while sends are refused.
    #[schema(example = "balance")]
    name: String,
    value: u64,
    /// Older events that are left out.
    omitted: usize,
    /// The sum of their changes.
    omitted_change: i64,
    /// The newest events, oldest first.
    events: Vec<StepView>,
}

impl From<Number> for NumberView {
    fn from(number: Number) -> Self {
        Self {
            name: number.name.as_str().to_owned(),
            value: number.value,
            omitted: number.omitted,
            omitted_change: number.omitted_change,
            events: number.events.into_iter().map(StepView::from).collect(),
        }
    }
}

/// `taps + opened - consumed - voided - reserved - in_doubt = balance`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SumView {
    /// Grants from taps.
    taps: u64,
    /// Grants from imports.
    opened: u64,
    consumed: u64,
    voided: u64,
    reserved: u64,
    in_doubt: u64,
    balance: u64,
    /// Whether both sides are equal.
    holds: bool,
}

impl From<Sum> for SumView {
    fn from(sum: Sum) -> Self {
        let Sum { taps, opened, consumed, voided, reserved, in_doubt, balance, holds } = sum;
        Self { taps, opened, consumed, voided, reserved, in_doubt, balance, holds }
    }
}

/// A delivery and the tap that paid for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaidDeliveryView {
    /// The delivery: msgid, dash, index.
    delivery: String,
    /// `held`, `spent`, `returned`, `void`, `long_term`, `unknown_balance` or `nothing`.
    #[schema(example = "spent")]
    paid: String,
    /// The grant that pays for it, or was last set aside for it.
    lot: Option<u64>,
    /// The tap or import behind that grant.
    tap: Option<EvidenceView>,
    /// Where the tap was recorded.
    tap_recorded: Option<StampView>,
    /// Where the delivery is.
    state: DeliveryStateWord,
    /// Attempts made.
    attempts: u16,
    /// When it was planned.
    planned: StampView,
    /// Its newest event.
    changed: StampView,
}

impl From<Delivery> for PaidDeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            delivery: delivery.delivery.to_string(),
            paid: delivery.paid.as_str().to_owned(),
            lot: delivery.lot,
            tap: delivery.tap.map(EvidenceView::from),
            tap_recorded: delivery.tap_recorded.map(StampView::from),
            state: delivery.state.into(),
            attempts: delivery.attempts,
            planned: delivery.planned.into(),
            changed: delivery.changed.into(),
        }
    }
}

/// Why a grant is void.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VoidedView {
    #[serde(flatten)]
    event: StampView,
    /// The delivery whose answer proved drift; null where the grant was cleared or taken away.
    found_by: Option<String>,
    /// WeChat's answer that proved drift.
    answer: Option<AnswerView>,
    /// The change of settings that cleared the grant, or the correction that took it away.
    evidence: Option<EvidenceView>,
}

impl From<Voided> for VoidedView {
    fn from(voided: Voided) -> Self {
        Self {
            event: voided.event.into(),
            found_by: voided.found_by.map(|delivery| delivery.to_string()),
            answer: voided.answer.map(AnswerView::from),
            evidence: voided.evidence.map(EvidenceView::from),
        }
    }
}

/// A tap, or one grant of an import, and what it paid for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TapView {
    /// The grant's number in the ledger.
    lot: u64,
    #[serde(flatten)]
    event: StampView,
    /// WeChat's own word for the choice; null for an import.
    word: Option<String>,
    /// The tap or the import.
    evidence: EvidenceView,
    /// Where the grant is.
    state: LotStateWord,
    /// The delivery that spent it, holds it or held it last.
    delivery: Option<String>,
    /// Where that delivery is.
    outcome: Option<DeliveryStateWord>,
    /// When the grant last moved.
    changed: StampView,
    /// How often a delivery gave it back.
    returned: u32,
    /// Why it is void.
    voided: Option<VoidedView>,
    /// A delivery in doubt that was settled as "not sent" and may have spent it all the same.
    doubted_by: Option<String>,
}

impl From<Tap> for TapView {
    fn from(tap: Tap) -> Self {
        Self {
            lot: tap.lot,
            event: tap.event.into(),
            word: tap.word,
            evidence: tap.evidence.into(),
            state: tap.state.into(),
            delivery: tap.delivery.map(String::from),
            outcome: tap.outcome.map(DeliveryStateWord::from),
            changed: tap.changed.into(),
            returned: tap.returned,
            voided: tap.voided.map(VoidedView::from),
            doubted_by: tap.doubted_by.map(String::from),
        }
    }
}

/// Something that does not agree.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DisagreementView {
    /// What: `sum`, `number`, `read_model`, `read_model_row`, `lot` or `delivery`, with the values at odds.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    kind: subledger_audit::history::FindingKind,
    /// The first event at which it shows.
    position: Option<u64>,
}

impl From<Finding> for DisagreementView {
    fn from(finding: Finding) -> Self {
        Self { kind: finding.kind, position: finding.position.map(|position| position.0) }
    }
}

/// The newest items of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewestDeliveries {
    /// Older items that are left out.
    omitted: usize,
    /// Oldest first.
    items: Vec<PaidDeliveryView>,
}

/// The newest items of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewestTaps {
    /// Older items that are left out.
    omitted: usize,
    /// Oldest first.
    items: Vec<TapView>,
}

/// Every number of a ledger with the events behind it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    /// What stands for the openid in the log.
    subject: String,
    /// The openid; null if the person was erased.
    openid: Option<String>,
    /// The template.
    template_id: String,
    /// The numbers of the ledger.
    numbers: Vec<NumberView>,
    /// The sum.
    sum: SumView,
    /// For each delivery, the tap that paid for it.
    deliveries: NewestDeliveries,
    /// For each tap, what it paid for.
    taps: NewestTaps,
    /// What does not agree; empty in sound books.
    #[schema(inline)]
    findings: Vec<DisagreementView>,
}

impl ExplanationView {
    pub(crate) fn new(
        subject: String,
        openid: Option<String>,
        template_id: String,
        explanation: Explanation,
    ) -> Self {
        let Listed { omitted, items } = explanation.deliveries;
        let deliveries =
            NewestDeliveries { omitted, items: items.into_iter().map(PaidDeliveryView::from).collect() };
        let Listed { omitted, items } = explanation.taps;
        let taps = NewestTaps { omitted, items: items.into_iter().map(TapView::from).collect() };
        Self {
            subject,
            openid,
            template_id,
            numbers: explanation.numbers.into_iter().map(NumberView::from).collect(),
            sum: explanation.sum.into(),
            deliveries,
            taps,
            findings: explanation.findings.into_iter().map(DisagreementView::from).collect(),
        }
    }
}
