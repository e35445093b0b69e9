//! Waiting until nothing more can happen.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::world::World;

/// How long nothing at all may happen while work is left.
const PATIENCE: Duration = Duration::from_secs(90);
/// After so long without a change whatever waits, waits behind a doubt.
const STUCK: Duration = Duration::from_secs(3);
/// Nothing WeChat still works on takes longer: the longest delay of a fault.
const LONGEST_DELAY: Duration = Duration::from_millis(1_300);

/// Lets everything come to rest. Some doubts are left open, where nothing waits behind them and no deadline ends them. Answers the position of the end.
pub async fn come_to_rest(world: &Arc<World>) -> u64 {
    world.wechat.clear_faults().await;
    world.wechat.delete("/sandbox/push-faults").await;
    // Calls that the service gave up and WeChat still works on.
    tokio::time::sleep(LONGEST_DELAY).await;
    let (mut seen, mut moved, mut left) = (Value::Null, Instant::now(), HashSet::new());
    loop {
        let pushed = world.wechat.post("/sandbox/pushes/settle", &json!({ "appid": world.appid })).await;
        assert_eq!(pushed["settled"], true, "pushes are not taken: {pushed}");
        let queue = world.client.get(&world.path("/queue")).await.expect_status(200).clone();
        if queue["position"] != seen["position"] {
            (seen, moved) = (queue.clone(), Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "the queue does not empty: {queue}");
        let rows = |states: &[&str]| states.iter().filter_map(|state| queue[*state].as_u64()).sum::<u64>();
        if rows(&["claimed", "started"]) == 0 {
            let stuck = moved.elapsed() > STUCK;
            let mut settled = false;
            // Under a deadline they end by themselves, each of them.
            let by_hand = if world.round.has_deadline() { Vec::new() } else { world.doubts().await };
            for doubt in by_hand {
                let dice = dice(world, &doubt);
                if stuck || !dice.is_multiple_of(4) {
                    world.settle(&doubt, dice % 8 < 5).await;
                    settled = true;
                } else {
                    left.insert(doubt.to_string());
                }
            }
            let waits: &[&str] =
                if world.round.has_deadline() { &["queued", "in_doubt"] } else { &["queued"] };
            let quiet = !settled && rows(waits) == 0;
            if quiet && world.is_quiet().await {
                // The last look must see what the first one saw.
                let again = world.client.get(&world.path("/queue")).await.expect_status(200).clone();
                if again == queue {
                    return queue["position"].as_u64().unwrap();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

impl World {
    /// Whether every push was handed over and has been acted on.
    async fn is_quiet(&self) -> bool {
        let books = self.wechat.get(&self.control("/books")).await;
        books["waiting_deliveries"] == 0
    }
}

/// A number that is the doubt's own, so that its fate does not depend on when somebody looks.
fn dice(world: &World, doubt: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    (world.round.seed, &doubt["msgid"].as_str(), doubt["index"].as_u64()).hash(&mut hasher);
    hasher.finish()
}
