//! The database goes away under load and comes back; the nodes stay up and recover by themselves.

use std::{sync::atomic::Ordering, time::Duration};

use super::{PATIENCE, reckoning::reckon, slow_wechat, traffic::Traffic};
use crate::support::{Cluster, Database, Server, eventually};

const NODES: usize = 3;

async fn all_ready(cluster: &Cluster, status: u16) {
    for node in &cluster.nodes {
        eventually(&format!("/readyz of {} says {status}", node.client.url), PATIENCE, async || {
            (node.client.status_of("/readyz").await == Some(status)).then_some(())
        })
        .await;
    }
}

/// What the callers saw while the database was away: refusals, and nothing but.
fn only_refusals(traffic: &Traffic) -> usize {
    let errors = std::mem::take(&mut *traffic.books.errors.lock().unwrap());
    let other = errors.iter().find(|error| !error.contains(": 503 "));
    assert!(other.is_none(), "{other:?}");
    errors.len()
}

/// Every connection is cut at once, again and again; then the database lets nobody in for a while.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_survive_a_database_that_is_cut_off() {
    let Some(database) = Database::postgres("nodes_survive_a_database_that_is_cut_off") else { return };
    let cluster = Cluster::start(database, NODES).await;
    let mut traffic = Traffic::prepare(&cluster, 40, 3).await;
    slow_wechat(&cluster, 15).await;
    traffic.begin(8);
    for _ in 0..4 {
        // Somewhere in the middle of batches, calls and settlements.
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.database.cut_connections();
    }
    all_ready(&cluster, 200).await;
    cluster.database.allow_connections(false);
    cluster.database.cut_connections();
    all_ready(&cluster, 503).await;
    cluster.database.allow_connections(true);
    all_ready(&cluster, 200).await;
    traffic.end().await;
    let refused = only_refusals(&traffic);
    assert!(refused > 0, "nobody noticed that the database was away");
    cluster.wechat.clear_faults().await;
    let found = reckon(&cluster, &traffic).await;
    let cut = traffic.books.cut_off.load(Ordering::Relaxed);
    eprintln!(
        "database cut off under {NODES} nodes: {refused} requests told to come again, {cut} cut off: {found}"
    );
}

/// The server itself ends without warning and recovers from its write-ahead log.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_survive_a_database_server_that_crashes() {
    let Some(mut server) = Server::start("nodes_survive_a_database_server_that_crashes") else { return };
    let cluster = Cluster::start(Database::on(&server), NODES).await;
    let mut traffic = Traffic::prepare(&cluster, 40, 3).await;
    slow_wechat(&cluster, 15).await;
    traffic.begin(8);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        })
        .await
        .unwrap();
        all_ready(&cluster, 200).await;
    }
    traffic.end().await;
    let refused = only_refusals(&traffic);
    cluster.wechat.clear_faults().await;
    let found = reckon(&cluster, &traffic).await;
    eprintln!("database crashed 3 times under {NODES} nodes: {refused} requests told to come again: {found}");
    // The database must go before its server.
    drop(cluster);
    drop(server);
}
