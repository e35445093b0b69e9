//! User tokens: what they allow, what they say, and what is not taken for one.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use subledger_domain::app::Right;
use subledger_http::HttpSettings;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::support::{APPID, CHANNEL, ORDER, TestApp, fault, new_channel};

fn tokens() -> String {
    format!("/channels/{CHANNEL}/user-tokens")
}

/// A token for this user, asked for with this key.
async fn token_with(app: &TestApp, key: &str, body: Value) -> String {
    let request = app.request("POST", &tokens()).bearer_auth(key).json(&body);
    app.raw(request).await.ok(200)["token"].as_str().unwrap().to_owned()
}

async fn token(app: &TestApp, body: Value) -> String {
    token_with(app, &app.key, body).await
}

fn report(id: &str) -> Value {
    let result = json!({ "errMsg": "requestSubscribeMessage:ok", (ORDER): "accept" });
    json!({ "report_id": id, "tapped_at": "2026-03-01T08:00:00.000Z", "result": result })
}

/// The same report as the back end hands it in.
fn relayed(id: &str, name: &str, value: &str) -> Value {
    let mut report = report(id);
    report[name] = json!(value);
    report
}

async fn ledger(app: &TestApp, openid: &str) -> Value {
    let page = app.get(&format!("/channels/{CHANNEL}/ledgers?openid={openid}")).await.ok(200);
    page["items"][0].clone()
}

async fn granted(app: &TestApp, openid: &str) -> u64 {
    ledger(app, openid).await["granted"].as_u64().unwrap_or(0)
}

/// The parts of a token, decoded.
fn parts(token: &str) -> (Value, Value, String) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("{token}") };
    let json = |part: &str| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap();
    (json(header), json(claims), (*signature).to_owned())
}

/// A token put together by hand.
fn made_of(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |json: &Value| BASE64.encode(json.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_reports_a_tap_and_the_books_say_who_let_it() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let issued = app.post(&tokens(), &json!({ "userid": "zhangsan", "ttl_s": 60 })).await;
    assert_eq!(issued.header("cache-control"), "no-store");
    let issued = issued.ok(200);
    let mine = issued["token"].as_str().unwrap();

    let request = app.request("POST", "/client-reports").bearer_auth(mine).header("X-Request-Id", "tap-1");
    let answer = app.raw(request.json(&report("r-1"))).await;
    assert_eq!((answer.header("subledger-position"), answer.header("idempotent-replayed")), ("", ""));
    let told = answer.ok(200);
    assert_eq!((&told["choices"][0]["lot"], &told["choices"][0]["balance"]), (&json!(1), &json!(1)));
    assert_eq!((&told["replayed"], told.get("position")), (&json!(false), None));

    let shown = ledger(&app, &openid).await;
    let entries =
        format!("/channels/{CHANNEL}/ledgers/{}/{ORDER}/entries", shown["subject"].as_str().unwrap());
    let entry = app.get(&entries).await.ok(200)["items"][0].clone();
    assert_eq!(
        (&entry["cause"]["by"], &entry["cause"]["request"]),
        (&json!("user-token:tester"), &json!("tap-1"))
    );
    app.send(json!([{ "userid": "zhangsan" }])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_names_nobody_in_clear_and_lives_as_long_as_it_says() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let other = app.wechat.create_user(APPID, None).unwrap();
    for (body, kind, life) in [
        (json!({ "userid": "zhangsan" }), "user:", 7_200),
        (json!({ "openid": other, "ttl_s": 86_400 }), "subject:", 86_400),
    ] {
        let issued = app.post(&tokens(), &body).await.ok(200);
        let (header, claims, _) = parts(issued["token"].as_str().unwrap());
        assert_eq!(header, json!({ "alg": "HS256", "kid": "1", "typ": "subledger-user+jwt" }));
        assert_eq!((&claims["v"], &claims["aud"]), (&json!(1), &json!("client-reports")));
        assert_eq!((&claims["channel"], &claims["app"]), (&json!(CHANNEL), &json!("tester")));
        assert!(claims["sub"].as_str().unwrap().starts_with(kind), "{claims}");
        let (issued_at, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(expires - issued_at, life);
        let expires_at: jiff::Timestamp = issued["expires_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(expires_at.as_second(), expires);
        let text = format!("{header} {claims}");
        for private in ["zhangsan", &openid, &other, &app.key] {
            assert!(!text.contains(private), "{private}: {text}");
        }
    }
    // The openid was kept when the token was asked for: its grant can be used.
    let mine = token(&app, json!({ "openid": other })).await;
    app.own(&mine, &report("r-1")).await.ok(200);
    assert_eq!(ledger(&app, &other).await["openid"], json!(other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_have_a_token_is_refused_by_name() {
    let app = TestApp::new().await;
    app.user("zhangsan", 0).await;
    app.user("leaver", 0).await;
    app.raw(app.request("DELETE", &format!("/channels/{CHANNEL}/users/leaver")).bearer_auth(&app.key))
        .await
        .ok(200);
    let before = app.heads().await;
    for (body, status, code, at) in [
        (json!({ "userid": "nobody" }), 404, "unknown_user", None),
        (json!({ "userid": "leaver" }), 404, "unknown_user", None),
        (json!({}), 422, "invalid_body", Some(("/userid", "one_of"))),
        (
            json!({ "userid": "a", "openid": "oDemo0000000000000001" }),
            422,
            "invalid_body",
            Some(("/openid", "one_of")),
        ),
        (json!({ "openid": "o" }), 422, "bad_openid", Some(("/openid", "bad_openid"))),
        (json!({ "userid": "zhangsan", "ttl_s": 59 }), 422, "bad_ttl", Some(("/ttl_s", "bad_ttl"))),
        (json!({ "userid": "zhangsan", "ttl_s": 86_401 }), 422, "bad_ttl", Some(("/ttl_s", "bad_ttl"))),
        (json!({ "userid": "zhangsan", "ttl": 60 }), 422, "invalid_body", Some(("/ttl", "unknown_field"))),
    ] {
        let problem = app.post(&tokens(), &body).await.problem(status, code);
        if let Some((pointer, rule)) = at {
            fault(&problem, pointer, rule);
        }
    }
    let elsewhere = json!({ "openid": "oDemo0000000000000001" });
    app.post("/channels/nosuch/user-tokens", &elsewhere).await.problem(404, "unknown_channel");
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_time() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan", "ttl_s": 3_600 })).await;
    app.clock.pass_seconds(3_590);
    app.own(&mine, &report("r-1")).await.ok(200);
    app.clock.pass_seconds(10);
    let late = app.own(&mine, &report("r-2")).await;
    assert!(late.header("www-authenticate").contains("invalid_token"));
    late.problem(401, "token_expired");
    assert_eq!(granted(&app, &openid).await, 1);
    let fresh = token(&app, json!({ "userid": "zhangsan" })).await;
    app.own(&fresh, &report("r-2")).await.ok(200);
    assert_eq!(granted(&app, &openid).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_service_did_not_sign_is_no_token() {
    let (app, stranger) = (TestApp::new().await, TestApp::new().await);
    for side in [&app, &stranger] {
        side.user("zhangsan", 0).await;
        side.user("lisi", 0).await;
    }
    let before = app.heads().await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    let (header, claims, signature) = parts(&mine);
    let with = |value: &Value, key: &str, to: Value| {
        let mut value = value.clone();
        value[key] = to;
        value
    };
    let (_, hers, _) = parts(&token(&app, json!({ "userid": "lisi" })).await);
    let (body, _) = mine.rsplit_once('.').unwrap();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    for (what, forged) in [
        ("another person", made_of(&header, &with(&claims, "sub", hers["sub"].clone()), &signature)),
        ("another channel", made_of(&header, &with(&claims, "channel", json!("othermp")), &signature)),
        ("a longer life", made_of(&header, &with(&claims, "exp", json!(9_999_999_999_i64)), &signature)),
        ("no algorithm", made_of(&with(&header, "alg", json!("none")), &claims, "")),
        ("no algorithm, signed", made_of(&with(&header, "alg", json!("none")), &claims, &signature)),
        ("another algorithm", made_of(&with(&header, "alg", json!("HS512")), &claims, &signature)),
        ("another key id", made_of(&with(&header, "kid", json!("2")), &claims, &signature)),
        ("another type", made_of(&with(&header, "typ", json!("JWT")), &claims, &signature)),
        ("another signature", format!("{body}.{last}{}", &signature[1..])),
        ("half a signature", format!("{body}.{}", &signature[..20])),
        ("no signature", format!("{body}.")),
        ("two parts", body.to_owned()),
        ("four parts", format!("{mine}.{signature}")),
        ("another deployment's", token(&stranger, json!({ "userid": "zhangsan" })).await),
        ("something else", "nonsense".to_owned()),
        ("something long", format!("{body}.{}", "A".repeat(4_096))),
    ] {
        let answer = app.own(&forged, &report("r-1")).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (401, Some("bad_token")),
            "{what}: {}",
            answer.text
        );
    }
    assert_eq!(app.heads().await, before, "nothing was recorded");
    app.own(&mine, &report("r-1")).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_tokens_are_not_taken_for_each_other() {
    let app = TestApp::new().await;
    app.user("zhangsan", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    let before = app.heads().await;
    app.own(&app.key, &report("r-1")).await.problem(401, "api_key_not_accepted");
    let answer = app.raw(app.request("POST", "/client-reports").json(&report("r-1"))).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"subledger\"");
    answer.problem(401, "missing_token");
    for (method, path) in [
        ("GET", "/whoami".to_owned()),
        ("GET", format!("/channels/{CHANNEL}")),
        ("POST", format!("/channels/{CHANNEL}/client-reports")),
        ("POST", tokens()),
    ] {
        let answer = app.raw(app.request(method, &path).bearer_auth(&mine).json(&report("r-1"))).await;
        answer.problem(401, "user_token_not_accepted");
    }
    assert_eq!(app.heads().await, before);
    app.raw(app.request("GET", "/client-reports").bearer_auth(&mine)).await.problem(405, "wrong_method");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_takes_its_tokens_along_and_no_others() {
    let app = TestApp::new().await;
    app.user("zhangsan", 0).await;
    let key = app.app("leaver", &[Right::Grant], None).await;
    let theirs = token_with(&app, &key, json!({ "userid": "zhangsan" })).await;
    let ours = token(&app, json!({ "userid": "zhangsan" })).await;
    app.own(&theirs, &report("r-1")).await.ok(200);
    let caller = subledger_engine::Caller::operator("tests".parse().unwrap());
    app.engine.revoke_key(&caller, "leaver".parse().unwrap(), &key).await.unwrap();
    assert!(app.engine.caught_up(&subledger_domain::LogName::main(), None).await);
    app.own(&theirs, &report("r-2")).await.problem(401, "bad_token");
    app.own(&ours, &report("r-2")).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_once_however_often_and_whichever_way_it_came() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    app.own(&mine, &report("r-1")).await.ok(200);
    let again = app.own(&mine, &report("r-1")).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let again = again.ok(200);
    assert_eq!((&again["replayed"], &again["choices"][0]["balance"]), (&json!(true), &json!(1)));
    // A second token of the same user is the same user.
    let other = token(&app, json!({ "userid": "zhangsan", "ttl_s": 60 })).await;
    assert_eq!(app.own(&other, &report("r-1")).await.ok(200)["replayed"], true);
    let mut changed = report("r-1");
    changed["result"][ORDER] = json!("reject");
    app.own(&mine, &changed).await.problem(422, "idempotency_key_reused");

    // Through the back end first, its answer lost; then from the device.
    let reports = format!("/channels/{CHANNEL}/client-reports");
    app.post(&reports, &relayed("r-2", "userid", "zhangsan")).await.ok(200);
    assert_eq!(app.own(&mine, &report("r-2")).await.ok(200)["replayed"], true);
    let by_openid = token(&app, json!({ "openid": openid })).await;
    app.post(&reports, &relayed("r-3", "openid", &openid)).await.ok(200);
    assert_eq!(app.own(&by_openid, &report("r-3")).await.ok(200)["replayed"], true);
    assert_eq!(granted(&app, &openid).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_do_not_meet_in_their_report_ids() {
    let app = TestApp::new().await;
    let (one, two) = (app.user("zhangsan", 0).await, app.user("lisi", 0).await);
    let (first, second) =
        (token(&app, json!({ "userid": "zhangsan" })).await, token(&app, json!({ "userid": "lisi" })).await);
    app.own(&first, &report("r-1")).await.ok(200);
    assert_eq!(app.own(&second, &report("r-1")).await.ok(200)["replayed"], false);
    // An id that the back end used for somebody else, and one that it will use.
    let reports = format!("/channels/{CHANNEL}/client-reports");
    app.post(&reports, &relayed("r-2", "userid", "lisi")).await.ok(200);
    assert_eq!(app.own(&first, &report("r-2")).await.ok(200)["replayed"], false);
    app.own(&first, &report("r-3")).await.ok(200);
    assert_eq!(app.post(&reports, &relayed("r-3", "userid", "lisi")).await.ok(200)["replayed"], false);
    assert_eq!((granted(&app, &one).await, granted(&app, &two).await), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taps_are_recorded_while_the_channel_is_paused_and_not_after_the_user_left() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    app.post(&format!("/channels/{CHANNEL}/pause"), &json!({ "reason": "a test" })).await.ok(200);
    app.own(&mine, &report("r-1")).await.ok(200);
    assert_eq!(granted(&app, &openid).await, 1);
    let user = format!("/channels/{CHANNEL}/users/zhangsan");
    app.raw(app.request("DELETE", &user).bearer_auth(&app.key)).await.ok(200);
    let before = app.heads().await;
    app.own(&mine, &report("r-2")).await.problem(404, "unknown_user");
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_ones_own_has_exactly_its_three_fields() {
    let app = TestApp::new().await;
    app.user("zhangsan", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    let before = app.heads().await;
    for (field, pointer, rule) in [
        ("userid", "/userid", "unknown_field"),
        ("openid", "/openid", "unknown_field"),
        ("action", "/action", "unknown_field"),
    ] {
        let problem = app.own(&mine, &relayed("r-1", field, "x")).await.problem(422, "invalid_body");
        fault(&problem, pointer, rule);
    }
    for field in ["report_id", "tapped_at", "result"] {
        let mut report = report("r-1");
        report.as_object_mut().unwrap().remove(field);
        let problem = app.own(&mine, &report).await.problem(422, "invalid_body");
        fault(&problem, &format!("/{field}"), "required");
    }
    let mut long = report("r-1");
    long["result"]["errMsg"] = json!("x".repeat(17_000));
    app.own(&mine, &long).await.problem(413, "body_too_large");
    let problem = app.own(&mine, &report("has space")).await.problem(422, "bad_report_id");
    fault(&problem, "/report_id", "bad_report_id");
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_reports_too_often_waits_and_others_do_not() {
    let app = TestApp::with(HttpSettings { user_reports_per_minute: 2, ..HttpSettings::default() }).await;
    app.user("zhangsan", 0).await;
    app.user("lisi", 0).await;
    let mine = token(&app, json!({ "userid": "zhangsan" })).await;
    let again = token(&app, json!({ "userid": "zhangsan", "ttl_s": 60 })).await;
    app.own(&mine, &report("r-1")).await.ok(200);
    app.own(&again, &report("r-2")).await.ok(200);
    let refused = app.own(&mine, &report("r-3")).await;
    assert_eq!(refused.header("retry-after"), "30");
    refused.problem(429, "rate_limited");
    let hers = token(&app, json!({ "userid": "lisi" })).await;
    app.own(&hers, &report("r-3")).await.ok(200);
    // Bad tokens cost nobody anything, and get no bucket.
    app.own("nonsense", &report("r-3")).await.problem(401, "bad_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_of_devices_are_counted_like_all_others() {
    let app = TestApp::empty(HttpSettings::default()).await;
    // The recorder is shared by all tests, so the channel must not be.
    app.post("/channels", &new_channel("countedmp")).await.ok(201);
    let openid = app.wechat.create_user(APPID, None).unwrap();
    let issued = app.post("/channels/countedmp/user-tokens", &json!({ "openid": openid })).await.ok(200);
    for _ in 0..2 {
        app.own(issued["token"].as_str().unwrap(), &report("r-1")).await.ok(200);
    }
    let metrics = app.outside("/metrics").await.text;
    assert!(metrics.contains("subledger_grants_total{channel=\"countedmp\"} 1\n"), "{metrics}");
    let route = "route=\"/api/v1/client-reports\"";
    assert!(
        metrics.lines().any(|line| line.starts_with("subledger_http_requests_total") && line.contains(route))
    );
}

/// Every line of this crate in this process, with the fields of its spans.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Lines {
    /// Starts catching, once. Other tests are caught, too; what is private here is private to one test.
    fn catch() -> Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        let started = LINES.get_or_init(|| {
            let lines = Self::default();
            tracing_subscriber::registry().with(lines.clone()).init();
            lines
        });
        started.clone()
    }
}

impl Visit for Lines {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), " {}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("subledger")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_person_stands_in_the_log() {
    let lines = Lines::catch();
    let app = TestApp::empty(HttpSettings::default()).await;
    app.post("/channels", &new_channel("loggedmp")).await.ok(201);
    let openid = app.wechat.create_user(APPID, None).unwrap();
    let key = app.app("logged-app", &Right::ALL, None).await;
    let request = app.request("POST", "/channels/loggedmp/user-tokens").bearer_auth(&key);
    let issued = app.raw(request.json(&json!({ "openid": openid, "ttl_s": 60 }))).await.ok(200);
    let mine = issued["token"].as_str().unwrap();
    app.own(mine, &report("logged-report")).await.ok(200);
    app.own(&format!("{mine}x"), &report("logged-report")).await.problem(401, "bad_token");
    app.raw(app.request("GET", "/whoami").bearer_auth(mine)).await.problem(401, "user_token_not_accepted");
    app.clock.pass_seconds(60);
    app.own(mine, &report("logged-report")).await.problem(401, "token_expired");
    let lines = lines.0.lock().unwrap().clone();
    for said in [
        "http.route=\"/api/v1/client-reports\"",
        "app.id=\"logged-app\"",
        "error.code=\"bad_token\"",
        "error.code=\"token_expired\"",
    ] {
        assert!(lines.contains(said), "{said} is not in the log: nothing was caught");
    }
    let (_, claims, signature) = parts(mine);
    let claimed = ["sub", "key"].map(|claim| claims[claim].as_str().unwrap());
    for private in [mine.split('.').nth(1).unwrap(), &signature, &openid, claimed[0], claimed[1]] {
        assert!(!lines.contains(private), "{private}");
    }
}
