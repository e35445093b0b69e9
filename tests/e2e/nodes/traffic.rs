//! Callers that tap and send through all nodes at once, and repeat each other's requests with the same keys.
//!
//! A caller that gets no answer, or one that says "not now", repeats the request with the same key at some other node until it
//! has one. So at the end every request has an answer, and two answers to one key can be compared.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    main_job::message,
    support::{CHANNEL, Client, Cluster, Roster, Wechat},
};

/// How long a caller goes on asking.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long it waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What the callers know.
#[derive(Default)]
pub struct Books {
    /// Per send: its page at WeChat and its answer.
    pub sends: Mutex<HashMap<String, Value>>,
    /// Taps per openid that a node has answered.
    pub taps: Mutex<HashMap<String, u64>>,
    /// Requests answered by a node with a server error, and what it said.
    pub errors: Mutex<Vec<String>>,
    /// Requests that found nobody, or were cut off.
    pub cut_off: AtomicU64,
    /// Keys that were sent to two nodes at once.
    pub doubled: AtomicU64,
}

/// Callers at work.
pub struct Traffic {
    pub openids: Arc<Vec<String>>,
    pub books: Arc<Books>,
    roster: Roster,
    wechat: Arc<Wechat>,
    stop: Arc<AtomicBool>,
    numbers: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Makes users, each with a few grants, but nobody who asks for anything yet.
    pub async fn prepare(cluster: &Cluster, users: usize, taps: u64) -> Self {
        let mut openids = Vec::new();
        for _ in 0..users {
            openids.push(cluster.wechat.user().await);
        }
        let traffic = Self {
            openids: Arc::new(openids),
            books: Arc::default(),
            roster: cluster.roster.clone(),
            wechat: Arc::new(cluster.wechat.another()),
            stop: Arc::default(),
            numbers: Arc::default(),
            tasks: Vec::new(),
        };
        let caller = traffic.caller();
        for _ in 0..taps {
            for openid in traffic.openids.iter() {
                caller.tap(openid).await;
            }
        }
        traffic
    }

    /// Starts so many callers.
    pub fn begin(&mut self, callers: usize) {
        self.stop.store(false, Ordering::Relaxed);
        let spawn = |_| {
            let (caller, openids, stop) = (self.caller(), Arc::clone(&self.openids), Arc::clone(&self.stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let openid = &openids[rand::rng().random_range(0..openids.len())];
                    let taps = rand::rng().random_bool(0.5);
                    if taps { caller.tap(openid).await } else { caller.send(openid).await }
                }
            })
        };
        let tasks: Vec<_> = (0..callers).map(spawn).collect();
        self.tasks.extend(tasks);
    }

    /// Lets the callers finish what they asked for.
    pub async fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    /// One caller, to ask for something in particular.
    pub fn caller(&self) -> Caller {
        Caller {
            roster: self.roster.clone(),
            wechat: Arc::clone(&self.wechat),
            books: Arc::clone(&self.books),
            numbers: Arc::clone(&self.numbers),
        }
    }

    /// No node may have answered with a server error.
    #[track_caller]
    pub fn assert_no_server_error(&self) {
        let errors = self.books.errors.lock().unwrap();
        assert!(errors.is_empty(), "{} server errors, the first: {}", errors.len(), errors[0]);
    }
}

/// Somebody who taps and sends.
pub struct Caller {
    roster: Roster,
    wechat: Arc<Wechat>,
    books: Arc<Books>,
    numbers: Arc<AtomicU64>,
}

impl Caller {
    /// The user taps at WeChat, and the tap is reported.
    pub async fn tap(&self, openid: &str) {
        let result = self.wechat.tap(openid).await;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let report = json!({ "report_id": format!("tap-{number}"), "openid": openid, "result": result });
        let path = format!("/channels/{CHANNEL}/client-reports");
        let answer = self.ask(&path, &format!("tap-{number}"), &report).await;
        assert_eq!(answer["choices"][0]["choice"], "accept", "{answer}");
        *self.books.taps.lock().unwrap().entry(openid.to_owned()).or_default() += 1;
    }

    /// Sends the user a message of its own page.
    pub async fn send(&self, openid: &str) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let page = format!("pages/nodes?n={number}");
        let body = message(json!([{ "openid": openid }]), &page);
        let path = format!("/channels/{CHANNEL}/messages");
        let answer = self.ask(&path, &format!("send-{number}"), &body).await;
        let earlier = self.books.sends.lock().unwrap().insert(page, answer);
        assert!(earlier.is_none());
    }

    /// Asks one node, or two at once with the same key: both must say the same.
    async fn ask(&self, path: &str, key: &str, body: &Value) -> Value {
        if !rand::rng().random_bool(0.3) {
            return self.ask_one(path, key, body).await;
        }
        self.books.doubled.fetch_add(1, Ordering::Relaxed);
        let (one, other) = tokio::join!(self.ask_one(path, key, body), self.ask_one(path, key, body));
        for field in ["msgid", "choices", "recipients", "position"] {
            assert_eq!(one[field], other[field], "two answers to the key {key}");
        }
        one
    }

    async fn ask_one(&self, path: &str, key: &str, body: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let client: Client = self.roster.any();
            match client.try_post(path, key, body).await {
                Some(answer) if matches!(answer.status, 200..=202) => return answer.body,
                Some(answer) if answer.status >= 500 => {
                    let said = format!("{} {path}: {} {}", client.url, answer.status, answer.body);
                    self.books.errors.lock().unwrap().push(said);
                }
                Some(answer) => assert_eq!(answer.status, 429, "{path}: {}", answer.body),
                None => {
                    self.books.cut_off.fetch_add(1, Ordering::Relaxed);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{path} with the key {key}: no answer within {PATIENCE:?}");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}
