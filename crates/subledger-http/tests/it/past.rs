//! `?at=`: what was known then has the shape of what is known now, and a wrong `at` is named.

use serde_json::{Value, json};
use subledger_domain::LogName;

use crate::support::{CHANNEL, ORDER, TestApp, fault};

fn channel(path: &str) -> String {
    format!("/channels/{CHANNEL}{path}")
}

/// A user who tapped twice and was sent one message. Gives the openid, the subject and the msgid.
async fn told() -> (TestApp, String, String, String) {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 2).await;
    let sent = app.send(json!([{ "userid": "zhangsan" }, { "userid": "nobody" }])).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    app.ended(&msgid).await;
    let user = app.get(&channel("/users/zhangsan")).await.ok(200);
    let subject = user["subject"].as_str().unwrap().to_owned();
    (app, openid, subject, msgid)
}

async fn head(app: &TestApp) -> u64 {
    app.engine.store().head(&LogName::new(CHANNEL)).await.unwrap().position.0
}

/// Every route that can be asked of the past.
fn routes(subject: &str, msgid: &str) -> Vec<String> {
    let paths = [
        "/templates".to_owned(),
        format!("/templates/{ORDER}"),
        "/users/zhangsan".to_owned(),
        "/users/zhangsan/ledgers".to_owned(),
        format!("/ledgers/{subject}/{ORDER}"),
        format!("/ledgers/{subject}/{ORDER}/lots"),
        format!("/ledgers/{subject}/{ORDER}/entries"),
        format!("/ledgers/{subject}/{ORDER}/explanation"),
        format!("/messages/{msgid}"),
        format!("/messages/{msgid}/deliveries"),
        format!("/messages/{msgid}/deliveries/0"),
    ];
    paths.iter().map(|path| channel(path)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_the_log_the_past_is_the_present() {
    let (app, _, subject, msgid) = told().await;
    let end = head(&app).await;
    for route in routes(&subject, &msgid) {
        let now = app.get(&format!("{route}?min_position={end}")).await.ok(200);
        for at in [end.to_string(), "2999-01-01".to_owned()] {
            let answer = app.get(&format!("{route}?at={at}")).await;
            assert_eq!(answer.header("subledger-position"), end.to_string(), "{route}");
            let mut then = answer.ok(200);
            let fields = then.as_object_mut().unwrap();
            assert_eq!(fields.remove("known"), Some(json!(true)), "{route}");
            let point = fields.remove("at").unwrap();
            assert_eq!(point["position"], end, "{route}");
            assert!(point["time"].is_string());
            assert_eq!(then, now, "{route}");
        }
        assert!(now.get("at").is_none() && now.get("known").is_none(), "{now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_was_recorded_it_is_not_known_yet() {
    let (app, _, subject, msgid) = told().await;
    for route in routes(&subject, &msgid) {
        for at in [
            "0",
            "2001-01-01",
            "2001-01-01T00:00",
            "2001-01-01T00:00:00+08:00",
            "2001-01-01T00:00:00%2B08:00",
        ] {
            let answer = app.get(&format!("{route}?at={at}")).await.ok(200);
            let nothing = json!({ "at": { "position": 0, "time": null }, "known": false, "position": 0 });
            assert_eq!(answer, nothing, "{route} at {at}");
        }
    }
    // What never was recorded is not found, then as now.
    let nobody = "0".repeat(32);
    for (path, code) in [
        ("/users/nobody".to_owned(), "unknown_user"),
        (format!("/messages/{nobody}"), "unknown_message"),
        (format!("/messages/{nobody}/deliveries"), "unknown_message"),
        (format!("/messages/{msgid}/deliveries/7"), "unknown_delivery"),
        (format!("/ledgers/{nobody}/{ORDER}"), "unknown_ledger"),
        (format!("/ledgers/{nobody}/{ORDER}/explanation"), "unknown_ledger"),
        (format!("/ledgers/{nobody}/{ORDER}/entries"), "unknown_ledger"),
        ("/templates/TPL_nobody_ever_listed_it".to_owned(), "unknown_template"),
    ] {
        app.get(&format!("{}?at={}", channel(&path), head(&app).await)).await.problem(404, code);
    }
    app.get("/channels/nowhere/templates?at=1").await.problem(404, "unknown_channel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_position_is_what_was_known_then() {
    let (app, _, subject, msgid) = told().await;
    let ledger = channel(&format!("/ledgers/{subject}/{ORDER}"));
    let entries = app.get(&format!("{ledger}/entries")).await.ok(200)["items"].clone();
    let entries = entries.as_array().unwrap();
    let mut balances = Vec::new();
    for entry in entries {
        let position = &entry["position"];
        let then = app.get(&format!("{ledger}?at={position}")).await.ok(200);
        assert!(then["at"]["time"].as_str() == entry["recorded_at"].as_str(), "{then}");
        balances.push((then["balance"].as_u64().unwrap(), then["consumed"].as_u64().unwrap()));
        let told = app.get(&format!("{ledger}/entries?at={position}&limit=200")).await.ok(200);
        assert_eq!(told["items"].as_array().unwrap().last(), Some(entry));
        let explained = app.get(&format!("{ledger}/explanation?at={position}")).await.ok(200);
        assert_eq!((&explained["findings"], &explained["sum"]["holds"]), (&json!([]), &json!(true)));
        assert_eq!(explained["sum"]["balance"], then["balance"]);
    }
    assert_eq!(balances, [(1, 0), (2, 0), (1, 0), (1, 0), (1, 1)], "tap, tap, reserved, started, consumed");

    let reserved = entries[2]["position"].as_u64().unwrap();
    let message = channel(&format!("/messages/{msgid}"));
    let waiting = app.get(&format!("{message}?at={}", reserved + 1)).await.ok(200);
    assert_eq!((&waiting["counts"]["queued"], &waiting["complete"]), (&json!(1), &json!(false)));
    let page = app.get(&format!("{message}/deliveries?at={}&limit=1", reserved + 1)).await.ok(200);
    assert_eq!(
        (&page["items"][0]["state"], &page["items"][0]["userid"]),
        (&json!("queued"), &json!("zhangsan"))
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("{message}/deliveries?at={}&cursor={cursor}", reserved + 1)).await.ok(200);
    assert_eq!((&rest["items"][0]["state"], &rest["next_cursor"]), (&json!("skipped"), &Value::Null));
    let sent = app.get(&format!("{message}/deliveries?at={}&state=sent", reserved + 1)).await.ok(200);
    assert_eq!(sent["items"], json!([]));
    let lots = app.get(&format!("{ledger}/lots?at={reserved}&limit=1")).await.ok(200);
    assert_eq!((&lots["items"][0]["state"], lots["next_cursor"].is_string()), (&json!("reserved"), true));

    let explained = app.get(&format!("{ledger}/explanation?limit=1")).await.ok(200);
    assert_eq!(explained["deliveries"]["items"][0]["paid"], "spent");
    assert_eq!(explained["deliveries"]["items"][0]["tap"]["ref"], "zhangsan-0", "the tap that paid for it");
    assert_eq!(
        (&explained["taps"]["omitted"], &explained["taps"]["items"][0]["state"]),
        (&json!(1), &json!("open"))
    );
    assert_eq!(explained["numbers"][0]["omitted"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_at_is_named() {
    let (app, _, subject, msgid) = told().await;
    let before = app.heads().await;
    let beyond = head(&app).await + 1;
    for route in routes(&subject, &msgid) {
        for (query, pointer, rule, code) in [
            ("at=".to_owned(), "/at", "bad_at", "bad_at"),
            ("at=yesterday".to_owned(), "/at", "bad_at", "bad_at"),
            ("at=-1".to_owned(), "/at", "bad_at", "bad_at"),
            ("at=2026-02-30".to_owned(), "/at", "bad_at", "bad_at"),
            ("at=2026-03-01T16:00:00%2B99:00".to_owned(), "/at", "bad_at", "bad_at"),
            ("at=99999999999999999999".to_owned(), "/at", "bad_at", "bad_at"),
            (format!("at={beyond}"), "/at", "beyond_end", "bad_at"),
            ("at=1&min_position=1".to_owned(), "/min_position", "not_with_at", "invalid_query"),
            ("at=1&at=2".to_owned(), "/at", "duplicate_field", "invalid_query"),
            ("At=1".to_owned(), "/At", "unknown_parameter", "invalid_query"),
        ] {
            let problem = app.get(&format!("{route}?{query}")).await.problem(422, code);
            fault(&problem, pointer, rule);
        }
        let problem = app.get(&format!("{route}?at={beyond}")).await.problem(422, "bad_at");
        assert!(
            problem["detail"].as_str().unwrap().contains(&format!("stands at {}", beyond - 1)),
            "{problem}"
        );
    }
    // Lists that are not of one thing cannot be asked of the past, and say so.
    let problem = app.get(&channel("/ledgers?at=1")).await.problem(422, "invalid_query");
    fault(&problem, "/at", "unknown_parameter");
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_erased_stays_in_the_books_without_a_name() {
    let (app, openid, subject, msgid) = told().await;
    let erase = json!({ "userid": "zhangsan", "reason": "asked for it by letter" });
    assert_eq!(app.post("/users/erasures", &erase).await.ok(200)["userid_erased"], true);
    for route in routes(&subject, &msgid) {
        let then = app.get(&format!("{route}?at={}", head(&app).await)).await.ok(200).to_string();
        assert!(!then.contains(&openid) && !then.contains("\"userid\":\"zhangsan\""), "{route}: {then}");
    }
}
