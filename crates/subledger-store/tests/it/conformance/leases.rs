//! Leases: one holder at a time, and a number that tells holders apart.

use std::time::Duration;

use subledger_store::{Lease, Store};

use crate::fixture::Db;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

async fn take(store: &Store, holder: &str, ttl: Duration) -> Option<u64> {
    store.lease_acquire("work", holder, ttl).await.unwrap().map(|lease| lease.token)
}

/// Lets a short lease run out: the clock of the test on SQLite, the server's on PostgreSQL.
async fn pass(db: &Db) {
    if db.is_sqlite() {
        db.clock.advance_seconds(1);
    } else {
        tokio::time::sleep(2 * SHORT).await;
    }
}

pub async fn a_lease_has_one_holder_until_it_runs_out(db: Db) {
    let store = db.open().await;
    assert_eq!(take(&store, "a", SHORT).await, Some(1));
    assert_eq!(take(&store, "a", LONG).await, Some(1), "the holder renews by asking again");
    pass(&db).await;
    assert_eq!(take(&store, "b", LONG).await, None, "renewed: it has not run out");
    assert_eq!(take(&store, "a", SHORT).await, Some(1));
    pass(&db).await;
    assert_eq!(
        take(&store, "b", LONG).await,
        Some(2),
        "it ran out, and the number says that it changed hands"
    );
    assert_eq!(take(&store, "a", LONG).await, None);
}

pub async fn a_holder_that_lost_its_lease_cannot_renew_it(db: Db) {
    let store = db.open().await;
    let first = store.lease_acquire("work", "a", SHORT).await.unwrap().unwrap();
    pass(&db).await;
    assert!(store.lease_renew(&first, SHORT).await.unwrap(), "late, but nobody came in between");
    pass(&db).await;
    let second = store.lease_acquire("work", "b", SHORT).await.unwrap().unwrap();
    assert!(!store.lease_renew(&first, LONG).await.unwrap());
    pass(&db).await;
    let third = store.lease_acquire("work", "a", LONG).await.unwrap().unwrap();
    assert_eq!((first.token, second.token, third.token), (1, 2, 3));
    assert!(!store.lease_renew(&first, LONG).await.unwrap(), "the same holder, but of an older term");
    assert!(store.lease_renew(&third, LONG).await.unwrap());
}

pub async fn a_released_lease_is_free_at_once(db: Db) {
    let store = db.open().await;
    let lease = store.lease_acquire("work", "a", LONG).await.unwrap().unwrap();
    let stale = Lease { token: 7, ..lease.clone() };
    store.lease_release(std::slice::from_ref(&stale)).await.unwrap();
    assert_eq!(take(&store, "b", LONG).await, None, "who holds nothing releases nothing");
    store.lease_release(std::slice::from_ref(&lease)).await.unwrap();
    assert!(!store.lease_renew(&lease, LONG).await.unwrap(), "released is released");
    assert_eq!(take(&store, "b", LONG).await, Some(2));
}

pub async fn many_leases_are_taken_in_one_statement(db: Db) {
    let store = db.open().await;
    take(&store, "b", LONG).await.unwrap();
    let names = ["z", "work", "a", "z"];
    let held = store.lease_acquire_all(&names, "a", LONG).await.unwrap();
    let held: Vec<_> = held.iter().map(|lease| (lease.name.as_str(), lease.token)).collect();
    assert_eq!(held, [("a", 1), ("z", 1)]);
    assert_eq!(store.lease_acquire_all(&[], "a", LONG).await.unwrap(), []);
}

pub async fn of_many_contenders_one_gets_the_lease(db: Db) {
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(db.open().await);
    }
    for round in 0..20 {
        let name = format!("round-{round}");
        let asked: Vec<_> = (0..12)
            .map(|n| {
                let (store, name) = (stores[n % 3].clone(), name.clone());
                tokio::spawn(async move {
                    store.lease_acquire(&name, &format!("contender-{n}"), LONG).await.unwrap()
                })
            })
            .collect();
        let mut holders = Vec::new();
        for one in asked {
            holders.extend(one.await.unwrap());
        }
        assert_eq!(holders.len(), 1, "{holders:?}");
        assert_eq!(holders[0].token, 1);
    }
}
