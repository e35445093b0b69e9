//! The layout of a SQLite file: what an older one holds is carried over, and long streams are read in pages.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, migrate::Migrator};
use subledger_domain::{StreamName, binding::Binding, ledger::Ledger};
use subledger_store::{Position, verify_chain};

use crate::{
    conformance::keys::before_key_ids,
    fixture::{self, Db, TestClock},
    works::{Bind, Grant, all, ledger, log, receipt, replay, subject, submit, submit_with, user},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static ON_POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Some of these migrations.
fn some(migrations: &Migrator, wanted: impl Fn(i64) -> bool) -> Migrator {
    let some: Vec<_> = migrations.iter().filter(|m| wanted(m.version)).cloned().collect();
    Migrator { migrations: some.into(), ..Migrator::DEFAULT }
}

/// Makes a file as it was before a migration.
async fn as_before(db: &Db, version: i64) -> SqliteConnection {
    let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", db.url)).await.unwrap();
    some(&MIGRATIONS, |other| other < version).run(&mut connection).await.unwrap();
    connection
}

/// Migrations are made side by side, so one may come when a later one was carried out already.
async fn a_migration_that_comes_late_is_carried_out(db: Db) {
    const LATE: i64 = 13;
    if db.is_sqlite() {
        let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", db.url)).await.unwrap();
        some(&MIGRATIONS, |version| version != LATE).run(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&db.url).await.unwrap();
        some(&ON_POSTGRES, |version| version != LATE).run(&mut connection).await.unwrap();
    }
    let late = format!("select count(*) from _sqlx_migrations where success and version = {LATE}");
    assert_eq!(db.number(&late).await, 0);
    db.open().await.close().await;
    assert_eq!(db.number(&late).await, 1);
    assert!(db.number("select max(version) from _sqlx_migrations").await > LATE);
}

async fn events_of_an_older_file_are_carried_over(db: Db) {
    // What two logs hold, written by this program and put into the older tables.
    let (store, executor) = db.node().await;
    for n in 0..300_u32 {
        let name = ["mp", "mp2"][n as usize % 2];
        submit(&executor, name, Grant(ledger(u128::from(n % 7)))).await.unwrap();
    }
    submit(&executor, "mp", Bind(user(1), subject(1))).await.unwrap();
    executor.shutdown().await;
    store.close().await;
    let path = db.url.strip_prefix("sqlite://").unwrap();
    let older = Db { url: format!("{}.older", db.url), clock: TestClock::default() };
    let mut connection = as_before(&older, 11).await;
    for statement in [
        format!("attach '{path}' as newer"),
        "insert into head select * from newer.head".to_owned(),
        "insert into stream select * from newer.stream".to_owned(),
        // As the version of then kept it.
        format!("insert into deployment values (1, x'{}', x'{}', 1)", before_key_ids::SECRET, before_key_ids::CANARY),
        "insert into event select log, position, stream, version, kind, schema, recorded_at, data, cause, link
         from newer.event"
            .to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();

    let (before, (after, executor)) = (db.open().await, older.node().await);
    after.check().await.unwrap();
    for name in ["mp", "mp2"] {
        let events = all(&after, name).await;
        let head = after.head(&log(name)).await.unwrap();
        assert_eq!(verify_chain(&events), Ok((head.position, head.link)));
        assert_eq!(events, all(&before, name).await);
        for n in 0..7 {
            let loaded = after.load::<Ledger>(&log(name), &ledger(n)).await.unwrap();
            assert_eq!(loaded, before.load::<Ledger>(&log(name), &ledger(n)).await.unwrap());
            assert_eq!(loaded.0, replay(&after, name, &ledger(n)).await);
        }
    }
    assert_eq!(after.load::<Binding>(&log("mp"), &StreamName::binding(user(1))).await.unwrap().1, 1);
    // Streams go on where they ended.
    let version = after.load::<Ledger>(&log("mp"), &ledger(2)).await.unwrap().1;
    let key = || Some(receipt("again", 1));
    submit_with(&executor, "mp", key(), Grant(ledger(2))).await.unwrap();
    assert_eq!(after.load::<Ledger>(&log("mp"), &ledger(2)).await.unwrap().1, version + 1);
    assert!(submit_with(&executor, "mp", key(), Grant(ledger(2))).await.unwrap().replayed);
    let events = all(&after, "mp").await;
    assert_eq!(verify_chain(&events).unwrap().0, Position(events.len() as u64));
}

async fn a_long_stream_is_read_in_pages(db: Db) {
    let (store, executor) = db.node().await;
    // Neighbours of the same stream number in another log, and of another number in the same.
    for n in 0..600_u32 {
        let name = if n % 5 == 0 { "mp2" } else { "mp" };
        submit(&executor, name, Grant(ledger(u128::from(n % 3 / 2)))).await.unwrap();
    }
    let events = store.read_stream(&log("mp"), &ledger(0), 0, 10_000).await.unwrap();
    let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=320).collect::<Vec<_>>());
    for page in [1, 7, 63, 64, 65, 200] {
        let mut read = Vec::new();
        loop {
            let more = store.read_stream(&log("mp"), &ledger(0), read.len() as u64, page).await.unwrap();
            if more.is_empty() {
                break;
            }
            assert!(more.len() <= page as usize);
            read.extend(more);
        }
        assert_eq!(read, events, "pages of {page}");
    }
    assert!(store.read_stream(&log("mp"), &ledger(0), u64::MAX, 5).await.unwrap().is_empty());
}

#[test]
fn a_migration_that_comes_late_is_carried_out_on_sqlite() {
    fixture::on_sqlite(a_migration_that_comes_late_is_carried_out);
}

#[test]
fn a_migration_that_comes_late_is_carried_out_on_postgres() {
    fixture::on_postgres(a_migration_that_comes_late_is_carried_out);
}

#[test]
fn events_of_an_older_sqlite_file_are_carried_over() {
    fixture::on_sqlite(events_of_an_older_file_are_carried_over);
}

#[test]
fn a_long_stream_is_read_in_pages_from_sqlite() {
    fixture::on_sqlite(a_long_stream_is_read_in_pages);
}

#[test]
fn a_long_stream_is_read_in_pages_from_postgres() {
    fixture::on_postgres(a_long_stream_is_read_in_pages);
}
