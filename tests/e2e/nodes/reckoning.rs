//! When all is over: what the callers were told, what the nodes say, and what WeChat says must be the same.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::traffic::Traffic;
use crate::support::{CHANNEL, Client, Cluster, run_cli};

/// How long nothing at all may happen while work is left.
const PATIENCE: Duration = Duration::from_secs(60);

/// For another node to take over what a dead one kept up to date: its lease, and once the answer's own deadline.
const TAKEOVER: Duration = Duration::from_secs(12);

/// What was found, to print.
#[derive(Debug, Default)]
pub struct Reckoning {
    pub taps: u64,
    pub requests: u64,
    pub sent: u64,
    pub not_sent: u64,
    pub skipped: u64,
    /// Deliveries that were in doubt at some time.
    pub doubts: u64,
    /// Those of them that no answer of WeChat's settled.
    pub doubted: u64,
    pub events: u64,
}

impl fmt::Display for Reckoning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taps, requests, sent, not_sent, skipped, doubts, doubted, events } = self;
        write!(
            f,
            "{taps} taps counted once; {requests} messages: {sent} sent, {not_sent} found not sent, {skipped} skipped, 0 lost, 0 \
             twice; {doubts} doubts, {doubted} of them settled by the journal; {events} events, dense and whole"
        )
    }
}

/// Waits until nothing is under way any more, and compares everything with everything.
pub async fn reckon(cluster: &Cluster, traffic: &Traffic) -> Reckoning {
    let client = cluster.roster.any();
    let mut found = Reckoning::default();
    let sends = std::mem::take(&mut *traffic.books.sends.lock().unwrap());
    let taps = std::mem::take(&mut *traffic.books.taps.lock().unwrap());
    let pages: HashMap<String, String> = sends
        .iter()
        .map(|(page, answer)| (answer["msgid"].as_str().unwrap().to_owned(), page.clone()))
        .collect();
    assert_eq!(pages.len(), sends.len(), "two requests got one msgid");
    let doubted = settle_doubts(cluster, &client, &pages).await;
    found.doubted = doubted.len() as u64;

    let committed = committed_pages(cluster).await;
    let twice = committed.iter().find(|(_, times)| **times > 1);
    assert!(twice.is_none(), "sent twice: {twice:?}");
    let position = last_position(&client).await;
    for (page, answer) in &sends {
        let at_wechat = committed.get(page).copied().unwrap_or(0);
        let msgid = answer["msgid"].as_str().unwrap();
        let state = state_of(&client, msgid, position).await;
        assert_eq!(answer["accepted"] == 1, state != "skipped", "{answer} became {state}");
        let expected = match state.as_str() {
            "sent" => {
                found.sent += 1;
                1
            }
            "not_sent" => {
                assert!(doubted.contains(msgid), "{msgid} is not sent, and nobody settled it so");
                found.not_sent += 1;
                0
            }
            "skipped" => {
                found.skipped += 1;
                0
            }
            state => panic!("{state} is no outcome of this test: {msgid}"),
        };
        assert_eq!(at_wechat, expected, "we say {state}, WeChat accepted it {at_wechat} times: {msgid}");
    }
    found.requests = sends.len() as u64;
    assert_eq!(found.sent, committed.values().sum::<u64>(), "WeChat accepted what nobody asked for");
    found.taps = taps.values().sum();
    balances(cluster, &client, traffic, &taps, position).await;
    log_is_whole(cluster, &mut found);
    prove(cluster);
    found
}

/// Every user: grants as tapped, and what is left as WeChat says.
async fn balances(
    cluster: &Cluster,
    client: &Client,
    traffic: &Traffic,
    taps: &HashMap<String, u64>,
    position: u64,
) {
    for openid in traffic.openids.iter() {
        let ledgers = get_at(client, &format!("/channels/{CHANNEL}/ledgers?openid={openid}"), position).await;
        let ledger = &ledgers["items"][0];
        let number = |field: &str| ledger[field].as_u64().unwrap_or(0);
        assert_eq!(number("granted"), taps.get(openid).copied().unwrap_or(0), "{ledger}");
        assert_eq!(number("balance"), cluster.wechat.remaining(openid).await, "{ledger}");
        assert_eq!(number("granted"), number("consumed") + number("balance"), "{ledger}");
        assert_eq!(number("reserved") + number("in_doubt"), 0, "{ledger}");
    }
}

/// The log as the command line prints it: positions dense, one event per key.
fn log_is_whole(cluster: &Cluster, found: &mut Reckoning) {
    let (mut position, mut counts) = (0, HashMap::<String, u64>::new());
    let mut versions = HashMap::<String, u64>::new();
    loop {
        let after = position.to_string();
        let arguments =
            ["events", "list", "--log", CHANNEL, "--after", &after, "--limit", "100000", "--json"];
        let listed = run_cli(&cluster.database, &arguments);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        for event in serde_json::Deserializer::from_slice(&listed.stdout).into_iter::<Value>() {
            let event = event.unwrap();
            position += 1;
            assert_eq!(event["position"], position, "a hole or a repetition");
            let version = versions.entry(event["stream"].as_str().unwrap().to_owned()).or_default();
            *version += 1;
            assert_eq!(event["version"], *version, "a stream with a hole or a repetition: {event}");
            *counts.entry(event["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        if after == position.to_string() {
            break;
        }
    }
    let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert_eq!(count("ledger.granted"), found.taps, "one grant per tap: {counts:?}");
    assert_eq!(count("message.accepted"), found.requests, "one message per key: {counts:?}");
    assert_eq!(count("ledger.reserved"), found.sent + found.not_sent, "{counts:?}");
    (found.doubts, found.events) = (count("ledger.doubted"), position);
}

/// The service's own proof.
pub fn prove(cluster: &Cluster) {
    for arguments in [["projections", "verify"], ["audit", "verify"]] {
        let verified = run_cli(&cluster.database, &arguments);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(
            verified.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
}

/// Reads what stands at a position. While a dead node's read models are taken over, which takes a lease, the answer is an honest
/// "not yet"; nothing else is accepted.
pub async fn get_at(client: &Client, path: &str, position: u64) -> Value {
    let joint = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{joint}min_position={position}");
    let begun = Instant::now();
    loop {
        let answer = client.get(&path).await;
        if answer.status != 503 {
            assert!(answer.expect_status(200)["position"].as_u64() >= Some(position), "{}", answer.body);
            return answer.body;
        }
        answer.expect_problem(503, "not_caught_up");
        assert!(begun.elapsed() < TAKEOVER, "position {position} is not shown within {TAKEOVER:?}");
    }
}

/// Where the log ends.
pub async fn last_position(client: &Client) -> u64 {
    let queue = client.get(&format!("/channels/{CHANNEL}/queue")).await;
    queue.expect_status(200)["position"].as_u64().unwrap()
}

async fn state_of(client: &Client, msgid: &str, position: u64) -> String {
    let message = get_at(client, &format!("/channels/{CHANNEL}/messages/{msgid}"), position).await;
    let counts = message["counts"].as_object().unwrap();
    let sum = counts.values().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!(message["targeted"].as_u64(), Some(sum), "targeted is the sum of the states: {message}");
    let (state, _) = counts.iter().find(|(_, count)| **count == 1).unwrap();
    state.clone()
}

/// How often WeChat accepted each page.
pub async fn committed_pages(cluster: &Cluster) -> HashMap<String, u64> {
    let mut committed: HashMap<String, u64> = HashMap::new();
    for entry in cluster.wechat.journal().await {
        if entry["committed"] == true {
            *committed.entry(entry["page"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    committed
}

/// Waits for the queue to empty, settling each doubt as WeChat's journal tells, as a person with WeChat's records would. Only
/// what had started may be in doubt.
async fn settle_doubts(
    cluster: &Cluster,
    client: &Client,
    pages: &HashMap<String, String>,
) -> HashSet<String> {
    let mut doubted = HashSet::new();
    // A user with a doubt gets nothing more until it is settled, so a long run leaves a long queue: what counts is that it moves.
    let (mut seen, mut moved) = (Value::Null, Instant::now());
    loop {
        let stats = client.get(&format!("/channels/{CHANNEL}/queue")).await.body;
        let rows = |states: &[&str]| states.iter().filter_map(|state| stats[*state].as_u64()).sum::<u64>();
        if stats["queued"] == 0 && rows(&["claimed", "started", "in_doubt"]) == 0 {
            return doubted;
        }
        if seen["position"] != stats["position"] {
            (seen, moved) = (stats.clone(), Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "the queue does not empty: {stats}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        // What is in doubt because its node was lost may still be settled by that node, if it only slept: while anything is
        // under way somewhere, a person would wait.
        if rows(&["claimed", "started"]) > 0 {
            continue;
        }
        let committed = committed_pages(cluster).await;
        let doubts = client.get(&format!("/channels/{CHANNEL}/in-doubt?limit=200")).await;
        for doubt in doubts.expect_status(200)["items"].as_array().unwrap() {
            assert!(doubt["attempts"].as_u64().unwrap() > 0, "in doubt without a start: {doubt}");
            let msgid = doubt["msgid"].as_str().unwrap();
            let verdict = if committed.contains_key(&pages[msgid]) { "sent" } else { "not_sent" };
            let settle = format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0/settle");
            let answer =
                client.post(&settle, &json!({ "verdict": verdict, "reason": "WeChat's journal" })).await;
            // The answer of a call that was lost for a while may have come first.
            assert!(answer.status == 200 || answer.body["code"] == "not_in_doubt", "{}", answer.body);
            doubted.insert(msgid.to_owned());
        }
    }
}
