//! The keys of a channel's pushes are replaced, through one node and the other: what WeChat pushes under a key in force is read
//! by both from that moment on, however lately a node has looked.

use std::{collections::BTreeSet, time::Instant};

use serde_json::Value;

use super::PATIENCE;
use crate::support::{CHANNEL, Client, Cluster, Database, Pusher, eventually, push::set_pushes_up};

const TOKENS: [&str; 2] = ["nodesToken01", "nodesToken02"];
/// A node believes a configuration for two seconds; the rest is for a slow machine.
const BELIEVED: std::time::Duration = std::time::Duration::from_secs(8);

/// The key of this number.
fn key(number: usize) -> String {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    letters.chars().cycle().skip(7 * number).take(43).collect()
}

/// Everything that the channel keeps in this state.
async fn kept(node: &Client, state: &str) -> Vec<Value> {
    let page = node.get(&format!("/channels/{CHANNEL}/pushes?state={state}&limit=200")).await;
    page.expect_status(200)["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_is_replaced_for_both() {
    let Some(database) = Database::postgres("a_key_that_is_replaced_is_replaced_for_both") else { return };
    let cluster = Cluster::start(database, 2).await;
    let nodes = [&cluster.nodes[0].client, &cluster.nodes[1].client];
    let (mut number, mut good, mut old) = (0, BTreeSet::new(), 0);
    let mut popup = |pusher: &Pusher| {
        number += 1;
        let openid = format!("oKEYS_user_{number:016}");
        (pusher.popup(number, &openid), openid)
    };
    set_pushes_up(nodes[0], TOKENS[0], &key(0)).await;
    for round in 1..=6 {
        let before = Pusher::new(TOKENS[0], &key(round - 1));
        for node in nodes {
            // Both have looked a moment ago.
            let (push, openid) = popup(&before);
            assert!(before.is_taken(node, &push).await);
            good.insert(openid);
        }
        set_pushes_up(nodes[round % 2], TOKENS[0], &key(round)).await;
        let now = Pusher::new(TOKENS[0], &key(round));
        // First the one through which it was not changed.
        for node in [nodes[1 - round % 2], nodes[round % 2]] {
            for pusher in [&now, &before] {
                let (push, openid) = popup(pusher);
                assert!(pusher.is_taken(node, &push).await);
                good.insert(openid);
            }
            // What is older than both is kept, and not acted on.
            if round > 1 {
                let gone = Pusher::new(TOKENS[0], &key(round - 2));
                assert!(gone.is_taken(node, &popup(&gone).0).await);
                old += 1;
            }
        }
    }
    assert_eq!(kept(nodes[0], "undecodable").await.len(), old);
    assert_eq!(kept(nodes[1], "acted").await.len(), good.len());

    // Another token: the one before ends, which is what a token is replaced for.
    let (before, now) = (Pusher::new(TOKENS[0], &key(6)), Pusher::new(TOKENS[1], &key(6)));
    set_pushes_up(nodes[0], TOKENS[1], &key(6)).await;
    let changed = Instant::now();
    for node in nodes {
        let (push, openid) = popup(&now);
        eventually("the new token is known", PATIENCE, async || {
            now.is_taken(node, &push).await.then_some(())
        })
        .await;
        good.insert(openid);
    }
    let (push, openid) = popup(&before);
    for node in nodes {
        eventually("the old token is refused", PATIENCE, async || {
            let (status, body) = before.post(node, &push).await?;
            if body == "success" {
                good.insert(openid.clone());
            }
            (status == 403).then_some(())
        })
        .await;
    }
    assert!(changed.elapsed() < BELIEVED, "{:?}", changed.elapsed());
    assert_eq!(kept(nodes[1], "acted").await.len(), good.len());
    eventually("each of them is a grant", PATIENCE, async || {
        let grants = nodes[0].get(&format!("/reports/activity?channel={CHANNEL}")).await;
        grants.body.to_string().contains(&format!("\"granted\":{}", good.len())).then_some(())
    })
    .await;
}
