//! A Mini Program is connected by authorizing a third-party platform: by the command line, against the simulated WeChat.

mod lost;
mod refused;
mod told;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    main_job::{ended, ledger, send},
    on_both_databases,
    support::{APPID, CHANNEL, COMPONENT, Database, Stage, TEMPLATE, Talking, Told, eventually, run_cli},
};

const PATIENCE: Duration = Duration::from_secs(30);

on_both_databases!(an_authorized_channel_sends_holds_and_sends_again);
on_both_databases!(tokens_that_end_are_replaced);
on_both_databases!(without_set_18_sends_wait_until_it_is_ticked);

/// `channel authorize` as an operator runs it; it is waiting when this returns.
fn authorize(stage: &Stage) -> (Talking, Value) {
    let arguments = ["channel", "authorize", CHANNEL, "--json"];
    let mut command = Talking::start(&stage.database, &stage.remote(), &arguments);
    match command.line() {
        Some(line) => (command, serde_json::from_str(&line).unwrap()),
        None => panic!("{:?}", command.end()),
    }
}

/// How it ended: what it said last, and its exit code.
async fn end(command: Talking) -> (Value, Option<i32>) {
    let (said, code) = tokio::task::spawn_blocking(|| command.end()).await.unwrap();
    let last = said.lines().next().unwrap_or_default();
    (serde_json::from_str(last).unwrap_or_else(|_| panic!("{said}")), code)
}

/// Binds a user by a login code, which is exchanged through the platform.
async fn login(stage: &Stage, userid: &str) -> String {
    let openid = stage.wechat.user().await;
    let code =
        stage.wechat.post(&format!("/sandbox/apps/{APPID}/login-codes"), &json!({ "openid": openid })).await;
    let user = json!({ "userid": userid, "login_code": code["code"] });
    let bound = stage.client.post(&format!("/channels/{CHANNEL}/users"), &user).await;
    assert!(matches!(bound.status, 200 | 201), "{}", bound.body);
    openid
}

/// The user taps, and only WeChat's push tells of it.
async fn tap(stage: &Stage, userid: &str, openid: &str, balance: u64) {
    // Nobody taps twice in a second, and WeChat dates its pushes by the second: nothing else tells two of them apart.
    stage.wechat.post("/sandbox/clock/advance", &json!({ "seconds": 1 })).await;
    stage.wechat.tap(openid).await;
    stage.settle().await;
    eventually("the tap is counted", PATIENCE, async || {
        (ledger(&stage.client, userid).await["balance"] == balance).then_some(())
    })
    .await;
}

async fn state(stage: &Stage, sent: &Value) -> Value {
    let path = format!("/channels/{CHANNEL}/messages/{}/deliveries/0", sent["msgid"].as_str().unwrap());
    stage.client.get(&path).await.expect_status(200)["state"].clone()
}

/// Waits until the channel shows this hold, or none.
async fn held(stage: &Stage, hold: Value) {
    eventually("the channel shows its hold", PATIENCE, async || {
        let shown = stage.client.get(&format!("/channels/{CHANNEL}")).await;
        (shown.expect_status(200)["hold"]["reason"] == hold).then_some(())
    })
    .await;
}

async fn an_authorized_channel_sends_holds_and_sends_again(database: Database) {
    let stage = Stage::with_platform(database).await;
    let (command, begun) = authorize(&stage);
    let link = begun["pc_url"].as_str().unwrap();
    assert!(link.starts_with(&format!("{}/cgi-bin/componentloginpage?", stage.wechat.url)), "{link}");
    assert!(begun["qr_svg"].as_str().unwrap().starts_with("<"), "{begun}");
    stage.scan(&begun, &[17, 18], Told::Both).await;
    let (last, code) = end(command).await;
    assert_eq!((&last["status"], code), (&json!("authorized"), Some(0)), "{last}");

    let refreshed = stage.client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await;
    assert_eq!(refreshed.expect_status(200)["listed"], 1);
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
    assert_eq!(state(&stage, &sent).await, "sent");

    tap(&stage, "zhangsan", &openid, 1).await;
    let taken = json!({ "appid": APPID });
    stage.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/deauthorize"), &taken).await;
    stage.settle().await;
    held(&stage, json!("unauthorized")).await;
    let waiting = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=2").await;
    assert_eq!(state(&stage, &waiting).await, "queued");

    let (command, begun) = authorize(&stage);
    // Nothing was tried meanwhile: the second send is not in WeChat's journal, not even as a refusal.
    assert_eq!(stage.wechat.journal().await.len(), 1);
    assert_eq!(state(&stage, &waiting).await, "queued");
    stage.scan(&begun, &[17, 18], Told::Both).await;
    assert_eq!(end(command).await.1, Some(0));
    held(&stage, Value::Null).await;
    ended(&stage.client, waiting["msgid"].as_str().unwrap()).await;
    assert_eq!(state(&stage, &waiting).await, "sent");
    stage.settle().await;

    let journal = stage.wechat.journal().await;
    assert_eq!(journal.len(), 2, "{journal:#?}");
    assert_eq!(stage.wechat.remaining(&openid).await, 0);
    let books = ledger(&stage.client, "zhangsan").await;
    assert_eq!((&books["granted"], &books["consumed"], &books["balance"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(books["template_id"], TEMPLATE);
    let proved = run_cli(&stage.database, &["audit", "verify"]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stdout));
}

/// WeChat's clock is moved past the two hours of every token: each is bought anew with the one before it in the chain.
async fn tokens_that_end_are_replaced(database: Database) {
    let stage = Stage::authorized(database).await;
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    let (own, accounts) =
        (stage.platform_calls("component_token").await, stage.platform_calls("authorizer_token").await);
    stage.wechat.post("/sandbox/clock/advance", &json!({ "seconds": 7_300 })).await;
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
    assert_eq!(state(&stage, &sent).await, "sent");
    let (own_after, accounts_after) =
        (stage.platform_calls("component_token").await, stage.platform_calls("authorizer_token").await);
    assert!(own.len() < own_after.len(), "the platform's own token: {own_after:?}");
    assert!(accounts.len() < accounts_after.len(), "the account's token: {accounts_after:?}");
    assert!(
        accounts_after.len() <= accounts.len() + 2,
        "no more refreshes than stale tokens: {accounts_after:?}"
    );
    assert_eq!(stage.wechat.remaining(&openid).await, 0);
}

async fn without_set_18_sends_wait_until_it_is_ticked(database: Database) {
    let stage = Stage::authorized(database).await;
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    let (command, begun) = authorize(&stage);
    stage.scan(&begun, &[17], Told::Both).await;
    let (last, code) = end(command).await;
    assert_eq!((&last["missing"], code), (&json!([18]), Some(5)), "{last}");
    held(&stage, json!("permission_missing")).await;
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    assert_eq!(state(&stage, &sent).await, "queued");
    // The merchant ticks it in WeChat's console; nobody scans.
    let ticked = json!({ "permission_sets": [17, 18] });
    stage.wechat.put(&format!("/sandbox/platforms/{COMPONENT}/authorizers/{APPID}"), &ticked).await;
    stage.settle().await;
    ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
    assert_eq!(state(&stage, &sent).await, "sent");
    held(&stage, Value::Null).await;
    assert_eq!(stage.wechat.journal().await.len(), 1, "it was not tried while the set was missing");
}
