//! SIGKILL of the service under load, again and again; then the simulated WeChat's journal against our answers.
//!
//! What is claimed: no accepted recipient is lost, none is sent twice, and in doubt are only deliveries that had started.
//! `SUBLEDGER_KILL_ROUNDS` sets the number of kills (3 by default; the long run takes 100), `SUBLEDGER_KILL_SEED` the seed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::{
    main_job::message,
    on_both_databases,
    support::{APPID, CHANNEL, Client, Database, Stage, eventually, run_cli},
};

const USERS: usize = 60;
/// Taps per user, so that grants last through the rounds.
const fn taps_per_user(rounds: u64) -> u64 {
    40 + rounds / 2
}
const SENDERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

on_both_databases!(killed_nodes_lose_nothing_and_send_nothing_twice);

/// What a caller knows: each request's marker (the page) with its answer, if one came.
type Books = HashMap<Marker, Option<Value>>;

/// One request: its number makes its key, its openid its recipient, and both together the page WeChat sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Marker {
    number: u64,
    openid: String,
}

impl Marker {
    fn page(&self) -> String {
        format!("pages/kill?n={}-{}", self.number, self.openid)
    }

    /// Sends the request, or repeats it: the same key and body every time.
    async fn send(&self, client: &Client) -> Option<Value> {
        let body = message(json!([{ "openid": self.openid }]), &self.page());
        let path = format!("/channels/{CHANNEL}/messages");
        let answer = client.try_post(&path, &format!("kill-{}", self.number), &body).await?;
        (answer.status == 202).then_some(answer.body)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn people(stage: &Stage, taps: u64) -> Vec<String> {
    let mut openids = Vec::new();
    for user in 0..USERS {
        let openid = stage.wechat.user().await;
        for tap in 0..taps {
            let result = stage.wechat.tap(&openid).await;
            let report =
                json!({ "report_id": format!("u{user}-t{tap}"), "openid": openid, "result": result });
            let answer = stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
        }
        openids.push(openid);
    }
    openids
}

/// Sends until told to stop; every request has its own marker and key.
async fn sender(
    client: Client,
    openids: Arc<Vec<String>>,
    books: Arc<Mutex<Books>>,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let openid = openids[usize::try_from(number).unwrap() % openids.len()].clone();
        let marker = Marker { number, openid };
        books.lock().unwrap().insert(marker.clone(), None);
        if let Some(answer) = marker.send(&client).await {
            books.lock().unwrap().insert(marker, Some(answer));
        }
    }
}

async fn killed_nodes_lose_nothing_and_send_nothing_twice(database: Database) {
    let rounds = setting("SUBLEDGER_KILL_ROUNDS", 3);
    let seed = setting("SUBLEDGER_KILL_SEED", 20_261_123);
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    let kind = if database.is_postgres() { "PostgreSQL" } else { "SQLite" };
    let mut stage = Stage::start(database).await;
    let openids = Arc::new(people(&stage, taps_per_user(rounds)).await);
    let slow = json!({ "appid": APPID, "path": "send", "kind": "latency", "ms": 25, "times": 0 });
    stage.wechat.fault(&slow).await;

    let books = Arc::new(Mutex::new(Books::default()));
    let numbers = Arc::new(AtomicU64::new(0));
    for _ in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |_| {
            let (openids, books) = (Arc::clone(&openids), Arc::clone(&books));
            tokio::spawn(sender(
                stage.client.clone(),
                openids,
                books,
                Arc::clone(&numbers),
                Arc::clone(&stop),
            ))
        };
        let senders: Vec<_> = (0..SENDERS).map(spawn).collect();
        // The moment of the kill is what is tested, not something to wait for.
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..400))).await;
        stage.kill();
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        stage.restart().await;
    }
    stage.wechat.clear_faults().await;
    let requests = std::mem::take(&mut *books.lock().unwrap());
    let outcome = check(&stage, requests, &openids).await;
    eprintln!("kill -9 on {kind}: {rounds} rounds, seed {seed}: {outcome}");
}

/// Compares every request with the journal; a summary to print.
async fn check(stage: &Stage, requests: Books, openids: &[String]) -> String {
    // A caller that got no answer repeats its request with the same key, and learns what became of it.
    let mut answers: HashMap<String, (Marker, Value)> = HashMap::new();
    let (mut unanswered, total) = (0, requests.len());
    for (marker, answer) in requests {
        unanswered += usize::from(answer.is_none());
        let answer = match answer {
            Some(answer) => answer,
            None => {
                eventually("an answer to the repeated request", PATIENCE, async || {
                    marker.send(&stage.client).await
                })
                .await
            }
        };
        let earlier = answers.insert(answer["msgid"].as_str().unwrap().to_owned(), (marker, answer));
        assert!(earlier.is_none(), "two requests got one msgid: {earlier:?}");
    }
    let doubted = settle_doubts(stage, &answers).await;
    let committed = committed_pages(stage).await;
    let twice = committed.iter().find(|(_, times)| **times > 1);
    assert!(twice.is_none(), "sent twice: {twice:?}");

    let (mut accepted, mut sent, mut unsent) = (0, 0, 0);
    for (msgid, (marker, answer)) in &answers {
        let at_wechat = committed.get(&marker.page()).copied().unwrap_or(0);
        accepted += u64::from(answer["accepted"] == 1);
        let delivery = stage.client.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await;
        let delivery = delivery.expect_status(200);
        match delivery["state"].as_str().unwrap() {
            "sent" => {
                assert_eq!(at_wechat, 1, "we say sent, WeChat never saw it: {delivery}");
                sent += 1;
            }
            // Only ever by the settling of a doubt.
            "not_sent" => {
                assert!(doubted.contains(msgid) && at_wechat == 0, "{delivery}");
                unsent += 1;
            }
            "skipped" => assert_eq!(at_wechat, 0, "{delivery}"),
            state => panic!("{state} is no outcome of this test: {delivery}"),
        }
    }
    assert_eq!(accepted, sent + unsent, "an accepted recipient is lost");
    assert_eq!(sent, committed.values().sum::<u64>(), "WeChat accepted what nobody was answered for");
    compare_balances(stage, openids).await;
    let verified = run_cli(&stage.database, &["projections", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let proved = run_cli(&stage.database, &["audit", "verify"]);
    assert_eq!(proved.status.code(), Some(0), "{}", String::from_utf8_lossy(&proved.stdout));
    format!(
        "{total} requests, {unanswered} cut off and repeated; {accepted} recipients accepted, 0 lost: {sent} sent, {unsent} found \
         not sent; {} had been in doubt, each after its start; WeChat accepted {sent}, 0 twice",
        doubted.len()
    )
}

/// How often WeChat accepted each page.
async fn committed_pages(stage: &Stage) -> HashMap<String, u64> {
    let mut committed: HashMap<String, u64> = HashMap::new();
    for entry in stage.wechat.journal().await {
        if entry["committed"] == true {
            *committed.entry(entry["page"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    committed
}

/// Once nothing is in doubt, our balance of every user is what WeChat says.
async fn compare_balances(stage: &Stage, openids: &[String]) {
    for openid in openids {
        let ledgers = stage.client.get(&format!("/channels/{CHANNEL}/ledgers?openid={openid}")).await;
        let ledger = &ledgers.expect_status(200)["items"][0];
        assert_eq!(ledger["balance"].as_u64(), Some(stage.wechat.remaining(openid).await), "{ledger}");
    }
}

/// Waits for the queue, settling each doubt as WeChat's journal tells, as a person with WeChat's records would. Only what had
/// started may be in doubt.
async fn settle_doubts(stage: &Stage, answers: &HashMap<String, (Marker, Value)>) -> HashSet<String> {
    let queue = format!("/channels/{CHANNEL}/queue");
    let mut doubted = HashSet::new();
    eventually("the queue empties", Duration::from_secs(120), async || {
        let doubts = stage.client.get(&format!("/channels/{CHANNEL}/in-doubt?limit=200")).await;
        let committed = committed_pages(stage).await;
        for doubt in doubts.expect_status(200)["items"].as_array().unwrap() {
            assert!(doubt["attempts"].as_u64().unwrap() > 0, "in doubt without a start: {doubt}");
            let msgid = doubt["msgid"].as_str().unwrap();
            // A read model that lags under load may still list what was settled a moment ago.
            if doubted.contains(msgid) {
                continue;
            }
            let (marker, _) = answers.get(msgid).unwrap();
            let verdict = if committed.contains_key(&marker.page()) { "sent" } else { "not_sent" };
            let path = format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0/settle");
            stage
                .client
                .post(&path, &json!({ "verdict": verdict, "reason": "WeChat's journal" }))
                .await
                .expect_status(200);
            doubted.insert(msgid.to_owned());
        }
        let stats = stage.client.get(&queue).await;
        let open =
            ["queued", "claimed", "started", "in_doubt"].iter().map(|state| stats.body[*state].as_u64());
        (open.sum::<Option<u64>>()? == 0).then_some(())
    })
    .await;
    doubted
}
