//! Reports over HTTP: JSON and CSV say the same, each names its position, and bad parameters are named.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subledger_domain::app::Right;

use crate::support::{Answer, CHANNEL, LONG, ORDER, TestApp, fault};

/// Four users and one message: sent, no grant, not bound, and one who was asked twice.
async fn told(app: &TestApp) -> String {
    app.user("zhangsan", 2).await;
    app.user("lisi", 0).await;
    app.user("wangwu", 1).await;
    let recipients = json!([
        { "userid": "zhangsan" }, { "userid": "lisi" }, { "userid": "nobody" }, { "userid": "zhangsan" }
    ]);
    let sent = app.send(recipients).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    app.ended(&msgid).await;
    msgid
}

pub(crate) fn report(kind: &str, parameters: &str) -> String {
    format!("/reports/{kind}?channel={CHANNEL}{parameters}")
}

/// The rows of an answer as CSV, by column.
pub(crate) fn rows(answer: &Answer) -> Vec<BTreeMap<String, String>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("content-type").starts_with("text/csv"), "{:?}", answer.headers);
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activity_counts_what_was_asked_granted_and_sent() {
    let app = TestApp::new().await;
    told(&app).await;
    let answer = app.get(&report("activity", "")).await;
    let position = answer.header("subledger-position").to_owned();
    let body = answer.ok(200);
    assert_eq!(body["position"].to_string(), position);
    assert!(body["recorded_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&body["channel"], &body["zone"]), (&json!(CHANNEL), &json!("Asia/Shanghai")));
    let [line] = body["lines"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!((&line["template_id"], &line["day"]), (&json!(ORDER), &body["to"]));
    for (name, count) in [
        ("asked", 3),
        ("accepted", 3),
        ("granted", 3),
        ("rejected", 0),
        ("messages", 1),
        ("targeted", 4),
        ("skipped", 3),
        ("reserved", 1),
        ("handed_over", 1),
        ("sent", 1),
        ("consumed", 1),
        ("drifted", 0),
    ] {
        assert_eq!(line["counts"][name], count, "{name}: {line}");
    }
    assert_eq!(line["classes"]["skipped"], json!({ "duplicate": 1, "no_grant": 1, "not_bound": 1 }));
    assert_eq!(line["moves"], json!({ "open>reserved": 1, "outside>open": 3, "reserved>consumed": 1 }));
    let total = app.get(&report("activity", "&grain=total")).await.ok(200);
    assert_eq!((&total["lines"][0]["day"], &total["lines"][0]["counts"]), (&Value::Null, &line["counts"]));
    // A listed template without a history is an empty report.
    let empty = app.get(&report("activity", &format!("&template_id={LONG}"))).await.ok(200);
    assert_eq!((&empty["lines"], &empty["next_cursor"]), (&json!([]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_says_what_json_says() {
    let app = TestApp::new().await;
    let msgid = told(&app).await;
    let json = app.get(&report("activity", "")).await.ok(200);
    let answer = app.get(&report("activity", "&format=csv")).await;
    assert_eq!(answer.header("subledger-position"), json["position"].to_string());
    let [row] = rows(&answer).try_into().unwrap();
    for (name, count) in json["lines"][0]["counts"].as_object().unwrap() {
        assert_eq!(row[name], count.to_string(), "{name}");
    }
    for (column, value) in [("channel", &json["channel"]), ("zone", &json["zone"]), ("day", &json["to"])] {
        assert_eq!(row[column], value.as_str().unwrap());
    }
    assert_eq!(
        (&row["position"], row["recorded_at"].as_str()),
        (&json["position"].to_string(), json["recorded_at"].as_str().unwrap())
    );
    let classes: Vec<&str> = row["classes"].split(';').collect();
    assert!(classes.contains(&"skipped:no_grant=1") && classes.contains(&"sent:grant=1"), "{classes:?}");

    let json = app.get(&report("stock", "")).await.ok(200);
    let [row] = rows(&app.get(&report("stock", "&format=csv")).await).try_into().unwrap();
    for name in ["open", "reserved", "in_doubt", "granted", "consumed", "voided"] {
        assert_eq!(row[name], json["days"][0][name].to_string(), "{name}");
    }
    assert_eq!((json["days"][0]["open"].as_u64(), json["now"][0]["open"].as_u64()), (Some(2), Some(2)));

    let parameters = format!("&template_id={ORDER}");
    let json = app.get(&report("reach", &parameters)).await.ok(200);
    assert_eq!((&json["bound_users"], &json["users"], &json["grants"]), (&json!(3), &json!(2), &json!(2)));
    let written = rows(&app.get(&report("reach", &format!("{parameters}&format=csv"))).await);
    for band in json["bands"].as_array().unwrap() {
        let row = written.iter().find(|row| row["group"] == *band["age"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&row["users"], &row["grants"]),
            (&band["users"].to_string(), &band["grants"].to_string())
        );
    }
    assert_eq!(written.len(), 7);

    let parameters = format!("&msgid={msgid}");
    let json = app.get(&report("loss", &parameters)).await.ok(200);
    let steps = ["targeted", "bound", "with_grant", "handed_over", "accepted", "confirmed"];
    assert_eq!(steps.map(|step| json[step].as_u64().unwrap()), [4, 2, 1, 1, 1, 0]);
    let written = rows(&app.get(&report("loss", &format!("{parameters}&format=csv"))).await);
    for step in steps {
        let row = written.iter().find(|row| row["step"] == step && row["outcome"] == "reached").unwrap();
        assert_eq!(row["recipients"], json[step].to_string(), "{step}");
    }
    let lost: u64 = json["lost"].as_array().unwrap().iter().map(|l| l["recipients"].as_u64().unwrap()).sum();
    assert_eq!(lost, 4);
    assert_eq!(
        written.iter().filter(|row| row["outcome"] == "lost").count(),
        json["lost"].as_array().unwrap().len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accept_chooses_the_format_and_the_parameter_overrules_it() {
    let app = TestApp::new().await;
    for (accept, parameter, csv) in [
        ("text/csv", "", true),
        ("text/csv;q=0.5, application/json", "", false),
        ("application/json;q=0.1, TEXT/CSV", "", true),
        ("text/html, */*", "", false),
        ("text/csv;q=0", "", false),
        ("text/csv;q=nonsense", "", false),
        ("text/csv", "&format=json", false),
        ("application/json", "&format=csv", true),
    ] {
        let request = app.request("GET", &report("stock", parameter)).bearer_auth(&app.key);
        let answer = app.raw(request.header("accept", accept)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("content-type").starts_with("text/csv"), csv, "{accept} {parameter}");
        assert_eq!(answer.header("vary"), "accept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_shows_ones_own_write() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let openid = app.wechat.create_user(crate::support::APPID, None).unwrap();
    let tap = json!({ "report_id": "own", "openid": openid, "result": app.tap(&openid) });
    let written = app.post(&format!("/channels/{CHANNEL}/client-reports"), &tap).await.ok(200);
    let position = written["position"].as_u64().unwrap();
    let stock = app.get(&report("stock", &format!("&min_position={position}"))).await.ok(200);
    assert!(stock["position"].as_u64().unwrap() >= position);
    assert_eq!(stock["now"][0]["open"], 2);
    app.get(&report("stock", "&min_position=999999")).await.problem(503, "not_caught_up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_templates_add_up() {
    let app = TestApp::new().await;
    let openid = app.wechat.create_user(crate::support::APPID, None).unwrap();
    for (number, template) in ["template_a", "template_b", "template_c"].into_iter().enumerate() {
        let tap = json!({ "report_id": format!("r-{number}"), "openid": openid, "result": { (template): "accept" } });
        app.post(&format!("/channels/{CHANNEL}/client-reports"), &tap).await.ok(200);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.get(&report("activity", &format!("&limit=2{cursor}"))).await.ok(200);
        seen.extend(page["lines"].as_array().unwrap().iter().map(|line| line["template_id"].clone()));
        let csv = app.get(&report("activity", &format!("&limit=2&format=csv{cursor}"))).await;
        let next = page["next_cursor"].as_str();
        assert_eq!(csv.header("subledger-next-cursor"), next.unwrap_or_default());
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["template_a", "template_b", "template_c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parameters_are_named_and_nothing_is_recorded() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let none = "0".repeat(32);
    let before = app.heads().await;
    let unknown = [
        ("/reports/activity?channel=nosuch".to_owned(), "unknown_channel"),
        ("/reports/activity?channel=not%20a%20code".to_owned(), "unknown_channel"),
        ("/reports/stock?channel=main".to_owned(), "unknown_channel"),
        (report("activity", "&template_id=unknown_template"), "unknown_template"),
        (report("stock", "&template_id=unknown_template"), "unknown_template"),
        (report("reach", "&template_id=unknown_template"), "unknown_template"),
        (report("loss", &format!("&msgid={none}")), "unknown_message"),
    ];
    for (path, code) in unknown {
        app.get(&path).await.problem(404, code);
    }
    for (path, code, pointer, rule) in [
        ("/reports/activity".to_owned(), "invalid_query", "/channel", "required"),
        (report("reach", ""), "invalid_query", "/template_id", "required"),
        (report("loss", ""), "invalid_query", "/msgid", "required"),
        (report("loss", "&msgid=xyz"), "bad_msgid", "/msgid", "bad_msgid"),
        (report("reach", "&template_id=a"), "bad_template_id", "/template_id", "bad_template_id"),
        (report("activity", "&template_id=a"), "bad_template_id", "/template_id", "bad_template_id"),
        (report("activity", "&from=2026-03-02&to=2026-03-01"), "invalid_query", "/from", "range"),
        (report("activity", "&from=yesterday"), "invalid_query", "/from", "date"),
        (report("stock", "&to=2026-13-01"), "invalid_query", "/to", "date"),
        (report("stock", "&from=1970-01-01"), "invalid_query", "/from", "date_range"),
        (report("activity", "&from=2024-01-01&to=2026-03-01"), "invalid_query", "/to", "too_many_days"),
        (report("activity", "&zone=Mars/Olympus"), "invalid_query", "/zone", "unknown_zone"),
        (report("reach", &format!("&template_id={ORDER}&zone=")), "invalid_query", "/zone", "unknown_zone"),
        (report("activity", "&grain=hour"), "invalid_query", "/grain", "not_allowed"),
        (report("activity", "&format=xml"), "invalid_query", "/format", "not_allowed"),
        (report("activity", "&limit=0"), "bad_limit", "/limit", "bad_limit"),
        (report("activity", "&limit=101"), "bad_limit", "/limit", "bad_limit"),
        (report("stock", "&from=2025-01-01&to=2026-01-01&limit=20"), "bad_limit", "/limit", "bad_limit"),
        (report("activity", "&cursor=nonsense"), "bad_cursor", "/cursor", "bad_cursor"),
        (report("activity", "&colour=red"), "invalid_query", "/colour", "unknown_parameter"),
        (report("stock", "&grain=day"), "invalid_query", "/grain", "unknown_parameter"),
    ] {
        let problem = app.get(&path).await.problem(422, code);
        fault(&problem, pointer, rule);
    }
    // As many templates as days allow: the total of a long period is one line each.
    app.get(&report("activity", "&from=2025-01-01&to=2026-01-01&grain=total&limit=100")).await.ok(200);
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_channel_gets_no_report() {
    let app = TestApp::new().await;
    let msgid = told(&app).await;
    let elsewhere = app.app("elsewhere", &Right::ALL, Some(&["othermp"])).await;
    let paths = [
        report("activity", ""),
        report("stock", ""),
        report("reach", &format!("&template_id={ORDER}")),
        report("loss", &format!("&msgid={msgid}")),
        report("drift", ""),
        report("doubts", ""),
        "/reports/activity?channel=nosuch".to_owned(),
    ];
    for (number, path) in paths.into_iter().enumerate() {
        app.raw(app.request("GET", &path).bearer_auth(&elsewhere)).await.problem(403, "missing_right");
        let sender = app.app(&format!("sender-{number}"), &[Right::Send], None).await;
        app.raw(app.request("GET", &path).bearer_auth(&sender)).await.problem(403, "missing_right");
    }
}
