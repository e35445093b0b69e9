//! A repetition gives the stored answer; another body under the same key is refused.

use serde_json::json;
use subledger_sandbox::{CallPath, FaultKind, FaultSpec};

use crate::support::{APPID, CHANNEL, TestApp, fault, message, new_channel};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_send_is_one_message() {
    let app = TestApp::new().await;
    app.user("zhangsan", 2).await;
    let path = format!("/channels/{CHANNEL}/messages");
    let body = message(json!([{ "userid": "zhangsan" }]));
    let first = app.post_with_key(&path, "order-42", &body).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let first = first.ok(202);
    let second = app.post_with_key(&path, "order-42", &body).await;
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.header("subledger-position"), first["position"].to_string());
    let mut second = second.ok(202);
    assert_eq!(second["replayed"], true);
    second["replayed"] = json!(false);
    assert_eq!(second, first);

    app.ended(first["msgid"].as_str().unwrap()).await;
    assert_eq!(app.wechat.journal().len(), 1);
    let user = app.get(&format!("/channels/{CHANNEL}/users/zhangsan")).await.ok(200);
    assert_eq!(user["ledgers"][0]["balance"], 1);

    let before = app.heads().await;
    let mut other = body.clone();
    other["page"] = json!("pages/other");
    app.post_with_key(&path, "order-42", &other).await.problem(422, "idempotency_key_reused");
    assert_eq!(app.heads().await, before);
    let fresh = app.post_with_key(&path, "order-43", &body).await.ok(202);
    assert_ne!(fresh["msgid"], first["msgid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_value_written_in_another_way_is_the_same_body() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let path = format!("/channels/{CHANNEL}/messages");
    let mut body = message(json!([{ "userid": "zhangsan" }]));
    let first = app.post_with_key(&path, "k", &body).await.ok(202);
    body["data"]["thing1"] = json!({ "value": body["data"]["thing1"] });
    assert_eq!(app.post_with_key(&path, "k", &body).await.ok(202)["msgid"], first["msgid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_two_apps_do_not_meet() {
    let app = TestApp::new().await;
    app.user("zhangsan", 2).await;
    let other = app.app("other", &subledger_domain::app::Right::ALL, None).await;
    let path = format!("/channels/{CHANNEL}/messages");
    let body = message(json!([{ "userid": "zhangsan" }]));
    let first = app.post_with_key(&path, "k", &body).await.ok(202);
    let request = app.request("POST", &path).bearer_auth(&other).header("Idempotency-Key", "k").json(&body);
    let second = app.raw(request).await.ok(202);
    assert_ne!(first["msgid"], second["msgid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_writes_may_be_repeated_too() {
    let app = TestApp::empty(subledger_http::HttpSettings::default()).await;
    let channel = new_channel(CHANNEL);
    app.post_with_key("/channels", "setup", &channel).await.ok(201);
    let again = app.post_with_key("/channels", "setup", &channel).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    again.ok(201);
    let mut other = channel.clone();
    other["name"] = json!("another name");
    app.post_with_key("/channels", "setup", &other).await.problem(422, "idempotency_key_reused");

    let openid = app.wechat.create_user(APPID, None).unwrap();
    let users = format!("/channels/{CHANNEL}/users");
    let user = json!({ "userid": "zhangsan", "openid": openid });
    app.post_with_key(&users, "bind-1", &user).await.ok(200);
    let again = app.post_with_key(&users, "bind-1", &user).await.ok(200);
    assert_eq!((&again["result"], &again["replayed"]), (&json!("bound"), &json!(true)));

    let reports = format!("/channels/{CHANNEL}/client-reports");
    let report = json!({ "report_id": "r-1", "userid": "zhangsan", "result": app.tap(&openid) });
    app.post(&reports, &report).await.ok(200);
    let again = app.post(&reports, &report).await.ok(200);
    assert_eq!((&again["choices"][0]["balance"], &again["replayed"]), (&json!(1), &json!(true)));
    let mut other = report.clone();
    other["result"] = json!({ "another_template": "accept" });
    app.post(&reports, &other).await.problem(422, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_be_kept_is_refused() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let before = app.heads().await;
    let path = format!("/channels/{CHANNEL}/messages");
    let body = message(json!([{ "userid": "zhangsan" }]));
    for key in ["", "two words", &"k".repeat(129)] {
        let problem = app.post_with_key(&path, key, &body).await.problem(422, "bad_idempotency_key");
        fault(&problem, "/Idempotency-Key", "idempotency_key");
    }
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_retraction_says_the_same_again() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    app.post(&format!("/channels/{CHANNEL}/pause"), &json!({ "reason": "a test" })).await.ok(200);
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let path = format!("/channels/{CHANNEL}/messages/{}/retract", sent["msgid"].as_str().unwrap());
    let first = app.post_with_key(&path, "k", &json!({})).await.ok(200);
    let again = app.post_with_key(&path, "k", &json!({})).await.ok(200);
    assert_eq!((&again["retracted"], &again["replayed"]), (&first["retracted"], &json!(true)));
    let fresh = app.post_with_key(&path, "k2", &json!({})).await.ok(200);
    assert_eq!((&fresh["retracted"], &fresh["too_late"]), (&json!(0), &json!(1)));
}

/// A login code works once at WeChat; the repetition must not spend it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_binding_by_login_code_is_answered_from_its_receipt() {
    let app = TestApp::new().await;
    let openid = app.wechat.create_user(APPID, None).unwrap();
    let code = app.wechat.create_login_code(APPID, &openid).unwrap();
    let path = format!("/channels/{CHANNEL}/users");
    let body = json!({ "userid": "zhangsan", "login_code": code });
    let first = app.post_with_key(&path, "login", &body).await.ok(200);
    let second = app.post_with_key(&path, "login", &body).await.ok(200);
    assert_eq!((&second["result"], &second["replayed"]), (&first["result"], &json!(true)));
}

/// A doubt is settled once; the repetition gets the same answer, although nothing is in doubt any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_settlement_is_answered_from_its_receipt() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let lost = FaultSpec::on(FaultKind::DropAfterCommit, CallPath::Send);
    app.wechat.inject(lost).unwrap();
    let body = message(json!([{ "userid": "zhangsan" }]));
    let sent = app.post(&format!("/channels/{CHANNEL}/messages"), &body).await.ok(202);
    let msgid = sent["msgid"].as_str().unwrap();
    app.ended(msgid).await;
    let path = format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0/settle");
    let verdict = json!({ "verdict": "sent", "reason": "the user showed the card" });
    app.post_with_key(&path, "settle", &verdict).await.ok(200);
    assert_eq!(app.post_with_key(&path, "settle", &verdict).await.ok(200)["replayed"], true);
    app.post(&path, &verdict).await.problem(409, "not_in_doubt");
}
