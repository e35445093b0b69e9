//! Master keys and data keys, and how they are replaced.

use std::time::Duration;

use secrecy::ExposeSecret;
use subledger_domain::{ChannelCode, LogName, Openid, SubjectId, UserId};
use subledger_store::{Effect, KeyError, MasterKey, OpenError, Pace, PushKey, Store, StoreConfig};

use crate::{
    fixture::Db,
    works::{Effects, delivery, log, submit},
};

/// What the version before key ids kept under the master key of 32 sevens.
pub mod before_key_ids {
    pub const SECRET: &str = "d6875ac9a87efe203bb1d4503e848e60ab56392b07c176d65744f8802e59fc24050ee82979442b1fa621950c7a\
        109c51b5dac8c420b8801b9898b0d23173417bb8ce41a96ed3492e";
    pub const CANARY: &str = "f9a702b9e1f5f9026d1d46b662378d9c233af92bc28f23f40e9bea00552a6874f9e8dad7461226cad8c91995fc\
        b8c867a294ec44224a00247e91aec12f7b1715";
    pub const SUBJECT: &str = "d6dd7eebce77d8c03e47ce472ac009c2";
    pub const USER: &str = "eb332abc6866a4ac179fb2a3926e2a41";
    pub const PUSHKEY: &str = "07479e5d078fb4bd5a2f02ceccad0826";
    pub const IDENTITY: &str = "1d4f72acbe339bef340f4f3596e10fd9181f6462b28da3e6f9b0bd3b2cc7e7824bdd295b90d2d1ab20a78d9df3\
        aaebee22ff470d9906ed94e025";
    pub const USER_IDENTITY: &str = "39e2ef84884028578004c4097a4cfb03b7c8a0973d889e3b0b25b0ec6a690baf77f1b0074fd744bb034c1ba22e\
        740d8e";
    pub const CONTENT_SHARED: &str = "5aca04718cd3232b82267dc558059a04e5cc07a35a3331a76665ff0063d0f1c8a17760f1f26a14ffe5fb344b68\
        7dd9f1f47a7a7228dd35";
    pub const CONTENT_OWN: &str = "4888216eb5d25cb8bdd0edfe2edc51054ac4f06bc36c9496e94e8191e10f4841d8ffa56617aa90e0ed1a417440\
        079feef3419a1f";
    pub const PUSH: &str = "a136a42c4f158952925b1c0f5cb649f0b68fb880304fcf6d7ce15905367c6e07746e9a9d58c1ede3b1c6b6af21\
        f63849a29ab7567f0243fcc1";
    pub const SECRET_VALUE: &str = "f56e7bc9d18c0b822918c4635e790bac4d39961398b689dddc89dc17b04b1900258ff5ad7e4876fdec59ec7177\
        13409dfe654ee076";
}

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes([byte; 32])
}

fn with(db: &Db, byte: u8) -> StoreConfig {
    StoreConfig { master_key: master(byte), ..db.config() }
}

fn channel() -> ChannelCode {
    "mp".parse().unwrap()
}

fn openid(n: u32) -> Openid {
    format!("oPERSONpersonPERSON{n:07}").parse().unwrap()
}

fn userid(n: u32) -> UserId {
    format!("user-{n}").parse().unwrap()
}

/// One value in each table but that of pushes, of person `n`.
fn keep(store: &Store, n: u32) -> Effects {
    Effects(vec![
        Effect::KeepOpenid { subject: store.subject_of(&channel(), &openid(n)), openid: openid(n) },
        Effect::KeepUserId { user: store.user_ref_of(&userid(n)), userid: userid(n) },
        Effect::KeepContent {
            delivery: delivery(u128::from(n), 0),
            shared: true,
            contents: b"text".to_vec(),
        },
        Effect::KeepContent {
            delivery: delivery(u128::from(n), 3),
            shared: false,
            contents: b"own".to_vec(),
        },
        Effect::KeepSecret { reference: format!("ref-{n}"), secret: format!("secret {n}").into() },
    ])
}

async fn all_open(store: &Store, persons: std::ops::Range<u32>) {
    for n in persons {
        let subject = store.subject_of(&channel(), &openid(n));
        assert_eq!(store.openids(&log("mp"), &[subject]).await.unwrap()[&subject], openid(n));
        let user = store.user_ref_of(&userid(n));
        assert_eq!(store.userids(&[user]).await.unwrap()[&user], userid(n));
        let message = delivery(u128::from(n), 0).message;
        assert_eq!(store.shared_contents(&log("mp"), &[message]).await.unwrap()[&message], b"text");
        let own = delivery(u128::from(n), 3);
        assert_eq!(store.own_contents(&log("mp"), &[own]).await.unwrap()[&own], b"own");
        let secret = store.secret(&format!("ref-{n}")).await.unwrap().unwrap();
        assert_eq!(secret.expose_secret(), format!("secret {n}"));
    }
}

/// How many values of a table name this key.
async fn under(db: &Db, table: &str, key: u16) -> i64 {
    let (begin, number) = if db.is_sqlite() {
        ("substr(sealed, 1, 2)", format!("x'{key:04x}'"))
    } else {
        ("substring(sealed from 1 for 2)", format!("'\\x{key:04x}'::bytea"))
    };
    db.number(&format!("select count(*) from {table} where {begin} = {number}")).await
}

const QUICK: Pace = Pace { values: 3, rest: Duration::ZERO };

/// Turns a database into one that the version before key ids has left behind.
async fn as_it_was(db: &Db) {
    use before_key_ids as old;
    let hex = |hex: &str| if db.is_sqlite() { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") };
    let (store, executor) = db.node().await;
    // The log has to be there: rows carry its number.
    submit(&executor, "mp", crate::works::Grant(crate::works::ledger(1))).await.unwrap();
    executor.shutdown().await;
    store.close().await;
    db.tamper("delete from wrapped_key").await;
    db.tamper("delete from data_key").await;
    let (root, canary) = (hex(old::SECRET), hex(old::CANARY));
    db.tamper(&format!("update deployment set secret = {root}, canary = {canary}")).await;
    let id = db.number("select cast(id as bigint) from head where name = 'mp'").await;
    let message = hex(&"03".repeat(16));
    for sql in [
        format!("insert into identity values ({id}, {}, {}, 1)", hex(old::SUBJECT), hex(old::IDENTITY)),
        format!("insert into user_identity values ({}, {}, 1)", hex(old::USER), hex(old::USER_IDENTITY)),
        format!(
            "insert into content (log, message, idx, sealed, kept_at) values ({id}, {message}, -1, {}, 1)",
            hex(old::CONTENT_SHARED)
        ),
        format!(
            "insert into content (log, message, idx, sealed, kept_at) values ({id}, {message}, 0, {}, 1)",
            hex(old::CONTENT_OWN)
        ),
        format!("insert into secret values ('secret/1', {}, 1767225600000000)", hex(old::SECRET_VALUE)),
    ] {
        db.tamper(&sql).await;
    }
    let (place, id_column) =
        if db.is_sqlite() { (format!("{}, ", (id << 40) | 1), "place, ") } else { (String::new(), "") };
    db.tamper(&format!(
        "insert into push ({id_column}log, key, subject, received_at, last_seen_at, kind, mode, format, state, relay, event, sealed)
         values ({place}{id}, {}, {}, 1, 1, 3, 0, 0, 1, 0, 'an event', {})",
        if db.is_sqlite() { hex(old::PUSHKEY) } else { format!("'{}'", old::PUSHKEY) },
        hex(""),
        hex(old::PUSH)
    ))
    .await;
}

async fn old_values_open(store: &Store) {
    let bytes = |hex: &str| -> [u8; 16] { hex::decode(hex).unwrap().try_into().unwrap() };
    let subject = SubjectId::from_bytes(bytes(before_key_ids::SUBJECT));
    assert_eq!(store.subject_of(&channel(), &"oABCDEFGHIJKLMNOPQ".parse().unwrap()), subject);
    let openids = store.openids(&log("mp"), &[subject]).await.unwrap();
    assert_eq!(openids[&subject].as_str(), "oABCDEFGHIJKLMNOPQ");
    let user = store.user_ref_of(&"zhangsan".parse().unwrap());
    assert_eq!(store.userids(&[user]).await.unwrap()[&user].as_str(), "zhangsan");
    let message = delivery(0x0303_0303_0303_0303_0303_0303_0303_0303, 0);
    let shared = store.shared_contents(&log("mp"), &[message.message]).await.unwrap();
    assert_eq!(shared[&message.message], b"shared contents");
    assert_eq!(store.own_contents(&log("mp"), &[message]).await.unwrap()[&message], b"own contents");
    assert_eq!(store.secret("secret/1").await.unwrap().unwrap().expose_secret(), "an-app-secret");
    let push = PushKey::from_bytes(bytes(before_key_ids::PUSHKEY));
    let push = store.push(&LogName::new("mp"), push).await.unwrap().unwrap();
    assert_eq!(push.body, b"<xml>a push</xml>");
    let marks = store.secret_marks(&["secret/1", "secret/2"]).await.unwrap();
    assert_eq!(marks.len(), 1);
    assert_eq!(marks["secret/1"].fingerprint, store.fingerprint_of(&"an-app-secret".into()));
    assert_eq!(marks["secret/1"].set_at, crate::fixture::START);
}

pub async fn what_an_earlier_version_kept_opens_and_is_sealed_anew(db: Db) {
    as_it_was(&db).await;
    let wrong = db.try_open(&with(&db, 8)).await;
    assert!(matches!(wrong, Err(OpenError::WrongMasterKey { fitting, .. }) if fitting.is_empty()));
    let store = db.open().await;
    old_values_open(&store).await;
    // The root stands under the master key's id now, and nowhere else.
    assert_eq!(db.number("select count(*) from deployment where length(secret) > 0").await, 0);
    let state = store.key_state().await.unwrap();
    assert_eq!(state.masters.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), [master(7).id()]);
    assert_eq!(state.data_keys.iter().map(|key| (key.id, key.current)).collect::<Vec<_>>(), [(0, true)]);
    // It seals under the root until it is told otherwise.
    assert_eq!(store.add_data_key().await.unwrap(), 1);
    let report = store.reseal(QUICK, |_| {}).await.unwrap();
    assert!(report.retired, "{report:?}");
    assert_eq!(report.tables.iter().map(|table| table.resealed).sum::<u64>(), 6);
    for (table, values) in [("identity", 1), ("user_identity", 1), ("content", 2), ("secret", 1), ("push", 1)]
    {
        assert_eq!(under(&db, table, 1).await, values, "{table}");
    }
    old_values_open(&store).await;
    store.close().await;
    old_values_open(&db.open().await).await;
}

pub async fn a_master_key_is_replaced_while_nodes_run(db: Db) {
    let (node, executor) = db.node().await;
    node.announce("node-1").await.unwrap();
    submit(&executor, "mp", keep(&node, 1)).await.unwrap();
    let operator = db.open().await;
    assert!(
        matches!(operator.add_master_key(&master(7)).await, Err(KeyError::SameKey(id)) if id == master(7).id())
    );
    assert!(operator.add_master_key(&master(8)).await.unwrap());
    assert!(!operator.add_master_key(&master(8)).await.unwrap());
    assert!(
        matches!(operator.add_master_key(&master(9)).await, Err(KeyError::UnderWay(id)) if id == master(8).id())
    );
    assert!(matches!(operator.add_data_key().await, Err(KeyError::Unfinished(_))));
    // Nodes start with either, and what runs goes on.
    submit(&executor, "mp", keep(&node, 2)).await.unwrap();
    let new = db.try_open(&with(&db, 8)).await.unwrap();
    all_open(&new, 1..3).await;
    all_open(&db.open().await, 1..3).await;
    // The old one stays as long as a node was started with it.
    let refused = new.drop_other_master_keys(false).await.unwrap_err();
    assert!(refused.to_string().contains("node-1"), "{refused}");
    all_open(&db.open().await, 1..3).await;
    executor.shutdown().await;
    node.close().await;
    assert_eq!(new.drop_other_master_keys(false).await.unwrap(), [master(7).id()]);
    assert!(new.drop_other_master_keys(false).await.unwrap().is_empty());
    let Err(OpenError::WrongMasterKey { given, fitting }) = db.try_open(&db.config()).await else {
        panic!("the old key opens it still")
    };
    assert_eq!((given, fitting), (master(7).id(), vec![master(8).id()]));
    all_open(&new, 1..3).await;
    // What was learned before: the old key and an old copy of the rows open no data key that is made from now on.
    assert_eq!(new.add_data_key().await.unwrap(), 2);
    assert_eq!(db.number("select count(*) from wrapped_key").await, 3);
}

pub async fn a_dropped_master_key_is_no_trap_for_a_node_that_runs_with_it(db: Db) {
    let (node, executor) = db.node().await;
    node.announce("node-1").await.unwrap();
    submit(&executor, "mp", keep(&node, 1)).await.unwrap();
    node.add_master_key(&master(8)).await.unwrap();
    let new = db.try_open(&with(&db, 8)).await.unwrap();
    assert_eq!(new.drop_other_master_keys(true).await.unwrap(), [master(7).id()]);
    submit(&executor, "mp", keep(&node, 2)).await.unwrap();
    all_open(&node, 1..3).await;
    all_open(&new, 1..3).await;
    // No data key is made that it could not open.
    assert!(matches!(new.add_data_key().await, Err(KeyError::InUse { .. })));
    assert!(node.announce("node-1").await.is_err());
}

pub async fn a_new_data_key_seals_on_every_node(db: Db) {
    let ((one, first), (two, second)) = (db.node().await, db.node().await);
    for (n, store) in [(1, &one), (2, &two)] {
        store.announce(&format!("node-{n}")).await.unwrap();
    }
    submit(&first, "mp", keep(&one, 1)).await.unwrap();
    assert_eq!(under(&db, "content", 1).await, 2);
    assert_eq!(one.add_data_key().await.unwrap(), 2);
    submit(&first, "mp", keep(&one, 2)).await.unwrap();
    assert_eq!((under(&db, "content", 1).await, under(&db, "content", 2).await), (2, 2));
    // The other node meets a number it does not know, and looks it up.
    all_open(&two, 1..3).await;
    submit(&second, "mp2", Effects(vec![Effect::KeepSecret { reference: "r".into(), secret: "s".into() }]))
        .await
        .unwrap();
    assert_eq!(under(&db, "secret", 2).await, 2);
    // It says so, without being asked.
    let report = one.reseal(QUICK, |_| {}).await.unwrap();
    assert!(report.behind.is_empty() && report.retired, "{report:?}");
    assert!(one.key_state().await.unwrap().nodes.iter().all(|node| node.data_key == 2));
    assert_eq!(under(&db, "content", 1).await, 0);
    all_open(&two, 1..3).await;
    let keys = two.key_state().await.unwrap().data_keys;
    assert!(keys.iter().all(|key| key.current != key.retired_at.is_some()), "{keys:?}");
}

pub async fn re_sealing_goes_on_where_it_was_stopped(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..20 {
        submit(&executor, "mp", keep(&store, n)).await.unwrap();
    }
    store.add_data_key().await.unwrap();
    let mut pieces = 0;
    {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let one = Pace { values: 1, rest: Duration::from_millis(20) };
        let run = store.reseal(one, |_| {
            pieces += 1;
            if pieces == 10 {
                let _ = stop.take().unwrap().send(());
            }
        });
        tokio::select! {
            ended = run => panic!("it was not stopped: {ended:?}"),
            _ = stopped => {}
        }
    }
    let done: i64 = db.number("select cast(sum(resealed) as bigint) from reseal").await;
    assert!((9..=10).contains(&done), "{done}");
    // Whoever died holds the lease for a moment.
    let mut first = None;
    let report = loop {
        db.clock.advance_seconds(1);
        let again = store.reseal(QUICK, |table| {
            first.get_or_insert_with(|| table.clone());
        });
        match again.await {
            Ok(report) => break report,
            Err(KeyError::Busy) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    };
    // It began behind what was done, and counted nothing twice.
    let first = first.unwrap();
    assert!(first.seen > 9, "{first:?}");
    assert_eq!(report.tables.iter().map(|table| table.resealed).sum::<u64>(), 100);
    assert_eq!(report.tables.iter().map(|table| table.seen).sum::<u64>(), 100);
    assert!(report.retired, "{report:?}");
    let again = store.reseal(QUICK, |_| {}).await.unwrap();
    let sum = |of: fn(&subledger_store::Resealed) -> u64| again.tables.iter().map(of).sum::<u64>();
    assert_eq!((sum(|table| table.seen), sum(|table| table.resealed)), (100, 0));
    all_open(&store, 0..20).await;
}

pub async fn re_sealing_leaves_alone_what_others_write_and_delete(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..30 {
        submit(&executor, "mp", keep(&store, n)).await.unwrap();
    }
    store.add_data_key().await.unwrap();
    let work = async {
        for n in 0..15 {
            let subject = store.subject_of(&channel(), &openid(n));
            submit(&executor, "mp", Effects(vec![Effect::ForgetOpenid { subject }])).await.unwrap();
            submit(&executor, "mp", keep(&store, 100 + n)).await.unwrap();
        }
    };
    let one = Pace { values: 1, rest: Duration::ZERO };
    let (report, ()) = futures::join!(store.reseal(one, |_| {}), work);
    let report = report.unwrap();
    assert!(report.retired, "{report:?}");
    all_open(&store, 15..30).await;
    all_open(&store, 100..115).await;
    let gone: Vec<SubjectId> = (0..15).map(|n| store.subject_of(&channel(), &openid(n))).collect();
    assert!(store.openids(&log("mp"), &gone).await.unwrap().is_empty());
    assert!(store.left_to_reseal().await.unwrap().iter().all(|(_, left)| *left == 0));
}

pub async fn a_damaged_value_is_reported_and_keeps_the_old_key(db: Db) {
    let (store, executor) = db.node().await;
    for n in 0..3 {
        submit(&executor, "mp", keep(&store, n)).await.unwrap();
    }
    let moved = "update secret set sealed = (select sealed from secret where reference = 'ref-0') where reference = 'ref-1'";
    db.tamper(moved).await;
    store.add_data_key().await.unwrap();
    let report = store.reseal(QUICK, |_| {}).await.unwrap();
    assert!(!report.retired, "{report:?}");
    let secrets = report.tables.iter().find(|table| table.table == "secret").unwrap();
    assert_eq!((secrets.seen, secrets.resealed, secrets.damaged, secrets.left), (3, 2, 1, 1));
    assert!(store.secret("ref-1").await.is_err());
    assert_eq!(store.secret("ref-2").await.unwrap().unwrap().expose_secret(), "secret 2");
    let keys = store.key_state().await.unwrap().data_keys;
    assert!(keys.iter().any(|key| key.id == 1 && key.retired_at.is_none()), "{keys:?}");
}

pub async fn every_table_with_sealed_values_is_known(db: Db) {
    // A column of bytes whose name or comment says that it is sealed belongs into the list that re-sealing goes through.
    let store = db.open().await;
    let known: Vec<&str> =
        store.left_to_reseal().await.unwrap().into_iter().map(|(table, _)| table).collect();
    let sql = if db.is_sqlite() {
        "select cast(m.name as blob) from sqlite_schema m join pragma_table_info(m.name) c
         where m.type = 'table' and c.type = 'BLOB' and (c.name = 'sealed' or c.name like '%token%' or c.name like '%ticket%')"
    } else {
        "select convert_to(table_name, 'UTF8') from information_schema.columns
         where table_schema = current_schema() and data_type = 'bytea'
             and (column_name = 'sealed' or column_name like '%token%' or column_name like '%ticket%')"
    };
    let found: Vec<String> =
        db.bytes(sql).await.into_iter().map(|name| String::from_utf8(name).unwrap()).collect();
    assert!(found.iter().any(|table| table == "identity"), "{found:?}");
    for table in found.iter().filter(|table| *table != "wrapped_key") {
        assert!(known.contains(&table.as_str()), "re-sealing passes {table} over");
    }
}
