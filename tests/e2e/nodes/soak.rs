//! Load from many callers on three nodes, which are killed and started again at random; then the reckoning.
//!
//! `SUBLEDGER_SOAK_SECONDS` sets how long (8 by default; the long run takes 600), `SUBLEDGER_SOAK_SEED` the order of events.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};

use super::{reckoning::reckon, slow_wechat, traffic::Traffic};
use crate::support::{Cluster, Database};

const NODES: usize = 3;
const CALLERS: usize = 8;
const USERS: usize = 80;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_and_started_at_random() {
    let Some(database) = Database::postgres("nodes_killed_and_started_at_random") else { return };
    let seconds = setting("SUBLEDGER_SOAK_SECONDS", 8);
    let seed = setting("SUBLEDGER_SOAK_SEED", 20_261_123);
    eprintln!("soak: {seconds} s, seed {seed}");
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(database, NODES).await;
    let mut traffic = Traffic::prepare(&cluster, USERS, 2).await;
    slow_wechat(&cluster, 20).await;
    traffic.begin(CALLERS);
    let begun = Instant::now();
    let (mut kills, mut sleeps) = (0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        // The moment is what is tested, not something to wait for.
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_500))).await;
        let victim = rng.random_range(0..NODES);
        let away = Duration::from_millis(rng.random_range(0..2_500));
        if rng.random_bool(0.25) {
            cluster.freeze(victim);
            tokio::time::sleep(away).await;
            cluster.thaw(victim);
            sleeps += 1;
        } else {
            cluster.kill(victim);
            tokio::time::sleep(away).await;
            cluster.restart(victim).await;
            kills += 1;
        }
    }
    traffic.end().await;
    cluster.wechat.clear_faults().await;
    traffic.assert_no_server_error();
    let found = reckon(&cluster, &traffic).await;
    let (cut, doubled) =
        (traffic.books.cut_off.load(Ordering::Relaxed), traffic.books.doubled.load(Ordering::Relaxed));
    assert!(kills > 0 && found.sent > 0, "{kills} kills, {found}");
    eprintln!(
        "soak: {} s, {kills} kills, {sleeps} sleeps, {cut} requests cut off and repeated, {doubled} keys on two nodes at once: {found}",
        begun.elapsed().as_secs()
    );
}
