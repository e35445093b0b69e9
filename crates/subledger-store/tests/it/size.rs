//! What an event costs on disk.

use crate::{
    fixture::{self, Db},
    works::{Grant, ledger, submit},
};

/// Streams of a hundred events each, as ledgers of busy users are.
const STREAMS: u64 = 40;
const EVENTS: u64 = 100;
/// Bytes an event may take in a SQLite file, its share of the indexes and of its stream's row included.
const MOST_BYTES: u64 = 260;

async fn an_event_costs_few_bytes(db: Db) {
    let path = db.url.strip_prefix("sqlite://").unwrap().to_owned();
    db.open().await.close().await;
    let empty = std::fs::metadata(&path).unwrap().len();
    let (store, executor) = db.node().await;
    let commands =
        (0..STREAMS * EVENTS).map(|n| submit(&executor, "mp", Grant(ledger(u128::from(n % STREAMS)))));
    for done in futures::future::join_all(commands).await {
        done.unwrap();
    }
    executor.shutdown().await;
    // Snapshots are not events' share: they do not grow with the log.
    store.drop_snapshots().await.unwrap();
    db.tamper("vacuum").await;
    store.close().await;
    let bytes = (std::fs::metadata(&path).unwrap().len() - empty) / (STREAMS * EVENTS);
    assert!(bytes <= MOST_BYTES, "{bytes} bytes an event");
    // Far fewer would mean that the events are not in the file at all.
    assert!(bytes >= 100, "{bytes} bytes an event");
}

#[test]
fn an_event_takes_few_bytes_of_a_sqlite_file() {
    fixture::on_sqlite(an_event_costs_few_bytes);
}
