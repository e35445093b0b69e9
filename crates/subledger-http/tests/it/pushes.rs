//! WeChat's pushes over real HTTP: the simulated WeChat pushes in every mode and format, and the books follow.

use std::{collections::BTreeSet, time::Instant};

use axum::http::HeaderMap;
use serde_json::{Value, json};
use subledger_sandbox::{
    CallPath, FaultKind, FaultSpec, PushFaultKind, PushFaultSpec, PushFormat, PushMode, PushRequest,
    PushSpec, PushState, Reality, SettingState, SettleSpec,
};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    place::{Place, on_both_databases},
    support::{APPID, CHANNEL, ORDER, PATIENCE, TestApp, signed_query},
};

const TOKEN: &str = "demoToken01";
const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
const OTHER_KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

on_both_databases!(
    every_mode_and_format_tells_of_the_same_tap,
    a_change_suspends_until_the_next_accept,
    a_sent_event_confirms_by_msgid_and_ends_a_doubt_without_one,
    what_comes_thrice_is_acted_on_once,
    a_wrong_token_leaves_no_trace,
    the_previous_key_still_opens,
    what_cannot_be_read_is_kept_and_shown,
    a_storm_of_pushes_is_taken_whole,
    the_right_key_brings_back_what_no_key_opened,
    a_push_goes_on_to_the_back_end_once_it_can_be_read,
    a_push_about_another_mini_program_is_kept_and_not_acted_on,
    what_the_database_does_not_take_is_not_said_to_be_taken,
    what_could_not_be_acted_on_waits_and_is_acted_on_once,
);

fn channel(path: &str) -> String {
    format!("/channels/{CHANNEL}{path}")
}

/// Sets pushes up on both sides, as the operator would.
async fn set_up(app: &TestApp, mode: &str, format: &str, key: &str) {
    let body = json!({ "mode": mode, "format": format, "token": TOKEN, "encoding_aes_key": key });
    app.send_method("PUT", &channel("/callback"), &body).await.ok(200);
    let setup = app.wechat.configure_push(APPID, &spec(app, mode, format, key)).await.unwrap();
    assert!(setup.saved, "{:?}", setup.check);
}

fn spec(app: &TestApp, mode: &str, format: &str, key: &str) -> PushSpec {
    let mode: PushMode = serde_json::from_value(json!(mode)).unwrap();
    let format: PushFormat = serde_json::from_value(json!(format)).unwrap();
    PushSpec {
        token: Some(TOKEN.to_owned()),
        encoding_aes_key: Some(key.to_owned()),
        mode,
        format,
        retry_ms: 20,
        ..PushSpec::to(&format!("{}/callbacks/wechat/{CHANNEL}", app.url))
    }
}

/// Waits until WeChat has nothing more to push.
async fn settle(app: &TestApp) {
    assert!(app.wechat.settle(&SettleSpec::default()).await.unwrap().settled);
}

async fn balance(app: &TestApp, userid: &str) -> u64 {
    ledger(app, userid).await["balance"].as_u64().unwrap_or(0)
}

async fn ledger(app: &TestApp, userid: &str) -> Value {
    app.get(&channel(&format!("/users/{userid}/ledgers"))).await.ok(200)["items"][0].clone()
}

async fn pushes(app: &TestApp, filter: &str) -> Vec<Value> {
    let page = app.get(&channel(&format!("/pushes?{filter}"))).await.ok(200);
    page["items"].as_array().unwrap().clone()
}

async fn report(app: &TestApp, userid: &str, result: &Value) -> Value {
    let report = json!({ "report_id": format!("tap-of-{userid}"), "userid": userid, "result": result });
    app.post(&channel("/client-reports"), &report).await.ok(200)["choices"][0].clone()
}

async fn every_mode_and_format_tells_of_the_same_tap(place: Place) {
    let app = TestApp::on(&place).await;
    app.post("/channels", &json!({ "code": "silent", "name": "x", "appid": APPID, "secret": "demo-secret" }))
        .await
        .ok(201);
    // Before anything is configured, a channel answers like one that does not exist.
    for code in [CHANNEL, "silent", "nobody", "main", "%FF", "no/where"] {
        let missing = app.outside(&format!("/callbacks/wechat/{code}?{}", signed_query(TOKEN))).await;
        missing.problem(404, "unknown_route");
    }
    let combinations = [
        ("plaintext", "json"),
        ("plaintext", "xml"),
        ("compatible", "json"),
        ("compatible", "xml"),
        ("secure", "json"),
        ("secure", "xml"),
    ];
    for (number, (mode, format)) in combinations.into_iter().enumerate() {
        set_up(&app, mode, format, KEY).await;
        let shown = app.get(&channel("/callback")).await.ok(200);
        assert_eq!(shown["warning"].is_string(), mode == "plaintext", "{shown}");
        assert_eq!(app.get(&channel("")).await.ok(200)["callback"]["mode"], mode);
        let userid = format!("user-{number}");
        let openid = app.user(&userid, 0).await;
        let result = app.tap(&openid);
        settle(&app).await;
        assert_eq!(balance(&app, &userid).await, 1, "{mode} {format}");
        let told = report(&app, &userid, &result).await;
        assert_eq!((&told["tap"], &told["balance"]), (&json!("corroborated"), &json!(1)), "{mode} {format}");
        let newest = pushes(&app, "limit=1").await.remove(0);
        assert_eq!(
            (&newest["mode"], &newest["format"], &newest["state"], &newest["kind"]),
            (&json!(mode), &json!(format), &json!("acted"), &json!("popup")),
            "{newest}"
        );
        let key = newest["key"].as_str().unwrap();
        let detail = app.get(&channel(&format!("/pushes/{key}"))).await.ok(200);
        assert_eq!(detail["decoded"]["items"][0]["template_id"], ORDER, "{detail}");
        assert!(!detail.to_string().contains(&openid), "a reader is not shown who it was: {detail}");
        let body = app.get(&channel(&format!("/pushes/{key}/body"))).await.ok(200);
        assert!(body["text"].as_str().unwrap().contains(&openid));
    }
    // In plaintext mode anybody could teach a wrong id, so it was learned in another.
    let known = app.get(&channel("/callback")).await.ok(200);
    assert!(known["original_id"].as_str().is_some_and(|id| id.starts_with("gh_")), "{known}");
    let secrets = [TOKEN, KEY];
    for shown in [known.to_string(), app.get(&channel("/push-health")).await.ok(200).to_string()] {
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
    let events = app.get(&format!("/events?log={CHANNEL}&limit=1000")).await.text;
    assert!(secrets.iter().all(|secret| !events.contains(secret)));
}

async fn a_change_suspends_until_the_next_accept(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let openid = app.user("zhangsan", 1).await;
    settle(&app).await;
    // WeChat dates by the second: in the same one, nobody could tell which came first.
    app.wechat.advance(5).unwrap();
    app.wechat.change_setting(APPID, &openid, Some(ORDER), SettingState::Reject).unwrap();
    settle(&app).await;
    let shut = ledger(&app, "zhangsan").await;
    assert_eq!((&shut["suspended"], &shut["balance"]), (&json!(true), &json!(1)), "{shut}");
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    assert_eq!(sent["recipients"][0]["reason"], "suspended");
    let change = pushes(&app, "kind=change").await.remove(0);
    assert_eq!(change["effect"]["items"][0]["events"], json!(["ledger.suspended"]), "{change}");
    app.wechat.advance(5).unwrap();
    app.tap(&openid);
    settle(&app).await;
    assert_eq!(ledger(&app, "zhangsan").await["suspended"], false);
}

async fn a_sent_event_confirms_by_msgid_and_ends_a_doubt_without_one(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "xml", KEY).await;
    app.user("zhangsan", 3).await;
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    app.ended(&msgid).await;
    settle(&app).await;
    let delivery = app.get(&channel(&format!("/messages/{msgid}/deliveries/0"))).await.ok(200);
    assert_eq!((&delivery["state"], &delivery["sent_event_code"]), (&json!("sent"), &json!(0)), "{delivery}");

    // The next answer gets lost, and WeChat's word on it is late.
    let late = PushFaultSpec {
        event: Some("subscribe_msg_sent_event".to_owned()),
        seconds: Some(3_600),
        ..PushFaultSpec::new(PushFaultKind::Late)
    };
    app.wechat.inject_push_fault(late).unwrap();
    app.wechat.inject(FaultSpec::on(FaultKind::DropAfterCommit, CallPath::Send)).unwrap();
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    assert_eq!(app.ended(&msgid).await["counts"]["in_doubt"], 1);
    // A neighbour waits behind the doubt.
    let behind = app.send(json!([{ "userid": "zhangsan" }])).await;
    assert_eq!(app.get(&channel("/queue")).await.ok(200)["in_doubt"], 1);
    settle(&app).await;
    let delivery = app.get(&channel(&format!("/messages/{msgid}/deliveries/0"))).await.ok(200);
    assert_eq!((&delivery["state"], &delivery["sent_event_code"]), (&json!("sent"), &json!(0)), "{delivery}");
    let waited = app.ended(behind["msgid"].as_str().unwrap()).await;
    assert_eq!(waited["counts"]["sent"], 1, "{waited}");
    settle(&app).await;
    let books = ledger(&app, "zhangsan").await;
    assert_eq!(
        (&books["consumed"], &books["in_doubt"], &books["balance"]),
        (&json!(3), &json!(0), &json!(0))
    );
}

async fn what_comes_thrice_is_acted_on_once(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let openid = app.user("zhangsan", 0).await;
    let twice_more = PushFaultSpec { copies: 2, ..PushFaultSpec::new(PushFaultKind::Duplicated) };
    app.wechat.inject_push_fault(twice_more).unwrap();
    app.tap(&openid);
    settle(&app).await;
    assert_eq!(balance(&app, "zhangsan").await, 1);
    let kept = pushes(&app, "kind=popup").await;
    assert_eq!(
        (kept.len(), &kept[0]["seen"], &kept[0]["state"]),
        (1, &json!(3), &json!("acted")),
        "{kept:?}"
    );
    let key = kept[0]["key"].as_str().unwrap();
    let again = app.post(&channel("/pushes/redo"), &json!({ "key": key })).await;
    again.problem(409, "push_settled");
    assert_eq!(balance(&app, "zhangsan").await, 1);
    let entries = app.get(&format!("/events?log={CHANNEL}&limit=1000")).await.text;
    assert!(entries.contains(key), "the evidence names the push");
}

async fn a_wrong_token_leaves_no_trace(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let openid = app.user("zhangsan", 0).await;
    let wrong = PushSpec {
        token: Some("anotherToken".to_owned()),
        check: false,
        ..spec(&app, "secure", "json", KEY)
    };
    let checked = PushSpec { check: true, ..wrong.clone() };
    assert!(!app.wechat.configure_push(APPID, &checked).await.unwrap().saved, "the URL must not pass");
    assert!(app.wechat.configure_push(APPID, &wrong).await.unwrap().saved);
    let before = app.heads().await;
    app.tap(&openid);
    settle(&app).await;
    let push = app.wechat.pushes().pop().unwrap();
    assert_eq!(push.state, PushState::GivenUp);
    assert!(push.deliveries.iter().all(|delivery| delivery.status == Some(403)), "{:?}", push.deliveries);
    assert_eq!(app.heads().await, before);
    assert!(pushes(&app, "").await.is_empty());
    let health = app.get(&channel("/push-health")).await.ok(200);
    assert_eq!(health["node"]["refused"]["wrong_signature"], 4, "{health}");
    assert!(hints(&health).contains("wrong_signatures"), "{health}");
    // Other things that are no push of WeChat's.
    let url = format!("/callbacks/wechat/{CHANNEL}");
    app.strange(&url, "", "{}").await.problem(403, "bad_signature");
    app.strange(&format!("{url}?timestamp=x&nonce=1"), "", "{}").await.problem(400, "bad_push");
    app.strange(&url, "", &"x".repeat(65 << 10)).await.problem(413, "body_too_large");
    assert_eq!(app.heads().await, before);
}

fn hints(health: &Value) -> BTreeSet<String> {
    let hints = health["hints"].as_array().unwrap();
    hints.iter().map(|hint| hint["code"].as_str().unwrap().to_owned()).collect()
}

async fn the_previous_key_still_opens(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let openid = app.user("zhangsan", 0).await;
    let body = json!({ "encoding_aes_key": OTHER_KEY, "token": TOKEN });
    let set = app.send_method("PUT", &channel("/callback"), &body).await.ok(200);
    assert!(set["previous_key_fingerprint"].is_string() && set["generated_key"].is_null(), "{set}");
    let again = app.send_method("PUT", &channel("/callback"), &body).await.ok(200);
    assert_eq!(again["position"], set["position"], "the same again changes nothing");
    assert_eq!(again["previous_key_fingerprint"], set["previous_key_fingerprint"]);
    app.tap(&openid);
    settle(&app).await;
    assert_eq!(balance(&app, "zhangsan").await, 1);
    assert_eq!(pushes(&app, "").await[0]["effect"]["opened_with"], "previous_key");
    let health = app.get(&channel("/push-health")).await.ok(200);
    assert_eq!(health["node"]["opened_with_previous_key"], 1);
    assert!(hints(&health).contains("previous_key"), "{health}");
}

async fn what_cannot_be_read_is_kept_and_shown(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let openid = app.user("zhangsan", 0).await;
    let before = app.heads().await;
    let broken =
        PushRequest { openid: openid.clone(), raw: Some("{\"broken".to_owned()), ..Default::default() };
    app.wechat.push_request(APPID, &broken).unwrap();
    let chat = PushRequest { openid, text: Some("你好".to_owned()), ..Default::default() };
    app.wechat.push_request(APPID, &chat).unwrap();
    settle(&app).await;
    assert!(app.wechat.pushes().iter().all(|push| push.state == PushState::Taken));
    let kept = pushes(&app, "state=undecodable").await;
    assert_eq!((kept.len(), &kept[0]["kind"]), (1, &json!("undecodable")));
    assert_eq!(kept[0]["effect"]["reason"], "broken_json", "{kept:?}");
    let path = channel(&format!("/pushes/{}", kept[0]["key"].as_str().unwrap()));
    assert!(app.get(&path).await.ok(200)["undecodable"].is_string());
    assert_eq!(app.get(&format!("{path}/body")).await.ok(200)["text"], "{\"broken");
    let other = pushes(&app, "kind=other").await;
    assert_eq!((&other[0]["event"], &other[0]["state"]), (&json!("text"), &json!("ignored")), "{other:?}");
    let redone = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!((&redone["tried"], &redone["undecodable"]), (&json!(1), &json!(1)), "{redone}");
    // The original id was learned; no ledger moved.
    let moved = app.heads().await.iter().map(|head| head.position.0).sum::<u64>();
    assert_eq!(moved, before.iter().map(|head| head.position.0).sum::<u64>() + 1);
    assert!(hints(&app.get(&channel("/push-health")).await.ok(200)).contains("undecodable"));
}

async fn a_storm_of_pushes_is_taken_whole(place: Place) {
    const PUSHES: usize = 500;
    let app = TestApp::on(&place).await;
    set_up(&app, "plaintext", "json", KEY).await;
    let query = signed_query(TOKEN);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let one = |number: usize| {
        let (url, query) = (format!("/callbacks/wechat/{CHANNEL}?{query}"), String::new());
        let body = json!({
            "ToUserName": "gh_0123456789ab",
            "FromUserName": format!("oSTORM_user_00000000000_{number:04}"),
            "CreateTime": now.to_string(),
            "MsgType": "event",
            "Event": "subscribe_msg_popup_event",
            "List": { "TemplateId": ORDER, "SubscribeStatusString": "accept", "PopupScene": "0" },
        })
        .to_string();
        let app = &app;
        async move {
            // WeChat repeats what was not taken in time.
            let deadline = Instant::now() + PATIENCE;
            loop {
                let answer = app.strange(&url, &query, &body).await;
                if answer.status == 200 {
                    assert_eq!(answer.text, "success");
                    return;
                }
                assert_eq!(answer.status, 503, "{}", answer.text);
                assert!(Instant::now() < deadline, "{}", answer.text);
            }
        }
    };
    futures::future::join_all((0..PUSHES).map(one)).await;
    let health = app.get(&channel("/push-health")).await.ok(200);
    assert_eq!(health["states"], json!({ "acted": PUSHES }), "{health}");
    let activity = app.get(&format!("/reports/activity?channel={CHANNEL}")).await.text;
    assert!(activity.contains(&format!("\"granted\":{PUSHES}")), "{activity}");
}

async fn the_right_key_brings_back_what_no_key_opened(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "xml", KEY).await;
    let openid = app.user("zhangsan", 0).await;
    let unknown = PushSpec { check: false, ..spec(&app, "secure", "xml", OTHER_KEY) };
    app.wechat.configure_push(APPID, &unknown).await.unwrap();
    app.tap(&openid);
    settle(&app).await;
    assert!(app.wechat.pushes().iter().all(|push| push.state == PushState::Taken));
    let kept = pushes(&app, "state=undecodable").await;
    assert_eq!((kept.len(), &kept[0]["effect"]["reason"]), (1, &json!("unopened")), "{kept:?}");
    assert!(hints(&app.get(&channel("/push-health")).await.ok(200)).contains("unopened"));
    let redone = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!((&redone["acted"], &redone["undecodable"]), (&json!(0), &json!(1)), "{redone}");

    let body = json!({ "encoding_aes_key": OTHER_KEY });
    app.send_method("PUT", &channel("/callback"), &body).await.ok(200);
    let redone = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!((&redone["tried"], &redone["acted"]), (&json!(1), &json!(1)), "{redone}");
    assert_eq!(balance(&app, "zhangsan").await, 1);
    let acted = pushes(&app, "state=acted").await;
    assert_eq!((acted.len(), &acted[0]["kind"]), (1, &json!("popup")));
    let old = pushes(&app, "state=ignored").await;
    assert_eq!(old[0]["effect"]["read_as"], acted[0]["key"], "{old:?}");
    let redone = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!(redone["tried"], 0);
}

/// A back end that takes everything; what it took, as kind and body.
async fn back_end() -> (String, UnboundedReceiver<(String, Value)>) {
    let (took, taken) = tokio::sync::mpsc::unbounded_channel();
    let take = async move |headers: HeaderMap, body: String| {
        let kind = headers["subledger-kind"].to_str().unwrap().to_owned();
        took.send((kind, serde_json::from_str(&body).unwrap())).unwrap();
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/hook", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, taken)
}

async fn next(taken: &mut UnboundedReceiver<(String, Value)>) -> (String, Value) {
    tokio::time::timeout(PATIENCE, taken.recv()).await.expect("nothing was relayed").unwrap()
}

async fn a_push_goes_on_to_the_back_end_once_it_can_be_read(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let (url, mut taken) = back_end().await;
    let wish = json!({ "url": url, "form": "decoded", "kinds": ["popup", "undecodable"] });
    app.send_method("PUT", &channel("/relay"), &wish).await.ok(200);

    let openid = app.user("zhangsan", 0).await;
    app.tap(&openid);
    let (kind, body) = next(&mut taken).await;
    assert_eq!((&*kind, &body["user"]["openid"], &body["appid"]), ("popup", &json!(openid), &json!(APPID)));
    assert_eq!(body["items"][0], json!({ "template_id": ORDER, "status": "accept", "scene": 0 }));
    settle(&app).await;
    assert_eq!(balance(&app, "zhangsan").await, 1);

    // What no key opens says nothing to anybody. The right key brings it to the books and on to the back end.
    let unknown = PushSpec { check: false, ..spec(&app, "secure", "json", OTHER_KEY) };
    app.wechat.configure_push(APPID, &unknown).await.unwrap();
    let other = app.user("lisi", 0).await;
    app.tap(&other);
    settle(&app).await;
    let kept = pushes(&app, "state=undecodable").await;
    assert_eq!((kept.len(), &kept[0]["relay"]), (1, &json!("none")), "{kept:?}");
    let body = json!({ "encoding_aes_key": OTHER_KEY });
    app.send_method("PUT", &channel("/callback"), &body).await.ok(200);
    app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    let (kind, body) = next(&mut taken).await;
    assert_eq!((&*kind, &body["user"]["openid"]), ("popup", &json!(other)));
    assert_eq!(app.get(&channel("/relay")).await.ok(200)["given_up"], 0);
}

async fn a_push_about_another_mini_program_is_kept_and_not_acted_on(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let wrong = json!({ "original_id": "gh_another000000" });
    app.send_method("PUT", &channel("/callback"), &wrong).await.ok(200);
    let openid = app.user("zhangsan", 0).await;
    app.tap(&openid);
    settle(&app).await;
    assert_eq!(balance(&app, "zhangsan").await, 0);
    let kept = pushes(&app, "state=failed").await;
    assert_eq!(kept[0]["effect"]["reason"], "other_original_id", "{kept:?}");
    let key = kept[0]["key"].as_str().unwrap();
    let detail = app.get(&channel(&format!("/pushes/{key}"))).await.ok(200);
    let right = json!({ "original_id": detail["decoded"]["to_user"] });
    app.send_method("PUT", &channel("/callback"), &right).await.ok(200);
    let redone = app.post(&channel("/pushes/redo"), &json!({ "key": key })).await.ok(200);
    assert_eq!(redone["acted"], 1, "{redone}");
    assert_eq!(balance(&app, "zhangsan").await, 1);
    assert_eq!(pushes(&app, "state=acted").await[0]["key"], key);
}

async fn what_the_database_does_not_take_is_not_said_to_be_taken(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "json", KEY).await;
    let patient = PushSpec { retry_ms: 200, check: false, ..spec(&app, "secure", "json", KEY) };
    app.wechat.configure_push(APPID, &patient).await.unwrap();
    app.wechat.set_app_reality(APPID, None, Reality { deliveries: 20, ..Reality::default() }).unwrap();
    let openid = app.user("zhangsan", 0).await;
    let before = app.heads().await;
    place.refuse_rows(&["event", "push"]).await;
    app.tap(&openid);
    let deadline = Instant::now() + PATIENCE;
    while app.wechat.pushes()[0].deliveries.len() < 2 {
        assert!(Instant::now() < deadline, "{:?}", app.wechat.pushes());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.heads().await, before);
    place.accept_rows(&["event", "push"]).await;
    settle(&app).await;
    let push = app.wechat.pushes().pop().unwrap();
    assert_eq!(push.state, PushState::Taken, "{:?}", push.deliveries);
    let (taken, asked_again) = push.deliveries.split_last().unwrap();
    assert_eq!((taken.status, &*taken.answer), (Some(200), "success"));
    for delivery in asked_again {
        assert!(delivery.status.is_some_and(|status| status >= 500), "WeChat must come again: {delivery:?}");
    }
    let kept = pushes(&app, "").await;
    assert_eq!((kept.len(), &kept[0]["state"], &kept[0]["seen"]), (1, &json!("acted"), &json!(1)));
    assert_eq!(balance(&app, "zhangsan").await, 1);
    // It comes once more, as if the answer had been lost.
    let once_more = PushFaultSpec { copies: 1, ..PushFaultSpec::new(PushFaultKind::Duplicated) };
    app.wechat.inject_push_fault(once_more).unwrap();
    app.wechat.advance(5).unwrap();
    app.tap(&openid);
    settle(&app).await;
    assert_eq!(balance(&app, "zhangsan").await, 2);
}

async fn what_could_not_be_acted_on_waits_and_is_acted_on_once(place: Place) {
    let app = TestApp::on(&place).await;
    set_up(&app, "secure", "xml", KEY).await;
    app.engine.start_push_retry().await;
    let openid = app.user("zhangsan", 0).await;
    let before = app.heads().await;
    // The inbox takes it, the log does not.
    place.refuse_rows(&["event"]).await;
    app.tap(&openid);
    settle(&app).await;
    let push = app.wechat.pushes().pop().unwrap();
    assert_eq!((push.state, push.deliveries.len()), (PushState::Taken, 1), "{:?}", push.deliveries);
    let kept = pushes(&app, "").await;
    assert_eq!((kept.len(), &kept[0]["state"]), (1, &json!("pending")), "{kept:?}");
    let key = kept[0]["key"].as_str().unwrap();
    // Trying it again while nothing has changed leaves it where it is.
    let redone = app.post(&channel("/pushes/redo"), &json!({ "key": key })).await;
    assert!(redone.status >= 500, "{}", redone.text);
    assert_eq!(pushes(&app, "state=pending").await.len(), 1);
    assert_eq!(app.heads().await, before);
    place.accept_rows(&["event"]).await;
    let deadline = Instant::now() + PATIENCE;
    while pushes(&app, "state=acted").await.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", pushes(&app, "").await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(balance(&app, "zhangsan").await, 1);
    // Neither a person nor WeChat makes it two.
    app.post(&channel("/pushes/redo"), &json!({ "key": key })).await.problem(409, "push_settled");
    let all = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!(all["tried"], 0);
    assert_eq!(balance(&app, "zhangsan").await, 1);
    let granted = app.get(&format!("/events?log={CHANNEL}&limit=1000")).await.text;
    assert_eq!(granted.matches("ledger.granted").count(), 1);
}
