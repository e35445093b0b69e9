//! WeChat's pushes against the real binary: set up by the command line, pushed by the simulated WeChat, looked at by commands.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    main_job::{bind_and_tap, ended, send},
    on_both_databases,
    support::{APPID, CHANNEL, Database, Process, Stage, eventually, run_cli},
};

const PATIENCE: Duration = Duration::from_secs(60);

on_both_databases!(a_pushed_tap_is_a_grant_and_a_pushed_result_confirms_the_send);

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
