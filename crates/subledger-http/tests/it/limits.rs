//! Request ids, headers, rates, load shedding and time limits.

use std::time::Duration;

use serde_json::json;
use subledger_domain::{
    ChannelCode, DeliveryId, LogName, StreamName, TemplateKind,
    ledger::{Ledger, LedgerCommand, UnknownBalance},
};
use subledger_http::HttpSettings;
use subledger_store::{Cause, Known, Stage, Stop, StreamRef, Submission, Work};

use crate::support::{APPID, CHANNEL, ORDER, TestApp, new_channel};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_echoed_or_made_and_stands_in_the_books() {
    let app = TestApp::new().await;
    app.user("zhangsan", 0).await;
    let with = |id: &str| app.request("GET", "/whoami").bearer_auth(&app.key).header("X-Request-Id", id);
    assert_eq!(app.raw(with("order-42")).await.header("x-request-id"), "order-42");
    let replaced = app.raw(with("has spaces")).await;
    assert_eq!(uuid::Uuid::parse_str(replaced.header("x-request-id")).unwrap().get_version_num(), 7);
    let one = app.outside("/healthz").await.header("x-request-id").to_owned();
    assert_ne!(one, app.outside("/healthz").await.header("x-request-id"));

    let openid = app.wechat.create_user(APPID, None).unwrap();
    let report = json!({ "report_id": "r-1", "openid": openid, "result": app.tap(&openid) });
    let path = format!("/channels/{CHANNEL}/client-reports");
    let request =
        app.request("POST", &path).bearer_auth(&app.key).header("X-Request-Id", "tap-77").json(&report);
    app.raw(request).await.ok(200);
    let ledger =
        app.get(&format!("/channels/{CHANNEL}/ledgers?openid={openid}")).await.ok(200)["items"][0].clone();
    let (subject, template) = (ledger["subject"].as_str().unwrap(), ledger["template_id"].as_str().unwrap());
    let entries = app.get(&format!("/channels/{CHANNEL}/ledgers/{subject}/{template}/entries")).await.ok(200);
    assert_eq!(entries["items"][0]["cause"]["request"], "tap-77");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_security_headers_and_are_not_cached() {
    let app = TestApp::new().await;
    for answer in [app.get("/channels").await, app.get("/nothing").await, app.outside("/healthz").await] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_used_too_often_is_told_to_wait_and_others_are_not() {
    let app =
        TestApp::empty(HttpSettings { requests_per_second: 1, burst: 3, ..HttpSettings::default() }).await;
    let other = app.app("other", &subledger_domain::app::Right::ALL, None).await;
    for _ in 0..3 {
        app.get("/whoami").await.ok(200);
    }
    let refused = app.get("/whoami").await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(429, "rate_limited");
    app.raw(app.request("GET", "/whoami").bearer_auth(&other)).await.ok(200);
    app.outside("/healthz").await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_sheds_load_and_stays_observable() {
    let app = TestApp::empty(HttpSettings { max_in_flight: 0, ..HttpSettings::default() }).await;
    let refused = app.get("/whoami").await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(503, "overloaded");
    for path in ["/healthz", "/readyz", "/metrics"] {
        app.outside(path).await.ok(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_given_up() {
    let app =
        TestApp::empty(HttpSettings { timeout: Duration::from_millis(300), ..HttpSettings::default() }).await;
    let hang = json!({ "appid": APPID, "path": "stable_token", "kind": "hang_before_commit" });
    app.wechat.inject(serde_json::from_value(hang).unwrap()).unwrap();
    let answer = app.post("/channels", &new_channel(CHANNEL)).await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.problem(503, "timed_out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_route_and_never_by_path() {
    let app = TestApp::new().await;
    app.user("zhangsan-secret-name", 0).await;
    app.get(&format!("/channels/{CHANNEL}/users/zhangsan-secret-name")).await.ok(200);
    let metrics = app.outside("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let series = metrics.text.lines().find(|line| {
        line.starts_with("subledger_http_requests_total")
            && line.contains("route=\"/api/v1/channels/{code}/users/{userid}\"")
            && line.contains("method=\"GET\"")
            && line.contains("status=\"200\"")
    });
    assert!(series.is_some(), "{}", metrics.text);
    assert!(metrics.text.contains("subledger_http_request_seconds"));
    assert!(!metrics.text.contains("zhangsan-secret-name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_what_it_rests_on() {
    let app = TestApp::new().await;
    assert_eq!(
        app.outside("/readyz").await.ok(200),
        json!({ "ready": true, "database": true, "undone": [], "paused": [] })
    );
    app.engine.store().close().await;
    let answer = app.outside("/readyz").await;
    assert_eq!(answer.ok(503), json!({ "ready": false, "database": false, "undone": [], "paused": [] }));
    app.outside("/healthz").await.ok(200);
}

/// Reserves for a delivery of a message that nobody accepted: the ledgers can live with it, the messages cannot.
struct ReserveForNothing(StreamName);

impl Work for ReserveForNothing {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.0.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let reserve = LedgerCommand::Reserve {
            delivery: DeliveryId::new("019500aa7c1e7d0f8f5e0a4f5e6d7c8b".parse().unwrap(), 0),
            kind: TemplateKind::OneTime,
            unknown_balance: UnknownBalance::Refuse,
            user: None,
        };
        let decided = stage.ask::<Ledger>(&self.0, reserve)?;
        decided.map(|_| ()).map_err(|error| Stop::Refuse(error.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_read_model_is_told_and_does_not_stop_the_node() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let code: ChannelCode = CHANNEL.parse().unwrap();
    let ledgers = app.get(&format!("/channels/{CHANNEL}/ledgers")).await.ok(200);
    let subject = ledgers["items"][0]["subject"].as_str().unwrap().parse().unwrap();
    let work = ReserveForNothing(StreamName::ledger(subject, &ORDER.parse().unwrap()));
    let cause = Cause { by: "test".to_owned(), command: "reserve".to_owned(), request: None };
    let submission = Submission { log: LogName::channel(&code), receipt: None, cause, work };
    let at = app.engine.executor().submit(submission).await.unwrap().position;
    // Whoever waits is not held up by a read model that is paused.
    assert!(app.engine.caught_up(&LogName::channel(&code), Some(at)).await);
    let readiness = app.outside("/readyz").await.ok(200);
    assert_eq!(readiness["ready"], true);
    let mut paused = readiness["paused"][0].clone();
    assert!(paused["advice"].take().as_str().is_some_and(|text| text.contains("projections status")));
    let expected = json!({
        "log": CHANNEL, "projection": "messages", "position": at.0, "kind": "ledger.reserved",
        "reason": "not_applicable", "advice": null,
    });
    assert_eq!(paused, expected);
}
