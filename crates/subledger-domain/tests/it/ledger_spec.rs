//! One spec per row of the table "Rules of the ledger", and one per error.

use subledger_domain::ledger::*;
use subledger_domain::{EvidenceSource, StoredEvent, TemplateKind};

use crate::support::*;

pub fn granted(lot: u64) -> LedgerEvent {
    LedgerEvent::Granted(Granted { lot, word: "accept".to_owned(), evidence: tap(lot as i64) })
}

pub fn reserved(d: u8, lot: u64) -> LedgerEvent {
    LedgerEvent::Reserved(Reserved { delivery: delivery(d), lot, user: None })
}

pub fn started(d: u8, attempt: u16) -> LedgerEvent {
    LedgerEvent::Started(Started { delivery: delivery(d), attempt })
}

pub fn consumed(d: u8) -> LedgerEvent {
    let wechat_msgid = Some("1234567890123456789".to_owned());
    LedgerEvent::Consumed(Consumed { delivery: delivery(d), wechat_msgid })
}

pub fn released(d: u8, reason: ReleaseReason) -> LedgerEvent {
    LedgerEvent::Released(Released { delivery: delivery(d), reason })
}

pub fn doubted(d: u8) -> LedgerEvent {
    LedgerEvent::Doubted(Doubted { delivery: delivery(d), cause: DoubtCause::Timeout })
}

pub fn suspended(seconds: i64) -> LedgerEvent {
    LedgerEvent::Suspended(Suspended { evidence: operator(seconds) })
}

pub fn denied_now(d: u8) -> LedgerEvent {
    LedgerEvent::Denied(Denied { delivery: delivery(d), answer: answer(43101) })
}

/// The suspension that follows a 43101 answered at [`NOW`].
pub fn stopped_by_wechat() -> LedgerEvent {
    let evidence = subledger_domain::Evidence::new(EvidenceSource::WechatAnswer, "rid-1", at(NOW));
    LedgerEvent::Suspended(Suspended { evidence })
}

pub fn drift(d: u8, lots: Vec<u64>, last_grant_at: i64) -> LedgerEvent {
    LedgerEvent::DriftFound(DriftFound {
        delivery: delivery(d),
        lots,
        last_grant_at: Some(at(last_grant_at)),
        last_settings_at: None,
        doubts: vec![],
        answer: answer(43101),
    })
}

pub fn reserve(d: u8) -> LedgerCommand {
    LedgerCommand::Reserve {
        delivery: delivery(d),
        kind: TemplateKind::OneTime,
        unknown_balance: UnknownBalance::Refuse,
        user: None,
    }
}

pub fn reserve_or_attempt(d: u8) -> LedgerCommand {
    LedgerCommand::Reserve {
        delivery: delivery(d),
        kind: TemplateKind::OneTime,
        unknown_balance: UnknownBalance::Attempt,
        user: None,
    }
}

pub fn reserve_long_term(d: u8) -> LedgerCommand {
    LedgerCommand::Reserve {
        delivery: delivery(d),
        kind: TemplateKind::LongTerm,
        unknown_balance: UnknownBalance::Refuse,
        user: None,
    }
}

pub fn admitted(d: u8, basis: Basis) -> LedgerEvent {
    LedgerEvent::Admitted(Admitted { delivery: delivery(d), basis, user: None })
}

pub fn start(d: u8) -> LedgerCommand {
    LedgerCommand::Start { delivery: delivery(d), expires_at: at(NOW + 1) }
}

pub fn settle(d: u8, outcome: AttemptOutcome) -> LedgerCommand {
    LedgerCommand::Settle { delivery: delivery(d), attempt: 1, refused_send: RefusedSend::Release, outcome }
}

pub fn suspend(settings_off: SettingsOff, evidence: subledger_domain::Evidence) -> LedgerCommand {
    LedgerCommand::Suspend { settings_off, evidence }
}

fn postponed_outcome(max_attempts: u16) -> AttemptOutcome {
    AttemptOutcome::Postponed { answer: answer(43108), until: at(NOW + 5), max_attempts }
}

fn choose(choice: Choice, word: &str, kind: TemplateKind) -> LedgerCommand {
    LedgerCommand::RecordChoice {
        choice,
        word: word.to_owned(),
        kind,
        taps: Taps::Both,
        window: 300,
        evidence: tap(5),
    }
}

pub fn in_flight() -> Vec<LedgerEvent> {
    vec![granted(1), reserved(1, 1), started(1, 1)]
}

pub fn fold(events: &[LedgerEvent]) -> Ledger {
    let mut ledger = Ledger::default();
    events.iter().for_each(|event| cqrs_es::Aggregate::apply(&mut ledger, event.clone()));
    ledger
}

#[test]
fn every_accept_is_one_grant_with_its_evidence() {
    for word in ["accept", "acceptWithAlert", "acceptWithAudio", "acceptWithForcePush"] {
        assert_eq!(Choice::from_wechat(word), Some(Choice::Accept));
        let second = Granted { lot: 2, word: word.to_owned(), evidence: tap(5) };
        let ask = choose(Choice::Accept, word, TemplateKind::OneTime);
        spec::<Ledger>(vec![granted(1)], ask, vec![LedgerEvent::Granted(second)]);
    }
    assert_eq!(Choice::from_wechat("maybe"), None);
}

#[test]
fn a_reject_a_ban_and_a_filter_are_recorded_without_credit() {
    for (choice, word) in [(Choice::Reject, "reject"), (Choice::Ban, "ban"), (Choice::Filter, "filter")] {
        assert_eq!(Choice::from_wechat(word), Some(choice));
        let event = LedgerEvent::Rejected(Rejected { choice, evidence: tap(5) });
        spec::<Ledger>(vec![granted(1)], choose(choice, word, TemplateKind::OneTime), vec![event.clone()]);
        let ledger = fold(&[granted(1), event]);
        assert_eq!((ledger.balance(), ledger.suspension()), (1, None));
    }
}

#[test]
fn a_change_to_reject_suspends_and_keeps_the_balance() {
    let ask = suspend(SettingsOff::Keep, operator(9));
    spec::<Ledger>(vec![granted(1)], ask, vec![suspended(9)]);
    let ledger = fold(&[granted(1), suspended(9)]);
    assert_eq!((ledger.balance(), ledger.suspension().map(|s| s.since)), (1, Some(at(9))));
    refused::<Ledger>(vec![granted(1), suspended(9)], reserve(1), LedgerError::Suspended { since: at(9) });
}

#[test]
fn a_newer_accept_lifts_a_suspension_and_an_older_one_does_not() {
    assert!(fold(&[suspended(5), granted(6)]).suspension().is_none());
    assert!(fold(&[suspended(7), granted(6)]).suspension().is_some());
}

#[test]
fn a_refusal_older_than_the_newest_accept_changes_nothing() {
    spec::<Ledger>(vec![granted(9)], suspend(SettingsOff::Keep, operator(8)), vec![]);
}

#[test]
fn an_older_refusal_that_arrives_late_does_not_shorten_a_suspension() {
    assert!(fold(&[suspended(10), suspended(7), granted(8)]).suspension().is_some());
}

#[test]
fn an_import_is_no_accept_and_lifts_no_suspension() {
    let opened = LedgerEvent::Opened(Opened { first_lot: 1, count: 2, evidence: operator(50) });
    assert!(fold(&[suspended(7), opened.clone()]).suspension().is_some());
    spec::<Ledger>(vec![opened], suspend(SettingsOff::Keep, operator(40)), vec![suspended(40)]);
}

#[test]
fn a_send_reserves_the_oldest_grant() {
    spec::<Ledger>(vec![granted(1), granted(2)], reserve(1), vec![reserved(1, 1)]);
    let back = [granted(1), granted(2), reserved(1, 1), released(1, ReleaseReason::Retracted)];
    spec::<Ledger>(back.to_vec(), reserve(2), vec![reserved(2, 1)]);
}

#[test]
fn errcode_0_consumes() {
    spec::<Ledger>(in_flight(), settle(1, accepted()), vec![consumed(1)]);
    let mut history = in_flight();
    history.push(consumed(1));
    let totals = fold(&history).totals();
    assert_eq!((totals.granted, totals.consumed, totals.open, totals.balanced()), (1, 1, 0, true));
}

#[test]
fn a_definite_refusal_releases() {
    for code in [40003, 40037, 47003, 45168] {
        let outcome = AttemptOutcome::Refused { answer: answer(code) };
        let reason = ReleaseReason::Refused { answer: answer(code) };
        spec::<Ledger>(in_flight(), settle(1, outcome), vec![released(1, reason.clone())]);
        let mut history = in_flight();
        history.push(released(1, reason));
        assert_eq!(fold(&history).balance(), 1);
    }
}

#[test]
fn a_43101_zeroes_the_balance_by_drift_and_suspends() {
    let mut history = vec![granted(1), granted(2), reserved(1, 1), granted(3), reserved(2, 2), started(1, 1)];
    let events = vec![drift(1, vec![1, 2, 3], 3), denied_now(1), stopped_by_wechat()];
    spec::<Ledger>(history.clone(), settle(1, denied()), events.clone());
    history.extend(events);
    let ledger = fold(&history);
    let totals = ledger.totals();
    assert_eq!((totals.voided, totals.consumed, totals.open, totals.reserved), (3, 0, 0, 0));
    assert!(totals.balanced());
    // The one that waited with a void grant ends when its turn comes, also after a newer accept.
    spec::<Ledger>(history.clone(), start(2), vec![released(2, ReleaseReason::NoGrant)]);
    history.push(granted(1_001));
    spec::<Ledger>(history, start(2), vec![released(2, ReleaseReason::NoGrant)]);
}

#[test]
fn a_43101_with_nothing_on_the_books_is_no_drift() {
    let history = vec![admitted(1, Basis::UnknownBalance), started(1, 1)];
    spec::<Ledger>(history, settle(1, denied()), vec![denied_now(1), stopped_by_wechat()]);
}

#[test]
fn a_grant_tapped_while_the_call_was_in_flight_survives_its_43101() {
    let mut history = in_flight();
    let tapped = Granted { lot: 2, word: "accept".to_owned(), evidence: tap(900) };
    history.push(LedgerEvent::Granted(tapped));
    let events = vec![drift(1, vec![1], 900), denied_now(1)];
    spec::<Ledger>(history.clone(), settle(1, denied()), events.clone());
    history.extend(events);
    spec::<Ledger>(history, reserve(2), vec![reserved(2, 2)]);
}

#[test]
fn an_old_tap_reported_while_the_call_was_in_flight_does_not_survive() {
    let late_report = Granted { lot: 3, word: "accept".to_owned(), evidence: tap(1) };
    let history =
        vec![granted(1), granted(2), reserved(1, 1), started(1, 1), LedgerEvent::Granted(late_report)];
    let events = vec![drift(1, vec![1, 2, 3], 2), denied_now(1), stopped_by_wechat()];
    spec::<Ledger>(history, settle(1, denied()), events);
}

#[test]
fn try_again_keeps_the_reservation() {
    let postponed = Postponed { delivery: delivery(1), until: at(NOW + 5), answer: answer(43108) };
    spec::<Ledger>(
        in_flight(),
        settle(1, postponed_outcome(2)),
        vec![LedgerEvent::Postponed(postponed.clone())],
    );
    let mut history = in_flight();
    history.push(LedgerEvent::Postponed(postponed));
    assert_eq!(fold(&history).totals().reserved, 1);
    spec::<Ledger>(history, start(1), vec![started(1, 2)]);
}

#[test]
fn retries_end_at_the_channels_limit_and_at_ours() {
    let exhausted = || vec![released(1, ReleaseReason::RetriesExhausted { answer: answer(43108) })];
    spec::<Ledger>(in_flight(), settle(1, postponed_outcome(1)), exhausted());
    spec::<Ledger>(in_flight(), settle(1, postponed_outcome(0)), exhausted());
    let at_the_limit = vec![granted(1), reserved(1, 1), started(1, MAX_ATTEMPTS)];
    let last = LedgerCommand::Settle {
        delivery: delivery(1),
        attempt: MAX_ATTEMPTS,
        refused_send: RefusedSend::Release,
        outcome: postponed_outcome(u16::MAX),
    };
    spec::<Ledger>(at_the_limit, last, exhausted());
}

#[test]
fn a_long_term_template_has_no_balance_and_no_reservation() {
    let consented = LedgerEvent::Consented(Consented { word: "accept".to_owned(), evidence: tap(5) });
    let ask = choose(Choice::Accept, "accept", TemplateKind::LongTerm);
    spec::<Ledger>(vec![], ask, vec![consented.clone()]);
    let mut history = vec![consented];
    for d in 1..4 {
        spec::<Ledger>(history.clone(), reserve_long_term(d), vec![admitted(d, Basis::LongTerm)]);
        history.extend([admitted(d, Basis::LongTerm), started(d, 1), consumed(d)]);
    }
    assert_eq!(fold(&history).totals(), Totals::default());
}

#[test]
fn a_long_term_template_needs_consent_and_stops_at_43101() {
    let nothing = LedgerError::NoGrant { granted: 0, consumed: 0, reserved: 0, in_doubt: 0 };
    refused::<Ledger>(vec![], reserve_long_term(1), nothing);
    let consented = LedgerEvent::Consented(Consented { word: "accept".to_owned(), evidence: tap(5) });
    let history = vec![consented, admitted(1, Basis::LongTerm), started(1, 1)];
    spec::<Ledger>(history, settle(1, denied()), vec![denied_now(1), stopped_by_wechat()]);
}

#[test]
fn an_unknown_balance_is_refused_or_attempted_once_at_a_time_until_it_is_known() {
    let nothing = LedgerError::NoGrant { granted: 0, consumed: 0, reserved: 0, in_doubt: 0 };
    let attempt = admitted(1, Basis::UnknownBalance);
    refused::<Ledger>(vec![], reserve(1), nothing.clone());
    spec::<Ledger>(vec![], reserve_or_attempt(1), vec![attempt.clone()]);
    refused::<Ledger>(vec![attempt.clone()], reserve_or_attempt(2), nothing.clone());
    let again = vec![attempt.clone(), started(1, 1), consumed(1)];
    spec::<Ledger>(again, reserve_or_attempt(2), vec![admitted(2, Basis::UnknownBalance)]);

    // WeChat said zero and the user tapped since: from then on every grant is counted.
    let mut known = vec![attempt, started(1, 1), denied_now(1), suspended(900)];
    known.push(LedgerEvent::Granted(Granted { lot: 1, word: "accept".to_owned(), evidence: tap(901) }));
    spec::<Ledger>(known.clone(), reserve_or_attempt(2), vec![reserved(2, 1)]);
    known.push(reserved(2, 1));
    let one_reserved = LedgerError::NoGrant { granted: 1, consumed: 0, reserved: 1, in_doubt: 0 };
    refused::<Ledger>(known, reserve_or_attempt(3), one_reserved);
}

#[test]
fn an_imported_balance_is_known() {
    let opened = LedgerEvent::Opened(Opened { first_lot: 1, count: 1, evidence: operator(3) });
    let ask = LedgerCommand::RecordOpeningBalance { count: 1, evidence: operator(3) };
    spec::<Ledger>(vec![], ask, vec![opened.clone()]);
    let spent = vec![opened, reserved(1, 1), started(1, 1), consumed(1)];
    let error = LedgerError::NoGrant { granted: 1, consumed: 1, reserved: 0, in_doubt: 0 };
    refused::<Ledger>(spent, reserve_or_attempt(2), error);
}

#[test]
fn a_delivery_whose_time_is_over_ends_instead_of_starting() {
    let late = LedgerCommand::Start { delivery: delivery(1), expires_at: at(NOW) };
    spec::<Ledger>(vec![granted(1), reserved(1, 1)], late, vec![released(1, ReleaseReason::Expired)]);
}

#[test]
fn a_delivery_that_waited_into_a_suspension_ends_and_gives_its_grant_back() {
    let mut history = vec![granted(1), reserved(1, 1), suspended(9)];
    spec::<Ledger>(history.clone(), start(1), vec![released(1, ReleaseReason::Suspended)]);
    history.push(released(1, ReleaseReason::Suspended));
    assert_eq!(fold(&history).balance(), 1);
}

#[test]
fn what_waits_can_be_taken_out() {
    let waiting = vec![granted(1), reserved(1, 1)];
    for (request, reason) in [
        (ReleaseRequest::Retract, ReleaseReason::Retracted),
        (ReleaseRequest::Expire, ReleaseReason::Expired),
    ] {
        let ask = LedgerCommand::Release { delivery: delivery(1), request };
        spec::<Ledger>(waiting.clone(), ask, vec![released(1, reason)]);
    }
}

#[test]
fn every_error_and_its_word() {
    let release = |d| LedgerCommand::Release { delivery: delivery(d), request: ReleaseRequest::Retract };
    let resolve = |d| LedgerCommand::Resolve {
        delivery: delivery(d),
        verdict: Verdict::NotSent,
        evidence: operator(1),
    };
    let open = |count| LedgerCommand::RecordOpeningBalance { count, evidence: operator(1) };
    let adjust = |by| LedgerCommand::Adjust { by, evidence: operator(1) };
    let blank = subledger_domain::Evidence { reason: Some(" ".to_owned()), ..operator(1) };
    let unexplained = LedgerCommand::Adjust { by: 1, evidence: blank };
    let waiting = || vec![granted(1), reserved(1, 1)];
    let ended = || [in_flight(), vec![consumed(1), granted(2)]].concat();
    let full = || {
        let count = MAX_OPEN_LOTS as u32;
        vec![LedgerEvent::Opened(Opened { first_lot: 1, count, evidence: operator(1) }), reserved(1, 1)]
    };
    let too_many = LedgerError::TooManyLots { limit: MAX_OPEN_LOTS };
    let busy = || [in_flight(), vec![granted(2), reserved(2, 2)]].concat();
    let doubt = || [busy(), vec![doubted(1)]].concat();
    let stale = LedgerError::StaleAttempt { delivery: delivery(1), attempt: 1 };
    let second = || {
        let postponed = Postponed { delivery: delivery(1), until: at(NOW), answer: answer(43108) };
        [in_flight(), vec![LedgerEvent::Postponed(postponed), started(1, 2)]].concat()
    };
    let accept = choose(Choice::Accept, "accept", TemplateKind::OneTime);
    let none_left = LedgerError::NoGrant { granted: 1, consumed: 0, reserved: 1, in_doubt: 0 };
    let cases = [
        (waiting(), reserve(2), none_left, "no_grant"),
        (vec![granted(1), suspended(2)], reserve(1), LedgerError::Suspended { since: at(2) }, "suspended"),
        (full(), accept, too_many.clone(), "too_many_grants"),
        (vec![], open(u32::MAX), too_many, "too_many_grants"),
        (waiting(), reserve(1), LedgerError::AlreadyReserved(delivery(1)), "already_reserved"),
        (ended(), reserve(1), LedgerError::AlreadyEnded(delivery(1)), "already_ended"),
        (ended(), start(1), LedgerError::NotUnderWay(delivery(1)), "not_under_way"),
        (ended(), settle(1, accepted()), LedgerError::NotUnderWay(delivery(1)), "not_under_way"),
        (ended(), release(1), LedgerError::NotUnderWay(delivery(1)), "not_under_way"),
        (ended(), resolve(1), LedgerError::NotUnderWay(delivery(1)), "not_under_way"),
        (in_flight(), start(1), LedgerError::AlreadyStarted(delivery(1)), "already_started"),
        (in_flight(), release(1), LedgerError::AlreadyStarted(delivery(1)), "already_started"),
        (waiting(), settle(1, accepted()), LedgerError::NotStarted(delivery(1)), "not_started"),
        (second(), settle(1, postponed_outcome(5)), stale, "stale_attempt"),
        (in_flight(), resolve(1), LedgerError::NotInDoubt(delivery(1)), "not_in_doubt"),
        (busy(), start(2), LedgerError::Busy(delivery(1)), "unresolved_attempt"),
        (doubt(), start(2), LedgerError::Busy(delivery(1)), "unresolved_attempt"),
        (vec![], open(0), LedgerError::EmptyOpening, "empty_opening"),
        (vec![], adjust(0), LedgerError::EmptyAdjustment, "empty_adjustment"),
        (vec![], adjust(i64::MAX), LedgerError::TooManyLots { limit: MAX_OPEN_LOTS }, "too_many_grants"),
        (full(), adjust(1), LedgerError::TooManyLots { limit: MAX_OPEN_LOTS }, "too_many_grants"),
        (waiting(), adjust(-1), LedgerError::NotEnoughOpen { open: 0, asked: 1 }, "not_enough_open"),
        (vec![], adjust(i64::MIN), LedgerError::NotEnoughOpen { open: 0, asked: 1 << 63 }, "not_enough_open"),
        (vec![], unexplained, LedgerError::NoReason, "no_reason"),
    ];
    for (history, ask, error, word) in cases {
        assert_eq!(error.code(), word);
        refused::<Ledger>(history, ask, error);
    }
}

#[test]
fn a_ledger_remembers_the_deliveries_that_ended_last() {
    let mut history = vec![];
    for d in 1..=20 {
        history.extend([granted(u64::from(d)), reserved(d, u64::from(d)), started(d, 1), consumed(d)]);
    }
    history.push(granted(21));
    for d in 5..=20 {
        refused::<Ledger>(history.clone(), reserve(d), LedgerError::AlreadyEnded(delivery(d)));
    }
    let stored = serde_json::to_vec(&fold(&history)).unwrap();
    assert!(stored.len() < 6_000, "the memory is bounded: {} bytes", stored.len());
}

#[test]
fn events_are_named_and_numbered_by_their_kind() {
    assert_eq!(granted(1).kind().name, "ledger.granted");
    assert_eq!(cqrs_es::DomainEvent::event_type(&granted(1)), "ledger.granted");
    assert_eq!(cqrs_es::DomainEvent::event_version(&granted(1)), "1");
    let unknown = LedgerEvent::decode(9_999, 1, b"{}").unwrap_err();
    assert!(matches!(unknown, subledger_domain::DecodeError::UnknownKind { number: 9_999, .. }));
    let newer = LedgerEvent::decode(30, 2, b"{}").unwrap_err();
    assert!(matches!(newer, subledger_domain::DecodeError::NewerSchema { found: 2, newest: 1, .. }));
    let torn = LedgerEvent::decode(30, 1, b"{\"lot\":").unwrap_err();
    assert!(matches!(torn, subledger_domain::DecodeError::Payload { kind: "ledger.granted", .. }));
}
