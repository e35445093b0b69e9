//! The whole job against the real binary: set up, refresh, bind, taps, sends, a lost answer, retract, settle, proof.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    on_both_databases,
    support::{APPID, CHANNEL, Client, Database, SECRET, Stage, TEMPLATE, eventually, run_cli},
};

const PATIENCE: Duration = Duration::from_secs(20);

on_both_databases!(a_tap_pays_for_one_message_and_every_number_is_proved);
on_both_databases!(a_lost_answer_ends_in_doubt_and_is_settled_by_hand);
on_both_databases!(what_waits_can_be_retracted);
on_both_databases!(one_grant_and_many_senders_reach_wechat_once);

pub(crate) fn message(recipients: Value, page: &str) -> Value {
    json!({
        "template_id": TEMPLATE,
        "recipients": recipients,
        "data": { "thing1": "牛角面包", "date2": "2026-11-23 09:30", "phrase3": "待取餐" },
        "page": page,
    })
}

pub(crate) async fn bind_and_tap(stage: &Stage, userid: &str, taps: usize) -> String {
    let openid = stage.wechat.user().await;
    let user = json!({ "userid": userid, "openid": openid });
    let bound = stage.client.post(&format!("/channels/{CHANNEL}/users"), &user).await;
    assert!(matches!(bound.status, 200 | 201), "{}", bound.body);
    for tap in 0..taps {
        let result = stage.wechat.tap(&openid).await;
        let report = json!({ "report_id": format!("{userid}-{tap}"), "userid": userid, "result": result });
        let answer = stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
    }
    openid
}

pub(crate) async fn send(client: &Client, recipients: Value, page: &str) -> Value {
    let answer = client.post(&format!("/channels/{CHANNEL}/messages"), &message(recipients, page)).await;
    answer.expect_status(202).clone()
}

pub(crate) async fn ended(client: &Client, msgid: &str) -> Value {
    let path = format!("/channels/{CHANNEL}/messages/{msgid}");
    eventually("the message ends", PATIENCE, async || {
        let message = client.get(&path).await;
        let counts = &message.body["counts"];
        let open = counts["queued"].as_u64()? + counts["started"].as_u64()?;
        (open == 0).then(|| message.body.clone())
    })
    .await
}

pub(crate) async fn ledger(client: &Client, userid: &str) -> Value {
    let answer = client.get(&format!("/channels/{CHANNEL}/users/{userid}/ledgers")).await;
    answer.expect_status(200)["items"][0].clone()
}

async fn a_tap_pays_for_one_message_and_every_number_is_proved(database: Database) {
    let stage = Stage::start(database).await;
    let openid = bind_and_tap(&stage, "zhangsan", 2).await;

    for page in ["pages/order?id=1", "pages/order?id=2"] {
        let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), page).await;
        assert_eq!(sent["recipients"][0]["status"], "accepted", "{sent}");
        let message = ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
        assert_eq!(message["counts"]["sent"], 1, "{message}");
    }
    let third = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=3").await;
    assert_eq!(
        (&third["recipients"][0]["status"], &third["recipients"][0]["reason"]),
        (&json!("skipped"), &json!("no_grant"))
    );

    let ledger = ledger(&stage.client, "zhangsan").await;
    assert_eq!(
        (ledger["granted"].as_u64(), ledger["balance"].as_u64(), ledger["consumed"].as_u64()),
        (Some(2), Some(0), Some(2))
    );
    assert_eq!(stage.wechat.remaining(&openid).await, 0);
    let journal = stage.wechat.journal().await;
    assert_eq!(journal.iter().filter(|entry| entry["committed"] == true).count(), 2);
    assert!(journal.iter().all(|entry| entry["openid"] == openid.as_str()));

    let verified = run_cli(&stage.database, &["projections", "verify", "--json"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let audit = run_cli(
        &stage.database,
        &["audit", "ledger", "--channel", CHANNEL, "--userid", "zhangsan", "--template", TEMPLATE, "--json"],
    );
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!((audit["granted"].as_u64(), audit["consumed"].as_u64()), (Some(2), Some(2)));
    let code = stage.service.unwrap().terminate().await;
    assert_eq!(code, Some(0), "serve stops cleanly on SIGTERM");
}

async fn a_lost_answer_ends_in_doubt_and_is_settled_by_hand(database: Database) {
    let stage = Stage::start(database).await;
    bind_and_tap(&stage, "lisi", 2).await;
    stage.wechat.fault(&json!({ "appid": APPID, "path": "send", "kind": "drop_after_commit" })).await;
    let sent = send(&stage.client, json!([{ "userid": "lisi" }]), "pages/a?id=1").await;
    let msgid = sent["msgid"].as_str().unwrap();
    let message = ended(&stage.client, msgid).await;
    assert_eq!(message["counts"]["in_doubt"], 1, "{message}");
    assert_eq!(ledger(&stage.client, "lisi").await["in_doubt"], 1);

    // While the doubt is open, the next message to the same user and template waits.
    let next = send(&stage.client, json!([{ "userid": "lisi" }]), "pages/a?id=2").await;
    let doubts = stage.client.get(&format!("/channels/{CHANNEL}/in-doubt")).await;
    assert_eq!(doubts.expect_status(200)["items"].as_array().unwrap().len(), 1);

    let settle = format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0/settle");
    let verdict = json!({ "verdict": "sent", "reason": "the user showed the card" });
    stage.client.post(&settle, &verdict).await.expect_status(200);
    stage.client.post(&settle, &verdict).await.expect_problem(409, "not_in_doubt");
    let next = ended(&stage.client, next["msgid"].as_str().unwrap()).await;
    assert_eq!(next["counts"]["sent"], 1, "{next}");
    let ledger = ledger(&stage.client, "lisi").await;
    assert_eq!((ledger["consumed"].as_u64(), ledger["in_doubt"].as_u64()), (Some(2), Some(0)));
    assert_eq!(stage.wechat.journal().await.iter().filter(|entry| entry["committed"] == true).count(), 2);
}

async fn what_waits_can_be_retracted(database: Database) {
    let stage = Stage::start(database).await;
    bind_and_tap(&stage, "wangwu", 1).await;
    let pause = json!({ "reason": "end-to-end test" });
    stage.client.post(&format!("/channels/{CHANNEL}/pause"), &pause).await.expect_status(200);
    let sent = send(&stage.client, json!([{ "userid": "wangwu" }]), "pages/b").await;
    assert_eq!(ledger(&stage.client, "wangwu").await["reserved"], 1);
    let retract = format!("/channels/{CHANNEL}/messages/{}/retract", sent["msgid"].as_str().unwrap());
    let answer = stage.client.post(&retract, &json!({})).await;
    assert_eq!(answer.expect_status(200)["retracted"], 1);
    stage.client.post(&format!("/channels/{CHANNEL}/resume"), &pause).await.expect_status(200);
    let message = ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
    assert_eq!(message["counts"]["retracted"], 1, "{message}");
    assert_eq!(ledger(&stage.client, "wangwu").await["balance"], 1);
    assert!(stage.wechat.journal().await.is_empty(), "a retracted message must not reach WeChat");
}

async fn one_grant_and_many_senders_reach_wechat_once(database: Database) {
    let stage = Stage::start(database).await;
    bind_and_tap(&stage, "zhaoliu", 1).await;
    let senders: Vec<_> = (0..50)
        .map(|number| {
            let client = stage.client.clone();
            tokio::spawn(async move {
                send(&client, json!([{ "userid": "zhaoliu" }]), &format!("pages/c?id={number}")).await
            })
        })
        .collect();
    let mut accepted = 0;
    for sender in senders {
        let answer = sender.await.unwrap();
        accepted += answer["accepted"].as_u64().unwrap();
        ended(&stage.client, answer["msgid"].as_str().unwrap()).await;
    }
    assert_eq!(accepted, 1);
    assert_eq!(stage.wechat.journal().await.len(), 1);
}

/// Credentials that WeChat refuses come back with its reason, and nothing is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_say_why_and_what_to_do() {
    let stage = Stage::start(Database::sqlite()).await;
    let channel = |appid: &str, secret: &str| json!({ "code": "other1", "name": "Other", "appid": appid, "secret": secret });
    for (appid, secret, errcode) in [("wx0000000000000000", SECRET, 40013), (APPID, "not-the-secret", 40125)]
    {
        let answer = stage.client.post("/channels", &channel(appid, secret)).await;
        answer.expect_problem(422, "wechat_refused");
        assert_eq!(answer.body["wechat"]["errcode"], errcode);
        assert!(answer.body["wechat"]["advice"]["en"].as_str().is_some_and(|advice| !advice.is_empty()));
    }
    stage.client.get("/channels/other1").await.expect_problem(404, "unknown_channel");
}
