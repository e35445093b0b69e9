//! Access tokens: lent, replaced, taken from elsewhere, and what is told of a conflict.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::HeaderMap;
use serde_json::{Value, json};
use subledger_domain::app::Right;
use subledger_http::HttpSettings;
use subledger_sandbox::TokenCalls;

use crate::{
    place::{Place, on_both_databases},
    support::{APPID, Answer, CHANNEL, PATIENCE, SECRET, TestApp},
};

on_both_databases!(
    a_token_is_lent_and_each_lease_is_in_the_books,
    a_token_that_was_refused_to_a_borrower_is_replaced_once,
    a_token_is_forced_within_wechats_bounds,
    a_conflict_is_told_of_once_and_shown,
    tokens_come_from_the_companys_own_server,
    an_expired_token_is_replaced_without_suspicion,
);

fn channel(path: &str) -> String {
    format!("/channels/{CHANNEL}{path}")
}

fn calls(app: &TestApp) -> TokenCalls {
    app.wechat.stats().token_calls.get(APPID).cloned().unwrap_or_default()
}

async fn borrow(app: &TestApp, key: &str, query: &str) -> Answer {
    app.raw(app.request("GET", &channel(&format!("/token{query}"))).bearer_auth(key)).await
}

/// The events of one kind, by their data.
async fn events(app: &TestApp, kind: &str) -> Vec<Value> {
    let page = app.get(&format!("/events?log={CHANNEL}&limit=1000")).await.ok(200);
    let events = page["items"].as_array().unwrap();
    events.iter().filter(|event| event["kind"] == kind).map(|event| event["data"].clone()).collect()
}

async fn sent(app: &TestApp, userid: &str) {
    let message = app.send(json!([{ "userid": userid }])).await;
    let ended = app.ended(message["msgid"].as_str().unwrap()).await;
    assert_eq!(ended["counts"]["sent"], 1, "{ended}");
}

async fn a_token_is_lent_and_each_lease_is_in_the_books(place: Place) {
    let app = TestApp::on(&place).await;
    let borrower = app.app("crm", &[Right::Token], Some(&[CHANNEL])).await;
    let answer = borrow(&app, &borrower, "").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let lease = answer.ok(200);
    let token = lease["access_token"].as_str().unwrap().to_owned();
    assert_eq!((&lease["version"], &lease["token_mode"]), (&json!(1), &json!("stable")));
    let left = lease["expires_in"].as_i64().unwrap();
    assert!((7000..=7200).contains(&left), "{left}");
    let again = borrow(&app, &borrower, "").await.ok(200);
    assert_eq!((&again["access_token"], &again["version"]), (&json!(token), &json!(1)));
    assert_eq!(calls(&app).stable, 1, "the probe of the set-up is the only fetch");

    let leases = events(&app, "channel.token_leased").await;
    assert_eq!(leases.len(), 2);
    assert_eq!((&leases[0]["app"], &leases[0]["version"]), (&json!("crm"), &json!(1)));
    let all = app.get(&format!("/events?log={CHANNEL}&limit=1000")).await;
    let shown = app.get(&channel("")).await;
    for text in [&all.text, &shown.text] {
        assert!(!text.contains(&token), "a token in {text}");
    }
    let known = &shown.ok(200)["token"];
    assert_eq!((&known["version"], &known["fetches_last_hour"]), (&json!(1), &json!(1)));
    assert_eq!((&known["refused"], &known["conflict"]), (&json!(false), &Value::Null));
    let listed = app.get("/channels").await.ok(200);
    assert_eq!(listed["items"][0]["token"]["version"], 1);
    // Whoever may do everything else may not have it.
    let others: Vec<Right> = Right::ALL.into_iter().filter(|right| *right != Right::Token).collect();
    let other = app.app("everything-else", &others, None).await;
    borrow(&app, &other, "").await.problem(403, "missing_right");
}

async fn a_token_that_was_refused_to_a_borrower_is_replaced_once(place: Place) {
    let app = TestApp::on(&place).await;
    let borrower = app.app("crm", &[Right::Token], None).await;
    let first = borrow(&app, &borrower, "").await.ok(200);
    app.wechat.revoke_tokens(APPID).unwrap();
    for _ in 0..3 {
        let next = borrow(&app, &borrower, "?refused_version=1").await.ok(200);
        assert_eq!(next["version"], 2);
        assert_ne!(next["access_token"], first["access_token"]);
    }
    assert_eq!(calls(&app).stable, 2);
    for (query, pointer) in [
        ("?refused_version=3", "/refused_version"),
        ("?refused_version=18446744073709551615", "/refused_version"),
    ] {
        let problem = borrow(&app, &borrower, query).await.problem(422, "bad_version");
        crate::support::fault(&problem, pointer, "refused_version");
    }
    assert_eq!(borrow(&app, &borrower, "").await.ok(200)["version"], 2);
}

async fn a_token_is_forced_within_wechats_bounds(place: Place) {
    let app = TestApp::on(&place).await;
    let refresh = channel("/token/refresh");
    app.post(&refresh, &json!({ "force": false })).await.problem(422, "bad_refresh");
    app.post(&refresh, &json!({})).await.problem(422, "invalid_body");
    assert_eq!(calls(&app).stable_forced, 0);
    let replaced = app.post(&refresh, &json!({ "force": true })).await.ok(200);
    assert_eq!((&replaced["version"], &replaced["token_mode"]), (&json!(2), &json!("stable")));
    assert!(replaced.get("access_token").is_none());
    let soon = app.post(&refresh, &json!({ "force": true })).await;
    let wait: u64 = soon.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    soon.problem(429, "forced_too_soon");
    assert_eq!(calls(&app).stable_forced, 1);
    let forced = events(&app, "channel.token_forced").await;
    assert_eq!(forced, [json!({ "mode": "stable", "version": 2 })]);
    app.user("zhangsan", 1).await;
    sent(&app, "zhangsan").await;
    assert_eq!(app.get(&channel("")).await.ok(200)["token"]["forced_last_day"], 1);
    assert_eq!(events(&app, "channel.token_conflict_suspected").await, Vec::<Value>::new());
}

async fn a_conflict_is_told_of_once_and_shown(place: Place) {
    let app = TestApp::on(&place).await;
    app.user("zhangsan", 3).await;
    sent(&app, "zhangsan").await;
    for _ in 0..2 {
        app.wechat.revoke_tokens(APPID).unwrap();
        sent(&app, "zhangsan").await;
    }
    assert_eq!(calls(&app).stable, 3);
    let told = told(&app).await;
    assert_eq!(told.len(), 1, "a war fills no log: {told:?}");
    assert_eq!((&told[0]["code"], &told[0]["mode"]), (&json!(40001), &json!("stable")));
    assert!(told[0]["age_s"].as_u64().unwrap() < 120 && told[0]["life_s"] == 7200, "{told:?}");
    let shown = app.get(&channel("")).await.ok(200);
    let conflict = &shown["token"]["conflict"];
    assert_eq!((&conflict["errcode"], &conflict["token_mode"]), (&json!(40001), &json!("stable")));
    assert!(!conflict["advice_en"].as_str().unwrap().is_empty());
    assert!(!conflict["advice_zh"].as_str().unwrap().is_empty());
}

/// The suspicions in the books; waits for the first, which is told of beside the send.
async fn told(app: &TestApp) -> Vec<Value> {
    let waiting = async {
        loop {
            let told = events(app, "channel.token_conflict_suspected").await;
            if !told.is_empty() {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("no conflict was told of")
}

async fn an_expired_token_is_replaced_without_suspicion(place: Place) {
    let app = TestApp::on(&place).await;
    app.user("zhangsan", 2).await;
    sent(&app, "zhangsan").await;
    app.wechat.advance(7_300).unwrap();
    sent(&app, "zhangsan").await;
    assert_eq!(calls(&app).stable, 2);
    assert_eq!(app.get(&channel("")).await.ok(200)["token"]["version"], 2);
    assert_eq!(events(&app, "channel.token_conflict_suspected").await, Vec::<Value>::new());
}

/// A company's token server: what it was asked with, and what it answers.
#[derive(Clone, Default)]
struct Company {
    asked: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Company {
    async fn start() -> (Self, String) {
        let company = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let served = company.clone();
        let answer = async move |headers: HeaderMap| {
            let asked = headers["authorization"].to_str().unwrap().to_owned();
            served.asked.lock().unwrap().push(asked);
            let (status, body) = served.answer.lock().unwrap().clone();
            (axum::http::StatusCode::from_u16(status).unwrap(), body)
        };
        let router = axum::Router::new().route("/token", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (company, url)
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    /// The company fetches a token of its own from WeChat and hands it out.
    async fn fetches(&self, app: &TestApp) -> String {
        let query = format!("grant_type=client_credential&appid={APPID}&secret={SECRET}");
        let url = format!("{}/cgi-bin/token?{query}", app.wechat_url);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        self.answers(200, &text);
        serde_json::from_str::<Value>(&text).unwrap()["access_token"].as_str().unwrap().to_owned()
    }
}

async fn tokens_come_from_the_companys_own_server(place: Place) {
    let app = TestApp::on(&place).await;
    app.user("zhangsan", 3).await;
    let (company, url) = Company::start().await;
    let path = channel("/token-source");
    let source = |secret: &str| json!({ "token_mode": "external", "token_url": url, "secret": secret });
    let before = app.heads().await;
    for (status, body, code) in [
        (401, "no", 422),
        (200, "not json", 422),
        (200, r#"{"access_token":"T"}"#, 422),
        (200, &format!(r#"{{"access_token":"{}","expires_in":7200}}"#, "T".repeat(20_000)), 422),
        (503, "busy", 502),
    ] {
        company.answers(status, body);
        let refused = app.send_method("PUT", &path, &source("credential-1")).await;
        refused.problem(code, "token_source_failed");
    }
    for (body, pointer, rule) in [
        (json!({ "token_mode": "external", "secret": "credential-1" }), "/token_url", "required"),
        (json!({ "token_mode": "external", "token_url": url }), "/secret", "required"),
        (json!({ "token_mode": "stable", "token_url": url }), "/token_url", "does_not_fit"),
        (json!({ "token_mode": "platform" }), "/token_mode", "does_not_fit"),
        (
            json!({ "token_mode": "external", "token_url": "http://169.254.169.254/t", "secret": "credential-1" }),
            "/token_url",
            "token_url",
        ),
        (
            json!({ "token_mode": "external", "token_url": format!("{url}?k=v"), "secret": "credential-1" }),
            "/token_url",
            "token_url",
        ),
    ] {
        let problem = app.send_method("PUT", &path, &body).await.problem(422, "bad_token_source");
        crate::support::fault(&problem, pointer, rule);
    }
    assert_eq!(app.heads().await, before, "nothing was recorded");

    let token = company.fetches(&app).await;
    app.send_method("PUT", &path, &source("credential-1")).await.ok(200);
    assert_eq!(company.asked.lock().unwrap().last().unwrap(), "Bearer credential-1");
    let changed = events(&app, "channel.token_source_changed").await;
    assert_eq!(
        (changed.len(), &changed[0]["mode"], &changed[0]["url"]),
        (1, &json!("external"), &json!(url))
    );
    let shown = app.get(&channel("")).await.ok(200);
    assert_eq!((&shown["token_mode"], &shown["token"]["url"]), (&json!("external"), &json!(url)));
    let lease = app.get(&channel("/token")).await.ok(200);
    assert_eq!((&lease["access_token"], &lease["token_mode"]), (&json!(token), &json!("external")));
    sent(&app, "zhangsan").await;
    let asked = company.asked.lock().unwrap().len();

    // The company replaces its token: it is asked once more, and nothing else is fetched.
    let stable = calls(&app).stable;
    app.wechat.revoke_tokens(APPID).unwrap();
    company.fetches(&app).await;
    sent(&app, "zhangsan").await;
    assert_eq!((company.asked.lock().unwrap().len(), calls(&app).stable), (asked + 1, stable));

    // Another credential, and back to the AppSecret.
    app.post(&channel("/credentials"), &json!({ "secret": "credential-2" })).await.ok(200);
    assert_eq!(company.asked.lock().unwrap().last().unwrap(), "Bearer credential-2");
    let missing = app.send_method("PUT", &path, &json!({ "token_mode": "stable" })).await;
    crate::support::fault(&missing.problem(422, "bad_token_source"), "/secret", "required");
    app.send_method("PUT", &path, &json!({ "token_mode": "stable", "secret": SECRET })).await.ok(200);
    app.send_method("PUT", &path, &json!({ "token_mode": "normal" })).await.ok(200);
    sent(&app, "zhangsan").await;
    let shown = app.get(&channel("")).await;
    for secret in ["credential-1", "credential-2", SECRET] {
        assert!(!shown.text.contains(secret));
    }
    assert_eq!(shown.ok(200)["token_mode"], "normal");
    assert_eq!(events(&app, "channel.token_source_changed").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_may_begin_with_a_token_server() {
    let app = TestApp::empty(HttpSettings::default()).await;
    let (company, url) = Company::start().await;
    company.fetches(&app).await;
    let body = json!({
        "code": CHANNEL, "name": "Bakery", "appid": APPID, "secret": "credential-1", "token_mode": "external",
        "token_url": url
    });
    app.post("/channels", &body).await.ok(201);
    app.post(&channel("/templates/refresh"), &json!({})).await.ok(200);
    assert_eq!(calls(&app).stable, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_limited_per_app_and_channel() {
    let app = TestApp::with(HttpSettings { token_leases_per_minute: 2, ..HttpSettings::default() }).await;
    let one = app.app("one", &[Right::Token], None).await;
    let two = app.app("two", &[Right::Token], None).await;
    for _ in 0..2 {
        borrow(&app, &one, "").await.ok(200);
    }
    let limited = borrow(&app, &one, "").await;
    assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0);
    limited.problem(429, "rate_limited");
    borrow(&app, &two, "").await.ok(200);
    assert_eq!(events(&app, "channel.token_leased").await.len(), 3, "what was refused is no lease");
}
