//! The file of read models beside a SQLite log can be lost, and cannot outrun its log.

use sqlx::{
    Connection, Executor, PgConnection, SqliteConnection,
    migrate::{Migration, Migrator},
    sqlite::SqliteConnectOptions,
};
use subledger_domain::LogName;
use subledger_projection::{ProjectionName, digest, rebuild_balances, verify};

use crate::{
    history::{log, tell},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(
    balances_are_the_sums_of_the_ledgers,
    rows_of_an_older_layout_are_built_anew,
    books_with_drift_or_doubt_are_built_anew_by_the_version_that_reports_them
);

async fn digests(node: &Node) -> Vec<(LogName, ProjectionName, String)> {
    let mut digests = Vec::new();
    for head in node.store.heads().await.unwrap() {
        for projection in ProjectionName::of_log(&head.log) {
            let digest = digest(&node.store, &head.log, *projection).await.unwrap();
            assert_eq!(digest.position, head.position);
            digests.push((head.log.clone(), *projection, digest.digest));
        }
    }
    digests
}

async fn close(node: Node) {
    node.executor.shutdown().await;
    node.store.close().await;
}

/// The migrations before a version.
fn before(version: i64, migrations: &Migrator) -> Migrator {
    let older: Vec<Migration> = migrations.iter().filter(|one| one.version < version).cloned().collect();
    Migrator::with_migrations(older)
}

/// A node that meets tables of an older version drops them and builds all read models by itself.
async fn rows_of_an_older_layout_are_built_anew(place: Place) {
    let old = "insert into projection (log, name, generation, purpose, position, touched_at)
        values ('wechatmp123', 'ledgers', 1, 'live', 3, 0), ('wechatmp123', 'reports', 1, 'live', 3, 0)";
    left_by_an_older_version(&place, (3, 12), &[old]).await;
    let node = Node::on(&place).await;
    assert_eq!(node.number("select count(*) from projection").await, 0);
    tell(&node).await;
    node.catch_up().await;
    let verified = verify(&node.store, None, |_| {}).await.unwrap();
    assert!(verified.len() == 5 && verified.iter().all(|one| one.equal), "{verified:?}");
}

/// Read models whose newest migration is the one before (that of SQLite's file, that of PostgreSQL), and rows in them.
async fn left_by_an_older_version(place: &Place, (sqlite, postgres): (i64, i64), rows: &[&'static str]) {
    match place.url.strip_prefix("sqlite://") {
        Some(file) => {
            let file = file.replace(".db", ".views.db");
            let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            let migrations = before(sqlite, &sqlx::migrate!("../../migrations/sqlite/views"));
            migrations.run_direct(None, &mut connection, false).await.unwrap();
            for row in rows {
                connection.execute(*row).await.unwrap();
            }
            connection.close().await.unwrap();
        }
        None => {
            let mut connection = PgConnection::connect(&place.url).await.unwrap();
            let migrations = before(postgres, &sqlx::migrate!("../../migrations/postgres"));
            migrations.run_direct(None, &mut connection, false).await.unwrap();
            for row in rows {
                connection.execute(*row).await.unwrap();
            }
            connection.close().await.unwrap();
        }
    }
}

/// Rows that were folded before have no drift and no doubt; a log that told of none has nothing to add and stays as it is.
async fn books_with_drift_or_doubt_are_built_anew_by_the_version_that_reports_them(place: Place) {
    let old = [
        "insert into term (text) values ('template-once')",
        "insert into projection (log, name, purpose, position, touched_at) values
            ('wechatmp123', 'ledgers', 'live', 0, 0), ('wechatmp123', 'messages', 'live', 0, 0),
            ('wechatmp123', 'bindings', 'live', 0, 0), ('calm', 'ledgers', 'live', 0, 0), ('calm', 'messages', 'live', 0, 0)",
        "insert into report_counts (generation, template, bucket, measure, class, amount)
            select p.generation, n.number, 1, case p.log when 'calm' then 'granted' else 'doubted' end, '', 1
            from projection p cross join term n where p.name = 'ledgers'",
    ];
    left_by_an_older_version(&place, (19, 19), &old).await;
    let node = Node::on(&place).await;
    for (given, expected) in [
        (
            "select count(*) from projection where log = 'wechatmp123' and purpose = 'dropping' and name <> 'bindings'",
            2,
        ),
        ("select count(*) from projection where log = 'wechatmp123' and purpose = 'live'", 1),
        ("select count(*) from projection where log = 'calm' and purpose = 'live'", 2),
    ] {
        assert_eq!(node.number(given).await, expected, "{given}");
    }
    tell(&node).await;
    node.catch_up().await;
    let verified = verify(&node.store, Some(&[log()]), |_| {}).await.unwrap();
    assert!(verified.len() == 4 && verified.iter().all(|one| one.equal), "{verified:?}");
    let dropping = "select count(*) from projection where purpose = 'dropping'";
    assert_eq!(node.number(dropping).await, 0, "what was dropped is gone");
    assert_eq!(node.number("select count(*) from doubts").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_begins_anew() {
    let place = Place::sqlite();
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    close(node).await;
    let views = place.url.trim_start_matches("sqlite://").replace(".db", ".views.db");
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{views}{end}"));
    }
    let node = Node::on(&place).await;
    assert_eq!(node.number("select count(*) from ledgers").await, 0);
    node.catch_up().await;
    assert_eq!(digests(&node).await, before);
    node.store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_ahead_of_their_log_are_emptied() {
    let place = Place::sqlite();
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    // As after the log was restored from an older copy: rows of events that never happened.
    node.sql("update projection set position = position + 1 where name = 'bindings'").await;
    node.sql("update ledgers set balance = balance + 1").await;
    close(node).await;
    let node = Node::on(&place).await;
    assert_eq!(node.number("select count(*) from ledgers").await, 0);
    node.catch_up().await;
    assert_eq!(digests(&node).await, before);
}

async fn balances_are_the_sums_of_the_ledgers(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let balances = rebuild_balances(&node.store, &log()).await.unwrap();
    assert_eq!(balances.position, node.store.head(&log()).await.unwrap().position);
    assert!(balances.totals.balanced());
    let rows = [
        ("select count(*) from ledgers", balances.ledgers),
        ("select cast(sum(granted) as bigint) from ledgers", balances.totals.granted),
        ("select cast(sum(balance) as bigint) from ledgers", balances.totals.open),
        ("select cast(sum(reserved) as bigint) from ledgers", balances.totals.reserved),
        ("select cast(sum(in_doubt) as bigint) from ledgers", balances.totals.in_doubt),
        ("select cast(sum(consumed) as bigint) from ledgers", balances.totals.consumed),
        ("select cast(sum(voided) as bigint) from ledgers", balances.totals.voided),
    ];
    for (statement, expected) in rows {
        assert_eq!(node.number(statement).await, i64::try_from(expected).unwrap(), "{statement}");
    }
}
