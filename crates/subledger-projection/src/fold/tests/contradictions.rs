//! Histories that cannot have happened: the event is named, whatever came before it in the batch.

use subledger_domain::{
    DeliveryId, MessageId, StreamName,
    ledger::{Consumed, LedgerEvent, Reserved, Started},
    message::{MessageEvent, Retracted},
};
use subledger_store::Position;

use super::{
    memory::Memory,
    world::{Request, World, subject, tapped, template},
};
use crate::{ProjectionName, fold::FoldError};

fn sent_to_one() -> World {
    World::of(&[
        tapped(),
        Request::Send { template: false, recipients: vec![Some(0)], planned: 1, attempt: false },
    ])
}

#[test]
fn a_delivery_of_a_message_nobody_accepted_is_poison_for_messages_only() {
    let mut world = sent_to_one();
    let stream = StreamName::ledger(subject(0), &template(false));
    let delivery = DeliveryId::new(MessageId::from_bytes([9; 16]), 0);
    world.record(&stream, &LedgerEvent::Reserved(Reserved { delivery, lot: 7, user: None }));
    let at = Position(world.log.len() as u64);

    let poison = Memory::default().apply(ProjectionName::Messages, &world.log).unwrap_err();
    assert_eq!(poison.position, at);
    assert!(matches!(poison.error, FoldError::Contradiction(_)), "{:?}", poison.error);
    Memory::default().apply(ProjectionName::Ledgers, &world.log).unwrap();
}

#[test]
fn an_event_about_a_delivery_nobody_planned_is_poison() {
    let mut world = sent_to_one();
    let stream = StreamName::ledger(subject(0), &template(false));
    let delivery = DeliveryId::new(MessageId::from_bytes([9; 16]), 0);
    world.record(&stream, &LedgerEvent::Started(Started { delivery, attempt: 1 }));
    world.record(&stream, &LedgerEvent::Consumed(Consumed { delivery, wechat_msgid: None }));
    let poison = Memory::default().apply(ProjectionName::Messages, &world.log).unwrap_err();
    assert_eq!(poison.position, Position(world.log.len() as u64 - 1), "the first of the two is named");
}

#[test]
fn a_payload_that_is_not_its_kind_is_poison() {
    let mut world = sent_to_one();
    let retracted = Retracted { app: "shop".parse().unwrap(), released: 0 };
    world.record(&StreamName::message(MessageId::from_bytes([1; 16])), &MessageEvent::Retracted(retracted));
    let last = world.log.last_mut().unwrap();
    last.data = b"[]".to_vec();
    let at = last.position;
    let poison = Memory::default().apply(ProjectionName::Messages, &world.log).unwrap_err();
    assert_eq!(poison.position, at);
    assert!(matches!(poison.error, FoldError::Decode(_)), "{:?}", poison.error);
}

#[test]
fn a_kind_of_a_newer_version_is_poison_only_where_it_matters() {
    let mut world = sent_to_one();
    world.record(
        &StreamName::ledger(subject(0), &template(false)),
        &LedgerEvent::Started(Started {
            delivery: DeliveryId::new(MessageId::from_bytes([9; 16]), 0),
            attempt: 1,
        }),
    );
    world.log.last_mut().unwrap().kind = 9_999;
    for projection in [ProjectionName::Ledgers, ProjectionName::Messages] {
        Memory::default().apply(projection, &world.log).unwrap_err();
    }
    for projection in [ProjectionName::Channels, ProjectionName::Bindings, ProjectionName::Apps] {
        Memory::default().apply(projection, &world.log).unwrap();
    }
}
