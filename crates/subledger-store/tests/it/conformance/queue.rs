//! The queue of deliveries.

use std::{collections::HashSet, time::Duration};

use subledger_domain::{DeliveryId, TemplateId, Timestamp};
use subledger_store::{Claimable, Claimed, Effect, Executor, QueueRow, QueueState, QueueStats, Store};

use crate::{
    fixture::{Db, START},
    works::{Effects, delivery, in_one_batch, log, row, submit},
};

const LEASE: Duration = Duration::from_secs(60);

async fn write(executor: &Executor, effects: Vec<Effect>) {
    submit(executor, "mp", Effects(effects)).await.unwrap();
}

async fn enqueue(executor: &Executor, rows: &[QueueRow]) {
    write(executor, rows.iter().cloned().map(Effect::Enqueue).collect()).await;
}

async fn claim(store: &Store, limit: u32) -> Vec<DeliveryId> {
    let claimed = store.claim(&log("mp"), "node-1", limit, LEASE, Claimable::All).await.unwrap();
    claimed.into_iter().map(|claim| claim.row.delivery).collect()
}

async fn state(store: &Store, delivery: DeliveryId) -> Option<QueueState> {
    let rows = store.queue_of(&log("mp"), delivery.message).await.unwrap();
    rows.into_iter().find(|entry| entry.row.delivery == delivery).map(|entry| entry.state)
}

fn at(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

pub async fn due_rows_are_claimed_oldest_first_and_once(db: Db) {
    let (store, executor) = db.node().await;
    let rows = [
        row(delivery(1, 0), 10, at(-1)),
        row(delivery(1, 1), 11, at(-3)),
        row(delivery(1, 2), 12, at(-2)),
        row(delivery(1, 3), 13, at(5)),
    ];
    enqueue(&executor, &rows).await;
    let first = store.claim(&log("mp"), "node-1", 2, LEASE, Claimable::All).await.unwrap();
    let claimed: Vec<_> = first.iter().map(|claim| claim.row.clone()).collect();
    assert_eq!(claimed, [rows[1].clone(), rows[2].clone()]);
    assert!(first.iter().all(|Claimed { lease_until, .. }| *lease_until > at(0)));
    assert_eq!(claim(&store, 10).await, [delivery(1, 0)]);
    assert!(claim(&store, 10).await.is_empty());
    db.clock.advance_seconds(6);
    assert_eq!(claim(&store, 10).await, [delivery(1, 3)]);
    // Given back, to be due later.
    store.unclaim(&log("mp"), &[delivery(1, 0)], at(20)).await.unwrap();
    assert!(claim(&store, 10).await.is_empty());
    db.clock.advance_seconds(20);
    assert_eq!(claim(&store, 10).await, [delivery(1, 0)]);
    assert!(store.claim(&log("mp2"), "node-1", 10, LEASE, Claimable::All).await.unwrap().is_empty());
}

pub async fn a_subject_has_one_row_under_way(db: Db) {
    let (store, executor) = db.node().await;
    let rows: Vec<_> = (0..3).map(|n| row(delivery(1, n), 7, at(-10 + i64::from(n)))).collect();
    enqueue(&executor, &rows).await;
    enqueue(&executor, &[row(delivery(2, 0), 8, at(-1))]).await;
    assert_eq!(claim(&store, 10).await, [delivery(1, 0), delivery(2, 0)]);
    assert!(claim(&store, 10).await.is_empty());
    write(&executor, vec![Effect::MarkStarted(delivery(1, 0))]).await;
    assert_eq!(state(&store, delivery(1, 0)).await, Some(QueueState::Started));
    assert!(claim(&store, 10).await.is_empty());
    write(&executor, vec![Effect::Requeue { delivery: delivery(1, 0), due_at: at(100) }]).await;
    assert_eq!(claim(&store, 10).await, [delivery(1, 1)]);
    write(&executor, vec![Effect::MarkStarted(delivery(1, 1)), Effect::Dequeue(delivery(1, 1))]).await;
    assert_eq!(state(&store, delivery(1, 1)).await, None);
    assert_eq!(claim(&store, 10).await, [delivery(1, 2)]);
    let entries = store.queue_of(&log("mp"), delivery(1, 0).message).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.row.attempts).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(entries[0].row.due_at, at(100));
}

pub async fn a_doubt_holds_back_its_subject_and_template(db: Db) {
    let (store, executor) = db.node().await;
    let other: TemplateId = "template-0002".parse().unwrap();
    let rows = [
        row(delivery(1, 0), 7, at(-4)),
        row(delivery(1, 1), 7, at(-3)),
        QueueRow { template: other, ..row(delivery(1, 2), 7, at(-2)) },
        row(delivery(1, 3), 8, at(-1)),
    ];
    enqueue(&executor, &rows).await;
    assert_eq!(claim(&store, 1).await, [delivery(1, 0)]);
    write(&executor, vec![Effect::MarkStarted(delivery(1, 0))]).await;
    write(&executor, vec![Effect::MarkInDoubt(delivery(1, 0))]).await;
    // The other template of the same person and other persons go on.
    assert_eq!(claim(&store, 10).await, [delivery(1, 2), delivery(1, 3)]);
    let doubts = store.doubts(&log("mp"), None, 10).await.unwrap();
    assert_eq!(
        (doubts.len(), doubts[0].row.delivery, doubts[0].state),
        (1, delivery(1, 0), QueueState::InDoubt)
    );
    assert!(store.doubts(&log("mp"), Some(delivery(1, 0)), 10).await.unwrap().is_empty());
    assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), None);
    write(&executor, vec![Effect::Dequeue(delivery(1, 0)), Effect::Dequeue(delivery(1, 2))]).await;
    assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), Some(at(-3)));
    assert_eq!(claim(&store, 10).await, [delivery(1, 1)]);
}

pub async fn leases_that_ran_out_are_swept(db: Db) {
    let (store, executor) = db.node().await;
    enqueue(&executor, &[row(delivery(1, 0), 1, at(-2)), row(delivery(1, 1), 2, at(-1))]).await;
    assert_eq!(claim(&store, 10).await.len(), 2);
    write(&executor, vec![Effect::MarkStarted(delivery(1, 0))]).await;
    assert_eq!(store.sweep(&log("mp"), 10).await.unwrap(), Default::default());
    // Leases run on database time, which a test cannot move on PostgreSQL: move the leases instead.
    assert_eq!(db.tamper("update queue set lease_until = 1").await, 2);
    let swept = store.sweep(&log("mp"), 10).await.unwrap();
    assert_eq!(swept.requeued, 1);
    assert_eq!(swept.lost.iter().map(|row| row.delivery).collect::<Vec<_>>(), [delivery(1, 0)]);
    assert_eq!(claim(&store, 10).await, [delivery(1, 1)]);
    // A lost row stays as it is until a command says what became of it.
    assert_eq!(state(&store, delivery(1, 0)).await, Some(QueueState::Started));
    write(&executor, vec![Effect::MarkInDoubt(delivery(1, 0))]).await;
    assert_eq!(store.sweep(&log("mp"), 10).await.unwrap(), Default::default());
}

pub async fn one_batch_may_queue_start_and_end_a_delivery(db: Db) {
    let (store, executor) = db.node().await;
    let one = |effect| submit(&executor, "mp", Effects(vec![effect]));
    let done = in_one_batch(
        &executor,
        "mp",
        vec![
            one(Effect::Enqueue(row(delivery(1, 0), 1, at(0)))),
            one(Effect::MarkStarted(delivery(1, 0))),
            one(Effect::Enqueue(row(delivery(1, 1), 2, at(0)))),
            one(Effect::MarkStarted(delivery(1, 1))),
            one(Effect::MarkInDoubt(delivery(1, 1))),
            one(Effect::Enqueue(row(delivery(1, 2), 3, at(0)))),
            one(Effect::Dequeue(delivery(1, 2))),
            one(Effect::Enqueue(row(delivery(1, 3), 4, at(0)))),
            one(Effect::Requeue { delivery: delivery(1, 3), due_at: at(9) }),
        ],
    )
    .await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(state(&store, delivery(1, 0)).await, Some(QueueState::Started));
    assert_eq!(state(&store, delivery(1, 1)).await, Some(QueueState::InDoubt));
    assert_eq!(state(&store, delivery(1, 2)).await, None);
    assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), Some(at(9)));
    // Ended and queued anew under the same id, in one batch; and the subject passes from one row to the next.
    let done = in_one_batch(
        &executor,
        "mp",
        vec![
            one(Effect::Dequeue(delivery(1, 1))),
            one(Effect::Enqueue(row(delivery(1, 1), 2, at(1)))),
            one(Effect::Requeue { delivery: delivery(1, 0), due_at: at(50) }),
            one(Effect::Enqueue(row(delivery(1, 5), 1, at(0)))),
            one(Effect::MarkStarted(delivery(1, 5))),
        ],
    )
    .await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(state(&store, delivery(1, 1)).await, Some(QueueState::Queued));
    assert_eq!(state(&store, delivery(1, 5)).await, Some(QueueState::Started));
    assert_eq!(state(&store, delivery(1, 0)).await, Some(QueueState::Queued));
}

pub async fn concurrent_claims_never_share_a_row_or_a_subject(db: Db) {
    let (store, executor) = db.node().await;
    let other = db.open().await;
    // 40 persons with 5 rows each.
    let rows: Vec<_> = (0..200).map(|n| row(delivery(1, n), u128::from(n % 40), at(-1))).collect();
    enqueue(&executor, &rows).await;
    for _ in 0..5 {
        let claims =
            (0..6).map(|n| {
                let store = if n % 2 == 0 { store.clone() } else { other.clone() };
                async move {
                    store.claim(&log("mp"), &format!("node-{n}"), 15, LEASE, Claimable::All).await.unwrap()
                }
            });
        let claimed: Vec<_> = futures::future::join_all(claims).await.into_iter().flatten().collect();
        let subjects: HashSet<_> = claimed.iter().map(|claim| claim.row.subject).collect();
        assert_eq!((claimed.len(), subjects.len()), (40, 40));
        write(&executor, claimed.iter().map(|claim| Effect::Dequeue(claim.row.delivery)).collect()).await;
    }
    assert_eq!(store.queue_stats(&log("mp"), Claimable::All).await.unwrap(), QueueStats::default());
}

pub async fn counts_and_the_next_due_time_are_right(db: Db) {
    let (store, executor) = db.node().await;
    assert_eq!(store.queue_stats(&log("mp"), Claimable::All).await.unwrap(), QueueStats::default());
    let rows: Vec<_> = (0..5).map(|n| row(delivery(1, n), u128::from(n), at(-10 + i64::from(n)))).collect();
    enqueue(&executor, &rows).await;
    enqueue(&executor, &[row(delivery(2, 0), 9, at(30))]).await;
    assert_eq!(claim(&store, 3).await, [delivery(1, 0), delivery(1, 1), delivery(1, 2)]);
    write(&executor, vec![Effect::MarkStarted(delivery(1, 0)), Effect::MarkStarted(delivery(1, 1))]).await;
    write(&executor, vec![Effect::MarkInDoubt(delivery(1, 1))]).await;
    let stats = store.queue_stats(&log("mp"), Claimable::All).await.unwrap();
    let expected =
        QueueStats { queued: 3, bulk: 0, claimed: 1, started: 1, in_doubt: 1, oldest_due_at: Some(at(-7)) };
    assert_eq!(stats, expected);
    assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), Some(at(-7)));
}

pub async fn what_is_held_back_is_not_overdue_but_expires(db: Db) {
    let (store, executor) = db.node().await;
    let rows =
        [row(delivery(1, 0), 7, at(-9)), row(delivery(1, 1), 7, at(-8)), row(delivery(1, 2), 8, at(-3))];
    enqueue(&executor, &rows).await;
    assert_eq!(claim(&store, 1).await, [delivery(1, 0)]);
    // The second row waits for its neighbour's call, not for a node.
    let oldest = || async { store.queue_stats(&log("mp"), Claimable::All).await.unwrap().oldest_due_at };
    assert_eq!(oldest().await, Some(at(-3)));
    write(&executor, vec![Effect::MarkStarted(delivery(1, 0)), Effect::MarkInDoubt(delivery(1, 0))]).await;
    assert_eq!(oldest().await, Some(at(-3)));
    // Its own time passes all the same. Rows under way or in doubt end by their answer, not by the clock.
    assert!(store.expired(&log("mp"), 10).await.unwrap().is_empty());
    db.clock.advance_seconds(3600 - 8);
    assert_eq!(store.expired(&log("mp"), 10).await.unwrap(), [rows[1].clone()]);
    db.clock.advance_seconds(60);
    assert_eq!(store.expired(&log("mp"), 10).await.unwrap(), rows[1..]);
    assert_eq!(store.expired(&log("mp"), 1).await.unwrap().len(), 1);
}

pub async fn doubts_are_overdue_by_the_time_in_doubt(db: Db) {
    let (store, executor) = db.node().await;
    let overdue = |until, limit| {
        let store = store.clone();
        async move {
            let entries = store.overdue_doubts(&log("mp"), until, None, limit).await.unwrap();
            entries.into_iter().map(|entry| (entry.row.delivery, entry.since)).collect::<Vec<_>>()
        }
    };
    for n in [2, 0, 1] {
        // Due long before: what counts is since when the row is in doubt.
        let queued = row(delivery(1, n), u128::from(n), at(-9_999));
        write(&executor, vec![Effect::Enqueue(queued), Effect::MarkStarted(delivery(1, n))]).await;
        assert!(overdue(at(1_000), 10).await.len() < 3);
        write(&executor, vec![Effect::MarkInDoubt(delivery(1, n))]).await;
        db.clock.advance_seconds(10);
    }
    assert_eq!(overdue(at(-1), 10).await, []);
    assert_eq!(overdue(at(0), 10).await, [(delivery(1, 2), at(0))]);
    assert_eq!(overdue(at(10), 10).await, [(delivery(1, 2), at(0)), (delivery(1, 0), at(10))]);
    assert_eq!(overdue(at(99), 1).await, [(delivery(1, 2), at(0))]);
    let other: TemplateId = "template-0002".parse().unwrap();
    assert_eq!(store.overdue_doubts(&log("mp"), at(99), Some(&other), 10).await.unwrap(), []);
    let own = row(delivery(1, 0), 0, at(0)).template;
    assert_eq!(store.overdue_doubts(&log("mp"), at(99), Some(&own), 10).await.unwrap().len(), 3);
    write(&executor, vec![Effect::Dequeue(delivery(1, 2))]).await;
    assert_eq!(overdue(at(99), 10).await, [(delivery(1, 0), at(10)), (delivery(1, 1), at(20))]);
}

pub async fn single_deliveries_go_on_while_bulk_is_held(db: Db) {
    let (store, executor) = db.node().await;
    let bulk = |id, whose, due| QueueRow { bulk: true, ..row(id, whose, due) };
    // Of person 7 a bulk delivery is due before a single one, of person 8 after it.
    let rows = [
        bulk(delivery(1, 0), 7, at(-9)),
        row(delivery(2, 0), 7, at(-5)),
        row(delivery(3, 0), 8, at(-4)),
        bulk(delivery(1, 1), 8, at(-3)),
        bulk(delivery(1, 2), 9, at(-2)),
    ];
    enqueue(&executor, &rows).await;
    let stats = store.queue_stats(&log("mp"), Claimable::All).await.unwrap();
    assert_eq!((stats.queued, stats.bulk, stats.oldest_due_at), (5, 3, Some(at(-9))));
    let singles = store.queue_stats(&log("mp"), Claimable::Singles).await.unwrap();
    assert_eq!((singles.queued, singles.bulk, singles.oldest_due_at), (5, 3, Some(at(-5))));
    assert_eq!(store.next_due(&log("mp"), Claimable::Singles).await.unwrap(), Some(at(-5)));
    let claimed = store.claim(&log("mp"), "node-1", 10, LEASE, Claimable::Singles).await.unwrap();
    let ids: Vec<DeliveryId> = claimed.iter().map(|claim| claim.row.delivery).collect();
    assert_eq!(ids, [delivery(2, 0), delivery(3, 0)], "what is held holds nobody back");
    assert!(claimed.iter().all(|claim| !claim.row.bulk));
    assert_eq!(store.next_due(&log("mp"), Claimable::Singles).await.unwrap(), None);
    // One delivery of a person at a time, bulk or not.
    assert_eq!(claim(&store, 10).await, [delivery(1, 2)]);
    write(&executor, vec![Effect::MarkStarted(delivery(2, 0))]).await;
    write(&executor, vec![Effect::Dequeue(delivery(2, 0)), Effect::Dequeue(delivery(3, 0))]).await;
    // A row stays what it is when it waits again.
    store.unclaim(&log("mp"), &[delivery(1, 2)], at(-1)).await.unwrap();
    assert!(store.claim(&log("mp"), "node-1", 10, LEASE, Claimable::Singles).await.unwrap().is_empty());
    assert_eq!(claim(&store, 10).await, [delivery(1, 0), delivery(1, 1), delivery(1, 2)]);
}

/// The table is small in one minute and large in the next: a plan made in the first must serve in the second.
pub async fn a_claim_looks_at_few_rows_however_it_was_planned(db: Db) {
    const PERSONS: u32 = 60;
    const ROWS: u32 = 3_000;
    let (store, executor) = db.node().await;
    enqueue(&executor, &[row(delivery(1, 0), 1, at(-1))]).await;
    write(&executor, vec![Effect::Dequeue(delivery(1, 0))]).await;
    db.tamper(if db.is_sqlite() { "analyze" } else { "vacuum analyze queue" }).await;
    // Often enough for a plan to be kept.
    for _ in 0..10 {
        assert!(claim(&store, 10).await.is_empty());
        assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), None);
    }
    for rows in (0..ROWS).collect::<Vec<_>>().chunks(500) {
        let rows =
            rows.iter().map(|n| row(delivery(2, *n), u128::from(n % PERSONS), at(i64::from(*n) - 9_999)));
        enqueue(&executor, &rows.collect::<Vec<_>>()).await;
    }
    let first: Vec<_> = (0..PERSONS).map(|n| delivery(2, n)).collect();
    assert_eq!(claim(&store, 100).await, first);
    assert!(claim(&store, 100).await.is_empty(), "everybody is busy");
    assert_eq!(store.next_due(&log("mp"), Claimable::All).await.unwrap(), None);
    executor.shutdown().await;
    store.close().await;
    if db.is_sqlite() {
        return;
    }
    let counted = |column: &str| format!("select {column} from pg_stat_user_tables where relname = 'queue'");
    // The server counts a connection's reads together with its writes, at the latest when the connection ends.
    while db.number(&counted("n_tup_upd")).await < i64::from(PERSONS) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = db.number(&counted("seq_tup_read + idx_tup_fetch")).await;
    assert!(read < i64::from(ROWS) * 20, "{read} rows were looked at");
}

/// However much bulk is held, a single delivery is found without looking at it.
pub async fn a_claim_of_singles_looks_at_little_of_the_bulk(db: Db) {
    const BULK: u32 = 3_000;
    let (store, executor) = db.node().await;
    let rows: Vec<QueueRow> = (0..BULK)
        .map(|n| QueueRow { bulk: true, ..row(delivery(1, n), u128::from(n), at(i64::from(n) - 9_999)) })
        .collect();
    for rows in rows.chunks(500) {
        enqueue(&executor, rows).await;
    }
    enqueue(&executor, &[row(delivery(2, 0), 7, at(-1)), row(delivery(2, 1), 9_999, at(-1))]).await;
    for _ in 0..10 {
        assert_eq!(store.next_due(&log("mp"), Claimable::Singles).await.unwrap(), Some(at(-1)));
    }
    let claimed = store.claim(&log("mp"), "node-1", 100, LEASE, Claimable::Singles).await.unwrap();
    assert_eq!(claimed.len(), 2);
    executor.shutdown().await;
    store.close().await;
    if db.is_sqlite() {
        return;
    }
    let counted = |column: &str| format!("select {column} from pg_stat_user_tables where relname = 'queue'");
    while db.number(&counted("n_tup_upd")).await < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = db.number(&counted("seq_tup_read + idx_tup_fetch")).await;
    assert!(read < i64::from(BULK), "{read} rows were looked at");
}
