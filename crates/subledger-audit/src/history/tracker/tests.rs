//! Books that were tampered with: each break is found, at the event where it shows first.

#![allow(clippy::unwrap_used)]

use subledger_domain::{
    EvidenceSource, LogName, MessageId, StoredEvent, StreamName, SubjectId, TemplateId, Timestamp,
    ledger::{Answer, Consumed, DriftFound, Granted, Released, Reserved, Started},
};
use subledger_projection::{ProjectionName, Replay};
use subledger_store::Link;

use super::*;

fn delivery(n: u8) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes([n; 16]), 0)
}

fn granted(lot: LotId) -> LedgerEvent {
    let evidence = Evidence::new(EvidenceSource::ClientReport, "r", Timestamp::from_seconds(1));
    LedgerEvent::Granted(Granted { lot, word: "accept".into(), evidence })
}

fn reserved(n: u8, lot: LotId) -> LedgerEvent {
    LedgerEvent::Reserved(Reserved { delivery: delivery(n), lot, user: None })
}

fn started(n: u8) -> LedgerEvent {
    LedgerEvent::Started(Started { delivery: delivery(n), attempt: 1 })
}

fn consumed(n: u8) -> LedgerEvent {
    LedgerEvent::Consumed(Consumed { delivery: delivery(n), wechat_msgid: None })
}

fn released(n: u8) -> LedgerEvent {
    LedgerEvent::Released(Released { delivery: delivery(n), reason: ReleaseReason::Expired })
}

fn drift(lots: &[LotId]) -> LedgerEvent {
    let lots = lots.to_vec();
    LedgerEvent::DriftFound(DriftFound {
        delivery: delivery(9),
        lots,
        last_grant_at: None,
        last_settings_at: None,
        doubts: vec![],
        answer: Answer::default(),
    })
}

fn explain(events: &[LedgerEvent]) -> Explanation {
    let template: TemplateId = "template-1".parse().unwrap();
    let recorded = |(position, event): (u64, &LedgerEvent)| Recorded {
        log: LogName::new("wechatmp123"),
        position: Position(position),
        stream: StreamName::ledger(SubjectId::from_bytes([1; 16]), &template),
        version: position,
        kind: event.kind().number,
        schema: 1,
        recorded_at: Timestamp::from_seconds(i64::try_from(position).unwrap()),
        data: event.encode().unwrap(),
        cause: b"{}".to_vec(),
        link: Link::default(),
    };
    let recorded: Vec<Recorded> = (1..).zip(events).map(recorded).collect();
    let mut replay = Replay::new(ProjectionName::Ledgers);
    // The read model may refuse such a history; the explanation must not need it.
    let row = match replay.apply(&recorded) {
        Ok(()) => replay.ledgers().remove(0),
        Err(_) => {
            let mut sound = Replay::new(ProjectionName::Ledgers);
            sound.apply(&recorded[..1]).unwrap();
            sound.ledgers().remove(0)
        }
    };
    let mut tracker = Tracker::default();
    for (recorded, event) in recorded.iter().zip(events) {
        tracker.take(recorded, event);
    }
    tracker.explain(&row)
}

#[track_caller]
fn check(events: &[LedgerEvent], position: u64, kind: impl Fn(&FindingKind) -> bool) {
    let explanation = explain(events);
    let first = explanation.findings.first().unwrap_or_else(|| panic!("nothing found in {events:?}"));
    assert_eq!(first.position, Some(Position(position)), "{:?}", explanation.findings);
    assert!(kind(&first.kind), "{first:?}");
}

#[test]
fn sound_books_have_no_findings() {
    let events =
        [granted(1), granted(2), reserved(1, 1), started(1), consumed(1), reserved(2, 2), released(2)];
    let explanation = explain(&events);
    assert_eq!(explanation.findings, []);
    assert!(explanation.sum.holds);
    let paid: Vec<Paid> = explanation.deliveries.items.iter().map(|delivery| delivery.paid).collect();
    assert_eq!(paid, [Paid::Spent, Paid::Returned]);
    assert_eq!(explanation.taps.items[1].returned, 1);
}

#[test]
fn a_lot_that_was_never_granted() {
    check(&[granted(1), reserved(1, 5)], 2, |kind| *kind == FindingKind::Lot { lot: 5 });
    check(&[granted(1), drift(&[3])], 2, |kind| *kind == FindingKind::Lot { lot: 3 });
}

#[test]
fn a_lot_that_is_used_twice() {
    let events = [granted(1), reserved(1, 1), started(1), consumed(1), reserved(2, 1)];
    check(&events, 5, |kind| *kind == FindingKind::Lot { lot: 1 });
}

#[test]
fn a_delivery_that_was_not_under_way() {
    let not_under_way =
        |n| move |kind: &FindingKind| *kind == FindingKind::Delivery { delivery: delivery(n) };
    check(&[granted(1), consumed(1)], 2, not_under_way(1));
    check(&[granted(1), reserved(1, 1), released(1), released(1)], 4, not_under_way(1));
    check(&[granted(1), granted(2), reserved(1, 1), reserved(1, 2)], 4, not_under_way(1));
}

#[test]
fn a_grant_that_was_taken_out_of_the_log() {
    // Lot 1 is missing; the ledger counts, the events name their lots.
    check(&[granted(2), reserved(1, 2)], 2, |kind| matches!(kind, FindingKind::Number { .. }));
}

#[test]
fn findings_are_bounded() {
    let events: Vec<LedgerEvent> = std::iter::once(granted(1)).chain((0..200).map(started)).collect();
    assert_eq!(explain(&events).findings.len(), MAX_FINDINGS);
}
