//! The file of read models beside a SQLite log can be lost, and cannot outrun its log.

use subledger_domain::LogName;
use subledger_projection::{ProjectionName, digest, rebuild_balances};

use crate::{
    history::{log, tell},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(balances_are_the_sums_of_the_ledgers);

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
