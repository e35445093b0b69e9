//! A scan gives what pages give, only faster.

use std::collections::BTreeMap;

use subledger_domain::StreamName;
use subledger_store::{Position, Store};

use crate::{
    fixture::Db,
    works::{Grant, ledger, log, submit},
};

type Seen = (Position, StreamName, u16, u16, i64, Vec<u8>);

async fn scan(store: &Store, name: &str, after: u64, up_to: u64, batch: usize) -> Vec<Seen> {
    let mut scan = store.scan(&log(name), Position(after), Position(up_to), batch).await.unwrap();
    let mut names: BTreeMap<u64, StreamName> = BTreeMap::new();
    let mut seen = Vec::new();
    while let Some(chunk) = scan.next().await {
        let chunk = chunk.unwrap();
        assert!(chunk.events.len() <= batch && !chunk.events.is_empty());
        for (number, name) in chunk.streams.clone() {
            assert!(names.insert(number, name).is_none(), "a name is handed over once");
        }
        for event in &chunk.events {
            let name = names[&event.stream].clone();
            let payload = chunk.payload(event).to_vec();
            seen.push((event.position, name, event.kind, event.schema, event.recorded_at.micros(), payload));
        }
    }
    seen
}

pub async fn a_scan_reads_what_pages_read(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..60u128 {
        submit(&executor, "mp", Grant(ledger(n % 23))).await.unwrap();
        submit(&executor, "other", Grant(ledger(n % 3))).await.unwrap();
    }
    let paged = store.read_log(&log("mp"), Position(0), 1_000).await.unwrap();
    let paged: Vec<Seen> = paged
        .into_iter()
        .map(|one| (one.position, one.stream, one.kind, one.schema, one.recorded_at.micros(), one.data))
        .collect();
    assert_eq!(paged.len(), 60);
    for batch in [1, 7, 60, 1_000] {
        assert_eq!(scan(&store, "mp", 0, u64::MAX >> 1, batch).await, paged);
    }
    assert_eq!(scan(&store, "mp", 20, 41, 8).await, paged[20..41], "after one position, up to another");
    assert_eq!(scan(&store, "mp", 60, 70, 8).await, []);
    assert_eq!(scan(&store, "unknown", 0, 70, 8).await, []);
}

pub async fn a_scan_that_is_given_up_holds_nothing(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..200u128 {
        submit(&executor, "mp", Grant(ledger(n))).await.unwrap();
    }
    // More than there are connections: if one stayed taken, this would not end.
    for _ in 0..30 {
        let mut scan = store.scan(&log("mp"), Position(0), Position(200), 1).await.unwrap();
        assert!(scan.next().await.unwrap().is_ok());
    }
    assert_eq!(scan(&store, "mp", 0, 200, 64).await.len(), 200);
}
