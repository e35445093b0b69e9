//! The counters against random histories: they add up to the aggregates, to the deliveries and to the raw events, to the
//! last unit, and do not depend on how events are cut into batches.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, strategy::ValueTree};
use serde_json::Value;
use subledger_domain::{StreamName, TemplateId, Timestamp, message::MessageEvent};
use subledger_store::Recorded;

use super::{
    memory::Memory,
    world::{Request, World, requests, tapped},
};
use crate::{
    DeliveryRow, DeliveryState, Holdings, Measure, MessageRow, ProjectionName, ReportTemplateRow,
    fold::FoldError,
    rows::{BUCKET_MICROS, ReportClosing, ReportCount},
};

/// The history with minutes between its events, so that it spans many buckets.
pub(super) fn stretched(world: &World) -> Vec<Recorded> {
    let stretch = |event: &Recorded| Recorded {
        recorded_at: Timestamp::from_micros(event.recorded_at.micros() * 200),
        ..event.clone()
    };
    world.log.iter().map(stretch).collect()
}

/// Counts what ledgers say and what messages say.
fn count(rows: &mut Memory, events: &[Recorded]) {
    rows.apply(ProjectionName::Ledgers, events).unwrap();
    rows.apply(ProjectionName::Messages, events).unwrap();
}

/// Each template once, with what both say of it.
fn templates(rows: &Memory) -> Vec<ReportTemplateRow> {
    let mut templates: BTreeMap<TemplateId, ReportTemplateRow> = BTreeMap::new();
    for row in rows.all::<ReportTemplateRow>() {
        match templates.get_mut(&row.template) {
            Some(one) => one.holdings.add(&row.holdings),
            None => drop(templates.insert(row.template.clone(), row)),
        }
    }
    templates.into_values().collect()
}

/// Amounts by template, measure and class, over all buckets.
pub(super) fn sums(rows: &Memory) -> BTreeMap<(TemplateId, Measure, String), u64> {
    let mut sums = BTreeMap::new();
    for row in rows.all::<ReportCount>() {
        *sums.entry((row.template, row.measure, row.class.into_owned())).or_default() += row.amount;
    }
    sums
}

/// The same told by the raw bytes of the events, without the crate's own types: number of the kind and JSON.
fn told_by_raw_events(log: &[Recorded]) -> BTreeMap<(TemplateId, Measure, String), u64> {
    let mut sums = BTreeMap::new();
    let mut templates = BTreeMap::new();
    let mut in_doubt = BTreeSet::new();
    for event in log {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if event.kind == 50 {
            templates.insert(event.stream.id().to_owned(), text(&data["template"]));
        }
        let template = match event.stream.aggregate_type() {
            "message" => templates[event.stream.id()].clone(),
            _ => event.stream.id().split_once('/').unwrap().1.to_owned(),
        };
        let template: TemplateId = template.parse().unwrap();
        let mut add = |measure, class: String, amount| {
            *sums.entry((template.clone(), measure, class)).or_default() += amount;
        };
        let (source, class, delivery) =
            (text(&data["evidence"]["source"]), text(&data["answer"]["class"]), text(&data["delivery"]));
        let mut left_doubt = |how: &str, add: &mut dyn FnMut(Measure, String, u64)| {
            if in_doubt.remove(&delivery) {
                add(Measure::AnsweredLate, how.to_owned(), 1);
            }
        };
        match event.kind {
            30 => add(Measure::Granted, source, 1),
            31 => add(Measure::Opened, source, data["count"].as_u64().unwrap()),
            32 => add(Measure::Consented, source, 1),
            33 => add(Measure::Rejected, text(&data["choice"]), 1),
            34 => add(Measure::Suspended, source, 1),
            35 => add(Measure::Reserved, String::new(), 1),
            36 => add(Measure::Admitted, text(&data["basis"]), 1),
            37 => add(Measure::Started, if data["attempt"] == 1 { "first" } else { "again" }.to_owned(), 1),
            38 => {
                add(Measure::Postponed, class, 1);
                left_doubt("postponed", &mut add);
            }
            // What paid is the ledger's to know; it is checked against the totals.
            39 => {}
            40 => match data["why"].as_str().unwrap() {
                "refused" => {
                    add(Measure::Refused, class, 1);
                    left_doubt("refused", &mut add);
                }
                "retries_exhausted" => {
                    add(Measure::Failed, class, 1);
                    left_doubt("failed", &mut add);
                }
                "retracted" => add(Measure::Retracted, String::new(), 1),
                "expired" => add(Measure::Expired, String::new(), 1),
                why => add(Measure::Dropped, why.to_owned(), 1),
            },
            41 => {
                add(Measure::Doubted, text(&data["cause"]), 1);
                in_doubt.insert(delivery.clone());
            }
            42 => {
                let was_in_doubt = in_doubt.remove(&delivery);
                match (data["outcome"].as_str().unwrap(), was_in_doubt) {
                    ("not_sent", _) => add(Measure::SettledNotSent, source, 1),
                    (_, true) => add(Measure::SettledSent, source, 1),
                    (_, false) => add(Measure::Corrected, source, 1),
                }
            }
            43 => {
                add(Measure::Refused, "no_permission".to_owned(), 1);
                left_doubt("no_permission", &mut add);
            }
            44 => add(Measure::Drifted, String::new(), 1),
            45 => add(Measure::Corroborated, source, 1),
            46 => add(Measure::Noted, source, 1),
            47 => add(Measure::Confirmed, String::new(), 1),
            48 => add(Measure::Undelivered, data["code"].to_string(), 1),
            49 => {
                add(Measure::Strangers, if data["code"] == 0 { "success" } else { "failure" }.to_owned(), 1)
            }
            80 => {
                let removed = data["removed"].as_array().map_or(0, |lots| lots.len() as u64);
                match data["added"]["count"].as_u64() {
                    Some(count) => add(Measure::AdjustedUp, source, count),
                    None => add(Measure::AdjustedDown, source, removed),
                }
            }
            81 => add(Measure::Cleared, source, 1),
            82 => {
                add(Measure::Forfeited, class, 1);
                left_doubt("forfeited", &mut add);
            }
            50 => {
                add(Measure::Messages, String::new(), 1);
                add(Measure::Targeted, String::new(), data["targeted"].as_u64().unwrap());
            }
            51 => {
                for skip in data["skipped"].as_array().into_iter().flatten() {
                    add(Measure::Skipped, text(&skip["reason"]), 1);
                }
            }
            _ => {}
        }
    }
    sums
}

/// A doubt is settled as not sent; then 43101 proves that it was sent. Random histories come to it too rarely.
pub(super) fn a_wrong_verdict() -> Vec<Request> {
    let send = || Request::Send { template: false, recipients: vec![Some(0)], planned: 1, attempt: false };
    let (start, settle) = (
        || Request::Start { delivery: 0, expired: false },
        |outcome| Request::Settle { delivery: 0, outcome, consume: false },
    );
    vec![
        tapped(),
        send(),
        start(),
        settle(7),
        Request::Resolve { delivery: 0, sent: false },
        send(),
        start(),
        settle(2),
    ]
}

/// "Try again" comes after the delivery was given up as in doubt.
pub(super) fn a_late_answer() -> Vec<Request> {
    let mut history = a_wrong_verdict();
    history.truncate(4);
    history.push(Request::Settle { delivery: 0, outcome: 4, consume: false });
    history
}

fn of(rows: &Memory, template: &TemplateId, measure: Measure) -> i64 {
    let mine = |((t, m, _), _): &(&(TemplateId, Measure, String), &u64)| t == template && *m == measure;
    sums(rows).iter().filter(mine).map(|(_, amount)| i64::try_from(*amount).unwrap()).sum()
}

/// What came into a place less what left it.
fn stayed(rows: &Memory, template: &TemplateId, place: &str) -> i64 {
    let mut stayed = 0;
    for ((of, measure, class), amount) in sums(rows) {
        if of == *template && measure == Measure::Move {
            let (from, to) = class.split_once('>').unwrap();
            let amount = i64::try_from(amount).unwrap();
            stayed += if to == place { amount } else { 0 } - if from == place { amount } else { 0 };
        }
    }
    stayed
}

fn check_stock(world: &World, rows: &Memory) -> Result<(), TestCaseError> {
    let mut expected: BTreeMap<TemplateId, Holdings> = BTreeMap::new();
    for ((_, template), ledger) in &world.ledgers {
        let holdings = expected.entry(template.clone()).or_default();
        *holdings = holdings.with(&Holdings::default(), &ledger.totals().into());
    }
    for row in templates(rows) {
        let holdings = row.holdings;
        prop_assert!(holdings.balanced(), "{holdings:?}");
        prop_assert_eq!(holdings, expected.remove(&row.template).unwrap_or_default());
        for (place, here) in [
            ("open", holdings.open),
            ("reserved", holdings.reserved),
            ("in_doubt", holdings.in_doubt),
            ("consumed", holdings.consumed),
            ("void", holdings.voided),
        ] {
            prop_assert_eq!(stayed(rows, &row.template, place), i64::try_from(here).unwrap(), "{}", place);
        }
        let came_in: i64 = [Measure::Granted, Measure::Opened, Measure::AdjustedUp]
            .into_iter()
            .map(|measure| of(rows, &row.template, measure))
            .sum();
        prop_assert_eq!(-stayed(rows, &row.template, "outside"), came_in);
        let closings = rows.all::<ReportClosing>();
        let newest = closings.iter().filter(|c| c.template == row.template).max_by_key(|c| c.bucket);
        prop_assert_eq!(newest.map_or(Holdings::default(), |closing| closing.holdings), holdings);
    }
    prop_assert!(expected.values().all(|left| *left == Holdings::default()), "{expected:?}");
    Ok(())
}

/// Sends by outcome are the deliveries by state.
fn check_deliveries(log: &[Recorded], rows: &Memory) -> Result<(), TestCaseError> {
    let mut messages = Memory::default();
    messages.apply(ProjectionName::Messages, log).unwrap();
    let deliveries: Vec<DeliveryRow> = messages.all();
    for row in templates(rows) {
        let sum = |measure| of(rows, &row.template, measure);
        let mine = || deliveries.iter().filter(|delivery| delivery.template == row.template);
        let in_state = |state| i64::try_from(mine().filter(|one| one.state == state).count()).unwrap();
        let in_doubt = sum(Measure::Doubted)
            - sum(Measure::SettledSent)
            - sum(Measure::SettledNotSent)
            - sum(Measure::AnsweredLate);
        let ends = [
            (DeliveryState::Sent, sum(Measure::Sent) + sum(Measure::SettledSent) + sum(Measure::Corrected)),
            (DeliveryState::NotSent, sum(Measure::SettledNotSent) - sum(Measure::Corrected)),
            (DeliveryState::Refused, sum(Measure::Refused) + sum(Measure::Forfeited)),
            (DeliveryState::Failed, sum(Measure::Failed)),
            (DeliveryState::Expired, sum(Measure::Expired)),
            (DeliveryState::Retracted, sum(Measure::Retracted)),
            (DeliveryState::Skipped, sum(Measure::Skipped) + sum(Measure::Dropped)),
            (DeliveryState::InDoubt, in_doubt),
        ];
        for (state, counted) in ends {
            prop_assert_eq!(counted, in_state(state), "{:?}", state);
        }
        let planned = sum(Measure::Reserved) + sum(Measure::Admitted) + sum(Measure::Skipped);
        prop_assert_eq!(planned, i64::try_from(mine().count()).unwrap());
        let waiting = in_state(DeliveryState::Queued) + in_state(DeliveryState::Started);
        prop_assert_eq!(planned - ends.iter().map(|(_, counted)| counted).sum::<i64>(), waiting);
        let asked =
            messages.all::<MessageRow>().into_iter().filter(|message| message.template == row.template);
        prop_assert_eq!(
            sum(Measure::Targeted),
            asked.map(|message| i64::from(message.targeted)).sum::<i64>()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_unit_is_in_exactly_one_sum(begun in 0..3u8, requests in requests(60)) {
        let begun = match begun {
            0 => a_wrong_verdict(),
            1 => a_late_answer(),
            _ => Vec::new(),
        };
        let world = World::of(&[begun, requests].concat());
        let log = stretched(&world);
        let mut rows = Memory::default();
        count(&mut rows, &log);
        check_stock(&world, &rows)?;
        check_deliveries(&log, &rows)?;
        let mut found = sums(&rows);
        let sent: u64 = found.iter().filter(|((_, m, _), _)| *m == Measure::Sent).map(|(_, n)| n).sum();
        prop_assert_eq!(sent, log.iter().filter(|event| event.kind == 39).count() as u64);
        found.retain(|(_, measure, _), _| !matches!(measure, Measure::Sent | Measure::Move));
        prop_assert_eq!(found, told_by_raw_events(&log));
        for row in rows.all::<ReportCount>() {
            prop_assert_eq!(row.bucket.micros() % BUCKET_MICROS, 0);
            prop_assert!(row.amount > 0);
        }
    }

    #[test]
    fn counters_do_not_depend_on_how_events_are_cut_into_batches(requests in requests(60), cut in 1..40usize) {
        let log = stretched(&World::of(&requests));
        let mut one_by_one = Memory::default();
        let mut in_batches = Memory::default();
        let mut at_once = Memory::default();
        log.chunks(1).for_each(|batch| count(&mut one_by_one, batch));
        log.chunks(cut).for_each(|batch| count(&mut in_batches, batch));
        count(&mut at_once, &log);
        prop_assert_eq!(&one_by_one, &in_batches);
        prop_assert_eq!(&one_by_one, &at_once);
    }

    /// The stock at the end of a bucket is what the ledgers held then, not only at the end of the history.
    #[test]
    fn closings_are_the_stock_of_their_moment(requests in requests(60), at in 0..400usize) {
        let log = stretched(&World::of(&requests));
        let at = at % log.len().max(1);
        let Some(last) = log.get(at) else { return Ok(()) };
        // Only a history that ends with its bucket can be compared.
        let bucket = |event: &Recorded| event.recorded_at.micros().div_euclid(BUCKET_MICROS);
        let end = log.iter().take_while(|event| bucket(event) <= bucket(last)).count();
        let mut whole = Memory::default();
        count(&mut whole, &log);
        let mut until_then = Memory::default();
        count(&mut until_then, &log[..end]);
        for row in templates(&until_then) {
            let closings = whole.all::<ReportClosing>();
            let then = closings.iter().filter(|c| {
                c.template == row.template && c.bucket.micros() <= bucket(last) * BUCKET_MICROS
            });
            let closing = then.max_by_key(|c| c.bucket).map_or(Holdings::default(), |c| c.holdings);
            prop_assert_eq!(closing, row.holdings);
        }
    }
}

/// The properties above mean little for measures that no history reaches.
#[test]
fn random_histories_reach_every_measure() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut measures = BTreeSet::new();
    let mut moves = BTreeSet::new();
    for number in 0..600 {
        let mut history = requests(60).new_tree(&mut runner).unwrap().current();
        match number {
            0 => history = a_wrong_verdict(),
            1 => history = a_late_answer(),
            _ => {}
        }
        let world = World::of(&history);
        let mut rows = Memory::default();
        count(&mut rows, &world.log);
        for row in rows.all::<ReportCount>() {
            measures.insert(row.measure);
            if row.measure == Measure::Move {
                moves.insert(row.class.into_owned());
            }
        }
    }
    assert_eq!(measures.len(), Measure::ALL.len(), "{measures:?}");
    for expected in [
        "outside>open",
        "open>reserved",
        "reserved>open",
        "reserved>in_doubt",
        "reserved>consumed",
        "reserved>void",
        "in_doubt>open",
        "in_doubt>consumed",
        "in_doubt>reserved",
        "open>consumed",
        "open>void",
    ] {
        assert!(moves.contains(expected), "{expected} not in {moves:?}");
    }
}

#[test]
fn a_plan_of_a_message_nobody_accepted_is_poison() {
    let mut world = World::of(&[tapped()]);
    let planned = subledger_domain::message::Planned { from: 0, reserved: 0, skipped: Vec::new() };
    let stream = StreamName::message(subledger_domain::MessageId::from_bytes([9; 16]));
    world.record(&stream, &MessageEvent::Planned(planned));
    let poison = Memory::default().apply(ProjectionName::Messages, &world.log).unwrap_err();
    assert_eq!(poison.position.0, 2);
    assert!(matches!(poison.error, FoldError::Contradiction(_)), "{:?}", poison.error);
}
