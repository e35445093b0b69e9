//! The reports of drift and of doubts over HTTP: counts and entries, JSON and CSV, filters, pages, and whom they name (nobody).

use serde_json::{Value, json};

use crate::{
    place::{Place, on_both_databases},
    reports::{report, rows},
    support::{APPID, CHANNEL, LONG, ORDER, TestApp, fault},
};

on_both_databases!(
    drift_is_counted_and_listed_and_names_nobody,
    doubts_are_counted_and_listed_open_and_ended,
    pages_of_entries_add_up
);

/// A report of a tap that WeChat knows nothing of, and a message that finds it out; gives the message's id.
async fn drift(app: &TestApp, userid: &str) -> String {
    app.user(userid, 0).await;
    let lie =
        json!({ "report_id": format!("lie-{userid}"), "userid": userid, "result": { (ORDER): "accept" } });
    app.post(&format!("/channels/{CHANNEL}/client-reports"), &lie).await.ok(200);
    let sent = app.send(json!([{ "userid": userid }])).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    assert_eq!(app.ended(&msgid).await["counts"]["refused"], 1);
    msgid
}

/// A message whose answer is lost.
async fn doubt(app: &TestApp, userid: &str) -> String {
    app.user(userid, 1).await;
    let lost = json!({ "appid": APPID, "path": "send", "kind": "drop_before_commit" });
    app.wechat.inject(serde_json::from_value(lost).unwrap()).unwrap();
    let sent = app.send(json!([{ "userid": userid }])).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    assert_eq!(app.ended(&msgid).await["counts"]["in_doubt"], 1);
    msgid
}

/// The groups of one kind that have something in them.
fn groups(counts: &Value, by: &str, amount: &str) -> Vec<(String, u64)> {
    let group = |group: &Value| (group["of"].as_str().unwrap().to_owned(), group[amount].as_u64().unwrap());
    counts[by].as_array().unwrap().iter().map(group).filter(|(_, amount)| *amount > 0).collect()
}

async fn drift_is_counted_and_listed_and_names_nobody(place: Place) {
    let app = TestApp::on(&place).await;
    let msgid = drift(&app, "zhang-san-the-first").await;
    let answer = app.get(&report("drift", "")).await;
    let position = answer.header("subledger-position").to_owned();
    let body = answer.ok(200);
    assert_eq!((body["position"].to_string(), &body["zone"]), (position, &json!("Asia/Shanghai")));
    assert_eq!(body["counts"]["total"], json!({ "found": 1, "grants": 1 }));
    for (by, of) in [("by_template", ORDER), ("by_age", "1_day"), ("by_cause", "unexplained")] {
        assert_eq!(groups(&body["counts"], by, "found"), [(of.to_owned(), 1)], "{by}");
    }
    let [entry] = body["entries"].as_array().unwrap().as_slice() else { panic!("{body}") };
    for (name, value) in [
        ("template_id", json!(ORDER)),
        ("cause", json!("unexplained")),
        ("age", json!("1_day")),
        ("grants", json!(1)),
        ("explained", json!(0)),
        ("msgid", json!(msgid)),
        ("index", json!(0)),
        ("last_settings_at", Value::Null),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }

    // CSV says what JSON says.
    let csv = app.get(&report("drift", "&format=csv")).await;
    let [row] = rows(&csv).try_into().unwrap();
    for name in ["template_id", "cause", "age", "msgid", "subject", "found_at"] {
        assert_eq!(row[name], entry[name].as_str().unwrap(), "{name}");
    }
    assert_eq!((&row["position"], &row["grants"]), (&body["position"].to_string(), &"1".to_owned()));
    let counts = rows(&app.get(&report("drift", "&format=csv&part=counts")).await);
    assert_eq!((counts[0]["by"].as_str(), counts[0]["found"].as_str()), ("total", "1"));
    assert_eq!(counts.len(), 1 + 1 + 6 + 6, "a row in all, per template, age and cause");

    // Filters.
    for (parameters, found) in [
        ("&cause=unexplained", 1),
        ("&cause=stranger", 0),
        (&format!("&template_id={ORDER}"), 1),
        (&format!("&template_id={LONG}"), 0),
        ("&from=2020-01-01&to=2020-01-31", 0),
    ] {
        let body = app.get(&report("drift", parameters)).await.ok(200);
        assert_eq!(body["counts"]["total"]["found"], found, "{parameters}");
        assert_eq!(body["entries"].as_array().unwrap().len(), found, "{parameters}");
    }

    // The delivery leads to the person; the report does not, and an erasure changes nothing in it.
    let delivery = format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0");
    let known = app.get(&delivery).await.ok(200);
    assert_eq!(known["userid"], "zhang-san-the-first");
    assert_eq!(known["subject"], entry["subject"]);
    let openid = known["openid"].as_str().unwrap().to_owned();
    let named = |text: &str| text.contains("zhang-san") || text.contains(&openid);
    assert!(!named(&body.to_string()) && !named(&csv.text));
    let erase = json!({ "userid": "zhang-san-the-first", "reason": "asked for it by letter" });
    app.post("/users/erasures", &erase).await.ok(200);
    assert_eq!(app.get(&delivery).await.ok(200)["userid"], Value::Null);
    let after = app.get(&report("drift", "")).await.ok(200);
    assert_eq!((&after["counts"], &after["entries"]), (&body["counts"], &body["entries"]));
}

async fn doubts_are_counted_and_listed_open_and_ended(place: Place) {
    let app = TestApp::on(&place).await;
    let (first, second) = (doubt(&app, "lisi").await, doubt(&app, "wangwu").await);
    let settle = format!("/channels/{CHANNEL}/messages/{first}/deliveries/0/settle");
    app.post(&settle, &json!({ "verdict": "not_sent", "reason": "no card" })).await.ok(200);
    app.clock.pass_seconds(7_200);
    let body = app.get(&report("doubts", "")).await.ok(200);
    assert_eq!(body["counts"]["total"], json!({ "doubts": 2, "open": 1, "corrected": 0 }));
    assert_eq!(
        groups(&body["counts"], "by_end", "doubts"),
        [("open".to_owned(), 1), ("by_hand".to_owned(), 1)]
    );
    assert_eq!(groups(&body["counts"], "by_cause", "doubts").iter().map(|(_, n)| n).sum::<u64>(), 2);
    assert_eq!(groups(&body["counts"], "by_age", "open"), [("1_day".to_owned(), 1)], "{body}");
    let [open, ended] = body["entries"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!(
        (&open["msgid"], &open["end"], &open["ended_at"]),
        (&json!(second), &Value::Null, &Value::Null)
    );
    assert!(open["age_seconds"].as_u64().unwrap() >= 7_200, "{open}");
    let told = ["msgid", "end", "outcome", "corrected"].map(|name| ended[name].clone());
    assert_eq!(told, [json!(first), json!("by_hand"), json!("not_sent"), Value::Null]);

    let csv = rows(&app.get(&report("doubts", "&format=csv")).await);
    assert_eq!((csv[0]["end"].as_str(), csv[1]["end"].as_str()), ("open", "by_hand"));
    assert_eq!(csv[1]["began_at"], ended["began_at"].as_str().unwrap());
    let counts = rows(&app.get(&report("doubts", "&format=csv&part=counts")).await);
    let open = counts.iter().find(|row| row["of"] == "open").unwrap();
    assert_eq!((open["doubts"].as_str(), open["by"].as_str()), ("1", "end"));
    for (parameters, found) in [
        ("&state=open", 1),
        ("&state=ended", 1),
        ("&state=by_hand", 1),
        ("&state=deadline", 0),
        ("&state=corrected", 0),
        ("&cause=node_lost", 0),
        (&format!("&template_id={ORDER}"), 2),
    ] {
        let body = app.get(&report("doubts", parameters)).await.ok(200);
        assert_eq!(body["counts"]["total"]["doubts"], found, "{parameters}");
        assert_eq!(body["entries"].as_array().unwrap().len(), found, "{parameters}");
    }
}

async fn pages_of_entries_add_up(place: Place) {
    let app = TestApp::on(&place).await;
    let mut expected = Vec::new();
    for userid in ["a1", "b2", "c3"] {
        expected.insert(0, drift(&app, userid).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&report("drift", &format!("&limit=2{cursor}"))).await.ok(200);
        assert_eq!(page["counts"].is_null(), !cursor.is_empty(), "counts come with the first page");
        seen.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["msgid"].clone()));
        let csv = app.get(&report("drift", &format!("&limit=2&format=csv{cursor}"))).await;
        let next = page["next_cursor"].as_str();
        assert_eq!(csv.header("subledger-next-cursor"), next.unwrap_or_default());
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, expected);
    for (path, code, pointer, rule) in [
        (report("drift", "&cause=wind"), "invalid_query", "/cause", "not_allowed"),
        (report("doubts", "&cause=stranger"), "invalid_query", "/cause", "not_allowed"),
        (report("doubts", "&state=no_permission"), "invalid_query", "/state", "not_allowed"),
        (report("drift", "&state=open"), "invalid_query", "/state", "unknown_parameter"),
        (report("drift", "&part=all"), "invalid_query", "/part", "not_allowed"),
        (report("drift", "&limit=0"), "bad_limit", "/limit", "bad_limit"),
        (report("doubts", "&limit=201"), "bad_limit", "/limit", "bad_limit"),
        (report("drift", "&cursor=nonsense"), "bad_cursor", "/cursor", "bad_cursor"),
        (report("doubts", &cursor), "bad_cursor", "/cursor", "bad_cursor"),
        (
            report("drift", &format!("&format=csv&part=counts{cursor}")),
            "invalid_query",
            "/cursor",
            "one_page",
        ),
        (report("drift", "&from=2026-03-02&to=2026-03-01"), "invalid_query", "/from", "range"),
        (report("doubts", "&zone=Mars/Olympus"), "invalid_query", "/zone", "unknown_zone"),
    ] {
        fault(&app.get(&path).await.problem(422, code), pointer, rule);
    }
    app.get(&report("drift", "&template_id=unknown_template")).await.problem(404, "unknown_template");
    app.get(&report("doubts", "&template_id=unknown_template")).await.problem(404, "unknown_template");
    app.get(&report("drift", "&min_position=999999")).await.problem(503, "not_caught_up");
}
