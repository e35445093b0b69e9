//! Deciding inside a batch.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use subledger_domain::{StreamName, ledger::Ledger};
use subledger_store::{
    Claimable, Effect, Executor, ExecutorConfig, Position, Stop, StoreError, StreamRef, SubmitError,
    verify_chain,
};

use crate::{
    fixture::{Db, START},
    works::{
        Bind, Custom, Effects, Grant, GrantByUser, Oversized, Reserve, all, delivery, in_one_batch, ledger,
        log, receipt, row, subject, submit, submit_with, user,
    },
};

pub async fn a_command_sees_what_earlier_ones_of_its_batch_did(db: Db) {
    let (store, executor) = db.node().await;
    let commands = vec![
        submit(&executor, "mp", Reserve(ledger(1), delivery(1, 0))).boxed(),
        submit(&executor, "mp", Grant(ledger(1))).boxed(),
        submit(&executor, "mp", Reserve(ledger(1), delivery(1, 1))).boxed(),
        submit(&executor, "mp", Reserve(ledger(1), delivery(1, 2))).boxed(),
    ];
    let done = in_one_batch(&executor, "mp", commands).await;
    assert!(matches!(done[0], Err(SubmitError::Refused(_))));
    assert_eq!(done[1].as_ref().unwrap().position, Position(1));
    assert_eq!(done[2].as_ref().unwrap().answer, 0);
    assert!(matches!(done[3], Err(SubmitError::Refused(_))));
    assert_eq!(all(&store, "mp").await.len(), 2);
}

pub async fn streams_are_asked_for_twice_so_one_may_lead_to_another(db: Db) {
    let (_, executor) = db.node().await;
    submit(&executor, "mp", Bind(user(1), subject(9))).await.unwrap();
    submit(&executor, "mp", Grant(ledger(9))).await.unwrap();
    let (_, fresh) = db.node().await;
    assert_eq!(submit(&fresh, "mp", GrantByUser(user(1))).await.unwrap().answer, 2);
    assert!(matches!(submit(&fresh, "mp", GrantByUser(user(2))).await, Err(SubmitError::Refused(_))));
    // Bound in the same batch: only the decision itself can know the ledger, and asks for it.
    let commands = vec![
        submit(&fresh, "mp", Bind(user(3), subject(7))).map(|done| done.map(|_| 0)).boxed(),
        submit(&fresh, "mp", GrantByUser(user(3))).map(|done| done.map(|done| done.answer)).boxed(),
    ];
    let done = in_one_batch(&fresh, "mp", commands).await;
    assert_eq!(*done[1].as_ref().unwrap(), 1);
}

pub async fn a_decision_may_ask_for_more_streams(db: Db) {
    let (_, executor) = db.node().await;
    for n in 0..3 {
        submit(&executor, "mp", Grant(ledger(n))).await.unwrap();
    }
    let (_, executor) = db.node().await;
    let total = Custom::<u64>::new(Vec::new(), |stage| {
        (0..3).map(|n| Ok(stage.state::<Ledger>(&ledger(n))?.balance())).sum()
    });
    assert_eq!(submit(&executor, "mp", total).await.unwrap().answer, 3);
}

pub async fn asking_without_end_is_a_fault(db: Db) {
    let (_, executor) = db.node().await;
    let asked = AtomicU32::new(0);
    let greedy = Custom::<()>::new(Vec::new(), move |_| {
        let next = ledger(u128::from(asked.fetch_add(1, Ordering::SeqCst)));
        Err(Stop::Need(vec![StreamRef::of::<Ledger>(next)]))
    });
    assert!(matches!(submit(&executor, "mp", greedy).await, Err(SubmitError::Fault(_))));
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
}

pub async fn a_refused_or_panicking_decision_leaves_nothing(db: Db) {
    let (store, executor) = db.node().await;
    let half = |end: fn() -> Stop<String>| {
        Custom::<()>::new(vec![StreamRef::of::<Ledger>(ledger(1))], move |stage| {
            use subledger_store::Work as _;
            Grant(ledger(1)).decide(stage)?;
            stage.effect(Effect::Enqueue(row(delivery(1, 0), 1, START)));
            Err(end())
        })
    };
    let commands = vec![
        submit_with(&executor, "mp", Some(receipt("a", 1)), half(|| Stop::Refuse("no".into()))).boxed(),
        submit(&executor, "mp", half(|| panic!("a defect in the work"))).boxed(),
        submit(&executor, "mp", half(|| Stop::Fault("broken".into()))).boxed(),
    ];
    let done = in_one_batch(&executor, "mp", commands).await;
    assert!(matches!(&done[0], Err(SubmitError::Refused(_))));
    assert!(matches!(&done[1], Err(SubmitError::Fault(what)) if what.contains("a defect in the work")));
    assert!(matches!(&done[2], Err(SubmitError::Fault(what)) if what == "broken"));
    assert!(all(&store, "mp").await.is_empty());
    assert_eq!(store.queue_stats(&log("mp"), Claimable::All).await.unwrap().queued, 0);
    assert_eq!(submit(&executor, "mp", Grant(ledger(1))).await.unwrap().answer, 1);
    assert_eq!(all(&store, "mp").await[0].version, 1);
}

pub async fn events_that_cannot_be_stored_are_a_fault_of_their_command(db: Db) {
    let (store, executor) = db.node().await;
    let long_name = StreamName::new("ledger", &"x".repeat(600));
    let commands = vec![
        submit(&executor, "mp", Grant(ledger(1))).boxed(),
        submit(&executor, "mp", Grant(long_name)).boxed(),
        submit_with(&executor, "mp", Some(receipt(&"x".repeat(301), 1)), Grant(ledger(1))).boxed(),
        submit(&executor, "mp", Oversized).boxed(),
        submit(&executor, "mp", Grant(ledger(1))).boxed(),
    ];
    let done = in_one_batch(&executor, "mp", commands).await;
    let fault = |at: usize| matches!(done[at], Err(SubmitError::Fault(_)));
    assert_eq!([fault(1), fault(2), fault(3)], [true; 3]);
    assert_eq!((done[0].as_ref().unwrap().answer, done[4].as_ref().unwrap().answer), (1, 2));
    assert_eq!(all(&store, "mp").await.len(), 2);
}

pub async fn a_command_the_database_refuses_fails_alone(db: Db) {
    let (store, executor) = db.node().await;
    let taken = Effects(vec![Effect::Enqueue(row(delivery(1, 0), 1, START))]);
    submit(&executor, "mp", taken.clone()).await.unwrap();
    let mut commands = Vec::new();
    for n in 0..20_u128 {
        commands.push(submit(&executor, "mp", Grant(ledger(n % 3))).map(|done| done.map(drop)).boxed());
        if n == 7 || n == 13 {
            commands.push(submit(&executor, "mp", taken.clone()).map(|done| done.map(drop)).boxed());
        }
    }
    if !db.is_sqlite() {
        // PostgreSQL stores no NUL in text.
        let nul = Grant(StreamName::new("ledger", "a\0b"));
        commands.push(submit(&executor, "mp", nul).map(|done| done.map(drop)).boxed());
    }
    let poison = if db.is_sqlite() { 2 } else { 3 };
    let done = in_one_batch(&executor, "mp", commands).await;
    let refused = |error: &SubmitError<String>| {
        let SubmitError::Store { source, maybe_recorded } = error else { return false };
        matches!(source, StoreError::Database { .. }) && !maybe_recorded
    };
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 20);
    assert_eq!(done.iter().filter(|done| done.as_ref().is_err_and(refused)).count(), poison);
    let events = all(&store, "mp").await;
    assert_eq!(events.len(), 20);
    assert_eq!(verify_chain(&events).unwrap().0, Position(20));
    assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(0)).await.unwrap().0.balance(), 7);
}

pub async fn a_dropped_caller_takes_nothing_back(db: Db) {
    let (store, executor) = db.node().await;
    {
        let mut dropped = std::pin::pin!(submit(&executor, "mp", Grant(ledger(1))));
        assert!(futures::poll!(&mut dropped).is_pending());
    }
    let mut tail = store.tail(&log("mp"));
    tail.wait_for(|position| *position >= Position(1)).await.unwrap();
    assert_eq!(all(&store, "mp").await.len(), 1);
}

pub async fn too_many_waiting_commands_are_turned_away(db: Db) {
    let store = db.open().await;
    let executor = Executor::start(
        store.clone(),
        ExecutorConfig { queue: 4, executors: 1, ..ExecutorConfig::default() },
    );
    let commands = (0..7).map(|_| submit(&executor, "mp", Grant(ledger(1)))).collect();
    let done = in_one_batch(&executor, "mp", commands).await;
    let overloaded = done.iter().filter(|done| matches!(done, Err(SubmitError::Overloaded))).count();
    assert_eq!((done.iter().filter(|done| done.is_ok()).count(), overloaded), (4, 3));
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    assert_eq!(all(&store, "mp").await.len(), 5);
}

pub async fn a_shutdown_finishes_what_waits(db: Db) {
    let store = db.open().await;
    let executor = Executor::start(store.clone(), ExecutorConfig { batch: 3, ..ExecutorConfig::default() });
    let mut commands =
        std::pin::pin!(futures::future::join_all((0..50).map(|_| submit(&executor, "mp", Grant(ledger(1))))));
    assert!(futures::poll!(&mut commands).is_pending());
    executor.shutdown().await;
    assert!(commands.await.iter().all(Result::is_ok));
    assert!(matches!(submit(&executor, "mp", Grant(ledger(1))).await, Err(SubmitError::ShuttingDown)));
    assert_eq!(all(&store, "mp").await.len(), 50);
    store.close().await;
}
