//! WeChat's daily quota and the doctor, as a client sees them.

use serde_json::{Value, json};

use crate::{
    place::{Place, on_both_databases},
    support::{APPID, CHANNEL, PATIENCE, TestApp, fault},
};

on_both_databases!(
    a_client_sees_the_quota_and_what_is_held_for_want_of_it,
    the_doctor_answers_for_the_deployment_and_for_a_channel,
);

fn channel(path: &str) -> String {
    format!("/channels/{CHANNEL}{path}")
}

async fn a_client_sees_the_quota_and_what_is_held_for_want_of_it(place: Place) {
    let app = TestApp::on(&place).await;
    let quota = app.get(&channel("/quota")).await.ok(200);
    assert_eq!((&quota["limit"], &quota["polled_at"]), (&json!(null), &json!(null)));
    assert_eq!(quota["forecast"]["state"], "unknown");
    let reserve = |percent: u32| json!({ "bulk_reserve": percent });
    let bad = app.send_method("PATCH", &channel("/policy"), &reserve(51)).await.problem(422, "bad_policy");
    fault(&bad, "/bulk_reserve", "out_of_bounds");
    app.send_method("PATCH", &channel("/policy"), &reserve(50)).await.ok(200);

    // Ten of the twenty sends of a day are kept.
    app.wechat.change_app(APPID, |settings| settings.daily_limit = 20).unwrap();
    let quota = app.post(&channel("/quota/refresh"), &json!({})).await.ok(200);
    assert_eq!((&quota["limit"], &quota["used"], &quota["remaining"]), (&json!(20), &json!(0), &json!(20)));
    assert_eq!(quota["bulk_reserve"], json!({ "percent": 50, "sends": 10, "held": null, "waiting": 0 }));
    app.post(&channel("/quota/refresh"), &json!({})).await.problem(429, "quota_too_soon");
    let mut recipients = Vec::new();
    for n in 0..12 {
        app.user(&format!("bulk{n}"), 1).await;
        recipients.push(json!({ "userid": format!("bulk{n}") }));
    }
    let sent = app.send(Value::Array(recipients)).await;
    let msgid = sent["msgid"].as_str().unwrap();
    let path = channel(&format!("/messages/{msgid}"));
    let begun = std::time::Instant::now();
    let message = loop {
        let message = app.get(&path).await.ok(200);
        if message["counts"]["sent"] == 10 && message["held"] != Value::Null {
            break message;
        }
        assert!(begun.elapsed() < PATIENCE, "{message}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(
        (&message["counts"]["queued"], &message["held"]["reason"]),
        (&json!(2), &json!("bulk_reserve"))
    );
    let shown = app.get(&channel("")).await.ok(200);
    let until = &shown["quota"]["bulk_reserve"]["held"]["until"];
    assert_eq!((until, &shown["quota"]["remaining"]), (&message["held"]["until"], &json!(10)));
    assert_eq!(app.get(&channel("/queue")).await.ok(200)["bulk"], 2);
    let listed = app.get(&channel("/messages")).await.ok(200);
    assert_eq!(listed["items"][0]["held"], message["held"]);
    let waiting = app.get(&format!("{path}/deliveries?state=queued")).await.ok(200);
    assert_eq!(waiting["items"].as_array().unwrap().len(), 2);
    for delivery in waiting["items"].as_array().unwrap() {
        assert_eq!(delivery["held"], message["held"]);
        let one = app.get(&format!("{path}/deliveries/{}", delivery["index"])).await.ok(200);
        assert_eq!(one["held"], message["held"]);
    }
    let done = app.get(&format!("{path}/deliveries?state=sent")).await.ok(200);
    assert_eq!(done["items"][0]["held"], json!(null));
    // A single send goes on.
    app.user("lisi", 1).await;
    let single = app.send(json!([{ "userid": "lisi" }])).await;
    let single = app.ended(single["msgid"].as_str().unwrap()).await;
    assert_eq!((&single["counts"]["sent"], &single["held"]), (&json!(1), &json!(null)));
    let quota = app.get(&channel("/quota")).await.ok(200);
    assert_eq!((&quota["used"], &quota["sent_since"]), (&json!(11), &json!(11)));

    // Clearing needs a reason, and lets the rest go on.
    let reason = |text: &str| json!({ "reason": text });
    app.post(&channel("/quota/clear"), &reason("")).await.problem(422, "bad_reason");
    app.clock.pass_seconds(60);
    app.post(&channel("/quota/clear"), &reason("a loop in our back end")).await.ok(200);
    let message = app.ended(msgid).await;
    assert_eq!((&message["counts"]["sent"], &message["held"]), (&json!(12), &json!(null)));
}

async fn the_doctor_answers_for_the_deployment_and_for_a_channel(place: Place) {
    let app = TestApp::on(&place).await;
    let report = app.get("/doctor").await.ok(200);
    let of = |report: &Value, check: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["check"] == check && finding["channel"] != "main");
        found.unwrap_or_else(|| panic!("{check} in {report}")).clone()
    };
    for check in ["database", "migrations", "master_key", "egress", "templates"] {
        let finding = of(&report, check);
        assert_eq!((&finding["state"], &finding["advice"]), (&json!("ok"), &json!(null)), "{finding}");
        assert_eq!(finding["docs"], format!("docs/doctor.md#{check}"));
        assert!(!finding["found"]["zh"].as_str().unwrap().is_ascii());
    }
    assert_eq!(of(&report, "token")["state"], "skipped");
    let report = app.get(&channel("/doctor")).await.ok(200);
    let token = of(&report, "token");
    assert_eq!((&token["state"], &token["channel"]), (&json!("ok"), &json!(CHANNEL)), "{token}");
    let pushes = of(&report, "pushes");
    assert_eq!(pushes["state"], "warn");
    assert!(pushes["advice"]["en"].as_str().unwrap().contains("subledger channel callback"), "{pushes}");
    assert_eq!((&report["worst"], &report["failures"]), (&json!("warn"), &json!(0)), "{report}");
    app.get("/channels/nosuch/doctor").await.problem(404, "unknown_channel");
    // A key sees the channels it may use.
    let manage = [subledger_domain::app::Right::Manage];
    let elsewhere = app.app("elsewhere", &manage, Some(&["othermp"])).await;
    let report = app.raw(app.request("GET", "/doctor").bearer_auth(&elsewhere)).await.ok(200);
    let channels: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|it| it["channel"].clone()).collect();
    assert!(!channels.contains(&json!(CHANNEL)), "{report}");
}
