//! WeChat's sent event: which delivery it is about, whenever it comes.

use proptest::prelude::*;
use subledger_domain::ledger::*;
use subledger_domain::{Decide, Evidence, EvidenceSource, Timestamp};

use crate::ledger_spec::{consumed, doubted, fold, granted, in_flight, released, reserved, settle, started};
use crate::support::*;

const MSGID: &str = "1234567890123456789";

fn sent_event(msgid: Option<&str>, code: i64) -> LedgerCommand {
    LedgerCommand::RecordSent {
        wechat_msgid: msgid.map(str::to_owned),
        code,
        status: if code == 0 { "success" } else { "system failed" }.to_owned(),
        began: None,
        evidence: push(950),
    }
}

fn confirmed(d: u8, msgid: Option<&str>) -> LedgerEvent {
    let wechat_msgid = msgid.map(str::to_owned);
    LedgerEvent::Confirmed(Confirmed { delivery: delivery(d), wechat_msgid, evidence: push(950) })
}

fn undelivered(d: u8, msgid: Option<&str>) -> LedgerEvent {
    LedgerEvent::Undelivered(Undelivered {
        delivery: delivery(d),
        wechat_msgid: msgid.map(str::to_owned),
        code: 5,
        status: "system failed".to_owned(),
        evidence: push(950),
    })
}

fn stranger(msgid: Option<&str>, code: i64) -> LedgerEvent {
    let wechat_msgid = msgid.map(str::to_owned);
    LedgerEvent::StrangerReported(StrangerReported { wechat_msgid, code, evidence: push(950) })
}

fn late(d: u8, outcome: LateOutcome, evidence: Evidence) -> LedgerEvent {
    LedgerEvent::SettledLate(SettledLate { delivery: delivery(d), outcome, evidence })
}

fn sent_late(d: u8, msgid: Option<&str>) -> LedgerEvent {
    late(d, LateOutcome::Sent { wechat_msgid: msgid.map(str::to_owned) }, push(950))
}

fn done() -> Vec<LedgerEvent> {
    [in_flight(), vec![consumed(1)]].concat()
}

fn unnamed(d: u8) -> LedgerEvent {
    LedgerEvent::Consumed(Consumed { delivery: delivery(d), wechat_msgid: None })
}

#[test]
fn a_sent_event_finds_its_send_by_msgid_and_counts_once() {
    spec::<Ledger>(done(), sent_event(Some(MSGID), 0), vec![confirmed(1, Some(MSGID))]);
    let twice = [done(), vec![confirmed(1, Some(MSGID))]].concat();
    spec::<Ledger>(twice.clone(), sent_event(Some(MSGID), 0), vec![]);
    assert_eq!(fold(&twice).totals(), fold(&done()).totals());
}

#[test]
fn a_failure_after_the_accept_leaves_the_grant_spent() {
    spec::<Ledger>(done(), sent_event(Some(MSGID), 5), vec![undelivered(1, Some(MSGID))]);
    let failed = [done(), vec![undelivered(1, Some(MSGID))]].concat();
    spec::<Ledger>(failed.clone(), sent_event(Some(MSGID), 5), vec![]);
    assert_eq!(fold(&failed).totals().consumed, 1);
    spec::<Ledger>(failed, sent_event(Some(MSGID), 0), vec![confirmed(1, Some(MSGID))]);
}

#[test]
fn a_status_is_cut_to_what_a_status_may_be() {
    let mut ask = sent_event(Some(MSGID), 5);
    let LedgerCommand::RecordSent { status, .. } = &mut ask else { unreachable!() };
    *status = format!("user block:a_b-c.1\u{202e}<>\"{}", "x".repeat(100));
    let Ok(events) = decide::<Ledger>(done(), ask) else { panic!("refused") };
    let [LedgerEvent::Undelivered(found)] = events.as_slice() else { panic!("{events:?}") };
    assert!(found.status.starts_with("user block:a_b-c.1xx"), "{}", found.status);
    assert_eq!(found.status.len(), MAX_STATUS_CHARS);
}

#[test]
fn a_sent_event_settles_a_doubt() {
    let in_doubt = [in_flight(), vec![doubted(1)]].concat();
    for (code, about) in [(0, confirmed(1, Some(MSGID))), (5, undelivered(1, Some(MSGID)))] {
        let events = vec![sent_late(1, Some(MSGID)), about];
        spec::<Ledger>(in_doubt.clone(), sent_event(Some(MSGID), code), events);
    }
    spec::<Ledger>(in_doubt, sent_event(None, 0), vec![sent_late(1, None), confirmed(1, None)]);
}

#[test]
fn a_sent_event_may_be_quicker_than_the_answer() {
    spec::<Ledger>(in_flight(), sent_event(Some(MSGID), 0), vec![confirmed(1, Some(MSGID))]);
    let early = [in_flight(), vec![confirmed(1, Some(MSGID))]].concat();
    spec::<Ledger>(early.clone(), sent_event(Some(MSGID), 0), vec![]);
    spec::<Ledger>(early.clone(), settle(1, accepted()), vec![consumed(1)]);
    // The answer is lost: nothing stays in doubt.
    let events = vec![doubted(1), sent_late(1, Some(MSGID))];
    spec::<Ledger>(early, settle(1, unknown()), events);
}

#[test]
fn an_answer_outweighs_an_early_sent_event_which_was_then_a_strangers() {
    let early = [in_flight(), vec![confirmed(1, Some("77"))]].concat();
    spec::<Ledger>(early.clone(), settle(1, accepted()), vec![consumed(1), stranger(Some("77"), 0)]);
    let refused = AttemptOutcome::Refused { answer: answer(47003) };
    let reason = ReleaseReason::Refused { answer: answer(47003) };
    spec::<Ledger>(early.clone(), settle(1, refused), vec![released(1, reason), stranger(Some("77"), 0)]);
    let postponed = Postponed { delivery: delivery(1), until: at(NOW), answer: answer(-1) };
    let again = AttemptOutcome::Postponed { answer: answer(-1), until: at(NOW), max_attempts: 9 };
    let postponed = LedgerEvent::Postponed(postponed);
    spec::<Ledger>(early.clone(), settle(1, again), vec![postponed.clone(), stranger(Some("77"), 0)]);
    // It is known as a stranger's from then on, also to the next attempt.
    let next = [early, vec![postponed, stranger(Some("77"), 0), started(1, 2)]].concat();
    spec::<Ledger>(next, sent_event(Some("77"), 0), vec![]);
}

#[test]
fn an_early_sent_event_of_another_delivery_finds_it_after_the_answer() {
    let not_sent = late(1, LateOutcome::NotSent, operator(900));
    let mut history = [in_flight(), vec![doubted(1), not_sent, granted(2)]].concat();
    history.extend([reserved(2, 1), started(2, 1), confirmed(2, Some("77"))]);
    let events = vec![consumed(2), sent_late(1, Some("77")), confirmed(1, Some("77"))];
    spec::<Ledger>(history.clone(), settle(2, accepted()), events.clone());
    let totals = fold(&[history, events].concat()).totals();
    assert_eq!((totals.consumed, totals.open, totals.balanced()), (2, 0, true));
}

#[test]
fn a_message_that_is_counted_for_another_delivery_spends_no_second_grant() {
    // 1 was sent and given up as not sent; its event came while 2 was in flight, and the answer to 2 was lost.
    let not_sent = late(1, LateOutcome::NotSent, operator(900));
    let mut history =
        [in_flight(), vec![doubted(1), not_sent, reserved(2, 1), started(2, 1), granted(2)]].concat();
    history.extend([confirmed(2, Some(MSGID)), doubted(2), sent_late(2, Some(MSGID))]);
    assert_eq!(fold(&history).lots(), [Lot { id: 2, doubted_by: Some(delivery(1)) }]);
    spec::<Ledger>(history.clone(), settle(1, accepted()), vec![]);
    let verdict = Verdict::Sent { wechat_msgid: Some(MSGID.to_owned()) };
    let ask = LedgerCommand::Resolve { delivery: delivery(1), verdict, evidence: operator(990) };
    spec::<Ledger>(history, ask, vec![]);
}

#[test]
fn an_answer_claims_the_event_that_was_taken_for_the_attempt_under_way() {
    let not_sent = late(1, LateOutcome::NotSent, operator(900));
    let mut history =
        [in_flight(), vec![doubted(1), not_sent, reserved(2, 1), started(2, 1), granted(2)]].concat();
    history.push(confirmed(2, Some(MSGID)));
    let answer = Evidence::new(EvidenceSource::WechatAnswer, MSGID, at(NOW));
    let sent = late(1, LateOutcome::Sent { wechat_msgid: Some(MSGID.to_owned()) }, answer);
    let events = vec![sent, confirmed(1, Some(MSGID))];
    spec::<Ledger>(history.clone(), settle(1, accepted()), events.clone());
    // So a lost answer to 2 is a doubt, and no proof.
    spec::<Ledger>([history, events].concat(), settle(2, unknown()), vec![doubted(2)]);
}

#[test]
fn an_event_older_than_the_attempt_is_about_another() {
    let ask = |began: i64| LedgerCommand::RecordSent {
        wechat_msgid: Some(MSGID.to_owned()),
        code: 0,
        status: "success".to_owned(),
        began: Some((delivery(1), at(began))),
        evidence: push(950),
    };
    spec::<Ledger>(in_flight(), ask(951), vec![confirmed(1, Some(MSGID))]);
    spec::<Ledger>(in_flight(), ask(952), vec![stranger(Some(MSGID), 0)]);
}

#[test]
fn a_send_without_a_msgid_takes_the_first_event_that_nothing_else_explains() {
    let mut history = [in_flight(), vec![unnamed(1), granted(2), reserved(2, 2), started(2, 1)]].concat();
    history.push(unnamed(2));
    spec::<Ledger>(history.clone(), sent_event(Some("77"), 0), vec![confirmed(1, Some("77"))]);
    history.push(confirmed(1, Some("77")));
    spec::<Ledger>(history.clone(), sent_event(Some("77"), 0), vec![]);
    spec::<Ledger>(history.clone(), sent_event(Some("78"), 0), vec![confirmed(2, Some("78"))]);
    history.push(confirmed(2, Some("78")));
    spec::<Ledger>(history, sent_event(Some("79"), 0), vec![stranger(Some("79"), 0)]);
}

#[test]
fn a_doubt_that_was_assumed_sent_is_confirmed_later() {
    let by_policy = Evidence::new(EvidenceSource::Policy, "doubt_deadline", at(940));
    let assumed = late(1, LateOutcome::Sent { wechat_msgid: None }, by_policy);
    let history = [in_flight(), vec![doubted(1), assumed]].concat();
    spec::<Ledger>(history, sent_event(Some(MSGID), 0), vec![confirmed(1, Some(MSGID))]);
}

#[test]
fn a_doubt_that_was_settled_as_not_sent_is_corrected_oldest_first() {
    let not_sent = |d| late(d, LateOutcome::NotSent, operator(900));
    let mut history = [in_flight(), vec![doubted(1), not_sent(1), granted(2)]].concat();
    history.extend([reserved(2, 1), started(2, 1), doubted(2), not_sent(2)]);
    // The lot of 2 is the older one: the doubt about 1 went to lot 2.
    let events = vec![sent_late(2, Some("77")), confirmed(2, Some("77"))];
    spec::<Ledger>(history.clone(), sent_event(Some("77"), 0), events.clone());
    history.extend(events);
    let events = vec![sent_late(1, Some("78")), undelivered(1, Some("78"))];
    spec::<Ledger>(history.clone(), sent_event(Some("78"), 5), events.clone());
    history.extend(events);
    assert_eq!(fold(&history).totals().consumed, 2);
}

#[test]
fn a_strangers_event_changes_no_number_and_is_known_again() {
    spec::<Ledger>(vec![granted(1)], sent_event(Some("77"), 5), vec![stranger(Some("77"), 5)]);
    let history = vec![granted(1), stranger(Some("77"), 0)];
    spec::<Ledger>(history.clone(), sent_event(Some("77"), 0), vec![]);
    assert_eq!(fold(&history).totals(), fold(&[granted(1)]).totals());
}

#[test]
fn strangers_do_not_drive_our_own_sends_out_of_memory() {
    let mut history = done();
    for n in 0..100 {
        history.push(stranger(Some(&n.to_string()), 0));
    }
    spec::<Ledger>(history.clone(), sent_event(Some(MSGID), 0), vec![confirmed(1, Some(MSGID))]);
    spec::<Ledger>(history, sent_event(Some("0"), 0), vec![stranger(Some("0"), 0)]);
}

/// What may come of one send, in any order and the push more than once.
#[derive(Debug, Clone)]
enum Come {
    Answer(AttemptOutcome),
    Push(Option<&'static str>, i64),
}

fn come(start: &Ledger, facts: &[Come]) -> Ledger {
    let mut ledger = start.clone();
    for fact in facts {
        let ask = match fact {
            Come::Answer(outcome) => settle(1, outcome.clone()),
            Come::Push(msgid, code) => sent_event(*msgid, *code),
        };
        let Ok(events) = ledger.decide(ask, at(NOW)) else { continue };
        for event in events {
            ledger.fold(&event);
            assert!(ledger.totals().balanced(), "{facts:?}");
        }
    }
    ledger
}

/// The evidence of what settled a doubt differs with the order; where everything is does not.
fn state(ledger: &Ledger) -> serde_json::Value {
    serde_json::to_value(ledger).unwrap()
}

fn outcome() -> impl Strategy<Value = AttemptOutcome> {
    prop_oneof![
        Just(accepted()),
        Just(AttemptOutcome::Accepted { wechat_msgid: None }),
        Just(AttemptOutcome::Accepted { wechat_msgid: Some("77".to_owned()) }),
        Just(unknown()),
        Just(denied()),
        Just(AttemptOutcome::Refused { answer: answer(47003) }),
        Just(AttemptOutcome::Postponed { answer: answer(-1), until: Timestamp::default(), max_attempts: 9 }),
    ]
}

proptest! {
    #![proptest_config(crate::properties::cases(512))]

    #[test]
    fn answer_and_sent_events_come_to_one_state_in_any_order(
        outcome in outcome(),
        code in prop_oneof![3 => Just(0i64), 1 => Just(5i64)],
        copies in 1..4usize,
        grants in 1..4u64,
        order in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let mut history: Vec<_> = (1..=grants).map(granted).collect();
        history.extend([reserved(1, 1), started(1, 1)]);
        let start = fold(&history);
        let mut facts = vec![Come::Answer(outcome)];
        facts.extend(std::iter::repeat_n(Come::Push(Some(MSGID), code), copies));
        let shuffled: Vec<_> = order.into_iter().filter_map(|n| facts.get(n).cloned()).collect();
        prop_assert_eq!(state(&come(&start, &facts)), state(&come(&start, &shuffled)), "{:?}", shuffled);
    }
}
