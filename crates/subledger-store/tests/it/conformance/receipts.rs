//! A command id is carried out once.

use subledger_store::{Position, SubmitError};

use crate::{
    fixture::Db,
    works::{Grant, Reserve, all, delivery, in_one_batch, ledger, receipt, submit, submit_with},
};

pub async fn a_repeated_command_gets_its_stored_answer(db: Db) {
    let (store, executor) = db.node().await;
    let first = submit_with(&executor, "mp", Some(receipt("a", 1)), Grant(ledger(1))).await.unwrap();
    assert_eq!((first.answer, first.position, first.replayed), (1, Position(1), false));
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let again = submit_with(&executor, "mp", Some(receipt("a", 1)), Grant(ledger(1))).await.unwrap();
    assert_eq!((again.answer, again.position, again.replayed), (1, Position(1), true));
    assert_eq!(all(&store, "mp").await.len(), 2);
    // Ids are of their log.
    let elsewhere = submit_with(&executor, "mp2", Some(receipt("a", 1)), Grant(ledger(1))).await.unwrap();
    assert!(!elsewhere.replayed);
}

pub async fn another_body_is_refused(db: Db) {
    let (store, executor) = db.node().await;
    submit_with(&executor, "mp", Some(receipt("a", 1)), Grant(ledger(1))).await.unwrap();
    let other = submit_with(&executor, "mp", Some(receipt("a", 2)), Grant(ledger(2))).await;
    assert!(matches!(other, Err(SubmitError::ReceiptConflict)));
    assert_eq!(all(&store, "mp").await.len(), 1);
}

pub async fn repetitions_inside_one_batch_are_one_command(db: Db) {
    let (store, executor) = db.node().await;
    let bodies = [1, 1, 2, 1];
    let commands = bodies
        .iter()
        .map(|body| submit_with(&executor, "mp", Some(receipt("a", *body)), Grant(ledger(1))))
        .collect();
    let done = in_one_batch(&executor, "mp", commands).await;
    assert!(matches!(done[2], Err(SubmitError::ReceiptConflict)));
    let replayed: Vec<_> = [0, 1, 3].iter().map(|at| done[*at].as_ref().unwrap()).collect();
    assert_eq!(replayed.iter().map(|done| done.replayed).collect::<Vec<_>>(), [false, true, true]);
    assert!(replayed.iter().all(|done| done.answer == 1 && done.position == Position(1)));
    assert_eq!(all(&store, "mp").await.len(), 1);
}

pub async fn receipts_outlive_a_restart_and_refusals_leave_none(db: Db) {
    let (store, executor) = db.node().await;
    let reserve = || Reserve(ledger(1), delivery(1, 0));
    let refused = submit_with(&executor, "mp", Some(receipt("r", 1)), reserve()).await;
    assert!(matches!(refused, Err(SubmitError::Refused(code)) if code == "no_grant"));
    submit_with(&executor, "mp", Some(receipt("g", 1)), Grant(ledger(1))).await.unwrap();
    executor.shutdown().await;
    store.close().await;

    let (_, executor) = db.node().await;
    assert!(submit_with(&executor, "mp", Some(receipt("g", 1)), Grant(ledger(1))).await.unwrap().replayed);
    // The refusal was not kept: the same id may be tried again now that there is a grant.
    assert!(!submit_with(&executor, "mp", Some(receipt("r", 1)), reserve()).await.unwrap().replayed);
}

/// The quick way does not look receipts up: the write finds the one that is there, and the commands beside it go through.
pub async fn a_receipt_that_nobody_remembers_is_found_by_the_write(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..3 {
        submit_with(&executor, "mp", Some(receipt(&format!("old-{n}"), 1)), Grant(ledger(n))).await.unwrap();
    }
    executor.shutdown().await;
    store.close().await;

    let (store, executor) = db.node().await;
    submit(&executor, "mp", Grant(ledger(9))).await.unwrap();
    let ids = ["new-0", "old-1", "new-1", "old-2", "old-2", "new-1"];
    let commands = ids
        .iter()
        .map(|id| submit_with(&executor, "mp", Some(receipt(id, 1)), Grant(ledger(5))))
        .collect::<Vec<_>>();
    let done: Vec<_> = futures::future::join_all(commands).await.into_iter().map(Result::unwrap).collect();
    let replayed: Vec<_> = done.iter().map(|done| done.replayed).collect();
    assert_eq!(replayed, [false, true, false, true, true, true]);
    assert_eq!((done[1].position, done[3].position), (Position(2), Position(3)));
    let other = submit_with(&executor, "mp", Some(receipt("old-0", 2)), Grant(ledger(5))).await;
    assert!(matches!(other, Err(SubmitError::ReceiptConflict)));
    assert_eq!(all(&store, "mp").await.len(), 3 + 1 + 2);
}

/// A command that would be refused today was answered once: the answer stands.
pub async fn a_repetition_that_would_be_refused_gets_its_stored_answer(db: Db) {
    let (_, executor) = db.node().await;
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let reserve =
        |id, body| submit_with(&executor, "mp", Some(receipt(id, body)), Reserve(ledger(1), delivery(1, 0)));
    reserve("once", 1).await.unwrap();
    executor.shutdown().await;

    let (store, executor) = db.node().await;
    let reserve =
        |id, body| submit_with(&executor, "mp", Some(receipt(id, body)), Reserve(ledger(1), delivery(1, 0)));
    for _ in 0..2 {
        submit(&executor, "mp", Grant(ledger(2))).await.unwrap();
    }
    let both = [reserve("once", 1), reserve("never", 1), reserve("once", 2)];
    let mut answers = futures::future::join_all(both).await;
    assert!(matches!(answers.pop(), Some(Err(SubmitError::ReceiptConflict))));
    assert!(matches!(answers.pop(), Some(Err(SubmitError::Refused(_)))));
    assert!(answers.pop().unwrap().unwrap().replayed);
    assert_eq!(all(&store, "mp").await.len(), 4);
}
