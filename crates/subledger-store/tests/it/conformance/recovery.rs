//! Coming back from a database that went away.

use subledger_store::{SubmitError, verify_chain};

use crate::{
    fixture::Db,
    works::{Grant, all, ledger, receipt, submit, submit_with},
};

pub async fn executors_go_on_after_their_connections_are_cut(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let mut recorded = 1;
    for round in 0..5_u8 {
        let commands = (0..40_u8).map(|n| {
            let key = receipt(&format!("{round}-{n}"), 1);
            submit_with(&executor, "mp", Some(key), Grant(ledger(u128::from(n % 4))))
        });
        let cut = async {
            if !db.is_sqlite() {
                db.number(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid()",
                )
                .await;
            }
        };
        let (done, ()) = tokio::join!(futures::future::join_all(commands), cut);
        // Whatever became of them, a repetition under the same id finds out and goes through.
        for (n, done) in done.into_iter().enumerate() {
            let key = receipt(&format!("{round}-{n}"), 1);
            let again = submit_with(&executor, "mp", Some(key), Grant(ledger(n as u128 % 4))).await.unwrap();
            match done {
                Ok(_) => assert!(again.replayed),
                Err(SubmitError::Store { maybe_recorded, .. }) => {
                    assert!(maybe_recorded || !again.replayed);
                }
                Err(other) => panic!("{other}"),
            }
            recorded += 1;
        }
    }
    let events = all(&store, "mp").await;
    assert_eq!(events.len(), recorded);
    verify_chain(&events).unwrap();
    // The tail hears of commits again, by itself.
    let other = db.open().await;
    let name = crate::works::log("mp");
    let mut tail = other.tail(&name);
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    tail.wait_for(|position| position.0 > recorded as u64).await.unwrap();
}

pub async fn two_nodes_may_open_a_new_database_at_once(db: Db) {
    let stores = futures::future::join_all((0..4).map(|_| db.open())).await;
    let openid = "oABCDEFGHIJKLMNOP".parse().unwrap();
    let code = "mp".parse().unwrap();
    let subjects: Vec<_> = stores.iter().map(|store| store.subject_of(&code, &openid)).collect();
    assert!(subjects.windows(2).all(|pair| pair[0] == pair[1]), "one deployment has one secret");
}
