//! The relay's queue.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use subledger_store::{
    ClaimedRelay, Effect, Executor, PushFilter, PushRow, PushState, RelayEnd, RelayRoom, RelayState, Store,
};

use super::pushes::{FAR, body, key, row, settle, write};
use crate::{
    fixture::{Db, START},
    works::{log, subject},
};

const LEASE: Duration = Duration::from_secs(60);

/// Keeps pushes to relay, each given as number and sender, in this order.
async fn keep(executor: &Executor, name: &str, pushes: &[(u128, u128)]) {
    let relayed = |(number, whose): &(u128, u128)| {
        Effect::KeepPush(PushRow { relay_due_at: Some(START), ..row(*number, *whose) })
    };
    write(executor, name, pushes.iter().map(relayed).collect()).await;
}

fn number(claim: &ClaimedRelay) -> u128 {
    u128::from_be_bytes(*claim.push.key.as_bytes())
}

async fn claim(store: &Store, node: &str) -> Vec<ClaimedRelay> {
    store.claim_relays(node, LEASE, &RelayRoom::of(10)).await.unwrap()
}

/// Numbers of what `node-1` claims.
async fn claimed(store: &Store) -> Vec<u128> {
    claim(store, "node-1").await.iter().map(number).collect()
}

/// Ends the lease of `node-1` on a push of log `mp`.
async fn end(store: &Store, number: u128, end: RelayEnd) -> bool {
    end_of(store, "node-1", number, end).await
}

async fn end_of(store: &Store, node: &str, number: u128, end: RelayEnd) -> bool {
    let id = store.push(&log("mp"), key(number)).await.unwrap().unwrap().push.id;
    store.settle_relay(&log("mp"), id, node, end).await.unwrap()
}

fn again() -> RelayEnd {
    RelayEnd::Again { due_at: FAR, status: "503".to_owned() }
}

fn given_up() -> RelayEnd {
    RelayEnd::GivenUp { status: "410".to_owned() }
}

pub async fn pushes_of_one_sender_go_one_by_one_in_order(db: Db) {
    let (store, executor) = db.node().await;
    assert_eq!(store.next_relay_due(&RelayRoom::of(1)).await.unwrap(), None);
    write(&executor, "mp", vec![Effect::KeepPush(row(9, 7))]).await;
    assert!(claim(&store, "node-1").await.is_empty(), "not every push is to be relayed");
    // The keys are in no order.
    keep(&executor, "mp", &[(3, 7), (1, 7), (2, 7), (4, 8)]).await;
    keep(&executor, "mp2", &[(5, 7)]).await;
    assert_eq!(store.next_relay_due(&RelayRoom::of(1)).await.unwrap(), Some(START));
    let first = claim(&store, "node-1").await;
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [3, 4, 5], "one of each sender and log");
    for one in &first {
        assert_eq!((&one.body, one.push.relay_attempts), (&body(number(one)), 1));
        assert_eq!((one.push.relay, one.push.relay_node.as_deref()), (RelayState::Leased, Some("node-1")));
        assert!(one.lease_until > START);
    }
    assert!(claimed(&store).await.is_empty());
    assert!(end(&store, 3, RelayEnd::Done).await);
    let done = store.push(&log("mp"), key(3)).await.unwrap().unwrap().push;
    assert_eq!((done.relay, done.relay_due_at, done.relay_node), (RelayState::Done, None, None));
    assert_eq!(done.relay_status.as_deref(), Some("ok"));
    assert_eq!(claimed(&store).await, [1]);
    // What comes meanwhile stands behind, and what was acted on meanwhile is relayed all the same.
    keep(&executor, "mp", &[(0, 7)]).await;
    write(&executor, "mp", vec![settle(2, PushState::Acted)]).await;
    assert!(end(&store, 1, RelayEnd::Done).await);
    assert_eq!(claimed(&store).await, [2]);
    assert!(end(&store, 2, RelayEnd::Done).await);
    assert_eq!(claimed(&store).await, [0]);
    assert!(end(&store, 0, RelayEnd::Done).await);
    assert!(claimed(&store).await.is_empty());
    assert!(!end(&store, 0, RelayEnd::Done).await, "it has ended");
    assert!(!end(&store, 9, RelayEnd::Done).await, "it was never leased");
    assert!(!store.settle_relay(&log("nosuch"), 1, "node-1", RelayEnd::Done).await.unwrap());
    // A claim takes no more than asked for, the longest due first.
    keep(&executor, "mp", &[(21, 21), (22, 22), (23, 23)]).await;
    db.tamper("update push set relay_due_at = relay_due_at - 1 where relay = 1 and seen = 1").await;
    assert_eq!(store.claim_relays("node-1", LEASE, &RelayRoom::of(2)).await.unwrap().len(), 2);
    assert_eq!(store.claim_relays("node-1", LEASE, &RelayRoom::of(2)).await.unwrap().len(), 1);
    assert!(store.claim_relays("node-1", LEASE, &RelayRoom::of(0)).await.unwrap().is_empty());
}

pub async fn those_that_name_nobody_are_one_sender_per_log(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 0), (2, 0), (3, 5)]).await;
    keep(&executor, "mp2", &[(4, 0)]).await;
    assert_eq!(claimed(&store).await, [1, 3, 4]);
    assert!(claimed(&store).await.is_empty());
    assert!(end(&store, 1, given_up()).await);
    assert_eq!(claimed(&store).await, [2]);
}

pub async fn a_lease_that_ran_out_is_taken_over_and_its_holder_refused(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 7), (2, 7)]).await;
    assert_eq!(claimed(&store).await, [1]);
    // Leases run on database time, which a test cannot move on PostgreSQL: move the lease instead.
    let run_out = "update push set relay_due_at = 1 where relay = 2";
    assert_eq!(db.tamper(run_out).await, 1);
    let taken = claim(&store, "node-2").await;
    assert_eq!((taken.len(), number(&taken[0]), taken[0].push.relay_attempts), (1, 1, 2));
    for ended in [RelayEnd::Done, again(), given_up()] {
        assert!(!end(&store, 1, ended).await, "the lease was lost");
    }
    let found = store.push(&log("mp"), key(1)).await.unwrap().unwrap().push;
    assert_eq!((found.relay, found.relay_status), (RelayState::Leased, None));
    assert!(claimed(&store).await.is_empty());
    // A lease that ran out and that nobody took over is as good as any.
    assert_eq!(db.tamper(run_out).await, 1);
    assert!(end_of(&store, "node-2", 1, RelayEnd::Done).await);
    assert_eq!(claimed(&store).await, [2]);
}

pub async fn what_is_tried_again_holds_its_sender_back(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 7), (2, 7), (3, 8)]).await;
    assert_eq!(claimed(&store).await, [1, 3]);
    assert!(end(&store, 1, again()).await);
    let waits = store.push(&log("mp"), key(1)).await.unwrap().unwrap().push;
    assert_eq!((waits.relay, waits.relay_due_at), (RelayState::Waiting, Some(FAR)));
    assert_eq!(waits.relay_status.as_deref(), Some("503"));
    assert!(claimed(&store).await.is_empty());
    assert!(end(&store, 3, RelayEnd::Done).await);
    assert_eq!(
        store.next_relay_due(&RelayRoom::of(1)).await.unwrap(),
        Some(FAR),
        "what stands behind has no time of its own"
    );
    keep(&executor, "mp", &[(4, 7)]).await;
    assert!(claimed(&store).await.is_empty());
    assert_eq!(db.tamper("update push set relay_due_at = 1 where relay_due_at is not null").await, 1);
    let tried = claim(&store, "node-1").await;
    assert_eq!((tried.len(), number(&tried[0]), tried[0].push.relay_attempts), (1, 1, 2));
    assert!(end(&store, 1, RelayEnd::Done).await);
    assert_eq!(claimed(&store).await, [2]);
}

pub async fn what_was_given_up_lets_the_next_go_and_can_be_tried_again(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 7), (2, 7), (3, 7), (4, 8)]).await;
    keep(&executor, "mp2", &[(5, 7)]).await;
    assert_eq!(claimed(&store).await, [1, 4, 5]);
    assert!(end(&store, 1, given_up()).await);
    assert!(end(&store, 4, given_up()).await);
    assert_eq!(claimed(&store).await, [2]);
    // It waits again while a later one of its sender is under way: that one first, then in order.
    let mp = log("mp");
    let of = |whose| PushFilter { subject: Some(subject(whose)), ..PushFilter::default() };
    assert_eq!(
        store.redrive_relays(&mp, &PushFilter { state: Some(PushState::Failed), ..of(7) }).await.unwrap(),
        0
    );
    let done = PushFilter { relay: Some(RelayState::Done), ..PushFilter::default() };
    assert_eq!(store.redrive_relays(&mp, &done).await.unwrap(), 0);
    assert_eq!(store.redrive_relays(&mp, &of(7)).await.unwrap(), 1);
    assert_eq!(store.redrive_relays(&mp, &of(7)).await.unwrap(), 0);
    assert!(claimed(&store).await.is_empty());
    // Also when its lease ran out.
    assert_eq!(db.tamper("update push set relay_due_at = 1 where relay = 2 and seen = 1").await, 2);
    assert_eq!(claimed(&store).await, [2, 5]);
    assert!(end(&store, 2, again()).await);
    let anew = claim(&store, "node-1").await;
    assert_eq!((anew.len(), number(&anew[0]), anew[0].push.relay_attempts), (1, 1, 1), "attempts count anew");
    assert!(end(&store, 1, RelayEnd::Done).await);
    assert!(claimed(&store).await.is_empty(), "the next one waits until it is due");
    assert_eq!(store.redrive_relays(&mp, &PushFilter::default()).await.unwrap(), 1);
    assert_eq!(claimed(&store).await, [4]);
    // In pieces, whatever their number.
    let many: Vec<(u128, u128)> = (100..1_350).map(|number| (number, 9)).collect();
    keep(&executor, "mp", &many).await;
    db.tamper("update push set relay = 4, relay_due_at = null where relay = 1").await;
    assert_eq!(store.redrive_relays(&mp, &PushFilter::default()).await.unwrap(), 1_252);
    assert_eq!(claimed(&store).await, [2, 100]);
}

pub async fn what_is_held_back_waits_and_no_attempt_is_counted(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 7), (2, 7), (3, 8), (4, 9)]).await;
    keep(&executor, "mp2", &[(5, 7)]).await;
    assert_eq!(store.claim_relays("node-1", LEASE, &RelayRoom::of(1)).await.unwrap().len(), 1);
    assert!(end(&store, 1, RelayEnd::Held { due_at: FAR }).await);
    let push = |number| {
        let store = store.clone();
        async move { store.push(&log("mp"), key(number)).await.unwrap().unwrap().push }
    };
    let held = push(1).await;
    assert_eq!((held.relay, held.relay_attempts, held.relay_status), (RelayState::Waiting, 0, None));
    assert_eq!((held.relay_due_at, held.relay_since), (Some(FAR), START));
    // One is under way, one waits behind another, one is due later already: none of them is touched.
    let leased = store.claim_relays("node-1", LEASE, &RelayRoom::of(1)).await.unwrap();
    assert_eq!(number(&leased[0]), 3);
    let until = START.plus_seconds(3_600 * 24 * 365 * 20);
    assert_eq!(
        store.hold_relays(&log("mp"), until).await.unwrap(),
        1 + u64::from(push(2).await.relay_due_at.is_some())
    );
    assert_eq!(store.hold_relays(&log("mp"), until).await.unwrap(), 0);
    assert_eq!(push(4).await.relay_due_at, Some(until));
    assert_eq!(push(1).await.relay_due_at, Some(FAR));
    assert_eq!(push(3).await.relay, RelayState::Leased);
    assert_eq!(claimed(&store).await, [5], "another log goes on");
    // Attempts that end say so; begun anew, a push has all its time again.
    assert!(end(&store, 3, given_up()).await);
    assert_eq!(push(3).await.relay_since, START);
    assert_eq!(store.oldest_relay(&log("mp")).await.unwrap(), Some(START));
    db.clock.advance_seconds(60);
    assert_eq!(store.redrive_relays(&log("mp"), &PushFilter::default()).await.unwrap(), 1);
    assert!(push(3).await.relay_since > START);
}

pub async fn a_long_line_is_looked_at_once(db: Db) {
    let (store, executor) = db.node().await;
    let line: Vec<(u128, u128)> = (0..700).map(|number| (number, 7)).collect();
    keep(&executor, "mp", &line).await;
    keep(&executor, "mp", &[(1_001, 1), (1_002, 2), (1_003, 0)]).await;
    assert_eq!(claimed(&store).await, [0, 1_001, 1_002, 1_003], "whoever stands behind a long line is found");
    let timed = "select count(*) from push where relay_due_at is not null";
    assert_eq!(db.number(timed).await, 4);
    assert!(claimed(&store).await.is_empty());
    for number in 0..3 {
        assert!(end(&store, number, RelayEnd::Done).await);
        assert_eq!(db.number(timed).await, 4, "the next one has its time");
        assert_eq!(claimed(&store).await, [number + 1]);
    }
}

pub async fn a_log_takes_no_more_than_its_room(db: Db) {
    let (store, executor) = db.node().await;
    // More than one look finds, and due before all others.
    let many: Vec<(u128, u128)> = (100..500).map(|number| (number, number)).collect();
    keep(&executor, "mp", &many).await;
    db.tamper("update push set relay_due_at = relay_due_at - 1").await;
    keep(&executor, "mp2", &[(1, 1), (2, 2), (3, 3)]).await;
    keep(&executor, "mp3", &[(4, 4)]).await;
    let claim = async |limit, per_log, busy: &[(&str, u32)]| {
        let busy = busy.iter().map(|(name, busy)| (log(name), *busy)).collect();
        let room = RelayRoom { limit, per_log, busy };
        let claimed = store.claim_relays("node-1", LEASE, &room).await.unwrap();
        (claimed.iter().map(number).collect::<Vec<_>>(), store.next_relay_due(&room).await.unwrap())
    };
    let due = START.plus_micros(-1);
    assert_eq!(claim(1, 2, &[]).await, (vec![100], Some(due)), "as many as asked for");
    assert_eq!(claim(10, 2, &[("mp", 1)]).await, (vec![101, 1, 2, 4], Some(due)));
    assert_eq!(claim(10, 2, &[("mp", 2), ("mp2", 2), ("mp3", 1)]).await.0, Vec::<u128>::new());
    let full = claim(10, 2, &[("mp", 2), ("mp2", 1), ("nosuch", 7)]).await;
    assert_eq!(full.0, [3]);
    assert_eq!(full.1.map(|due| due > START), Some(true), "what is due of a full log is nothing to wake for");
    // What there was no room for has lost nothing.
    assert_eq!(claim(3, 1_000, &[]).await, (vec![102, 103, 104], Some(due)));
}

pub async fn a_body_that_does_not_open_stops_nobody(db: Db) {
    let (store, executor) = db.node().await;
    keep(&executor, "mp", &[(1, 7), (2, 7)]).await;
    let first = store.push(&log("mp"), key(1)).await.unwrap().unwrap().push.id;
    let swap =
        "update push set sealed = (select p.sealed from push p order by p.id desc limit 1) where id = ";
    assert_eq!(db.tamper(&format!("{swap}{first}")).await, 1);
    assert!(claimed(&store).await.is_empty());
    assert_eq!(claimed(&store).await, [2]);
    let given_up = PushFilter { relay: Some(RelayState::GivenUp), ..PushFilter::default() };
    let listed = store.pushes(&log("mp"), &given_up, Default::default(), 9).await.unwrap();
    assert_eq!((listed.len(), listed[0].key), (1, key(1)));
    assert_eq!(listed[0].relay_status.as_deref(), Some("sealed"));
}

pub async fn claims_and_ends_at_once_keep_the_order_and_lose_nothing(db: Db) {
    const PUSHES: u128 = 300;
    const SENDERS: u128 = 12;
    let (store, executor) = db.node().await;
    let other = db.open().await;
    // Half of them before, half while the relay runs; the first sender is nobody.
    let push = |number| (number, number % SENDERS);
    keep(&executor, "mp", &(0..PUSHES / 2).map(push).collect::<Vec<_>>()).await;
    let ended: Mutex<Vec<ClaimedRelay>> = Mutex::default();
    let relay = |node: usize, store: Store| {
        let ended = &ended;
        async move {
            let node = format!("node-{node}");
            while ended.lock().unwrap().len() < PUSHES as usize {
                let claimed = store.claim_relays(&node, LEASE, &RelayRoom::of(5)).await.unwrap();
                let senders: HashSet<_> = claimed.iter().map(|claim| claim.push.subject).collect();
                assert_eq!(senders.len(), claimed.len());
                let ends = claimed.into_iter().map(|claim| {
                    let (store, node) = (&store, &node);
                    async move {
                        let id = claim.push.id;
                        // In the books before the lease ends: the next one of the sender cannot be there yet.
                        ended.lock().unwrap().push(claim);
                        assert!(store.settle_relay(&log("mp"), id, node, RelayEnd::Done).await.unwrap());
                    }
                });
                futures::future::join_all(ends).await;
                tokio::task::yield_now().await;
            }
        }
    };
    let nodes = (0..4).map(|node| relay(node, if node % 2 == 0 { store.clone() } else { other.clone() }));
    let more = async {
        for number in PUSHES / 2..PUSHES {
            keep(&executor, "mp", &[push(number)]).await;
        }
    };
    let all = futures::future::join(futures::future::join_all(nodes), more);
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("a push is never claimed");
    let mut by_sender: BTreeMap<_, Vec<u128>> = BTreeMap::new();
    for claim in ended.into_inner().unwrap() {
        by_sender.entry(claim.push.subject).or_default().push(number(&claim));
    }
    assert_eq!(by_sender.len(), SENDERS as usize);
    for numbers in by_sender.values() {
        assert_eq!(numbers.len(), (PUSHES / SENDERS) as usize);
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}
