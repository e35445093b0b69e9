//! Receipts of client reports, and when queued deliveries expire, against the events.

use serde_json::{Value, json};
use subledger_audit::proof::{Check, Options, Report};
use subledger_domain::{
    Evidence, EvidenceSource, StreamName, SubjectId, TemplateKind, Timestamp,
    ledger::{Choice, Ledger, LedgerCommand, Taps},
};
use subledger_store::{
    Cause, Clock, Executor, ExecutorConfig, Known, ReceiptKey, Stage, Stop, StreamRef, Submission, Work,
};

use crate::{
    support::{Place, StoppedClock, catch_up, found, on_both_databases},
    world::{delivery, log, tell, template},
};

/// A report of one tap, answered as the service does.
struct Tap {
    choice: Choice,
    evidence: Evidence,
}

impl Tap {
    fn ledger() -> StreamName {
        StreamName::ledger(SubjectId::from_bytes([77; 16]), &template())
    }
}

impl Work for Tap {
    type Answer = Value;
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(Self::ledger())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Value, Stop<String>> {
        let command = LedgerCommand::RecordChoice {
            choice: self.choice,
            word: "accept".to_owned(),
            kind: TemplateKind::OneTime,
            taps: Taps::default(),
            window: 300,
            evidence: self.evidence.clone(),
        };
        stage.ask::<Ledger>(&Self::ledger(), command)?.map_err(|error| Stop::Refuse(error.to_string()))?;
        let lot = if self.choice == Choice::Accept { json!(1) } else { Value::Null };
        let choice = json!({ "template": template(), "choice": self.choice, "lot": lot, "balance": 1, "listed": true });
        Ok(json!({ "choices": [choice] }))
    }
}

/// Two reports after everything else; the time of the last one.
async fn report(place: &Place) -> (i64, Timestamp) {
    let clock = StoppedClock::new();
    clock.pass_seconds(3_600);
    let store = place.open(&clock).await;
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let mut position = 0;
    for (name, choice) in [("tap-1", Choice::Accept), ("tap-2", Choice::Reject)] {
        clock.pass_seconds(1);
        let evidence = Evidence::new(EvidenceSource::ClientReport, name, clock.now());
        let submission = Submission {
            log: log(),
            receipt: Some(ReceiptKey { id: format!("report:{name}"), fingerprint: [1; 32] }),
            cause: Cause { by: "app:shop".into(), command: "record_choices".into(), request: None },
            work: Tap { choice, evidence },
        };
        position = executor.submit(submission).await.unwrap().position.0;
    }
    executor.shutdown().await;
    catch_up(&store).await;
    store.close().await;
    (i64::try_from(position).unwrap() - 1, clock.now())
}

async fn verified(place: &Place, now: Timestamp) -> Report {
    place.verify_with(Options { now: Some(now), ..Options::default() }).await
}

async fn a_report_has_its_receipt_and_the_receipt_its_events(place: Place) {
    tell(&place).await;
    // The events told of so far rest on reports without receipts, so old that theirs may have been pruned.
    let (tap, then) = report(&place).await;
    let day = |days: i64| then.plus_seconds(days * 86_400);
    let told_before = then.plus_seconds(29 * 86_400 - 60);
    assert!(verified(&place, told_before).await.clean);
    let of = |position: i64| format!("where log = 1 and position = {position}");
    for (change, at) in [
        (format!("delete from receipt {}", of(tap)), tap),
        (format!("delete from receipt {}", of(tap + 1)), tap + 1),
        (format!("update receipt set position = 3 {}", of(tap)), tap),
        (format!("update receipt set position = position + 1 {}", of(tap)), tap),
        (format!("update receipt set recorded_at = recorded_at + 1 {}", of(tap)), tap),
        (format!("update receipt set outcome = replace(outcome, '\"lot\":1', '\"lot\":2') {}", of(tap)), tap),
        (
            format!("update receipt set outcome = replace(outcome, 'reject', 'accept') {}", of(tap + 1)),
            tap + 1,
        ),
        (format!("update receipt set outcome = '[]' {}", of(tap)), tap),
    ] {
        let copy = place.copy().await;
        copy.tamper(&change).await;
        let report = verified(&copy, told_before).await;
        let first = report.first().unwrap();
        assert_eq!((first.check, first.position), (Check::Receipts, Some(at)), "{change}: {first}");
        assert_eq!(report.total_findings, 1, "{change}: {:#?}", report.findings);
        copy.remove().await;
    }
    // Receipts are pruned after 30 days, and that is no finding.
    let copy = place.copy().await;
    copy.tamper(&format!("delete from receipt {}", of(tap))).await;
    assert!(verified(&copy, day(30)).await.clean);
    copy.remove().await;
}

async fn a_queued_delivery_expires_when_its_message_says(place: Place) {
    let told = tell(&place).await;
    let waiting = told.first("ledger.reserved", &delivery(1, 8).to_string());
    let copy = place.copy().await;
    copy.tamper("update queue set expires_at = expires_at + 1 where log = 1 and idx = 8").await;
    let report = copy.verify().await;
    let finding = found(&report.findings, Check::Queue, i64::try_from(waiting.position.0).ok());
    assert!(finding.found.contains("until"), "{finding}");
    assert_eq!(report.total_findings, 1, "{:#?}", report.findings);
    copy.remove().await;
}

async fn a_read_model_that_is_not_there_is_named(place: Place) {
    tell(&place).await;
    let copy = place.copy().await;
    copy.tamper("delete from projection where name = 'ledgers'").await;
    let report = copy.verify().await;
    let channel = &report.logs[1];
    assert!(report.clean, "{:#?}", report.findings);
    assert!(!channel.read_models.contains(&"ledgers".to_owned()), "{:?}", channel.read_models);
    assert!(channel.notes.iter().any(|note| note.ends_with(": ledgers")), "{:?}", channel.notes);
    copy.remove().await;
}

on_both_databases!(
    a_report_has_its_receipt_and_the_receipt_its_events,
    a_queued_delivery_expires_when_its_message_says,
    a_read_model_that_is_not_there_is_named,
);
