//! Drift and doubts against random histories: one row for each that the raw events tell of, with the cause and the end that
//! follow from what came before, worked out a second time here.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use subledger_store::Recorded;

use super::{
    memory::Memory,
    reports::{a_late_answer, a_wrong_verdict, stretched, sums},
    world::{Request, World, requests, tapped},
};
use crate::{
    DoubtEnd, DoubtOutcome, DoubtRow, DriftCause, DriftRow, Measure, ProjectionName, doubt_cause_word,
};

fn count(rows: &mut Memory, events: &[Recorded]) {
    rows.apply(ProjectionName::Ledgers, events).unwrap();
    rows.apply(ProjectionName::Messages, events).unwrap();
}

/// A doubt as told by raw events: cause, when it began and ended, by what, with which outcome, and what corrected it when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Doubt {
    cause: String,
    began: (i64, u64),
    ended: Option<(i64, String, String)>,
    corrected: Option<(i64, String)>,
}

/// Drift as told by raw events: when, void grants, explained doubts, cause.
type Drift = (i64, usize, usize, &'static str);

/// What is known of a ledger, told by the raw bytes of its events.
#[derive(Default)]
struct Known {
    granted: u64,
    untapped: BTreeSet<u64>,
    stranger_at: u64,
}

impl Known {
    fn untap(&mut self, first: &Value, count: &Value) {
        let (first, count) = (first.as_u64().unwrap(), count.as_u64().unwrap());
        self.untapped.extend(first..first + count);
        self.granted += count;
    }

    fn cause(&self, at: i64, data: &Value) -> &'static str {
        let time = |name: &str| data[name].as_i64();
        let lots: Vec<u64> =
            data["lots"].as_array().unwrap().iter().map(|lot| lot.as_u64().unwrap()).collect();
        if time("last_settings_at").is_some() && time("last_settings_at") >= time("last_grant_at") {
            "settings_changed"
        } else if lots.iter().min() <= Some(&self.stranger_at) {
            "stranger"
        } else if lots.iter().any(|lot| self.untapped.contains(lot)) {
            "not_tapped"
        } else if data["doubts"].is_array() {
            "wrong_verdict"
        } else if at - time("last_grant_at").unwrap() >= 90 * 24 * 3_600 * 1_000_000 {
            "old_grant"
        } else {
            "unexplained"
        }
    }
}

/// Whose word an event was.
fn word_of(event: u16, data: &Value) -> String {
    if event != 42 {
        return "late_answer".to_owned();
    }
    let evidence = &data["evidence"];
    let word = match evidence["source"].as_str().unwrap() {
        "wechat_push" => "sent_event",
        "policy" => "deadline",
        "wechat_answer" if data["wechat_msgid"].is_null() && evidence["ref"] != "" => "no_permission",
        "wechat_answer" => "late_answer",
        _ => "by_hand",
    };
    word.to_owned()
}

fn told_by_raw_events(log: &[Recorded]) -> (BTreeMap<u64, Drift>, BTreeMap<(String, u64), Doubt>) {
    let (mut drifts, mut doubts) = (BTreeMap::new(), BTreeMap::new());
    let mut ledgers: BTreeMap<String, Known> = BTreeMap::new();
    let mut attempts: BTreeMap<String, u64> = BTreeMap::new();
    let mut in_doubt = BTreeSet::new();
    for event in log.iter().filter(|event| event.stream.aggregate_type() == "ledger") {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (at, delivery) = (event.recorded_at.micros(), text(&data["delivery"]));
        let known = ledgers.entry(event.stream.id().to_owned()).or_default();
        match event.kind {
            30 => known.granted += 1,
            31 => known.untap(&data["first_lot"], &data["count"]),
            37 => drop(attempts.insert(delivery.clone(), data["attempt"].as_u64().unwrap())),
            44 => {
                let lots = data["lots"].as_array().unwrap().len();
                let explained = data["doubts"].as_array().map_or(0, Vec::len);
                drifts.insert(event.position.0, (at, lots, explained, known.cause(at, &data)));
            }
            49 => known.stranger_at = known.granted,
            80 if data["added"].is_object() => {
                known.untap(&data["added"]["first_lot"], &data["added"]["count"])
            }
            _ => {}
        }
        let key = (delivery.clone(), attempts.get(&delivery).copied().unwrap_or_default());
        if event.kind == 41 {
            in_doubt.insert(delivery);
            let (cause, began) = (text(&data["cause"]), (at, event.position.0));
            doubts.insert(key, Doubt { cause, began, ended: None, corrected: None });
            continue;
        }
        let outcome = match event.kind {
            38 => "postponed".to_owned(),
            39 => "sent".to_owned(),
            40 if data["why"] == "retries_exhausted" => "failed".to_owned(),
            40 | 43 | 82 => "refused".to_owned(),
            42 => text(&data["outcome"]),
            _ => continue,
        };
        let by = word_of(event.kind, &data);
        if in_doubt.remove(&delivery) {
            doubts.get_mut(&key).unwrap().ended = Some((at, by, outcome));
        } else if event.kind == 42 {
            doubts.get_mut(&key).unwrap().corrected = Some((at, by));
        }
    }
    (drifts, doubts)
}

fn shown(rows: &Memory) -> (BTreeMap<u64, Drift>, BTreeMap<(String, u64), Doubt>) {
    let drift = |row: DriftRow| {
        let (grants, explained) = (row.grants as usize, row.explained as usize);
        (row.position.0, (row.found_at.micros(), grants, explained, row.cause.as_str()))
    };
    let doubt = |row: DoubtRow| {
        let delivery = subledger_domain::DeliveryId::new(row.message, row.index).to_string();
        let ended = row.ended_at.map(|at| {
            (at.micros(), row.ended.unwrap().as_str().to_owned(), row.outcome.unwrap().as_str().to_owned())
        });
        let corrected = row.corrected_at.map(|at| (at.micros(), row.corrected.unwrap().as_str().to_owned()));
        let began = (row.began_at.micros(), row.position.0);
        let cause = doubt_cause_word(row.cause).to_owned();
        ((delivery, u64::from(row.attempt)), Doubt { cause, began, ended, corrected })
    };
    (rows.all().into_iter().map(drift).collect(), rows.all().into_iter().map(doubt).collect())
}

fn send() -> Request {
    Request::Send { template: false, recipients: vec![Some(0)], planned: 1, attempt: false }
}

fn start() -> Request {
    Request::Start { delivery: 0, expired: false }
}

fn settle(outcome: u8) -> Request {
    Request::Settle { delivery: 0, outcome, consume: false }
}

/// Two taps are on the books and WeChat says that nothing is left.
fn denied_after(between: Vec<Request>) -> Vec<Request> {
    [vec![tapped(), tapped()], between, vec![send(), start(), settle(2)]].concat()
}

/// Histories that random ones come to too rarely.
fn scripted(number: usize) -> Vec<Request> {
    let off = Request::Suspend { subject: 0, template: false, push: true, clear: false, ago: 0 };
    let sent = |named| Request::Sent { delivery: 0, named, good: true };
    match number {
        0 => a_wrong_verdict(),
        1 => a_late_answer(),
        2 => denied_after(vec![]),
        // Switched off while the send was under way.
        3 => vec![tapped(), tapped(), send(), start(), off, settle(2)],
        // Two events of which the second is about no send of ours.
        4 => denied_after(vec![send(), start(), settle(0), sent(true), sent(false)]),
        // The same, but every grant of then is spent: it does not explain what is tapped later.
        5 => denied_after(vec![])
            .into_iter()
            .skip(1)
            .take(3)
            .chain([
                Request::Settle { delivery: 0, outcome: 0, consume: false },
                sent(true),
                sent(false),
                tapped(),
                send(),
                start(),
                settle(2),
            ])
            .collect(),
        6 => denied_after(vec![Request::Import { subject: 0, count: 2 }]),
        7 => denied_after(vec![Request::Adjust { subject: 0, by: 2 }]),
        // One of two grants was spent by a delivery that was settled as not sent.
        8 => denied_after(vec![send(), start(), settle(7), Request::Resolve { delivery: 0, sent: false }]),
        9 => vec![tapped(), send(), start(), settle(7), sent(true)],
        10 => vec![
            tapped(),
            send(),
            start(),
            settle(7),
            Request::Resolve { delivery: 0, sent: false },
            sent(true),
        ],
        11 => vec![tapped(), send(), start(), settle(7), settle(3)],
        12 => vec![tapped(), send(), start(), settle(7), settle(5)],
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_drift_and_doubt_of_the_log_has_its_row(begun in 0..20usize, slow in any::<bool>(), requests in requests(60)) {
        let world = World::of(&[scripted(begun), requests].concat());
        // Months between events, or seconds.
        let log = if slow { stretched(&world) } else { world.log };
        let mut rows = Memory::default();
        count(&mut rows, &log);
        let (drifts, doubts) = told_by_raw_events(&log);
        prop_assert_eq!(shown(&rows), (drifts, doubts));
        // And they are what the activity report counts.
        let counted = |measure| -> u64 {
            sums(&rows).iter().filter(|((_, m, _), _)| *m == measure).map(|(_, amount)| amount).sum()
        };
        let doubts: Vec<DoubtRow> = rows.all();
        let of = |given: &dyn Fn(&DoubtRow) -> bool| doubts.iter().filter(|row| given(row)).count() as u64;
        prop_assert_eq!(rows.all::<DriftRow>().len() as u64, counted(Measure::Drifted));
        prop_assert_eq!(doubts.len() as u64, counted(Measure::Doubted));
        let answered = |row: &DoubtRow| !matches!(row.outcome, None | Some(DoubtOutcome::Sent | DoubtOutcome::NotSent));
        prop_assert_eq!(of(&answered), counted(Measure::AnsweredLate));
        prop_assert_eq!(of(&|row| row.outcome == Some(DoubtOutcome::Sent)), counted(Measure::SettledSent));
        prop_assert_eq!(of(&|row| row.outcome == Some(DoubtOutcome::NotSent)), counted(Measure::SettledNotSent));
        prop_assert_eq!(of(&|row| row.corrected.is_some()), counted(Measure::Corrected));
    }

    #[test]
    fn rows_do_not_depend_on_how_events_are_cut_into_batches(begun in 0..20usize, requests in requests(60), cut in 1..40usize) {
        let log = World::of(&[scripted(begun), requests].concat()).log;
        let (mut one_by_one, mut in_batches, mut at_once) = (Memory::default(), Memory::default(), Memory::default());
        log.chunks(1).for_each(|batch| count(&mut one_by_one, batch));
        log.chunks(cut).for_each(|batch| count(&mut in_batches, batch));
        count(&mut at_once, &log);
        prop_assert_eq!(shown(&one_by_one), shown(&in_batches));
        prop_assert_eq!(shown(&one_by_one), shown(&at_once));
    }
}

/// The properties above mean little for causes and ends that no history reaches.
#[test]
fn the_scripted_histories_reach_what_they_are_for() {
    let of = |number: usize, slow: bool| {
        let world = World::of(&scripted(number));
        let log = if slow { stretched(&world) } else { world.log };
        let mut rows = Memory::default();
        count(&mut rows, &log);
        rows
    };
    for (number, slow, causes) in [
        (0, false, &[][..]),
        (2, false, &[DriftCause::Unexplained][..]),
        (2, true, &[DriftCause::OldGrant]),
        (3, true, &[DriftCause::SettingsChanged]),
        (4, true, &[DriftCause::Stranger]),
        (5, false, &[DriftCause::Unexplained]),
        (6, true, &[DriftCause::NotTapped]),
        (7, true, &[DriftCause::NotTapped]),
        (8, true, &[DriftCause::WrongVerdict]),
    ] {
        let found: Vec<_> = of(number, slow).all::<DriftRow>().iter().map(|row| row.cause).collect();
        assert_eq!(found, causes, "history {number}");
    }
    for (number, ended, outcome, corrected) in [
        (0, DoubtEnd::ByHand, DoubtOutcome::NotSent, Some(DoubtEnd::NoPermission)),
        (1, DoubtEnd::LateAnswer, DoubtOutcome::Postponed, None),
        (9, DoubtEnd::SentEvent, DoubtOutcome::Sent, None),
        (10, DoubtEnd::ByHand, DoubtOutcome::NotSent, Some(DoubtEnd::SentEvent)),
        (11, DoubtEnd::LateAnswer, DoubtOutcome::Refused, None),
        (12, DoubtEnd::LateAnswer, DoubtOutcome::Failed, None),
    ] {
        let [row] = of(number, false).all::<DoubtRow>().try_into().unwrap();
        assert_eq!(
            (row.ended, row.outcome, row.corrected),
            (Some(ended), Some(outcome), corrected),
            "{number}"
        );
        assert!(row.ended_at > Some(row.began_at) && row.corrected_at.is_some() == corrected.is_some());
    }
}
