//! Shorthand for specs: ids, evidence, and the given/when/then of cqrs-es with our commands.

use cqrs_es::test::TestFramework;
use subledger_domain::ledger::{Answer, AttemptOutcome, DoubtCause};
use subledger_domain::{At, Decide, DeliveryId, Evidence, EvidenceSource, MessageId, SubjectId, Timestamp};

/// The moment `seconds` after the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// The moment at which specs decide.
pub const NOW: i64 = 1_000;

pub fn delivery(n: u8) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes([n; 16]), u32::from(n))
}

pub fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n; 16])
}

pub fn tap(seconds: i64) -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, "report-1", at(seconds))
}

/// What WeChat pushed about the same.
pub fn push(seconds: i64) -> Evidence {
    Evidence::new(EvidenceSource::WechatPush, "push-1", at(seconds))
}

pub fn operator(seconds: i64) -> Evidence {
    Evidence {
        reason: Some("asked by phone".to_owned()),
        ..Evidence::new(EvidenceSource::Operator, "ops", at(seconds))
    }
}

pub fn answer(code: i64) -> Answer {
    Answer { code: Some(code), rid: Some("rid-1".to_owned()), class: "test".to_owned() }
}

pub fn accepted() -> AttemptOutcome {
    AttemptOutcome::Accepted { wechat_msgid: Some("1234567890123456789".to_owned()) }
}

pub fn denied() -> AttemptOutcome {
    AttemptOutcome::NoPermission { answer: answer(43101) }
}

pub fn unknown() -> AttemptOutcome {
    AttemptOutcome::Unknown { cause: DoubtCause::Timeout }
}

/// What `ask` leads to after `history`, decided at [`NOW`] through `cqrs_es`.
pub fn decide<A: Decide>(history: Vec<A::Event>, ask: A::Ask) -> Result<Vec<A::Event>, A::Error> {
    TestFramework::<A>::with(()).given(history).when(At::new(at(NOW), ask)).inspect_result()
}

/// Given `history`, when `ask` comes, then exactly `events` happen.
pub fn spec<A: Decide>(history: Vec<A::Event>, ask: A::Ask, events: Vec<A::Event>) {
    TestFramework::<A>::with(()).given(history).when(At::new(at(NOW), ask)).then_expect_events(events);
}

/// Given `history`, when `ask` comes, then it is refused with `error` and nothing happens.
pub fn refused<A: Decide>(history: Vec<A::Event>, ask: A::Ask, error: A::Error)
where
    A::Error: PartialEq,
{
    TestFramework::<A>::with(()).given(history).when(At::new(at(NOW), ask)).then_expect_error(error);
}
