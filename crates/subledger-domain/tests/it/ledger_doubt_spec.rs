//! What becomes of a delivery whose answer was lost.

use subledger_domain::ledger::*;
use subledger_domain::{Evidence, EvidenceSource};

use crate::ledger_spec::{
    consumed, denied_now, doubted, drift, fold, granted, in_flight, released, reserve, reserved, settle,
    start, started, stopped_by_wechat,
};
use crate::support::*;

fn in_doubt() -> Vec<LedgerEvent> {
    [in_flight(), vec![doubted(1)]].concat()
}

fn not_sent(d: u8) -> LedgerEvent {
    let evidence = operator(900);
    LedgerEvent::SettledLate(SettledLate { delivery: delivery(d), outcome: LateOutcome::NotSent, evidence })
}

fn sent(d: u8, msgid: Option<&str>, evidence: Evidence) -> LedgerEvent {
    let outcome = LateOutcome::Sent { wechat_msgid: msgid.map(str::to_owned) };
    LedgerEvent::SettledLate(SettledLate { delivery: delivery(d), outcome, evidence })
}

fn by_answer(reference: &str) -> Evidence {
    Evidence::new(EvidenceSource::WechatAnswer, reference, at(NOW))
}

fn resolve(d: u8, verdict: Verdict) -> LedgerCommand {
    LedgerCommand::Resolve { delivery: delivery(d), verdict, evidence: operator(900) }
}

#[test]
fn a_lost_answer_keeps_the_grant_and_blocks_other_attempts() {
    spec::<Ledger>(in_flight(), settle(1, unknown()), vec![doubted(1)]);
    let ledger = fold(&in_doubt());
    assert_eq!((ledger.totals().in_doubt, ledger.balance(), ledger.unresolved()), (1, 0, Some(delivery(1))));
    spec::<Ledger>(in_doubt(), settle(1, unknown()), vec![]);
}

#[test]
fn a_late_answer_ends_a_doubt_as_it_would_have_ended_the_attempt() {
    let msgid = "1234567890123456789";
    spec::<Ledger>(in_doubt(), settle(1, accepted()), vec![sent(1, Some(msgid), by_answer(msgid))]);
    let refusal = AttemptOutcome::Refused { answer: answer(47003) };
    let reason = ReleaseReason::Refused { answer: answer(47003) };
    spec::<Ledger>(in_doubt(), settle(1, refusal), vec![released(1, reason)]);
    let events = vec![drift(1, vec![1], 1), denied_now(1), stopped_by_wechat()];
    spec::<Ledger>(in_doubt(), settle(1, denied()), events);
}

#[test]
fn a_late_43101_does_not_void_what_was_tapped_meanwhile() {
    let history = [in_doubt(), vec![granted(2), granted(3)]].concat();
    spec::<Ledger>(history, settle(1, denied()), vec![drift(1, vec![1], 3), denied_now(1)]);
}

#[test]
fn a_person_settles_a_doubt_either_way() {
    let verdict = Verdict::Sent { wechat_msgid: None };
    spec::<Ledger>(in_doubt(), resolve(1, verdict), vec![sent(1, None, operator(900))]);
    spec::<Ledger>(in_doubt(), resolve(1, Verdict::NotSent), vec![not_sent(1)]);
    let ledger = fold(&[in_doubt(), vec![not_sent(1)]].concat());
    assert_eq!(ledger.lots(), [Lot { id: 1, doubted_by: Some(delivery(1)) }]);
}

#[test]
fn a_43101_after_a_doubt_settled_as_not_sent_is_explained_and_no_drift() {
    let history = [in_doubt(), vec![not_sent(1), reserved(2, 1), started(2, 1)]].concat();
    let events = vec![denied_now(2), sent(1, None, by_answer("rid-1")), stopped_by_wechat()];
    spec::<Ledger>(history.clone(), settle(2, denied()), events.clone());
    let totals = fold(&[history, events].concat()).totals();
    assert_eq!((totals.consumed, totals.voided, totals.open), (1, 0, 0));
    assert!(totals.balanced());
}

#[test]
fn a_doubt_explains_one_lot_and_the_others_are_drift() {
    let history = [in_doubt(), vec![not_sent(1), granted(2), reserved(2, 1), started(2, 1)]].concat();
    let LedgerEvent::DriftFound(found) = drift(2, vec![2], 2) else { unreachable!() };
    let found = LedgerEvent::DriftFound(DriftFound { doubts: vec![delivery(1)], ..found });
    let events = vec![found, denied_now(2), sent(1, None, by_answer("rid-1")), stopped_by_wechat()];
    spec::<Ledger>(history.clone(), settle(2, denied()), events.clone());
    let totals = fold(&[history, events].concat()).totals();
    assert_eq!((totals.consumed, totals.voided, totals.open), (1, 1, 0));
}

#[test]
fn a_doubt_outlives_the_lot_that_carried_it() {
    // 1 in doubt, taken for not sent; 2 is sent with the lot it gave back; 3 meets 43101 with the other lot.
    let history = [
        in_doubt(),
        vec![
            not_sent(1),
            granted(2),
            reserved(2, 1),
            started(2, 1),
            consumed(2),
            reserved(3, 2),
            started(3, 1),
        ],
    ]
    .concat();
    let events = vec![denied_now(3), sent(1, None, by_answer("rid-1")), stopped_by_wechat()];
    spec::<Ledger>(history, settle(3, denied()), events);
}

#[test]
fn two_doubts_about_one_lot_are_two_lots_when_there_are_two() {
    let history =
        [in_doubt(), vec![not_sent(1), granted(2), reserved(2, 1), started(2, 1), doubted(2), not_sent(2)]]
            .concat();
    let lots = [(1, 2), (2, 1)].map(|(id, d)| Lot { id, doubted_by: Some(delivery(d)) });
    assert_eq!(fold(&history).lots(), lots);
}

#[test]
fn proof_that_comes_after_not_sent_corrects_it() {
    let history = [in_doubt(), vec![not_sent(1), granted(2)]].concat();
    let msgid = "1234567890123456789";
    spec::<Ledger>(history.clone(), settle(1, accepted()), vec![sent(1, Some(msgid), by_answer(msgid))]);
    let verdict = Verdict::Sent { wechat_msgid: Some("77".to_owned()) };
    let correction = sent(1, Some("77"), operator(900));
    spec::<Ledger>(history.clone(), resolve(1, verdict.clone()), vec![correction.clone()]);
    let corrected = [history, vec![correction]].concat();
    assert_eq!(fold(&corrected).lots(), [Lot { id: 2, doubted_by: None }]);
    refused::<Ledger>(corrected, resolve(1, verdict), LedgerError::NotUnderWay(delivery(1)));
}

#[test]
fn proof_that_comes_after_the_lot_was_promised_again_ends_the_promise() {
    let history =
        [in_doubt(), vec![not_sent(1), reserved(2, 1), sent(1, None, operator(950)), granted(2)]].concat();
    assert!(fold(&history).totals().balanced());
    spec::<Ledger>(history, start(2), vec![released(2, ReleaseReason::NoGrant)]);
}

#[test]
fn proof_that_comes_while_the_lot_is_in_flight_again_costs_the_next_open_lot() {
    let mut history = [in_doubt(), vec![not_sent(1), granted(2), reserved(2, 1), started(2, 1)]].concat();
    history.extend([sent(1, None, operator(950)), consumed(2)]);
    let ledger = fold(&history);
    assert_eq!((ledger.totals().consumed, ledger.balance()), (2, 0));
    let none = LedgerError::NoGrant { granted: 2, consumed: 2, reserved: 0, in_doubt: 0 };
    refused::<Ledger>(history, reserve(3), none);
}

#[test]
fn a_doubt_without_a_lot_of_its_own_is_about_another() {
    // 2 is in flight with the lot of 1 when 1 is proved sent, then 2 is in doubt itself and taken for not sent.
    let mut history = [in_doubt(), vec![not_sent(1), granted(2), reserved(2, 1), started(2, 1)]].concat();
    history.extend([sent(1, None, operator(950)), doubted(2), not_sent(2)]);
    assert_eq!(fold(&history).lots(), [Lot { id: 2, doubted_by: Some(delivery(2)) }]);
    history.extend([reserved(3, 2), started(3, 1)]);
    let events = vec![denied_now(3), sent(2, None, by_answer("rid-1")), stopped_by_wechat()];
    spec::<Ledger>(history, settle(3, denied()), events);
}
