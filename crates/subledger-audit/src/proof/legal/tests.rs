//! Whatever a ledger decides is legal, in any order of commands; what it would not decide is not.

#![allow(clippy::unwrap_used)]

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::{
    Decide, Evidence, EvidenceSource, MessageId, TemplateKind, Timestamp,
    ledger::{
        Answer, AttemptOutcome, Consumed, DoubtCause, LedgerCommand, ReleaseRequest, UnknownBalance, Verdict,
    },
};

use super::*;

fn delivery(n: u8) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes([n; 16]), 0)
}

fn evidence(at: i64) -> Evidence {
    Evidence::new(EvidenceSource::Operator, "test", Timestamp::from_micros(at))
}

fn outcome(n: u8) -> AttemptOutcome {
    let answer = Answer { code: None, rid: None, class: "test".to_owned() };
    match n % 5 {
        0 => AttemptOutcome::Accepted { wechat_msgid: None },
        1 => AttemptOutcome::NoPermission { answer },
        2 => AttemptOutcome::Refused { answer },
        3 => AttemptOutcome::Postponed { answer, until: Timestamp::from_micros(0), max_attempts: 3 },
        _ => AttemptOutcome::Unknown { cause: DoubtCause::Timeout },
    }
}

fn commands() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0_u8..10, 0_u8..4, 0_u8..20), 1..200)
}

fn command((what, which, detail): (u8, u8, u8), now: i64) -> LedgerCommand {
    let delivery = delivery(which);
    let kind = TemplateKind::OneTime;
    match what {
        0 | 1 => LedgerCommand::RecordChoice {
            choice: Choice::Accept,
            word: "accept".to_owned(),
            kind,
            evidence: evidence(now),
        },
        2 => LedgerCommand::RecordOpeningBalance { count: u32::from(detail % 3), evidence: evidence(now) },
        3 => LedgerCommand::Suspend { evidence: evidence(now) },
        4 => {
            let unknown_balance =
                if detail % 2 == 0 { UnknownBalance::Refuse } else { UnknownBalance::Attempt };
            LedgerCommand::Reserve { delivery, kind, unknown_balance, user: None }
        }
        5 => LedgerCommand::Start { delivery, expires_at: Timestamp::from_micros(i64::from(detail) * 20) },
        6 | 7 => {
            LedgerCommand::Settle { delivery, attempt: u16::from(detail % 3) + 1, outcome: outcome(detail) }
        }
        8 => {
            let verdict =
                if detail % 2 == 0 { Verdict::NotSent } else { Verdict::Sent { wechat_msgid: None } };
            LedgerCommand::Resolve { delivery, verdict, evidence: evidence(now) }
        }
        _ => LedgerCommand::Release { delivery, request: ReleaseRequest::Retract },
    }
}

proptest! {
    #[test]
    fn whatever_a_ledger_decides_is_legal(steps in commands()) {
        let mut state = Ledger::default();
        for (now, step) in (0..).zip(steps) {
            let asked = command(step, now);
            let Ok(events) = state.decide(asked.clone(), Timestamp::from_micros(now)) else { continue };
            for event in events {
                prop_assert_eq!(ledger(&state, &event), Ok(()), "{:?} for {:?} in {:?}", event, asked, state);
                state.apply(event);
                prop_assert!(state.totals().balanced());
            }
        }
    }
}

#[test]
fn an_end_without_a_beginning_is_not_legal() {
    let consumed = LedgerEvent::Consumed(Consumed { delivery: delivery(1), wechat_msgid: None });
    let expected = ledger(&Ledger::default(), &consumed).unwrap_err();
    assert!(expected.contains("not under way"), "{expected}");
}
