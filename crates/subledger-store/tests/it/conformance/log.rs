//! Events, positions, the chain, time, snapshots.

use subledger_domain::{
    StoredEvent, StreamName,
    ledger::{Ledger, LedgerEvent},
};
use subledger_store::{ChainError, NewerEvent, Position, StoreError, StreamRef, SubmitError, verify_chain};

use crate::{
    fixture::{Db, START},
    works::{Bind, Custom, Grant, Reserve, all, cause, delivery, ledger, log, replay, subject, submit, user},
};

pub async fn an_empty_store_has_no_logs(db: Db) {
    let store = db.open().await;
    assert!(store.heads().await.unwrap().is_empty());
    assert_eq!(store.head(&log("mp")).await.unwrap().position, Position(0));
    assert!(all(&store, "mp").await.is_empty());
    assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap(), (Ledger::default(), 0));
    store.ping().await.unwrap();
    store.check().await.unwrap();
}

pub async fn events_come_back_as_they_were_written(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    submit(&executor, "mp", Bind(user(1), subject(1))).await.unwrap();
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let events = all(&store, "mp").await;
    let streams: Vec<_> = events.iter().map(|e| (e.position.0, e.stream.clone(), e.version)).collect();
    let binding = StreamName::binding(user(1));
    assert_eq!(streams, [(1, ledger(1), 1), (2, binding, 1), (3, ledger(1), 2)]);
    for event in &events {
        assert_eq!(event.recorded_at, START);
        assert_eq!(event.cause, serde_json::to_vec(&cause("test")).unwrap());
    }
    let granted: LedgerEvent = events[0].decode().unwrap();
    assert_eq!(granted.encode().unwrap(), events[0].data);
    assert_eq!(events[0].kind_name(), "ledger.granted");
    assert_eq!(store.read_stream(&log("mp"), &ledger(1), 1, 10).await.unwrap(), [events[2].clone()]);
    assert_eq!(store.read_log(&log("mp"), Position(1), 1).await.unwrap(), [events[1].clone()]);
    let (state, version) = store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap();
    assert_eq!((state.balance(), version), (2, 2));
}

pub async fn positions_are_dense_and_logs_are_separate(db: Db) {
    let (store, executor) = db.node().await;
    let commands = (0..200).map(|n| {
        let executor = executor.clone();
        async move { submit(&executor, ["one", "two", "main"][n % 3], Grant(ledger(n as u128 % 7))).await }
    });
    for done in futures::future::join_all(commands).await {
        done.unwrap();
    }
    let heads = store.heads().await.unwrap();
    let ends: Vec<_> = heads.iter().map(|head| (head.log.as_str(), head.position.0)).collect();
    assert_eq!(ends, [("main", 66), ("one", 67), ("two", 67)]);
    for head in heads {
        let events = all(&store, head.log.as_str()).await;
        assert_eq!(verify_chain(&events), Ok((head.position, head.link)));
        let positions: Vec<u64> = events.iter().map(|event| event.position.0).collect();
        assert_eq!(positions, (1..=head.position.0).collect::<Vec<_>>());
    }
}

pub async fn the_chain_verifies_and_names_a_flipped_byte(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..5 {
        submit(&executor, "mp", Grant(ledger(n))).await.unwrap();
    }
    let head = store.head(&log("mp")).await.unwrap();
    assert_eq!(verify_chain(&all(&store, "mp").await), Ok((Position(5), head.link)));

    let tampered =
        db.tamper("update event set data = replace(data, 'report-1', 'report-2') where position = 3");
    assert_eq!(tampered.await, 1);
    let broken = ChainError::Broken { log: "mp".into(), position: Position(3) };
    assert_eq!(verify_chain(&all(&store, "mp").await), Err(broken));

    db.tamper("update event set data = replace(data, 'report-2', 'report-1') where position = 3").await;
    assert_eq!(db.tamper("delete from event where position = 2").await, 1);
    let gap = ChainError::Gap { log: "mp".into(), expected: Position(2), found: Position(3) };
    assert_eq!(verify_chain(&all(&store, "mp").await), Err(gap));
}

pub async fn time_in_a_log_never_runs_backwards(db: Db) {
    let (store, executor) = db.node().await;
    db.clock.advance_seconds(10);
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    db.clock.advance_seconds(-5);
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    db.clock.advance_seconds(20);
    let now = Custom::new(Vec::new(), |stage| Ok(stage.now()));
    assert_eq!(submit(&executor, "mp", now).await.unwrap().answer, START.plus_seconds(25));
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let times: Vec<_> = all(&store, "mp").await.iter().map(|event| event.recorded_at).collect();
    assert_eq!(times, [START.plus_seconds(10), START.plus_seconds(10), START.plus_seconds(25)]);
}

pub async fn a_snapshot_reload_equals_a_full_replay(db: Db) {
    let (_, executor) = db.node().await;
    for n in 0..300 {
        submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
        if n % 3 == 0 {
            submit(&executor, "mp", Reserve(ledger(1), delivery(1, n))).await.unwrap();
        }
    }
    executor.shutdown().await;
    assert_eq!(db.number("select version from snapshot").await, 384);
    // A new node knows the stream only from its snapshot and the events after it.
    let (store, executor) = db.node().await;
    let (loaded, version) = store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap();
    assert_eq!(version, 400);
    assert_eq!(loaded, replay(&store, "mp", &ledger(1)).await);
    assert_eq!(submit(&executor, "mp", Grant(ledger(1))).await.unwrap().answer, 201);
    assert_eq!(all(&store, "mp").await.last().unwrap().version, 401);
}

pub async fn a_snapshot_that_does_not_fit_is_ignored(db: Db) {
    let (_, executor) = db.node().await;
    for _ in 0..130 {
        submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    }
    assert_eq!(db.tamper("update snapshot set state = '{\"of\":\"another version\"}'").await, 1);
    let (store, executor) = db.node().await;
    assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap().0.balance(), 130);
    assert_eq!(submit(&executor, "mp", Grant(ledger(1))).await.unwrap().answer, 131);
    store.drop_snapshots().await.unwrap();
    assert_eq!(db.number("select count(*) from snapshot").await, 0);
    assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap().1, 131);
}

pub async fn a_snapshot_of_another_mark_is_no_baseline(db: Db) {
    let (_, executor) = db.node().await;
    for _ in 0..130 {
        submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    }
    executor.shutdown().await;
    let mark = <Ledger as subledger_domain::Decide>::STATE;
    assert_eq!(db.number(&format!("select count(*) from snapshot where state like '{mark} {{%'")).await, 1);
    // A state that parses, but says something else: what an older version, one without marks, and a newer one may leave.
    let wrong = serde_json::to_string(&Ledger::default()).unwrap();
    for state in [format!("{} {wrong}", mark - 1), wrong.clone(), format!("{} {wrong}", mark + 1)] {
        assert_eq!(db.tamper(&format!("update snapshot set state = '{state}'")).await, 1);
        let (store, executor) = db.node().await;
        assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap().0.balance(), 130, "{state}");
        // The executor builds on the events, too.
        let load = Custom::new(vec![StreamRef::of::<Ledger>(ledger(1))], |stage| {
            Ok(stage.state::<Ledger>(&ledger(1))?.balance())
        });
        assert_eq!(submit(&executor, "mp", load).await.unwrap().answer, 130, "{state}");
        executor.shutdown().await;
        store.close().await;
    }
    // The same text under the right mark is believed, so it is the mark that decides: nothing, and the two taps after it.
    assert_eq!(db.tamper(&format!("update snapshot set state = '{mark} {wrong}'")).await, 1);
    assert_eq!(db.open().await.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap().0.balance(), 2);
}

pub async fn a_broken_stream_fails_its_own_commands_only(db: Db) {
    let (_, executor) = db.node().await;
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    submit(&executor, "mp", Grant(ledger(2))).await.unwrap();
    assert_eq!(db.tamper("update event set data = '{}' where position = 1").await, 1);
    let (store, executor) = db.node().await;
    let (broken, sound) =
        tokio::join!(submit(&executor, "mp", Grant(ledger(1))), submit(&executor, "mp", Grant(ledger(2))));
    assert!(matches!(broken, Err(SubmitError::Fault(what)) if what.contains("ledger.granted")));
    assert_eq!(sound.unwrap().answer, 2);
    let loaded = store.load::<Ledger>(&log("mp"), &ledger(1)).await;
    assert!(matches!(loaded, Err(StoreError::Corrupt(_))));
    // Asking for a stream as another aggregate is a defect of the work, not of the store.
    let wrong = StreamRef::of::<subledger_domain::binding::Binding>(ledger(2));
    let confused = Custom::new(vec![wrong], |stage| {
        Ok(stage.state::<subledger_domain::binding::Binding>(&ledger(2)).map(|_| ())?)
    });
    assert!(matches!(submit(&executor, "mp", confused).await, Err(SubmitError::Fault(_))));
}

pub async fn a_stream_with_a_newer_event_says_which_and_fails_its_own_commands_only(db: Db) {
    let (store, executor) = db.node().await;
    for whose in [2, 1, 1, 2] {
        submit(&executor, "mp", Grant(ledger(whose))).await.unwrap();
    }
    // A kind that this version does not know, and a schema above the newest it reads.
    for (change, word) in [("kind = 9999", "9999"), ("kind = 30, schema = 99", "99")] {
        store.drop_snapshots().await.unwrap();
        let change = format!("update event set {change} where position = 3");
        assert_eq!(db.tamper(&change).await, 1, "{change}");
        let (store, executor) = db.node().await;
        let found = |event: &NewerEvent| {
            event.log == log("mp") && event.position == Position(3) && event.reason.contains(word)
        };
        let (older, sound) = tokio::join!(
            submit(&executor, "mp", Grant(ledger(1))),
            submit(&executor, "mp", Grant(ledger(2)))
        );
        assert!(matches!(&older, Err(SubmitError::Newer(event)) if found(event)), "{older:?}");
        assert!(sound.is_ok(), "{sound:?}");
        let loaded = store.load::<Ledger>(&log("mp"), &ledger(1)).await;
        assert!(matches!(&loaded, Err(StoreError::Newer(event)) if found(event)), "{loaded:?}");
        let said = loaded.unwrap_err().to_string();
        assert!(said.contains("position 3 of log mp") && said.contains("upgrade"), "{said}");
    }
}
