//! Personal data: shown to those who may read it, gone when it is erased, whatever characters it has.

use serde_json::{Value, json};

use crate::support::{APPID, CHANNEL, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn userids_may_hold_any_characters() {
    let app = TestApp::new().await;
    for (userid, encoded) in [
        ("张三", "%E5%BC%A0%E4%B8%89"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("with space", "with%20space"),
        ("100%", "100%25"),
    ] {
        let openid = app.wechat.create_user(APPID, None).unwrap();
        let body = json!({ "userid": userid, "openid": openid });
        app.post(&format!("/channels/{CHANNEL}/users"), &body).await.ok(200);
        let shown = app.get(&format!("/channels/{CHANNEL}/users/{encoded}")).await.ok(200);
        assert_eq!((&shown["userid"], &shown["openid"]), (&json!(userid), &json!(openid)));
    }
    let bad = app.get(&format!("/channels/{CHANNEL}/users/%FF%FE")).await;
    bad.problem(400, "bad_path");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_shows_as_null_and_the_numbers_stay() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 1).await;
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let msgid = sent["msgid"].as_str().unwrap();
    app.ended(msgid).await;
    let channel = CHANNEL.parse().unwrap();
    let store = app.engine.store();
    let (subject, user) = (
        store.subject_of(&channel, &openid.parse().unwrap()),
        store.user_ref_of(&"zhangsan".parse().unwrap()),
    );
    store.erase_openid(&subledger_domain::LogName::channel(&channel), subject).await.unwrap();
    store.erase_userid(user).await.unwrap();

    let users = app.get(&format!("/channels/{CHANNEL}/users")).await.ok(200);
    assert_eq!((&users["items"][0]["userid"], &users["items"][0]["openid"]), (&Value::Null, &Value::Null));
    let delivery = app.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await.ok(200);
    assert_eq!((&delivery["userid"], &delivery["openid"]), (&Value::Null, &Value::Null));
    assert_eq!(delivery["state"], "sent");
    let ledgers = app.get(&format!("/channels/{CHANNEL}/ledgers")).await.ok(200);
    assert_eq!((&ledgers["items"][0]["openid"], &ledgers["items"][0]["consumed"]), (&Value::Null, &json!(1)));
}
