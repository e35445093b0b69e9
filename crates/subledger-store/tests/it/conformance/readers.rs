//! Readers never miss an event, and writers never write over each other.

use std::{collections::HashMap, time::Duration};

use subledger_domain::{StreamName, binding::Binding, ledger::Ledger};
use subledger_store::{Position, Recorded, Store, SubmitError, verify_chain};
use tokio::time::timeout;

use crate::{
    fixture::Db,
    works::{Bind, Grant, Reserve, all, delivery, in_one_batch, ledger, log, replay, subject, submit, user},
};

/// Far more than any wait here takes; reached only by a defect.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn a_commit_wakes_the_tail_of_this_node_and_of_others(db: Db) {
    let (store, executor) = db.node().await;
    let other = db.open().await;
    let (mut here, mut there) = (store.tail(&log("mp")), other.tail(&log("mp")));
    let mut logs = other.logs();
    assert_eq!((*here.borrow(), *there.borrow()), (Position(0), Position(0)));
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    // On this node the answer comes after the wake-up.
    assert_eq!(*here.borrow_and_update(), Position(1));
    timeout(PATIENCE, there.wait_for(|position| *position == Position(1))).await.unwrap().unwrap();
    assert_eq!(other.read_log(&log("mp"), Position(0), 10).await.unwrap().len(), 1);
    timeout(PATIENCE, logs.wait_for(|logs| logs == &[log("mp")])).await.unwrap().unwrap();
}

/// Reads a log by position as it grows, until it has this many events.
async fn follow(store: Store, name: &'static str, until: u64) -> Vec<Recorded> {
    let mut seen: Vec<Recorded> = Vec::new();
    while (seen.len() as u64) < until {
        let after = seen.last().map_or(Position(0), |event| event.position);
        seen.extend(store.read_log(&log(name), after, 37).await.unwrap());
        tokio::task::yield_now().await;
    }
    seen
}

pub async fn readers_by_position_miss_nothing_under_concurrent_writers(db: Db) {
    const NODES: u64 = 3;
    const WRITERS: u64 = 4;
    const COMMANDS: u64 = 50;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(db.node().await);
    }
    let total = NODES * WRITERS * COMMANDS;
    let readers: Vec<_> =
        nodes.iter().map(|(store, _)| tokio::spawn(follow(store.clone(), "mp", total))).collect();
    let mut writers = Vec::new();
    for (node, (_, executor)) in nodes.iter().enumerate() {
        for writer in 0..WRITERS {
            let executor = executor.clone();
            writers.push(tokio::spawn(async move {
                for n in 0..COMMANDS {
                    let stream = ledger(u128::from((node as u64 * 7 + writer * 3 + n) % 11));
                    submit(&executor, "mp", Grant(stream)).await.unwrap();
                }
            }));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for reader in readers {
        let seen = timeout(PATIENCE, reader).await.unwrap().unwrap();
        assert_eq!(verify_chain(&seen).unwrap().0, Position(total));
        let mut versions: HashMap<_, u64> = HashMap::new();
        for event in &seen {
            let version = versions.entry(event.stream.clone()).or_default();
            *version += 1;
            assert_eq!(event.version, *version);
        }
    }
}

pub async fn two_executors_on_one_log_agree(db: Db) {
    let (store, one) = db.node().await;
    let (_, two) = db.node().await;
    for n in 0..40 {
        // Each finds its cached state outdated by the other.
        let (here, there) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        assert_eq!(submit(here, "mp", Grant(ledger(1))).await.unwrap().answer, 1);
        assert_eq!(submit(there, "mp", Reserve(ledger(1), delivery(n, 0))).await.unwrap().answer, 0);
        let refused = submit(here, "mp", Reserve(ledger(1), delivery(n, 1))).await;
        assert!(matches!(refused, Err(SubmitError::Refused(_))));
    }
    let contended = (0..100).map(|n| submit(if n % 2 == 0 { &one } else { &two }, "mp", Grant(ledger(2))));
    let mut balances: Vec<u64> =
        futures::future::join_all(contended).await.into_iter().map(|done| done.unwrap().answer).collect();
    balances.sort_unstable();
    assert_eq!(balances, (1..=100).collect::<Vec<_>>());
    assert_eq!(verify_chain(&all(&store, "mp").await).unwrap().0, Position(180));
    let (state, _) = store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap();
    assert_eq!(state, replay(&store, "mp", &ledger(1)).await);
    assert_eq!(state.outstanding().len(), 40);
}

/// A refusal rests on the state of the log as much as an event does: what another executor wrote a moment ago must count.
pub async fn no_executor_refuses_on_old_news(db: Db) {
    let ((_, one), (_, two)) = (db.node().await, db.node().await);
    let reserve = |n| Reserve(ledger(1), delivery(n, 0));
    for n in 0..60 {
        // Both know the log and the ledger now, each thinks that it wrote last.
        assert!(submit(&two, "mp", reserve(2 * n)).await.is_err(), "there is no grant");
        submit(&one, "mp", Grant(ledger(2))).await.unwrap();
        submit(&two, "mp", Grant(ledger(1))).await.unwrap();
        submit(&one, "mp", reserve(2 * n + 1)).await.unwrap();
    }
}

/// A refusal, or an answer that changes nothing, rests on what is in the log, not on what this node knew of it.
pub async fn an_answer_that_writes_nothing_is_not_older_than_the_log(db: Db) {
    let (store, one) = db.node().await;
    let (_, two) = db.node().await;
    let binding = StreamName::binding(user(1));
    // Twice each time: the second command finds the executor on the quick way.
    for round in 0..3 {
        let (here, there) = (subject(2 * round), subject(2 * round + 1));
        for _ in 0..2 {
            submit(&one, "mp", Bind(user(1), here)).await.unwrap();
        }
        submit(&two, "mp", Bind(user(1), there)).await.unwrap();
        submit(&one, "mp", Bind(user(1), here)).await.unwrap();
        let (state, _) = store.load::<Binding>(&log("mp"), &binding).await.unwrap();
        assert_eq!(state.subject(), Some(here), "round {round}: bound, said the node, and it was not");
    }
    for n in 0..3 {
        for _ in 0..40 {
            let refused = submit(&one, "mp", Reserve(ledger(1), delivery(n, 0))).await;
            assert!(matches!(refused, Err(SubmitError::Refused(_))), "{refused:?}");
        }
        submit(&two, "mp", Grant(ledger(1))).await.unwrap();
        submit(&one, "mp", Reserve(ledger(1), delivery(n, 0))).await.expect("granted on the other node");
    }
}

/// A stream that moved on elsewhere is read once, however many commands of a batch want it.
pub async fn commands_of_one_batch_share_what_another_node_wrote(db: Db) {
    let ((store, one), (_, two)) = (db.node().await, db.node().await);
    for n in 0..20 {
        // Refused with the heads locked, once the first rounds have told each of the other: the state stays cached.
        let refused = submit(&one, "mp", Reserve(ledger(1), delivery(10 * n, 0))).await;
        assert!(matches!(refused, Err(SubmitError::Refused(_))), "{refused:?}");
        for _ in 0..2 {
            submit(&two, "mp", Grant(ledger(1))).await.unwrap();
        }
        let reserve = |m| submit(&one, "mp", Reserve(ledger(1), delivery(10 * n + m, 0)));
        for reserved in in_one_batch(&one, "mp", vec![reserve(1), reserve(2)]).await {
            reserved.expect("both were granted on the other node");
        }
    }
    assert_eq!(verify_chain(&all(&store, "mp").await).unwrap().0, Position(80));
}
