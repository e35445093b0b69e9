//! WeChat's pushes against the real binary: set up by the command line, pushed by the simulated WeChat, looked at by commands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    main_job::{bind_and_tap, ended, send},
    on_both_databases,
    support::{
        APPID, CHANNEL, Database, Process, Pusher, Stage, eventually,
        push::{PUSH_KEY, PUSH_TOKEN, set_pushes_up},
        run_cli,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

on_both_databases!(a_pushed_tap_is_a_grant_and_a_pushed_result_confirms_the_send);
on_both_databases!(a_burst_is_answered_in_time_and_each_push_is_acted_on_once);

fn told(database: &Database, arguments: &[&str]) -> Vec<Value> {
    let output = run_cli(database, arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until the API shows it.
async fn shown(stage: &Stage, path: &str, fits: impl Fn(&Value) -> bool) {
    eventually(path, PATIENCE, async || {
        let answer = stage.client.get(&format!("/channels/{CHANNEL}/{path}")).await;
        (answer.status == 200 && fits(&answer.body)).then_some(())
    })
    .await;
}

async fn a_pushed_tap_is_a_grant_and_a_pushed_result_confirms_the_send(database: Database) {
    let mut stage = Stage::start(database).await;
    drop(stage.service.take());
    let set = told(&stage.database, &["channel", "callback", CHANNEL, "--json"]).remove(0);
    let again =
        run_cli(&stage.database, &["channel", "callback", CHANNEL, "--url-base", "https://push.example.com"]);
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.contains("https://push.example.com/callbacks/wechat/wechatmp123"), "{again}");
    assert!(!again.contains(set["generated_key"].as_str().unwrap()), "a key is shown once: {again}");
    assert!(again.contains(set["key_fingerprint"].as_str().unwrap()), "{again}");

    let (service, url) = Process::serve(&stage.database, &stage.wechat).await;
    stage.service = Some(service);
    stage.client.moved(&url);
    let target = json!({
        "url": format!("{url}/callbacks/wechat/{CHANNEL}"),
        "token": set["generated_token"],
        "encoding_aes_key": set["generated_key"],
        "mode": "secure",
        "format": "json",
    });
    let checked = stage.wechat.put(&format!("/sandbox/apps/{APPID}/push"), &target).await;
    assert_eq!(checked["saved"], true, "{checked}");

    let openid = bind_and_tap(&stage, "zhangsan", 0).await;
    stage.wechat.tap(&openid).await;
    stage.wechat.post("/sandbox/pushes/settle", &json!({})).await;
    // The process that was killed may hold the lease on the read models for a while yet.
    shown(&stage, "users/zhangsan/ledgers", |it| it["items"][0]["balance"] == 1).await;
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    let msgid = sent["msgid"].as_str().unwrap();
    ended(&stage.client, msgid).await;
    stage.wechat.post("/sandbox/pushes/settle", &json!({})).await;
    let delivery = format!("messages/{msgid}/deliveries/0");
    shown(&stage, &delivery, |it| it["state"] == "sent" && it["sent_event_code"] == 0).await;
    shown(&stage, "push-health", |it| it["sent_last_day"] == 1).await;

    let listed = told(&stage.database, &["channel", "pushes", "list", CHANNEL, "--json"]);
    let kinds: Vec<_> = listed.iter().map(|push| (push["kind"].as_str(), push["state"].as_str())).collect();
    assert_eq!(kinds, [(Some("sent"), Some("acted")), (Some("popup"), Some("acted"))]);
    let key = listed[1]["key"].as_str().unwrap();
    let told_of = run_cli(&stage.database, &["channel", "pushes", "show", CHANNEL, key, "--raw"]);
    assert!(String::from_utf8_lossy(&told_of.stdout).contains(&openid));

    drop(stage.service.take());
    let health = told(&stage.database, &["channel", "push-health", CHANNEL, "--json"]).remove(0);
    assert_eq!(
        (&health["kinds"]["popup"]["kept"], &health["sent_last_day"]),
        (&json!(1), &json!(1)),
        "{health}"
    );
    assert_eq!(health["hints"], json!([]), "{health}");
    let redone = told(&stage.database, &["channel", "pushes", "redo", CHANNEL, "--json"]).remove(0);
    assert_eq!(redone["tried"], 0);
    let proved = run_cli(&stage.database, &["audit", "verify"]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stdout));
}

/// Pushes of a burst, each of another user, and callers that bring them.
const BURST: u64 = 2_000;
const CALLERS: u64 = 64;
/// Every so many comes twice, as WeChat's do when an answer was late.
const TWICE: u64 = 10;
/// WeChat's own bound for an answer, after which it comes again and gives up in the end.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

async fn a_burst_is_answered_in_time_and_each_push_is_acted_on_once(database: Database) {
    let stage = Stage::start(database).await;
    set_pushes_up(&stage.client, PUSH_TOKEN, PUSH_KEY).await;
    let (pusher, next) = (Pusher::new(PUSH_TOKEN, PUSH_KEY), Arc::new(AtomicU64::new(0)));
    let callers = (0..CALLERS).map(|_| {
        let (pusher, next, node) = (pusher.clone(), Arc::clone(&next), stage.client.clone());
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= BURST {
                    return longest;
                }
                let push = pusher.popup(number, &format!("oBURST_user_{number:016}"));
                for _ in 0..if number % TWICE == 0 { 2 } else { 1 } {
                    let posted = Instant::now();
                    let answer = pusher.post(&node, &push).await;
                    longest = longest.max(posted.elapsed());
                    assert_eq!(answer, Some((200, "success".to_owned())), "push {number}");
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut longest = Duration::ZERO;
    for caller in callers {
        longest = longest.max(caller.await.unwrap());
    }
    assert!(longest < ANSWER_WITHIN, "an answer took {longest:?}");
    let health = stage.client.get(&format!("/channels/{CHANNEL}/push-health")).await;
    let health = health.expect_status(200);
    assert_eq!(health["states"], json!({ "acted": BURST }), "{health}");
    assert_eq!(health["node"]["taken"]["popup.repeated"], BURST / TWICE, "{health}");
    eventually("each of them is one grant", PATIENCE, async || {
        let activity = stage.client.get(&format!("/reports/activity?channel={CHANNEL}")).await;
        activity.body.to_string().contains(&format!("\"granted\":{BURST}")).then_some(())
    })
    .await;
    let proved = run_cli(&stage.database, &["audit", "verify"]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stdout));
}
