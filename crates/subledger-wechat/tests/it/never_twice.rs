//! One logical send reaches the server at most once, however the server treats its connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use subledger_wechat::{KeeperSettings, SendOutcome};

use crate::server::{Act, HandClock, SEND, STABLE, Server, channel_of, keeper, message, ok};

const SENDS: usize = 1500;
const LANES: usize = 12;

/// A small seeded generator: the run is the same each time up to scheduling.
fn next(state: &AtomicU64) -> u64 {
    let step = |old: u64| old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    step(state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(step(old))).unwrap()) >> 33
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_closes_kept_connections_at_random_never_sees_a_send_twice() {
    let random = AtomicU64::new(0x5eed);
    let server = Server::start(move |seen| {
        if seen.path == STABLE {
            return ok(r#"{"access_token":"T1","expires_in":7200}"#);
        }
        let yes = r#"{"errcode":0,"errmsg":"ok"}"#;
        match next(&random) % 10 {
            // Closed behind the client's back: the next request may run into it.
            0..=4 => Act::JsonThenClose(yes.to_owned()),
            5 => Act::Close,
            6 => Act::Reset,
            _ => ok(yes),
        }
    })
    .await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let channel = channel_of(&keeper, &server.url(), "SECRET");
    let number = std::sync::Arc::new(AtomicUsize::new(0));
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (channel, number) = (channel.clone(), std::sync::Arc::clone(&number));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                loop {
                    let id = number.fetch_add(1, Ordering::SeqCst);
                    if id >= SENDS {
                        return outcomes;
                    }
                    let template = format!("TPL_{id:06}");
                    outcomes.push((template.clone(), channel.send(&message(&template)).await));
                }
            })
        })
        .collect();

    let mut outcomes = Vec::new();
    for lane in lanes {
        outcomes.extend(lane.await.unwrap());
    }
    let mut arrivals: HashMap<String, usize> = HashMap::new();
    for seen in server.seen().iter().filter(|seen| seen.path == SEND) {
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        *arrivals.entry(body["template_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let (mut accepted, mut unknown) = (0, 0);
    for (template, outcome) in &outcomes {
        let arrived = arrivals.get(template).copied().unwrap_or(0);
        assert!(arrived <= 1, "{template} arrived {arrived} times");
        match outcome {
            SendOutcome::Accepted { .. } => {
                accepted += 1;
                assert_eq!(arrived, 1, "{template} was accepted without arriving");
            }
            SendOutcome::NotSent { .. } => assert_eq!(arrived, 0, "{template} was called not sent"),
            SendOutcome::Unknown { .. } => unknown += 1,
            other => panic!("{template}: {other:?}"),
        }
    }
    assert_eq!(outcomes.len(), SENDS);
    assert!(accepted > SENDS / 2 && unknown > SENDS / 20, "{accepted} accepted, {unknown} unknown");
}
