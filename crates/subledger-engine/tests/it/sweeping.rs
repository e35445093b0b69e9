//! Overdue doubts in numbers: more than a sweep looks at, several nodes after the same ones, and people between them.
//!
//! The sweep's pause is so long that what its first round leaves undone stays undone.

use std::{collections::BTreeMap, time::Duration};

use subledger_domain::{
    DeliveryId, EvidenceSource, LogName, MessageId,
    channel::Policy,
    ledger::{DoubtVerdict, LateOutcome, LedgerEvent},
};
use subledger_engine::{
    Engine, EngineSettings,
    doubts::{DoubtFilter, ManualVerdict},
};
use subledger_sandbox::{CallPath, FaultKind, FaultSpec};
use subledger_store::Position;

use crate::{
    capture::errors_of,
    place::{Place, on_both_databases},
    world::{World, to_user},
};

on_both_databases!(
    more_doubts_than_a_sweep_looks_at_are_all_closed,
    two_nodes_close_each_doubt_once,
    a_persons_word_stands_against_a_sweep_that_looked_before,
);

const PATIENCE: Duration = Duration::from_secs(60);
/// More than two pages of a sweep, each of 200.
const DOUBTS: u32 = 430;
const DEADLINE: i64 = 3_600;
/// Taken for sent, without a word of WeChat's.
const SENT: LateOutcome = LateOutcome::Sent { wechat_msgid: None };

fn rarely(settings: &mut EngineSettings) {
    settings.dispatch.lease = Duration::from_secs(3_600);
}

/// A world with so many doubts, all overdue; the node that made them is gone.
async fn overdue(place: &Place, doubt_verdict: DoubtVerdict, doubts: u32) -> (World, MessageId) {
    let policy = Policy { doubt_deadline_s: 3_600, doubt_verdict, ..Policy::default() };
    let world = World::with(place, policy, rarely).await;
    let names: Vec<String> = (0..doubts).map(|number| format!("user-{number}")).collect();
    for some in names.chunks(50) {
        let tapped = some.iter().map(async |name| {
            let openid = world.user(name).await;
            world.tap(name, &openid, name).await;
        });
        futures::future::join_all(tapped).await;
    }
    let never = FaultSpec { times: 0, ..FaultSpec::on(FaultKind::DropBeforeCommit, CallPath::Send) };
    world.wechat.inject(never).unwrap();
    world.engine.start_dispatch().await;
    let sent = world.send(names.iter().map(|name| to_user(name)).collect()).await.unwrap();
    until("all are in doubt", async || in_doubt(&world.engine).await == u64::from(doubts)).await;
    world.engine.shutdown().await;
    world.clock.pass_seconds(DEADLINE);
    (world, sent.msgid)
}

fn log() -> LogName {
    LogName::new("wechatmp123")
}

async fn in_doubt(engine: &Engine) -> u64 {
    engine.store().queue_stats(&log(), subledger_store::Claimable::All).await.unwrap().in_doubt
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How each doubt ended; fails if one ended twice.
async fn ends(engine: &Engine) -> BTreeMap<DeliveryId, (EvidenceSource, LateOutcome)> {
    let events = engine.store().read_log(&log(), Position(0), 10_000).await.unwrap();
    let mut ends = BTreeMap::new();
    for event in events {
        if let Ok(LedgerEvent::SettledLate(settled)) = event.decode() {
            let before = ends.insert(settled.delivery, (settled.evidence.source, settled.outcome));
            assert!(before.is_none(), "{} ended twice", settled.delivery);
        }
    }
    ends
}

async fn more_doubts_than_a_sweep_looks_at_are_all_closed(place: Place) {
    let (world, msgid) = overdue(&place, DoubtVerdict::Release, DOUBTS).await;
    let node = world.another_node(rarely).await;
    node.start_dispatch().await;
    until("no doubt is left", async || in_doubt(&node).await == 0).await;
    let ends = ends(&node).await;
    assert_eq!(ends.len(), DOUBTS as usize);
    for index in 0..DOUBTS {
        let end = &ends[&DeliveryId::new(msgid, index)];
        assert_eq!(*end, (EvidenceSource::Policy, LateOutcome::NotSent));
    }
    node.shutdown().await;
}

async fn two_nodes_close_each_doubt_once(place: Place) {
    errors_of("");
    let (world, _) = overdue(&place, DoubtVerdict::AssumeSent, DOUBTS).await;
    let (one, two) = (world.another_node(rarely).await, world.another_node(rarely).await);
    // On PostgreSQL neither can write before both have looked.
    let mut held = place.hold_head().await;
    tokio::join!(one.start_dispatch(), two.start_dispatch());
    held.until_waiting(2).await;
    held.let_go().await;
    until("no doubt is left", async || in_doubt(&one).await == 0).await;
    tokio::join!(one.shutdown(), two.shutdown());
    let reader = world.another_node(rarely).await;
    let ends = ends(&reader).await;
    assert_eq!(ends.len(), DOUBTS as usize);
    assert!(ends.values().all(|end| *end == (EvidenceSource::Policy, SENT)));
    assert_eq!(errors_of("subledger_engine"), Vec::<String>::new());
    reader.shutdown().await;
}

async fn a_persons_word_stands_against_a_sweep_that_looked_before(place: Place) {
    errors_of("");
    let (world, _) = overdue(&place, DoubtVerdict::AssumeSent, DOUBTS).await;
    let (hand, sweeper) = (world.another_node(rarely).await, world.another_node(rarely).await);
    let filter = DoubtFilter { template: None, since: None, limit: DOUBTS };
    let reason = "the phones show nothing".to_owned();
    let mut held = place.hold_head().await;
    let (caller, code) = (world.caller.clone(), world.code.clone());
    let person = hand.clone();
    let settling = tokio::spawn(async move {
        let verdict = ManualVerdict::NotSent;
        person.settle_doubts(&caller, &code, &filter, verdict, reason, false).await.unwrap().answer.settled
    });
    held.until_waiting(1).await;
    sweeper.start_dispatch().await;
    held.until_waiting(2).await;
    let first_is_the_persons = held.let_go().await;
    let settled = settling.await.unwrap();
    until("no doubt is left", async || in_doubt(&hand).await == 0).await;
    sweeper.shutdown().await;
    let ends = ends(&hand).await;
    assert_eq!(ends.len(), DOUBTS as usize);
    let by_hand = ends.values().filter(|end| **end == (EvidenceSource::Operator, LateOutcome::NotSent));
    let by_policy = ends.values().filter(|end| **end == (EvidenceSource::Policy, SENT));
    let (by_hand, by_policy) = (by_hand.count(), by_policy.count());
    assert_eq!(by_hand + by_policy, ends.len(), "{ends:?}");
    assert_eq!(by_hand, settled as usize, "what a person was told is what stands");
    assert!(by_hand > 0 || !first_is_the_persons, "the person's were waiting first");
    assert_eq!(errors_of("subledger_engine"), Vec::<String>::new());
    hand.shutdown().await;
}
