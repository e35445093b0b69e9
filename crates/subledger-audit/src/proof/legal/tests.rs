//! Whatever a ledger decides is legal, in any order of commands; what it would not decide is not.

#![allow(clippy::unwrap_used)]

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::{
    Decide, Evidence, EvidenceSource, MessageId, TemplateKind, Timestamp,
    ledger::{
        Added, Adjusted, Answer, AttemptOutcome, Cleared, Confirmed, Consumed, DoubtCause, LedgerCommand,
        RefusedSend, ReleaseRequest, SettingsOff, Taps, UnknownBalance, Verdict,
    },
};

use super::*;

fn delivery(n: u8) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes([n; 16]), 0)
}

fn evidence(at: i64) -> Evidence {
    Evidence::new(EvidenceSource::Operator, "test", Timestamp::from_micros(at))
}

/// What a push or a report tells of.
fn told(push: bool, at: i64) -> Evidence {
    let source = if push { EvidenceSource::WechatPush } else { EvidenceSource::ClientReport };
    Evidence { source, ..evidence(at) }
}

fn by_hand(at: i64) -> Evidence {
    Evidence { reason: Some("counted anew".to_owned()), ..evidence(at) }
}

fn outcome(n: u8) -> AttemptOutcome {
    let answer = Answer { code: Some(1), rid: None, class: "test".to_owned() };
    match n % 5 {
        0 => AttemptOutcome::Accepted { wechat_msgid: n.is_multiple_of(2).then(|| format!("m{}", n % 4)) },
        1 => AttemptOutcome::NoPermission { answer },
        2 => AttemptOutcome::Refused { answer },
        3 => AttemptOutcome::Postponed { answer, until: Timestamp::from_micros(0), max_attempts: 3 },
        _ => AttemptOutcome::Unknown { cause: DoubtCause::Timeout },
    }
}

fn commands() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0_u8..12, 0_u8..4, 0_u8..20), 1..200)
}

fn command((what, which, detail): (u8, u8, u8), now: i64) -> LedgerCommand {
    let delivery = delivery(which);
    let kind = TemplateKind::OneTime;
    match what {
        0 | 1 => LedgerCommand::RecordChoice {
            choice: if detail % 5 == 0 { Choice::Reject } else { Choice::Accept },
            word: "accept".to_owned(),
            kind,
            taps: [Taps::Both, Taps::ClientOnly, Taps::PushOnly][usize::from(detail) % 3],
            window: 300,
            evidence: told(what == 0, now),
        },
        2 => LedgerCommand::RecordOpeningBalance { count: u32::from(detail % 3), evidence: evidence(now) },
        3 => LedgerCommand::Suspend {
            settings_off: if detail % 2 == 0 { SettingsOff::Keep } else { SettingsOff::Clear },
            evidence: told(true, now),
        },
        4 => {
            let unknown_balance =
                if detail % 2 == 0 { UnknownBalance::Refuse } else { UnknownBalance::Attempt };
            LedgerCommand::Reserve { delivery, kind, unknown_balance, user: None }
        }
        5 => LedgerCommand::Start { delivery, expires_at: Timestamp::from_micros(i64::from(detail) * 20) },
        6 | 7 => LedgerCommand::Settle {
            delivery,
            attempt: u16::from(detail % 3) + 1,
            refused_send: if which % 2 == 0 { RefusedSend::Release } else { RefusedSend::Consume },
            outcome: outcome(detail),
        },
        8 => {
            let verdict =
                if detail % 2 == 0 { Verdict::NotSent } else { Verdict::Sent { wechat_msgid: None } };
            LedgerCommand::Resolve { delivery, verdict, evidence: evidence(now) }
        }
        9 => LedgerCommand::RecordSent {
            wechat_msgid: (detail % 4 > 0).then(|| format!("m{which}")),
            code: i64::from(detail % 3) - 1,
            status: "failed".to_owned(),
            began: None,
            evidence: told(true, now),
        },
        10 => LedgerCommand::Adjust { by: i64::from(detail % 5) - 2, evidence: by_hand(now) },
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

#[test]
fn a_sent_event_and_a_correction_have_their_limits() {
    let mut state = Ledger::default();
    let kind = TemplateKind::OneTime;
    let reserve = LedgerCommand::Reserve {
        delivery: delivery(1),
        kind,
        unknown_balance: UnknownBalance::Attempt,
        user: None,
    };
    for event in state.decide(reserve, Timestamp::from_micros(1)).unwrap() {
        state.apply(event);
    }
    let confirmed = LedgerEvent::Confirmed(Confirmed {
        delivery: delivery(1),
        wechat_msgid: None,
        evidence: told(true, 1),
    });
    assert!(ledger(&state, &confirmed).unwrap_err().contains("started"), "nothing was handed over yet");
    let unknown = Adjusted { added: None, removed: vec![1], evidence: by_hand(1) };
    assert!(ledger(&state, &LedgerEvent::Adjusted(unknown)).unwrap_err().contains("open lots"));
    let added = Some(Added { first_lot: 1, count: 1 });
    let unexplained = Adjusted { added, removed: vec![], evidence: evidence(1) };
    assert!(ledger(&state, &LedgerEvent::Adjusted(unexplained)).unwrap_err().contains("reason"));
    let cleared = Cleared { lots: vec![7], evidence: told(true, 1) };
    assert!(ledger(&state, &LedgerEvent::Cleared(cleared)).unwrap_err().contains("open or held"));
}
