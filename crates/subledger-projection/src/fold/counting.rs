//! What one ledger event counts for analysts, and which way it moves grants.
//!
//! What an event does to the grants of a ledger is the domain's to say: the difference between the totals before and after
//! is what moved. So each unit of each movement is counted once, under the place it left and the place it went to, and
//! the sums cannot stray from the ledgers. Everything else is one count per event.

use std::borrow::Cow;

use subledger_domain::{
    DeliveryId,
    ledger::{Basis, Choice, Funding, LateOutcome, Ledger, LedgerEvent, Phase, ReleaseReason},
};

use crate::{Holdings, Measure, rows::doubt_cause_word};

/// A measure, its class, and how much.
pub(super) type Counted = (Measure, Cow<'static, str>, u64);

/// Where a grant may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Outside,
    Open,
    Reserved,
    InDoubt,
    Consumed,
    Void,
}

impl At {
    const INSIDE: [Self; 5] = [Self::Open, Self::Reserved, Self::InDoubt, Self::Consumed, Self::Void];

    const fn amount(self, holdings: &Holdings) -> u64 {
        match self {
            Self::Outside => 0,
            Self::Open => holdings.open,
            Self::Reserved => holdings.reserved,
            Self::InDoubt => holdings.in_doubt,
            Self::Consumed => holdings.consumed,
            Self::Void => holdings.voided,
        }
    }
}

macro_rules! ways {
    ($($from:ident $from_word:literal: [$($to:ident $to_word:literal),+]),+ $(,)?) => {
        /// `from>to`.
        const fn way(from: At, to: At) -> &'static str {
            match (from, to) {
                $($((At::$from, At::$to) => concat!($from_word, ">", $to_word),)+)+
                _ => "outside>outside",
            }
        }
    };
}

ways! {
    Outside "outside": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
    Open "open": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
    Reserved "reserved": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
    InDoubt "in_doubt": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
    Consumed "consumed": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
    Void "void": [Open "open", Reserved "reserved", InDoubt "in_doubt", Consumed "consumed", Void "void"],
}

/// Which place grants left for which other, and how many. An event has one place that grows: all that shrinks went there,
/// and what is not covered by it is new. Written so that it holds for any two states all the same.
pub(super) fn moves(before: &Holdings, after: &Holdings, mut each: impl FnMut(Counted)) {
    let came = |at: At| at.amount(after).saturating_sub(at.amount(before));
    let left = |at: At| match at {
        At::Outside => after.granted.saturating_sub(before.granted),
        at => at.amount(before).saturating_sub(at.amount(after)),
    };
    let mut sources = At::INSIDE.into_iter().chain([At::Outside]).map(|at| (at, left(at)));
    let mut source = sources.next();
    for to in At::INSIDE {
        let mut wanted = came(to);
        while let (Some((from, available)), true) = (source, wanted > 0) {
            let amount = wanted.min(available);
            if amount > 0 {
                each((Measure::Move, Cow::Borrowed(way(from, to)), amount));
            }
            wanted -= amount;
            source = if amount == available { sources.next() } else { Some((from, available - amount)) };
        }
    }
}

/// What an event counts, given the ledger it meets.
pub(super) fn counted(ledger: &Ledger, event: &LedgerEvent) -> [Option<Counted>; 2] {
    let one = |measure, class: &'static str| [Some((measure, Cow::Borrowed(class), 1)), None];
    let told = |measure, class: &str| (measure, known_class(class), 1);
    match event {
        LedgerEvent::Granted(e) => one(Measure::Granted, e.evidence.source.as_str()),
        LedgerEvent::Opened(e) => {
            [Some((Measure::Opened, Cow::Borrowed(e.evidence.source.as_str()), e.count.into())), None]
        }
        LedgerEvent::Consented(e) => one(Measure::Consented, e.evidence.source.as_str()),
        LedgerEvent::Rejected(e) => one(Measure::Rejected, choice_word(e.choice)),
        LedgerEvent::Suspended(e) => one(Measure::Suspended, e.evidence.source.as_str()),
        LedgerEvent::Reserved(_) => one(Measure::Reserved, ""),
        LedgerEvent::Admitted(e) => one(Measure::Admitted, basis_word(e.basis)),
        LedgerEvent::Started(e) => one(Measure::Started, if e.attempt == 1 { "first" } else { "again" }),
        LedgerEvent::Postponed(e) => {
            late(ledger, e.delivery, "postponed", told(Measure::Postponed, &e.answer.class))
        }
        LedgerEvent::Consumed(e) => one(Measure::Sent, paid_by(ledger, e.delivery)),
        LedgerEvent::Released(e) => match &e.reason {
            ReleaseReason::Refused { answer } => {
                late(ledger, e.delivery, "refused", told(Measure::Refused, &answer.class))
            }
            ReleaseReason::RetriesExhausted { answer } => {
                late(ledger, e.delivery, "failed", told(Measure::Failed, &answer.class))
            }
            ReleaseReason::Retracted => one(Measure::Retracted, ""),
            ReleaseReason::Expired => one(Measure::Expired, ""),
            ReleaseReason::Suspended => one(Measure::Dropped, "suspended"),
            ReleaseReason::NoGrant => one(Measure::Dropped, "no_grant"),
        },
        LedgerEvent::Denied(e) => {
            late(ledger, e.delivery, "no_permission", told(Measure::Refused, "no_permission"))
        }
        LedgerEvent::Doubted(e) => one(Measure::Doubted, doubt_cause_word(e.cause)),
        LedgerEvent::SettledLate(e) => {
            let measure = match e.outcome {
                LateOutcome::NotSent => Measure::SettledNotSent,
                LateOutcome::Sent { .. } if ledger.outstanding().contains_key(&e.delivery) => {
                    Measure::SettledSent
                }
                LateOutcome::Sent { .. } => Measure::Corrected,
            };
            one(measure, e.evidence.source.as_str())
        }
        LedgerEvent::DriftFound(_) => one(Measure::Drifted, ""),
        LedgerEvent::Corroborated(e) => one(Measure::Corroborated, e.evidence.source.as_str()),
        LedgerEvent::TapNoted(e) => one(Measure::Noted, e.evidence.source.as_str()),
        LedgerEvent::Confirmed(_) => one(Measure::Confirmed, ""),
        LedgerEvent::Undelivered(e) => {
            [Some((Measure::Undelivered, Cow::Owned(e.code.to_string()), 1)), None]
        }
        LedgerEvent::StrangerReported(e) => {
            one(Measure::Strangers, if e.code == 0 { "success" } else { "failure" })
        }
        LedgerEvent::Adjusted(e) => {
            let source = e.evidence.source.as_str();
            let told = |measure, amount| Some((measure, Cow::Borrowed(source), amount));
            let up = e.added.and_then(|added| told(Measure::AdjustedUp, added.count.into()));
            let down = told(Measure::AdjustedDown, e.removed.len() as u64);
            [up, down.filter(|(.., amount)| *amount > 0)]
        }
        LedgerEvent::Cleared(e) => one(Measure::Cleared, e.evidence.source.as_str()),
        LedgerEvent::Forfeited(e) => {
            late(ledger, e.delivery, "forfeited", told(Measure::Forfeited, &e.answer.class))
        }
    }
}

/// Adds that the delivery was in doubt until now, if it was.
fn late(ledger: &Ledger, delivery: DeliveryId, how: &'static str, counted: Counted) -> [Option<Counted>; 2] {
    let in_doubt = ledger.outstanding().get(&delivery).is_some_and(|one| one.phase == Phase::InDoubt);
    [Some(counted), in_doubt.then_some((Measure::AnsweredLate, Cow::Borrowed(how), 1))]
}

/// The class of an answer as an event names it; the commonest without a copy.
fn known_class(class: &str) -> Cow<'static, str> {
    match class {
        "no_permission" => Cow::Borrowed("no_permission"),
        class => Cow::Owned(class.to_owned()),
    }
}

fn paid_by(ledger: &Ledger, delivery: DeliveryId) -> &'static str {
    match ledger.outstanding().get(&delivery).map(|one| one.funding) {
        Some(Funding::Lot(_)) => "grant",
        Some(Funding::Without(basis)) => basis_word(basis),
        // Its own grant was found spent while it was in flight; WeChat took another one, or one we do not know.
        Some(Funding::Void) | None => "void",
    }
}

const fn choice_word(choice: Choice) -> &'static str {
    match choice {
        Choice::Accept => "accept",
        Choice::Reject => "reject",
        Choice::Ban => "ban",
        Choice::Filter => "filter",
    }
}

const fn basis_word(basis: Basis) -> &'static str {
    match basis {
        Basis::LongTerm => "long_term",
        Basis::UnknownBalance => "unknown_balance",
    }
}
