//! Corrections by hand, and what the channel's policies for undocumented points do.

use subledger_domain::ledger::*;
use subledger_domain::{Evidence, EvidenceSource};

use crate::ledger_spec::{
    admitted, denied_now, doubted, fold, granted, in_flight, released, reserved, settle, start, started,
    stopped_by_wechat, suspend,
};
use crate::support::*;

fn adjust(by: i64) -> LedgerCommand {
    LedgerCommand::Adjust { by, evidence: operator(7) }
}

fn adjusted(added: Option<(u64, u32)>, removed: Vec<u64>) -> LedgerEvent {
    let added = added.map(|(first_lot, count)| Added { first_lot, count });
    LedgerEvent::Adjusted(Adjusted { added, removed, evidence: operator(7) })
}

fn forfeiting(d: u8, outcome: AttemptOutcome) -> LedgerCommand {
    let refused_send = RefusedSend::Consume;
    LedgerCommand::Settle { delivery: delivery(d), attempt: 1, refused_send, outcome }
}

fn refusal(code: i64) -> AttemptOutcome {
    AttemptOutcome::Refused { answer: answer(code) }
}

fn forfeited(d: u8) -> LedgerEvent {
    LedgerEvent::Forfeited(Forfeited { delivery: delivery(d), answer: answer(47003) })
}

fn off(seconds: i64) -> LedgerEvent {
    LedgerEvent::Suspended(Suspended { evidence: push(seconds) })
}

fn cleared(lots: Vec<u64>, seconds: i64) -> LedgerEvent {
    LedgerEvent::Cleared(Cleared { lots, evidence: push(seconds) })
}

#[test]
fn a_correction_adds_lots_as_granted() {
    let event = adjusted(Some((2, 3)), vec![]);
    spec::<Ledger>(vec![granted(1)], adjust(3), vec![event.clone()]);
    let totals = fold(&[granted(1), event]).totals();
    assert_eq!((totals.granted, totals.open, totals.balanced()), (4, 4, true));
}

#[test]
fn a_correction_takes_the_newest_open_lots_as_void() {
    let history = vec![granted(1), granted(2), granted(3), reserved(1, 1)];
    let event = adjusted(None, vec![3]);
    spec::<Ledger>(history.clone(), adjust(-1), vec![event.clone()]);
    let totals = fold(&[history.clone(), vec![event]].concat()).totals();
    assert_eq!((totals.open, totals.reserved, totals.voided, totals.balanced()), (1, 1, 1, true));
    spec::<Ledger>(history.clone(), adjust(-2), vec![adjusted(None, vec![2, 3])]);
    refused::<Ledger>(history, adjust(-3), LedgerError::NotEnoughOpen { open: 2, asked: 3 });
}

#[test]
fn a_correction_is_no_accept_and_keeps_a_suspension() {
    let ledger = fold(&[off(3), adjusted(Some((1, 1)), vec![])]);
    assert_eq!((ledger.suspension().is_some(), ledger.last_accept_at()), (true, None));
}

#[test]
fn a_doubt_outlives_a_lot_that_is_corrected_away() {
    let not_sent = LedgerEvent::SettledLate(SettledLate {
        delivery: delivery(1),
        outcome: LateOutcome::NotSent,
        evidence: operator(900),
    });
    let mut history = vec![granted(1), granted(2), reserved(1, 1), started(1, 1), doubted(1), not_sent];
    history.extend([adjusted(None, vec![1])]);
    assert_eq!(fold(&history).lots(), [Lot { id: 2, doubted_by: Some(delivery(1)) }]);
}

#[test]
fn a_refused_send_uses_up_its_grant_where_the_policy_says_so() {
    spec::<Ledger>(in_flight(), forfeiting(1, refusal(47003)), vec![forfeited(1)]);
    let totals = fold(&[in_flight(), vec![forfeited(1)]].concat()).totals();
    assert_eq!((totals.consumed, totals.open, totals.balanced()), (1, 0, true));
    let in_doubt = [in_flight(), vec![doubted(1)]].concat();
    spec::<Ledger>(in_doubt, forfeiting(1, refusal(47003)), vec![forfeited(1)]);
}

#[test]
fn a_43101_a_try_again_and_what_never_reached_wechat_forfeit_nothing() {
    let history = vec![admitted(1, Basis::UnknownBalance), started(1, 1)];
    let events = vec![denied_now(1), stopped_by_wechat()];
    spec::<Ledger>(history.clone(), forfeiting(1, denied()), events);
    let without = vec![released(1, ReleaseReason::Refused { answer: answer(47003) })];
    spec::<Ledger>(history, forfeiting(1, refusal(47003)), without);
    let unsent = Answer { class: "recipient_erased".to_owned(), ..Answer::default() };
    let events = vec![released(1, ReleaseReason::Refused { answer: unsent.clone() })];
    spec::<Ledger>(in_flight(), forfeiting(1, AttemptOutcome::Refused { answer: unsent }), events);
    let again = AttemptOutcome::Postponed { answer: answer(-1), until: at(NOW), max_attempts: 1 };
    let events = vec![released(1, ReleaseReason::RetriesExhausted { answer: answer(-1) })];
    spec::<Ledger>(in_flight(), forfeiting(1, again), events);
}

#[test]
fn switching_off_keeps_the_grants_or_clears_them() {
    let history = vec![granted(1), granted(2), granted(3), reserved(1, 1)];
    spec::<Ledger>(history.clone(), suspend(SettingsOff::Keep, push(9)), vec![off(9)]);
    let events = vec![cleared(vec![1, 2, 3], 9), off(9)];
    spec::<Ledger>(history.clone(), suspend(SettingsOff::Clear, push(9)), events.clone());
    let history = [history, events].concat();
    let totals = fold(&history).totals();
    assert_eq!((totals.open, totals.reserved, totals.voided, totals.balanced()), (0, 0, 3, true));
    spec::<Ledger>(history, start(1), vec![released(1, ReleaseReason::NoGrant)]);
    spec::<Ledger>(vec![], suspend(SettingsOff::Clear, push(9)), vec![off(9)]);
}

#[test]
fn a_grant_in_flight_is_left_to_the_answer_when_the_rest_is_cleared() {
    let history = [in_flight(), vec![granted(2)]].concat();
    let events = vec![cleared(vec![2], 9), off(9)];
    spec::<Ledger>(history, suspend(SettingsOff::Clear, push(9)), events);
}

#[test]
fn a_switching_off_that_a_newer_accept_has_lifted_is_remembered_and_does_nothing_else() {
    spec::<Ledger>(vec![granted(10)], suspend(SettingsOff::Clear, push(9)), vec![off(9)]);
    let late = fold(&[granted(10), off(9)]);
    let early = fold(&[off(9), granted(10)]);
    assert_eq!(late, early, "the same state either way");
    assert_eq!((late.balance(), late.suspension(), late.last_settings_at()), (1, None, Some(at(9))));
}

#[test]
fn drift_names_the_last_change_of_settings() {
    let history = vec![off(1), granted(2), reserved(1, 2)];
    let history = [vec![granted(1)], history, vec![reserved(1, 1), started(1, 1)]].concat();
    let Ok(events) = decide::<Ledger>(history, settle(1, denied())) else { panic!("refused") };
    let Some(LedgerEvent::DriftFound(found)) = events.first() else { panic!("{events:?}") };
    assert_eq!((found.last_settings_at, found.last_grant_at), (Some(at(1)), Some(at(2))));
    let other = Evidence::new(EvidenceSource::Operator, "ops", at(5));
    let by_hand = fold(&[LedgerEvent::Suspended(Suspended { evidence: other })]);
    assert_eq!(by_hand.last_settings_at(), None, "an operator is not the user's settings page");
}
