//! SIGKILL of the service under load, again and again; then the simulated WeChat's journal against our answers.
//!
//! What is claimed: no accepted recipient is lost, none is sent twice, and in doubt are only deliveries that had started.
//! `SUBLEDGER_KILL_ROUNDS` sets the number of kills (3 by default; the long run takes 100), `SUBLEDGER_KILL_SEED` the seed.

use std::{
    collections::HashMap,
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
const TAPS_PER_USER: usize = 40;
const SENDERS: usize = 8;

on_both_databases!(killed_nodes_lose_nothing_and_send_nothing_twice);

/// What a caller knows of one request: its marker (the page), and the answer if one came.
#[derive(Default)]
struct Books {
    requests: HashMap<String, Option<Value>>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn people(stage: &Stage) -> Vec<String> {
    let mut openids = Vec::new();
    for user in 0..USERS {
        let openid = stage.wechat.user().await;
        for tap in 0..TAPS_PER_USER {
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
        let openid = &openids[usize::try_from(number).unwrap() % openids.len()];
        let marker = format!("pages/kill?n={number}-{}", openid);
        books.lock().unwrap().requests.insert(marker.clone(), None);
        let body = message(json!([{ "openid": openid }]), &marker);
        let path = format!("/channels/{CHANNEL}/messages");
        if let Some(answer) = client.try_post(&path, &format!("kill-{number}"), &body).await
            && answer.status == 202
        {
            books.lock().unwrap().requests.insert(marker, Some(answer.body));
        }
    }
}

async fn killed_nodes_lose_nothing_and_send_nothing_twice(database: Database) {
    let rounds = setting("SUBLEDGER_KILL_ROUNDS", 3);
    let seed = setting("SUBLEDGER_KILL_SEED", 20_261_123);
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    let kind = if database.is_postgres() { "PostgreSQL" } else { "SQLite" };
    let mut stage = Stage::start(database).await;
    let openids = Arc::new(people(&stage).await);
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
    let outcome = check(&stage, &books).await;
    eprintln!("kill -9 on {kind}: {rounds} rounds, seed {seed}: {outcome}");
}

/// Compares every request with the journal; a summary to print.
async fn check(stage: &Stage, books: &Mutex<Books>) -> String {
    let queue = format!("/channels/{CHANNEL}/queue");
    eventually("the queue empties", Duration::from_secs(60), async || {
        let stats = stage.client.get(&queue).await;
        let open = ["queued", "claimed", "started"]
            .iter()
            .map(|state| stats.body[*state].as_u64())
            .sum::<Option<u64>>()?;
        (open == 0).then_some(())
    })
    .await;
    let mut committed: HashMap<String, u64> = HashMap::new();
    for entry in stage.wechat.journal().await {
        if entry["committed"] == true {
            *committed.entry(entry["page"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert!(
        committed.values().all(|times| *times == 1),
        "sent twice: {:?}",
        committed.iter().find(|(_, times)| **times > 1)
    );

    let requests = std::mem::take(&mut books.lock().unwrap().requests);
    let (mut accepted, mut sent, mut doubted, mut unanswered) = (0, 0, 0, 0);
    for (marker, answer) in &requests {
        let at_wechat = committed.get(marker).copied().unwrap_or(0);
        let Some(answer) = answer else {
            unanswered += 1;
            continue;
        };
        let msgid = answer["msgid"].as_str().unwrap();
        let delivery = stage.client.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await;
        let delivery = delivery.expect_status(200);
        match delivery["state"].as_str().unwrap() {
            "sent" => {
                assert_eq!(at_wechat, 1, "we say sent, WeChat never saw it: {delivery}");
                sent += 1;
            }
            "in_doubt" => {
                assert!(delivery["attempts"].as_u64().unwrap() > 0, "in doubt without a start: {delivery}");
                doubted += 1;
            }
            "skipped" => assert_eq!(at_wechat, 0, "{delivery}"),
            state => panic!("{state} is no outcome of this test: {delivery}"),
        }
        accepted += u64::from(answer["accepted"] == 1);
    }
    assert!(sent > 0, "the test sent nothing");
    let verified = run_cli(&stage.database, &["projections", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let total: u64 = committed.values().sum();
    format!(
        "{} requests, {unanswered} cut off without an answer, {accepted} recipients accepted: {sent} sent, {doubted} in doubt, \
         0 lost; WeChat accepted {total}, 0 twice",
        requests.len()
    )
}
