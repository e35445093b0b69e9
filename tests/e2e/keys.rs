//! Replacing the master key and the data key while taps are recorded and messages are sent; killed in the middle and gone on
//! with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    main_job::{bind_and_tap, message},
    on_both_databases,
    support::{
        CHANNEL, Client, Database, MASTER_KEY, Process, Stage, eventually, run_cli_with, spawn_cli_with,
    },
};

const NEW_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const PATIENCE: Duration = Duration::from_secs(90);
const USERS: usize = 4;

on_both_databases!(keys_are_replaced_under_load_with_a_kill_in_the_middle);

/// Users who tap and are sent to, each by a task of its own, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    /// Calls that found nobody: on one machine a restart is a moment without anybody.
    missed: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    url: tokio::sync::watch::Sender<String>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    async fn start(stage: &Stage) -> Self {
        let url = tokio::sync::watch::Sender::new(stage.client.url.clone());
        let (stop, missed, sent): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let mut tasks = Vec::new();
        for user in 0..USERS {
            let userid = format!("user{user}");
            let openid = bind_and_tap(stage, &userid, 0).await;
            let (wechat, mut client) = (stage.wechat.another(), stage.client.clone());
            let (stop, missed, sent) = (Arc::clone(&stop), Arc::clone(&missed), Arc::clone(&sent));
            let url = url.subscribe();
            tasks.push(tokio::spawn(async move {
                let mut msgids = Vec::new();
                let mut round = 0;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let result = wechat.tap(&openid).await;
                    let report = json!({ "report_id": format!("{userid}-{round}"), "userid": userid, "result": result });
                    let reported = format!("/channels/{CHANNEL}/client-reports");
                    let id = format!("tap-{userid}-{round}");
                    insist(&mut client, &url, &missed, &reported, &id, &report).await;
                    let body = message(json!([{ "userid": userid }]), "pages/order");
                    let messages = format!("/channels/{CHANNEL}/messages");
                    let id = format!("send-{userid}-{round}");
                    let answer = insist(&mut client, &url, &missed, &messages, &id, &body).await;
                    assert_eq!(answer["accepted"], 1, "{answer}");
                    msgids.push(answer["msgid"].as_str().unwrap().to_owned());
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                msgids
            }));
        }
        Self { stop, missed, sent, url, tasks }
    }

    /// Waits until some more messages were accepted.
    async fn goes_on(&self) {
        let before = self.sent.load(Ordering::SeqCst);
        eventually("the load goes on", PATIENCE, async || {
            (self.sent.load(Ordering::SeqCst) >= before + 8).then_some(())
        })
        .await;
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut msgids = Vec::new();
        for task in self.tasks {
            msgids.extend(task.await.unwrap());
        }
        msgids
    }
}

/// Asks until somebody answers, with the same key each time; nothing but success is an answer.
async fn insist(
    client: &mut Client,
    url: &tokio::sync::watch::Receiver<String>,
    missed: &AtomicU64,
    path: &str,
    id: &str,
    body: &Value,
) -> Value {
    loop {
        client.moved(&url.borrow().clone());
        match client.try_post(path, id, body).await {
            Some(answer) => {
                assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
                return answer.body;
            }
            None => {
                missed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[track_caller]
fn cli(database: &Database, environment: &[(&str, &str)], arguments: &[&str]) -> Value {
    let output = run_cli_with(database, environment, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Values under older data keys than the newest.
fn left(state: &Value) -> u64 {
    let tables = state["values_under_older_keys"].as_object().unwrap();
    tables.values().map(|left| left.as_u64().unwrap()).sum()
}

async fn keys_are_replaced_under_load_with_a_kill_in_the_middle(database: Database) {
    let mut stage = Stage::start(database).await;
    let several_nodes = stage.database.is_postgres();
    let load = Load::start(&stage).await;
    load.goes_on().await;

    // The new key comes in beside the old one; what runs goes on.
    let both = [("SUBLEDGER_NEW_MASTER_KEY", NEW_KEY)];
    let begun = cli(&stage.database, &both, &["admin", "rotate-master-key", "--json"]);
    let (old_id, new_id) = (
        begun["nodes"][0]["master_key"].as_str().unwrap().to_owned(),
        begun["new_master_key"].as_str().unwrap().to_owned(),
    );
    assert_eq!(begun["added"], true, "{begun}");
    assert_eq!(cli(&stage.database, &both, &["admin", "rotate-master-key", "--json"])["added"], false);
    load.goes_on().await;
    // A node was started with the old one, so that stays.
    let early = run_cli_with(&stage.database, &both, &["admin", "rotate-master-key", "--finish"]);
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert_eq!(early.status.code(), Some(1), "{said}");
    assert!(said.contains(&old_id) && said.contains("Restart"), "{said}");
    assert_eq!(load.missed.load(Ordering::SeqCst), 0);

    // Every node is restarted with the new key. Several nodes take turns; a single one is away for a moment.
    let new = [("SUBLEDGER_MASTER_KEY", NEW_KEY)];
    let before = stage.service.take().unwrap();
    let (service, url) = if several_nodes {
        let started = Process::serve_with(&stage.database, &stage.wechat, &new).await;
        load.url.send_replace(started.1.clone());
        load.goes_on().await;
        assert_eq!(before.terminate().await, Some(0));
        started
    } else {
        assert_eq!(before.terminate().await, Some(0));
        Process::serve_with(&stage.database, &stage.wechat, &new).await
    };
    load.url.send_replace(url.clone());
    stage.client.moved(&url);
    stage.service = Some(service);
    load.goes_on().await;
    let missed = load.missed.load(Ordering::SeqCst);
    assert!(!several_nodes || missed == 0, "{missed} calls found nobody");
    let finished = cli(&stage.database, &new, &["admin", "rotate-master-key", "--finish", "--json"]);
    assert_eq!(finished["dropped"], json!([old_id]), "{finished}");
    let refused = run_cli_with(&stage.database, &[("SUBLEDGER_MASTER_KEY", MASTER_KEY)], &["admin", "keys"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(&old_id) && said.contains(&new_id), "{said}");
    assert!(!said.contains(MASTER_KEY) && !said.contains(NEW_KEY), "{said}");

    // Everything goes under a new data key; the command is killed in the middle, and gone on with.
    let slowly = ["admin", "rotate-data-key", "--batch", "1", "--pause-ms", "100"];
    let mut run = spawn_cli_with(&stage.database, &new, &slowly);
    let state = || cli(&stage.database, &new, &["admin", "keys", "--json"]);
    let most = eventually("re-sealing begins", PATIENCE, async || {
        let state = state();
        let keys = state["data_keys"].as_array().unwrap().len();
        (keys == 3 && left(&state) > 4).then(|| left(&state))
    })
    .await;
    let middle = eventually("re-sealing gets on", PATIENCE, async || {
        let left = left(&state());
        (left < most).then_some(left)
    })
    .await;
    run.kill().unwrap();
    run.wait().unwrap();
    let state = state();
    assert!(middle > 0 && left(&state) > 0 && state["re_sealing_is_unfinished"] == true, "{state}");
    load.goes_on().await;
    let report = cli(&stage.database, &new, &["admin", "rotate-data-key", "--json"]);
    assert_eq!((&report["went_on"], &report["retired_older"]), (&json!(true), &json!(true)), "{report}");
    assert_eq!((&report["data_key"], &report["nodes_behind"]), (&json!(2), &json!([])), "{report}");
    load.goes_on().await;
    let state = cli(&stage.database, &new, &["admin", "keys", "--json"]);
    assert_eq!((left(&state), &state["re_sealing_is_unfinished"]), (0, &json!(false)), "{state}");
    let now = load.missed.load(Ordering::SeqCst);
    assert_eq!(now, missed, "calls found nobody while the data key was replaced");

    // Nothing was lost and nothing was sent twice.
    let msgids = load.end().await;
    for msgid in &msgids {
        let path = format!("/channels/{CHANNEL}/messages/{msgid}");
        eventually("the message is sent", PATIENCE, async || {
            let answer = stage.client.get(&path).await;
            (answer.body["counts"]["sent"] == 1).then_some(())
        })
        .await;
    }
    let journal = stage.wechat.journal().await;
    assert_eq!(journal.iter().filter(|entry| entry["committed"] == true).count(), msgids.len());
    for user in 0..USERS {
        let ledgers = stage.client.get(&format!("/channels/{CHANNEL}/users/user{user}/ledgers")).await;
        let ledger = &ledgers.expect_status(200)["items"][0];
        assert_eq!((&ledger["balance"], &ledger["reserved"]), (&json!(0), &json!(0)), "{ledger}");
    }
    let proved = run_cli_with(&stage.database, &new, &["audit", "verify"]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stdout));
}
