//! Attacks on the database, each named with its place.

use subledger_audit::proof::{Check, Options};
use subledger_store::Recorded;

use crate::{
    support::{Place, found, on_both_databases},
    world::{Told, delivery, log, tell},
};

/// The number of the channel's log: it was made first.
const LOG: i64 = 1;

fn at(event: &Recorded) -> i64 {
    i64::try_from(event.position.0).unwrap()
}

fn set(event: &Recorded, what: &str) -> String {
    format!("update event set {what} where log = {LOG} and position = {}", event.position)
}

fn text(bytes: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(bytes).replace('\'', "''"))
}

/// Tampers with a copy; the finding must be there, and the first of all if `first`.
async fn attack(place: &Place, sql: &str, expected: &[(Check, Option<i64>)]) {
    let copy = place.copy().await;
    copy.tamper(sql).await;
    let report = copy.verify().await;
    assert!(!report.clean, "{sql}");
    for (check, position) in expected {
        found(&report.findings, *check, *position);
    }
    let first = report.first().unwrap();
    assert_eq!((first.check, first.position), expected[0], "{sql}: {first}");
    copy.remove().await;
}

/// The same by somebody who computes the chain anew: it is not the chain that shows it.
async fn forge(place: &Place, sql: &str, expected: &[(Check, Option<i64>)]) {
    let copy = place.copy().await;
    copy.tamper(sql).await;
    copy.rechain(&log()).await;
    let report = copy.verify_with(Options { skip_read_models: true, ..Options::default() }).await;
    for (check, position) in expected {
        found(&report.findings, *check, *position);
    }
    assert!(report.findings.iter().all(|finding| finding.check != Check::Chain), "{:#?}", report.findings);
    copy.remove().await;
}

async fn a_changed_event_is_named(place: Place) {
    let told = tell(&place).await;
    let tap = told.first("ledger.granted", "");
    let sent = told.first("ledger.consumed", "");
    for what in [
        "data = replace(data, 'acceptWithAlert', 'acceptWithAlerT')",
        "cause = replace(cause, 'test', 'tesT')",
        "kind = 33",
        "schema = 2",
        "recorded_at = recorded_at + 1",
    ] {
        attack(&place, &set(tap, what), &[(Check::Chain, Some(at(tap)))]).await;
    }
    let mut link = tap.link.0;
    link[31] ^= 1;
    attack(
        &place,
        &set(tap, &format!("link = {}", place.blob(&link))),
        &[(Check::Chain, Some(at(tap))), (Check::Chain, Some(at(tap) + 1))],
    )
    .await;
    attack(
        &place,
        &set(tap, "recorded_at = 5"),
        &[(Check::Chain, Some(at(tap))), (Check::Time, Some(at(tap)))],
    )
    .await;
    let swapped = format!(
        "{};;{}",
        set(tap, &format!("data = {}", text(&sent.data))),
        set(sent, &format!("data = {}", text(&tap.data)))
    );
    attack(&place, &swapped, &[(Check::Chain, Some(at(tap))), (Check::Chain, Some(at(sent)))]).await;
    let moved = format!(
        "{};;{};;update event set {} where position = 1000000",
        set(tap, &place.moved(1_000_000)),
        set(sent, &place.moved(tap.position.0)),
        place.moved(sent.position.0)
    );
    attack(&place, &moved, &[(Check::Chain, Some(at(tap)))]).await;
}

async fn a_missing_event_is_named(place: Place) {
    let told = tell(&place).await;
    let delete = |position: i64| format!("delete from event where log = {LOG} and position = {position}");
    attack(&place, &delete(7), &[(Check::Positions, Some(7))]).await;
    attack(&place, &delete(1), &[(Check::Positions, Some(1))]).await;
    attack(&place, &delete(told.end()), &[(Check::Head, Some(told.end()))]).await;
    let all = format!("delete from event where log = {LOG} and position > {}", told.end() - 3);
    attack(&place, &all, &[(Check::Head, Some(told.end() - 2))]).await;
    let head = |what: String| format!("update head set {what} where id = {LOG}");
    attack(&place, &head(format!("position = {}", told.end() + 1)), &[(Check::Head, Some(told.end() + 1))])
        .await;
    attack(&place, &head("recorded_at = recorded_at + 1".into()), &[(Check::Head, Some(told.end()))]).await;
    let link = place.blob(&[9; 32]);
    attack(&place, &head(format!("link = {link}")), &[(Check::Head, Some(told.end()))]).await;
    attack(&place, &format!("delete from head where id = {LOG}"), &[(Check::Head, None)]).await;
}

/// Cut off, with a head that fits: the receipts and the read models still know better.
async fn a_log_cut_off_with_its_head_is_betrayed_by_receipts_and_read_models(place: Place) {
    let told = tell(&place).await;
    let sql = cut_off(&place, &told);
    attack(
        &place,
        &sql,
        &[
            (Check::Receipts, Some(told.end() - 2)),
            (Check::Receipts, Some(told.end())),
            (Check::ReadModels, Some(told.end() - 2)),
        ],
    )
    .await;
}

/// Statements that cut the last three events off and set the head back.
pub(crate) fn cut_off(place: &Place, told: &Told) -> String {
    let keep = told.end() - 3;
    let last = &told.events[usize::try_from(keep).unwrap() - 1];
    format!(
        "delete from event where log = {LOG} and position > {keep};;\
         update head set position = {keep}, link = {}, recorded_at = {} where id = {LOG}",
        place.blob(&last.link.0),
        last.recorded_at.micros()
    )
}

async fn a_changed_stream_is_named(place: Place) {
    let told = tell(&place).await;
    let tap = told.first("ledger.granted", "");
    attack(
        &place,
        &set(tap, "stream = 1, version = 900"),
        &[(Check::Chain, Some(at(tap))), (Check::Versions, Some(at(tap)))],
    )
    .await;
    attack(&place, &set(tap, "stream = 5000"), &[(Check::Streams, Some(at(tap)))]).await;
    let pause = told.events.last().unwrap();
    attack(
        &place,
        &set(pause, "version = version + 1"),
        &[(Check::Chain, Some(at(pause))), (Check::Versions, Some(at(pause)))],
    )
    .await;
    forge(&place, &set(pause, "version = version + 1"), &[(Check::Versions, Some(at(pause)))]).await;
    let first = &told.events[0];
    attack(
        &place,
        &format!("update stream set name = 'channel/other' where log = {LOG} and number = 1"),
        &[(Check::Chain, Some(at(first))), (Check::Streams, Some(at(first)))],
    )
    .await;
    attack(
        &place,
        &format!("delete from stream where log = {LOG} and number = 2"),
        &[(Check::Streams, Some(2))],
    )
    .await;
    attack(
        &place,
        &format!("update head set streams = streams - 1 where id = {LOG}"),
        &[(Check::Streams, None)],
    )
    .await;
}

/// How a SQLite file finds the events of a stream is no part of the chain.
async fn an_event_that_its_stream_does_not_lead_to_is_named(place: Place) {
    if !place.is_sqlite() {
        return;
    }
    let told = tell(&place).await;
    let pause = told.events.last().unwrap();
    attack(&place, &set(pause, "back = back - 1"), &[(Check::Streams, Some(at(pause)))]).await;
    for tip in ["set position = 1, version = 1", "set version = version + 1"] {
        let sql = format!("update stream_tip {tip} where stream = {LOG} << 40 | 1");
        attack(&place, &sql, &[(Check::Streams, Some(at(pause)))]).await;
    }
    let gone = format!("delete from stream_tip where stream = {LOG} << 40 | 1");
    attack(&place, &gone, &[(Check::Streams, Some(at(pause)))]).await;
}

async fn a_forged_history_is_illegal(place: Place) {
    let told = tell(&place).await;
    let named =
        |from: u32, to: u32| format!("data = replace(data, '{}', '{}')", delivery(1, from), delivery(1, to));
    // Delivery 0 was sent; now the books say that delivery 8, which nobody handed over, was.
    let sent = told.first("ledger.consumed", "");
    forge(&place, &set(sent, &named(0, 8)), &[(Check::Legal, Some(at(sent)))]).await;
    let tap = told.first("ledger.granted", "");
    forge(
        &place,
        &set(tap, "data = replace(data, '\"lot\":1', '\"lot\":2')"),
        &[(Check::Legal, Some(at(tap)))],
    )
    .await;
    // Recipient 1 was reserved twice, recipient 0 never.
    let reserved = told.first("ledger.reserved", "");
    let message = told.first("message.accepted", "");
    forge(&place, &set(reserved, &named(0, 1)), &[(Check::Messages, Some(at(reserved) + 1))]).await;
    forge(&place, &set(reserved, &named(0, 40)), &[(Check::Messages, Some(at(reserved)))]).await;
    let plan = told.first("message.planned", "");
    forge(
        &place,
        &set(plan, "data = replace(data, '\"reserved\":9', '\"reserved\":8')"),
        &[(Check::Messages, Some(at(message)))],
    )
    .await;
    forge(&place, &set(tap, "data = '{'"), &[(Check::Events, Some(at(tap)))]).await;
    // A kind of the message's aggregate in a ledger.
    forge(&place, &set(tap, "kind = 50"), &[(Check::Events, Some(at(tap)))]).await;
    let resumed = told.first("channel.resumed", "");
    forge(&place, &set(resumed, "kind = 13"), &[(Check::Legal, Some(at(resumed)))]).await;
}

/// What a newer program wrote is counted, not called broken.
async fn newer_kinds_are_counted_and_not_judged(place: Place) {
    let told = tell(&place).await;
    let copy = place.copy().await;
    let tap = told.first("ledger.granted", "");
    copy.tamper(&set(tap, "kind = 999")).await;
    copy.tamper(&set(told.events.last().unwrap(), "schema = 7")).await;
    copy.rechain(&log()).await;
    let report = copy.verify().await;
    let channel = &report.logs[1];
    assert!(report.clean, "{:#?}", report.findings);
    assert_eq!(channel.newer.values().sum::<u64>(), 2, "{:?}", channel.newer);
    assert_eq!(channel.unjudged_streams, 2);
    assert!(!channel.notes.is_empty());
    copy.remove().await;
}

async fn receipts_queue_and_read_models_must_fit_the_events(place: Place) {
    let told = tell(&place).await;
    let beyond = told.end() + 5;
    attack(
        &place,
        &format!(
            "update receipt set position = {beyond} where log = {LOG}
             and key = (select key from receipt where log = {LOG} order by key limit 1)"
        ),
        &[(Check::Receipts, Some(beyond))],
    )
    .await;
    let doubted = told.events.iter().rfind(|event| event.kind_name() == "ledger.doubted").unwrap();
    let waiting = told.first("ledger.reserved", &delivery(1, 8).to_string());
    let in_doubt = format!("where log = {LOG} and idx = 5");
    attack(&place, &format!("delete from queue {in_doubt}"), &[(Check::Queue, Some(at(doubted)))]).await;
    attack(&place, &format!("update queue set state = 0 {in_doubt}"), &[(Check::Queue, Some(at(doubted)))])
        .await;
    attack(
        &place,
        &format!("update queue set attempts = 4 {in_doubt}"),
        &[(Check::Queue, Some(at(doubted)))],
    )
    .await;
    attack(
        &place,
        &format!("update queue set state = 3 where log = {LOG} and idx = 8"),
        &[(Check::Queue, Some(at(waiting)))],
    )
    .await;
    let added = format!(
        "insert into queue (log, message, idx, subject, template, state, due_at, expires_at, attempts, since)
         select log, message, 0, subject, template, 0, due_at, expires_at, 0, since from queue
         where log = {LOG} and idx = 8"
    );
    attack(&place, &added, &[(Check::Queue, None)]).await;
    for change in [
        "update ledgers set balance = balance + 1 where balance = 0",
        "delete from bindings",
        "update messages set sent = sent + 1",
    ] {
        attack(&place, change, &[(Check::ReadModels, Some(told.end()))]).await;
    }
}

on_both_databases!(
    a_changed_event_is_named,
    a_missing_event_is_named,
    a_log_cut_off_with_its_head_is_betrayed_by_receipts_and_read_models,
    a_changed_stream_is_named,
    an_event_that_its_stream_does_not_lead_to_is_named,
    a_forged_history_is_illegal,
    newer_kinds_are_counted_and_not_judged,
    receipts_queue_and_read_models_must_fit_the_events,
);
