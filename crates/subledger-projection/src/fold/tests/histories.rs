//! Random histories: rows and aggregates agree.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree};

use super::{
    memory::Memory,
    world::{World, requests},
};
use subledger_domain::ledger::LedgerParts;

use crate::{
    DeliveryCounts, DeliveryRow, DeliveryState, LotRow, LotState, MessageRow, ProjectionName,
    fold::LedgerBook,
};

fn held(lots: &[LotRow], book: &LedgerBook, state: LotState) -> u64 {
    let mine = |lot: &&LotRow| (lot.subject, &lot.template) == (book.row.subject, &book.row.template);
    lots.iter().filter(mine).filter(|lot| lot.state == state).count() as u64
}

/// Every grant is accounted for, and the lots are where the totals say.
fn check_ledgers(rows: &Memory) -> Result<(), TestCaseError> {
    let lots: Vec<LotRow> = rows.all();
    for book in rows.all::<LedgerBook>() {
        let totals = book.row.totals();
        prop_assert!(totals.balanced(), "{totals:?}");
        prop_assert_eq!(totals, book.state.totals());
        prop_assert_eq!(totals.open, held(&lots, &book, LotState::Open));
        prop_assert_eq!(totals.reserved, held(&lots, &book, LotState::Reserved));
        prop_assert_eq!(totals.in_doubt, held(&lots, &book, LotState::InDoubt));
        prop_assert_eq!(totals.consumed, held(&lots, &book, LotState::Consumed));
        prop_assert_eq!(totals.voided, held(&lots, &book, LotState::Void));
    }
    for lot in &lots {
        let named = lot.delivery.is_some();
        let right = match lot.state {
            LotState::Open => !named,
            LotState::Reserved | LotState::InDoubt | LotState::Consumed => named,
            LotState::Void => lot.doubted_by.is_none(),
        };
        prop_assert!(right, "{lot:?}");
    }
    Ok(())
}

/// The counts of a message are those of its deliveries, and with the unplanned they are all that were asked for.
fn check_messages(rows: &Memory) -> Result<(), TestCaseError> {
    let deliveries: Vec<DeliveryRow> = rows.all();
    for message in rows.all::<MessageRow>() {
        let mut counts = DeliveryCounts::default();
        for delivery in deliveries.iter().filter(|delivery| delivery.message == message.id) {
            *counts.of_mut(delivery.state) += 1;
        }
        prop_assert_eq!(counts, message.counts);
        prop_assert_eq!(
            u64::from(message.targeted),
            u64::from(counts.planned()) + u64::from(message.unplanned())
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ledgers_say_what_the_aggregates_say_after_every_event(requests in requests(60)) {
        let world = World::of(&requests);
        let mut rows = Memory::default();
        for event in &world.log {
            rows.apply(ProjectionName::Ledgers, std::slice::from_ref(event)).unwrap();
            check_ledgers(&rows)?;
        }
        let books: Vec<LedgerBook> = rows.all();
        let touched = world.ledgers.values().filter(|ledger| **ledger != Default::default()).count();
        prop_assert_eq!(books.len(), touched);
        for book in books {
            let ledger = &world.ledgers[&(book.row.subject, book.row.template.clone())];
            prop_assert_eq!(book.row.totals(), ledger.totals());
            prop_assert_eq!(book.row.suspended_since, ledger.suspension().map(|s| s.since));
            prop_assert_eq!(LedgerParts::from(&book.state), LedgerParts::from(ledger));
        }
    }

    #[test]
    fn every_recipient_is_in_exactly_one_state_after_every_event(requests in requests(60)) {
        let world = World::of(&requests);
        let mut rows = Memory::default();
        for event in &world.log {
            rows.apply(ProjectionName::Messages, std::slice::from_ref(event)).unwrap();
            check_messages(&rows)?;
        }
        for message in rows.all::<MessageRow>() {
            let aggregate = &world.messages[&message.id];
            prop_assert_eq!(message.counts.planned(), aggregate.planned());
            prop_assert_eq!(message.retracted_at.is_some(), aggregate.is_retracted());
        }
        for delivery in rows.all::<DeliveryRow>() {
            let Some(subject) = delivery.subject else { continue };
            let under_way = world
                .ledgers
                .get(&(subject, delivery.template.clone()))
                .is_some_and(|ledger| ledger.outstanding().contains_key(&delivery.id()));
            prop_assert_eq!(under_way, !delivery.state.is_terminal(), "{:?}", delivery);
        }
    }

    #[test]
    fn rows_do_not_depend_on_how_events_are_cut_into_batches(requests in requests(60), cut in 1..40usize) {
        let world = World::of(&requests);
        for projection in [ProjectionName::Ledgers, ProjectionName::Messages] {
            let mut one_by_one = Memory::default();
            let mut in_batches = Memory::default();
            let mut at_once = Memory::default();
            world.log.chunks(1).for_each(|batch| one_by_one.apply(projection, batch).unwrap());
            world.log.chunks(cut).for_each(|batch| in_batches.apply(projection, batch).unwrap());
            at_once.apply(projection, &world.log).unwrap();
            prop_assert_eq!(&one_by_one, &in_batches);
            prop_assert_eq!(&one_by_one, &at_once);
        }
    }
}

/// The properties above mean little for states that no history reaches.
#[test]
fn random_histories_reach_every_state() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut delivery_states = BTreeSet::new();
    let mut lot_states = BTreeSet::new();
    for _ in 0..300 {
        let world = World::of(&requests(60).new_tree(&mut runner).unwrap().current());
        let mut rows = Memory::default();
        rows.apply(ProjectionName::Messages, &world.log).unwrap();
        rows.apply(ProjectionName::Ledgers, &world.log).unwrap();
        delivery_states.extend(rows.all::<DeliveryRow>().iter().map(|row| row.state));
        lot_states.extend(rows.all::<LotRow>().iter().map(|row| row.state));
    }
    assert_eq!(delivery_states.len(), DeliveryState::ALL.len(), "{delivery_states:?}");
    assert_eq!(lot_states.len(), 5, "{lot_states:?}");
}
