//! Personal data: shown to those who may read it, gone when it is erased, whatever characters it has.

use serde_json::{Value, json};
use subledger_domain::app::Right;

use crate::support::{APPID, CHANNEL, TestApp, fault};

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
    app.user("zhangsan", 1).await;
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let msgid = sent["msgid"].as_str().unwrap();
    app.ended(msgid).await;
    let erase = json!({ "userid": "zhangsan", "reason": "asked for it by letter" });
    let erased = app.post_with_key("/users/erasures", "erase-1", &erase).await.ok(200);
    let counts = json!([erased["already"], erased["openids"], erased["userid_erased"], erased["contents"]]);
    assert_eq!(counts, json!([false, 1, true, 1]), "{erased}");
    assert_eq!((&erased["channels"], &erased["erased_by"]), (&json!([CHANNEL]), &json!("app:tester")));
    let again = app.post_with_key("/users/erasures", "erase-1", &erase).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok(200)["erased_at"], erased["erased_at"]);
    assert_eq!(app.post("/users/erasures", &erase).await.ok(200)["already"], true);

    let users = app.get(&format!("/channels/{CHANNEL}/users")).await.ok(200);
    assert_eq!((&users["items"][0]["userid"], &users["items"][0]["openid"]), (&Value::Null, &Value::Null));
    let delivery = app.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await.ok(200);
    assert_eq!((&delivery["userid"], &delivery["openid"]), (&Value::Null, &Value::Null));
    assert_eq!(delivery["state"], "sent");
    let ledgers = app.get(&format!("/channels/{CHANNEL}/ledgers")).await.ok(200);
    assert_eq!((&ledgers["items"][0]["openid"], &ledgers["items"][0]["consumed"]), (&Value::Null, &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_cannot_be_is_refused_and_changes_nothing() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let limited = app.app("limited", &Right::ALL, Some(&[CHANNEL])).await;
    let before = app.heads().await;
    let reason = "asked for it by letter";
    for (body, status, code, at) in [
        (json!({ "reason": reason }), 422, "invalid_body", Some(("/userid", "one_of"))),
        (
            json!({ "userid": "a", "openid": openid, "reason": reason }),
            422,
            "invalid_body",
            Some(("/openid", "one_of")),
        ),
        (json!({ "userid": "", "reason": reason }), 422, "bad_userid", Some(("/userid", "bad_userid"))),
        (json!({ "openid": "short", "reason": reason }), 422, "bad_openid", Some(("/openid", "bad_openid"))),
        (json!({ "userid": "zhangsan" }), 422, "invalid_body", None),
        (json!({ "userid": "zhangsan", "reason": "" }), 422, "bad_reason", Some(("/reason", "text_length"))),
        (
            json!({ "userid": "zhangsan", "reason": "zhangsan asked" }),
            422,
            "bad_reason",
            Some(("/reason", "names_person")),
        ),
        (
            json!({ "userid": "zhangsan", "reason": reason, "channel": "no/code" }),
            422,
            "bad_channel_code",
            None,
        ),
        (
            json!({ "userid": "zhangsan", "reason": reason, "channel": "nosuch" }),
            404,
            "unknown_channel",
            None,
        ),
        (json!({ "userid": "nobody", "reason": reason }), 404, "unknown_user", None),
        (json!({ "userid": "zhangsan", "reason": reason, "all": true }), 422, "invalid_body", None),
    ] {
        let problem = app.post("/users/erasures", &body).await.problem(status, code);
        if let Some((pointer, rule)) = at {
            fault(&problem, pointer, rule);
        }
    }
    // A key for some channels erases from those only.
    let erase = |channel: Value| json!({ "userid": "zhangsan", "reason": reason, "channel": channel });
    let with =
        |body: Value| app.raw(app.request("POST", "/users/erasures").bearer_auth(&limited).json(&body));
    with(erase(Value::Null)).await.problem(403, "missing_right");
    with(erase(json!("othermp"))).await.problem(403, "missing_right");
    assert_eq!(app.heads().await, before, "nothing was recorded");
    assert_eq!(with(erase(json!(CHANNEL))).await.ok(200)["openids"], 1);
}
