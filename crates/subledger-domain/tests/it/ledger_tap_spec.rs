//! How a tap becomes a grant, and how two sources of one tap stay one.

use proptest::prelude::*;
use subledger_domain::ledger::*;
use subledger_domain::{Decide, Evidence, EvidenceSource, TemplateKind};

use crate::ledger_spec::{fold, granted, suspended};
use crate::support::*;

const WINDOW: u32 = 300;

fn by(source: EvidenceSource, reference: &str, seconds: i64) -> Evidence {
    Evidence::new(source, reference, at(seconds))
}

fn told_as(choice: Choice, kind: TemplateKind, taps: Taps, evidence: Evidence) -> LedgerCommand {
    let word = if choice == Choice::Accept { "accept" } else { "reject" }.to_owned();
    LedgerCommand::RecordChoice { choice, word, kind, taps, window: WINDOW, evidence }
}

fn told(taps: Taps, evidence: Evidence) -> LedgerCommand {
    told_as(Choice::Accept, TemplateKind::OneTime, taps, evidence)
}

fn grant(lot: u64, evidence: Evidence) -> LedgerEvent {
    LedgerEvent::Granted(Granted { lot, word: "accept".to_owned(), evidence })
}

fn rejected(evidence: Evidence) -> LedgerEvent {
    LedgerEvent::Rejected(Rejected { choice: Choice::Reject, evidence })
}

fn noted(choice: Choice, evidence: Evidence) -> LedgerEvent {
    let word = if choice == Choice::Accept { "accept" } else { "reject" }.to_owned();
    LedgerEvent::TapNoted(TapNoted { choice, word, evidence })
}

fn again(lot: Option<u64>, choice: Choice, tapped_at: i64, evidence: Evidence) -> LedgerEvent {
    LedgerEvent::Corroborated(Corroborated { lot, choice, tapped_at: at(tapped_at), evidence })
}

#[test]
fn a_report_and_a_push_of_one_tap_are_one_grant_whichever_comes_first() {
    let (report, pushed) = (tap(100), push(101));
    spec::<Ledger>(
        vec![grant(1, report.clone())],
        told(Taps::Both, pushed.clone()),
        vec![again(Some(1), Choice::Accept, 100, pushed.clone())],
    );
    spec::<Ledger>(
        vec![grant(1, pushed.clone())],
        told(Taps::Both, report.clone()),
        vec![again(Some(1), Choice::Accept, 101, report)],
    );
}

#[test]
fn the_back_end_speaks_for_the_mini_program() {
    let word = by(EvidenceSource::Integrator, "order-1", 100);
    let twice = vec![grant(1, tap(100))];
    spec::<Ledger>(twice, told(Taps::Both, word.clone()), vec![grant(2, word.clone())]);
    let events = vec![again(Some(1), Choice::Accept, 100, push(100))];
    spec::<Ledger>(vec![grant(1, word)], told(Taps::Both, push(100)), events);
}

#[test]
fn each_push_goes_with_one_report_and_the_next_is_a_tap_of_its_own() {
    let first = again(Some(1), Choice::Accept, 100, push(100));
    let history = vec![grant(1, tap(100)), first];
    spec::<Ledger>(history, told(Taps::Both, push(101)), vec![grant(2, push(101))]);
}

#[test]
fn several_taps_in_one_second_each_count() {
    let one = grant(1, by(EvidenceSource::ClientReport, "a", 100));
    let two = by(EvidenceSource::ClientReport, "b", 100);
    spec::<Ledger>(vec![one.clone()], told(Taps::Both, two.clone()), vec![grant(2, two.clone())]);
    let mut history = vec![one, grant(2, two)];
    for lot in [1, 2] {
        let events = vec![again(Some(lot), Choice::Accept, 100, push(100))];
        spec::<Ledger>(history.clone(), told(Taps::Both, push(100)), events.clone());
        history.extend(events);
    }
    assert_eq!(fold(&history).balance(), 2);
}

#[test]
fn the_window_is_the_channels_to_the_second() {
    let far = push(100 + i64::from(WINDOW));
    let events = vec![again(Some(1), Choice::Accept, 100, far.clone())];
    spec::<Ledger>(vec![grant(1, tap(100))], told(Taps::Both, far), events);
    for beyond in [101 + i64::from(WINDOW), 99 - i64::from(WINDOW)] {
        let events = vec![grant(2, push(beyond))];
        spec::<Ledger>(vec![grant(1, tap(100))], told(Taps::Both, push(beyond)), events);
    }
}

#[test]
fn a_push_goes_with_the_oldest_report_within_the_window() {
    // Nearest first would take lot 2 and leave the second push without a partner.
    let history = vec![grant(1, tap(100)), grant(2, tap(350))];
    let first = vec![again(Some(1), Choice::Accept, 100, push(380))];
    spec::<Ledger>(history.clone(), told(Taps::Both, push(380)), first.clone());
    let second = vec![again(Some(2), Choice::Accept, 350, push(640))];
    spec::<Ledger>([history, first].concat(), told(Taps::Both, push(640)), second);
}

#[test]
fn a_tap_that_was_not_an_accept_pairs_with_its_like_only() {
    let pushed = told_as(Choice::Reject, TemplateKind::OneTime, Taps::Both, push(100));
    let events = vec![again(None, Choice::Reject, 99, push(100))];
    spec::<Ledger>(vec![grant(1, tap(98)), rejected(tap(99))], pushed.clone(), events);
    spec::<Ledger>(vec![grant(1, tap(98))], pushed, vec![rejected(push(100))]);
    // An older reject that nobody pushed stays behind, and the newer one is the one that is told of twice.
    let history = vec![rejected(tap(100)), rejected(tap(900))];
    let events = vec![again(None, Choice::Reject, 900, push(901))];
    let ask = told_as(Choice::Reject, TemplateKind::OneTime, Taps::Both, push(901));
    spec::<Ledger>(history.clone(), ask.clone(), events.clone());
    spec::<Ledger>([history, events].concat(), ask, vec![rejected(push(901))]);
}

#[test]
fn a_long_term_consent_told_twice_is_one() {
    let consented = LedgerEvent::Consented(Consented { word: "accept".to_owned(), evidence: tap(100) });
    let ask = told_as(Choice::Accept, TemplateKind::LongTerm, Taps::Both, push(100));
    spec::<Ledger>(vec![consented], ask, vec![again(None, Choice::Accept, 100, push(100))]);
}

#[test]
fn a_source_that_the_policy_does_not_count_is_noted_or_corroborates() {
    for (taps, counted, other) in
        [(Taps::ClientOnly, tap(100), push(101)), (Taps::PushOnly, push(101), tap(100))]
    {
        spec::<Ledger>(vec![], told(taps, counted.clone()), vec![grant(1, counted.clone())]);
        spec::<Ledger>(vec![], told(taps, other.clone()), vec![noted(Choice::Accept, other.clone())]);
        let first = counted.at.micros() / 1_000_000;
        let later = again(Some(1), Choice::Accept, first, other.clone());
        spec::<Ledger>(vec![grant(1, counted.clone())], told(taps, other.clone()), vec![later.clone()]);
        // The other way round: the counted source comes second and finds the note.
        let history = vec![noted(Choice::Accept, other.clone())];
        let both = vec![grant(1, counted.clone()), later.clone()];
        spec::<Ledger>(history.clone(), told(taps, counted.clone()), both.clone());
        let one_way = fold(&[history, both].concat());
        assert_eq!(one_way, fold(&[grant(1, counted.clone()), later]), "the same state either way");
        assert_eq!(one_way.balance(), 1);
        let reject = told_as(Choice::Reject, TemplateKind::OneTime, taps, other.clone());
        spec::<Ledger>(vec![], reject, vec![noted(Choice::Reject, other)]);
    }
}

#[test]
fn a_note_is_no_grant_and_lifts_nothing() {
    let ledger = fold(&[suspended(5), noted(Choice::Accept, push(9))]);
    assert_eq!((ledger.balance(), ledger.totals().granted, ledger.last_accept_at()), (0, 0, None));
    assert!(ledger.suspension().is_some());
}

#[test]
fn a_note_from_before_a_change_of_policy_is_granted_once() {
    let history = vec![noted(Choice::Accept, push(100))];
    let both = vec![grant(1, tap(101)), again(Some(1), Choice::Accept, 101, push(100))];
    spec::<Ledger>(history.clone(), told(Taps::Both, tap(101)), both);
    // Counted by neither the old policy nor the new one.
    spec::<Ledger>(history, told(Taps::PushOnly, tap(101)), vec![noted(Choice::Accept, tap(101))]);
}

#[test]
fn the_word_of_an_operator_counts_always_and_pairs_with_nothing() {
    let history = vec![grant(1, push(100))];
    for taps in [Taps::Both, Taps::ClientOnly, Taps::PushOnly] {
        spec::<Ledger>(history.clone(), told(taps, operator(100)), vec![grant(2, operator(100))]);
    }
}

#[test]
fn the_later_of_two_times_of_one_tap_outweighs_a_refusal_in_any_order() {
    let (report, pushed) = (tap(11), push(9));
    let off = suspended(10);
    for history in [
        vec![grant(1, report.clone()), again(Some(1), Choice::Accept, 11, pushed.clone())],
        vec![grant(1, pushed.clone()), off.clone(), again(Some(1), Choice::Accept, 9, report.clone())],
        vec![off, grant(1, pushed), again(Some(1), Choice::Accept, 9, report)],
    ] {
        let ledger = fold(&history);
        assert_eq!((ledger.suspension(), ledger.last_accept_at()), (None, Some(at(11))));
    }
}

#[test]
fn only_the_newest_taps_are_remembered() {
    let mut history: Vec<_> = (1..=MAX_REMEMBERED_TAPS as u64 + 1).map(granted).collect();
    let events = vec![again(Some(2), Choice::Accept, 2, push(1))];
    spec::<Ledger>(history.clone(), told(Taps::Both, push(1)), events);
    for lot in 2..=MAX_REMEMBERED_TAPS as u64 + 1 {
        history.push(again(Some(lot), Choice::Accept, lot as i64, push(1)));
    }
    let next = MAX_REMEMBERED_TAPS as u64 + 2;
    spec::<Ledger>(history, told(Taps::Both, push(1)), vec![grant(next, push(1))]);
}

/// Taps as both sides tell of them: when, according to the report and to the push.
fn tells(taps: &[(i64, i64)]) -> Vec<Evidence> {
    let both = |(n, (report, pushed)): (usize, &(i64, i64))| {
        let name = format!("tap-{n}");
        [by(EvidenceSource::ClientReport, &name, *report), by(EvidenceSource::WechatPush, &name, *pushed)]
    };
    taps.iter().enumerate().flat_map(both).collect()
}

fn hear(taps: Taps, tells: &[Evidence]) -> Ledger {
    let mut ledger = Ledger::default();
    for evidence in tells {
        for event in ledger.decide(told(taps, evidence.clone()), at(NOW)).unwrap() {
            ledger.fold(&event);
        }
    }
    ledger
}

proptest! {
    #![proptest_config(crate::properties::cases(256))]

    #[test]
    fn reports_and_pushes_come_to_one_state_in_any_order(
        taps in prop::collection::vec((0..100i64, 0..100i64), 1..8),
        policy in prop_oneof![Just(Taps::Both), Just(Taps::ClientOnly), Just(Taps::PushOnly)],
        order in Just((0..14usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let facts = tells(&taps);
        let shuffled: Vec<_> = order.into_iter().filter_map(|n| facts.get(n).cloned()).collect();
        let ledger = hear(policy, &shuffled);
        prop_assert_eq!(ledger.balance(), taps.len() as u64, "{:?}", shuffled);
        prop_assert_eq!(ledger, hear(policy, &facts), "{:?}", shuffled);
    }
}
