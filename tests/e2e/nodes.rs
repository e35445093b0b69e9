//! Several real nodes on one PostgreSQL: at work on the same users, killed, stopped and continued, with the database cut off.
//!
//! The judge is the simulated WeChat's journal; see `reckoning`.

mod keys;
mod reckoning;
mod restart;
mod soak;
mod traffic;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::{
    reckoning::{committed_pages, get_at, last_position, reckon},
    traffic::Traffic,
};
use crate::{
    main_job::{ended, send},
    support::{APPID, CHANNEL, Client, Cluster, Database, eventually},
};

/// For what takes one lease, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lease of a claim in these tests, as `support` sets it.
const LEASE: Duration = Duration::from_millis(1_500);

async fn slow_wechat(cluster: &Cluster, ms: u64) {
    cluster
        .wechat
        .fault(&json!({ "appid": APPID, "path": "send", "kind": "latency", "ms": ms, "times": 0 }))
        .await;
}

async fn queue(cluster: &Cluster, number: usize) -> Value {
    cluster.nodes[number].client.get(&format!("/channels/{CHANNEL}/queue")).await.expect_status(200).clone()
}

/// Four nodes, the same few users, the same keys on several nodes at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_users_through_all_nodes_at_once() {
    let Some(database) = Database::postgres("the_same_users_through_all_nodes_at_once") else { return };
    let cluster = Cluster::start(database, 4).await;
    let mut traffic = Traffic::prepare(&cluster, 6, 5).await;
    traffic.begin(16);
    let doubled = || traffic.books.doubled.load(std::sync::atomic::Ordering::Relaxed);
    let answered = || traffic.books.sends.lock().unwrap().values().filter(|it| it["accepted"] == 1).count();
    eventually("contention of many requests", PATIENCE, async || {
        (answered() > 100 && doubled() > 20).then_some(())
    })
    .await;
    let doubled = doubled();
    traffic.end().await;
    traffic.assert_no_server_error();
    let found = reckon(&cluster, &traffic).await;
    assert!(found.sent > 50 && found.doubted == 0, "{found}");
    eprintln!("4 nodes: {found}; {doubled} keys on two nodes at once");
}

/// What one node decided another one knows at once, also where the answer writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_node_answers_from_what_it_knew_before() {
    let Some(database) = Database::postgres("no_node_answers_from_what_it_knew_before") else { return };
    let cluster = Cluster::start(database, 2).await;
    let (one, two) = (&cluster.nodes[0].client, &cluster.nodes[1].client);
    let openid = cluster.wechat.user().await;
    let users = format!("/channels/{CHANNEL}/users");
    let user = json!({ "userid": "zhangsan", "openid": openid });
    one.post(&users, &user).await.expect_status(200);
    for round in 0..4 {
        // The second time is what brings the node on its quick way.
        for _ in 0..2 {
            let again = one.post(&users, &user).await;
            assert_eq!(again.expect_status(200)["result"], "unchanged", "round {round}");
        }
        two.delete(&format!("{users}/zhangsan")).await.expect_status(200);
        let bound = one.post(&users, &user).await;
        assert_eq!(
            bound.expect_status(200)["result"],
            "bound",
            "round {round}: it was unbound on the other node"
        );
        // And a tap on one node pays for a message on the other at once.
        let result = cluster.wechat.tap(&openid).await;
        let report = json!({ "report_id": format!("tap-{round}"), "userid": "zhangsan", "result": result });
        two.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.expect_status(200);
        let sent = send(one, json!([{ "userid": "zhangsan" }]), &format!("pages/n?r={round}")).await;
        assert_eq!(sent["accepted"], 1, "{sent}");
        ended(two, sent["msgid"].as_str().unwrap()).await;
        let none = send(two, json!([{ "userid": "zhangsan" }]), "pages/none").await;
        assert_eq!(none["recipients"][0]["reason"], "no_grant", "{none}");
    }
}

/// SIGKILL in the middle of grants and of calls to WeChat. The others take over; reads through them go on all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_taken_over() {
    let Some(database) = Database::postgres("a_killed_node_is_taken_over") else { return };
    let mut cluster = Cluster::start(database, 3).await;
    let mut traffic = Traffic::prepare(&cluster, 60, 4).await;
    slow_wechat(&cluster, 400).await;
    let reader = tokio::spawn(reads(cluster.nodes[2].client.clone(), LEASE * 8));
    for victim in [0, 1] {
        traffic.begin(12);
        under_way(&cluster, 2, 12).await;
        cluster.kill(victim);
        traffic.end().await;
        traffic.assert_no_server_error();
    }
    // The last one left does all that is left: it finds what the others had started, and sends what they had not.
    let reads = reader.await.unwrap();
    assert!(reads >= 5, "reads through another node went on: {reads}");
    cluster.wechat.clear_faults().await;
    let found = reckon(&cluster, &traffic).await;
    assert!(found.sent > 20 && found.doubts > 0, "{found}");
    eprintln!("3 nodes, 2 killed, {reads} reads meanwhile: {found}");
}

/// Reads what a node shows, at least up to where it said that the log is. Answers how often.
async fn reads(client: Client, time: Duration) -> u32 {
    let (begun, mut reads, mut shown) = (Instant::now(), 0, 0);
    while begun.elapsed() < time {
        let position = last_position(&client).await;
        assert!(position >= shown, "what was shown is taken back: {shown}, then {position}");
        let page = get_at(&client, &format!("/channels/{CHANNEL}/messages?limit=1"), position).await;
        shown = page["position"].as_u64().unwrap();
        reads += 1;
    }
    reads
}

/// Waits until so many messages are on their way to WeChat.
async fn under_way(cluster: &Cluster, asked: usize, count: u64) {
    eventually("messages on their way to WeChat", PATIENCE, async || {
        (queue(cluster, asked).await["started"].as_u64()? >= count).then_some(())
    })
    .await;
}

/// A node that slept longer than its leases wakes and believes that it still holds them.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_does_nothing_twice() {
    let Some(database) = Database::postgres("a_node_that_slept_does_nothing_twice") else { return };
    let cluster = Cluster::start(database, 2).await;
    let mut traffic = Traffic::prepare(&cluster, 60, 3).await;
    slow_wechat(&cluster, 400).await;
    for sleeper in [0, 1] {
        let awake = 1 - sleeper;
        traffic.begin(12);
        under_way(&cluster, awake, 12).await;
        cluster.freeze(sleeper);
        // Whatever it held a lock on is let go by the database; then the other one goes on alone, past every lease.
        let position = last_position(&cluster.nodes[awake].client).await;
        eventually("the other node goes on alone", PATIENCE, async || {
            (last_position(&cluster.nodes[awake].client).await > position + 20).then_some(())
        })
        .await;
        tokio::time::sleep(LEASE * 2).await;
        cluster.thaw(sleeper);
        traffic.end().await;
        traffic.assert_no_server_error();
    }
    cluster.wechat.clear_faults().await;
    let found = reckon(&cluster, &traffic).await;
    assert!(found.sent > 20 && found.doubts > 0, "{found}");
    eprintln!("2 nodes, one of them asleep: {found}");
}

/// Channels are registered on any node, worked off by any, and read on all.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_channel_is_everybodys() {
    let Some(database) = Database::postgres("a_new_channel_is_everybodys") else { return };
    let mut cluster = Cluster::start(database, 3).await;
    let mut people = Vec::new();
    for number in 0..9 {
        let (code, appid) = (format!("shop{number}"), format!("wx0000000shop{number:04}"));
        cluster.wechat.add_app(&appid).await;
        cluster.add_channel(number % 3, &code, &appid).await;
        let openid = cluster.wechat.user_of(&appid).await;
        let result = cluster.wechat.tap_at(&appid, &openid).await;
        let report = json!({ "report_id": "1", "openid": openid, "result": result });
        let next = &cluster.nodes[(number + 1) % 3].client;
        next.post(&format!("/channels/{code}/client-reports"), &report).await.expect_status(200);
        people.push((code, openid));
    }
    // The node that knows half of them best is gone when the messages come.
    cluster.kill(0);
    for (number, (code, openid)) in people.iter().enumerate() {
        let body = crate::main_job::message(json!([{ "openid": openid }]), &format!("pages/{code}"));
        let client = &cluster.nodes[1 + number % 2].client;
        let sent = client.post(&format!("/channels/{code}/messages"), &body).await;
        assert_eq!(sent.expect_status(202)["accepted"], 1, "{code}: {}", sent.body);
        let (msgid, position) =
            (sent.body["msgid"].as_str().unwrap(), sent.body["position"].as_u64().unwrap());
        for reader in [1, 2] {
            let path = format!("/channels/{code}/messages/{msgid}");
            get_at(&cluster.nodes[reader].client, &path, position).await;
        }
        let reader = &cluster.nodes[2 - number % 2].client;
        eventually("it is sent", PATIENCE, async || {
            let message = reader.get(&format!("/channels/{code}/messages/{msgid}")).await;
            (message.body["counts"]["sent"] == 1).then_some(())
        })
        .await;
    }
    let committed = committed_pages(&cluster).await;
    assert_eq!(committed.len(), 9);
    assert!(committed.values().all(|times| *times == 1), "{committed:?}");
    reckoning::prove(&cluster);
}
