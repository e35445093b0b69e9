//! The happy path of every route, in one story; at its end no documented operation may be left untried.

use serde_json::{Value, json};

use crate::support::{APPID, CHANNEL, LONG, ORDER, SECRET, TestApp, fault, new_channel};

fn channel(path: &str) -> String {
    format!("/channels/{CHANNEL}{path}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_operation_works() {
    let app = TestApp::empty(subledger_http::HttpSettings::default()).await;
    let who = app.get("/whoami").await.ok(200);
    assert_eq!((&who["app"], &who["channels"]), (&json!("tester"), &Value::Null));

    set_up(&app).await;
    let openid = bind(&app).await;
    tap(&app, &openid).await;
    let msgid = send(&app, &openid).await;
    ledgers(&app, &openid, &msgid).await;
    retract(&app).await;
    settle(&app).await;
    relay(&app).await;
    for report in ["activity", "stock"] {
        app.get(&format!("/reports/{report}?channel={CHANNEL}")).await.ok(200);
    }
    app.get(&format!("/reports/reach?channel={CHANNEL}&template_id={ORDER}")).await.ok(200);
    app.get(&format!("/reports/loss?channel={CHANNEL}&msgid={msgid}")).await.ok(200);
    app.send_method("DELETE", &channel("/users/zhangsan"), &json!({})).await.ok(200);
    let gone = app.get(&channel("/users/zhangsan")).await.ok(200);
    assert_eq!((&gone["bound"], &gone["openid"]), (&json!(false), &Value::Null));
    let erase = json!({ "userid": "zhangsan", "reason": "asked for it by letter" });
    assert_eq!(app.post("/users/erasures", &erase).await.ok(200)["userid_erased"], true);
    for path in ["/healthz", "/readyz", "/metrics"] {
        app.outside(path).await.ok(200);
    }

    app.get(&format!("/events?log={CHANNEL}")).await.ok(200);

    let document = app.outside("/openapi.json").await.ok(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            assert!(app.was_done(method, path), "{method} {path} was never tried");
        }
    }
}

async fn set_up(app: &TestApp) {
    let created = app.post("/channels", &new_channel(CHANNEL)).await;
    assert_eq!(created.header("location"), format!("/api/v1/channels/{CHANNEL}"));
    assert_eq!(created.header("subledger-position"), created.body["position"].to_string());
    assert_eq!(created.ok(201)["code"], CHANNEL);

    let shown = app.get(&channel("")).await.ok(200);
    assert_eq!(
        (&shown["appid"], &shown["paused"], &shown["position"]),
        (&json!(APPID), &json!(false), &json!(1))
    );
    assert!(!shown.to_string().contains(SECRET), "the secret is never shown");
    let listed = app.get("/channels").await.ok(200);
    assert_eq!(listed["items"][0]["code"], CHANNEL);

    let refreshed = app.post(&channel("/templates/refresh"), &json!({})).await.ok(200);
    assert_eq!((&refreshed["listed"], refreshed["added"].as_array().unwrap().len()), (&json!(2), 2));
    let templates = app.get(&channel("/templates")).await.ok(200);
    assert_eq!(templates["items"].as_array().unwrap().len(), 2);
    let order = app.get(&channel(&format!("/templates/{ORDER}"))).await.ok(200);
    assert_eq!((&order["kind"], &order["keys"][0]["key"]), (&json!("one_time"), &json!("thing1")));
    assert_eq!(order["keys"][0]["label"], "商品");

    let lint = channel(&format!("/templates/{ORDER}/lint"));
    let findings = app.post(&lint, &json!({ "data": { "thing1": "x".repeat(21) } })).await.ok(200);
    assert_eq!(findings["sendable"], false);
    let rules: Vec<&str> = findings["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["too_long", "missing_key"]);

    app.post(&channel("/credentials"), &json!({ "secret": SECRET })).await.ok(200);
    let policy = json!({ "unknown_balance": "attempt" });
    app.send_method("PUT", &channel("/policy"), &policy).await.ok(200);
    // What was left out has its default.
    let whole = json!({
        "unknown_balance": "attempt", "taps": "both", "tap_window_s": 300, "doubt_deadline_s": 259_200,
        "doubt_verdict": "assume_sent", "refused_send": "release", "settings_off": "keep",
    });
    assert_eq!(app.get(&channel("")).await.ok(200)["policy"], whole);
    app.send_method("PUT", &channel("/policy"), &json!({ "unknown_balance": "refuse" })).await.ok(200);
    app.send_method("PATCH", &channel("/policy"), &json!({ "tap_window_s": 120 })).await.ok(200);
    assert_eq!(app.get(&channel("")).await.ok(200)["policy"]["tap_window_s"], 120);
}

async fn bind(app: &TestApp) -> String {
    let openid = app.wechat.create_user(APPID, None).unwrap();
    let code = app.wechat.create_login_code(APPID, &openid).unwrap();
    let body = json!({ "userid": "zhangsan", "login_code": code });
    assert_eq!(app.post(&channel("/users"), &body).await.ok(200)["result"], "bound");
    let body = json!({ "userid": "zhangsan", "openid": openid });
    assert_eq!(app.post(&channel("/users"), &body).await.ok(200)["result"], "unchanged");
    let shown = app.get(&channel("/users/zhangsan")).await.ok(200);
    assert_eq!((&shown["userid"], &shown["openid"]), (&json!("zhangsan"), &json!(openid)));
    let listed = app.get(&channel("/users")).await.ok(200);
    assert_eq!(
        (&listed["items"][0]["userid"], &listed["items"][0]["openid"]),
        (&json!("zhangsan"), &json!(openid))
    );
    openid
}

async fn tap(app: &TestApp, openid: &str) {
    let report = json!({
        "report_id": "r-1", "openid": openid, "tapped_at": "2026-03-01T16:00:00+08:00",
        "result": app.tap(openid),
    });
    let answer = app.post(&channel("/client-reports"), &report).await.ok(200);
    assert_eq!(
        answer["choices"][0],
        json!({
            "template_id": ORDER, "choice": "accept", "lot": 1, "balance": 1, "listed": true, "tap": "counted",
        })
    );
    let failed = json!({ "report_id": "r-2", "userid": "zhangsan", "result": {
        "errMsg": "requestSubscribeMessage:fail main switch", "errCode": 20004,
    } });
    let answer = app.post(&channel("/client-reports"), &failed).await.ok(200);
    assert_eq!((&answer["popup_error"], &answer["choices"]), (&json!(20004), &json!([])));
    let refused = json!({ "report_id": "r-3", "userid": "zhangsan", "result": { (LONG): "reject" } });
    assert_eq!(
        app.post(&channel("/client-reports"), &refused).await.ok(200)["choices"][0]["choice"],
        "reject"
    );
}

async fn send(app: &TestApp, openid: &str) -> String {
    let sent =
        app.send(json!([{ "userid": "zhangsan" }, { "userid": "nobody" }, { "openid": openid }])).await;
    assert_eq!((&sent["targeted"], &sent["accepted"], &sent["skipped"]), (&json!(3), &json!(1), &json!(2)));
    assert_eq!(
        sent["recipients"],
        json!([
            { "index": 0, "userid": "zhangsan", "status": "accepted" },
            { "index": 1, "userid": "nobody", "status": "skipped", "reason": "not_bound" },
            { "index": 2, "openid": openid, "status": "skipped", "reason": "duplicate" },
        ])
    );
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    let message = app.ended(&msgid).await;
    assert_eq!(
        (&message["counts"]["sent"], &message["counts"]["skipped"]),
        (&json!(1), &json!(2)),
        "{message}"
    );
    assert_eq!(message["complete"], true);
    let journal = app.wechat.journal();
    assert_eq!(journal.len(), 1, "WeChat was called once");

    let listed =
        app.get(&channel(&format!("/messages?state=sent&template_id={ORDER}&app=tester"))).await.ok(200);
    assert_eq!(listed["items"][0]["msgid"], msgid);
    let none = app.get(&channel("/messages?state=in_doubt")).await.ok(200);
    assert_eq!(none["items"], json!([]));
    let deliveries = app.get(&channel(&format!("/messages/{msgid}/deliveries"))).await.ok(200);
    assert_eq!(deliveries["items"].as_array().unwrap().len(), 3);
    let skipped = app.get(&channel(&format!("/messages/{msgid}/deliveries?state=skipped"))).await.ok(200);
    assert_eq!(skipped["items"].as_array().unwrap().len(), 2);
    let delivery = app.get(&channel(&format!("/messages/{msgid}/deliveries/0"))).await.ok(200);
    assert_eq!((&delivery["userid"], &delivery["openid"]), (&json!("zhangsan"), &json!(openid)));
    assert_eq!(
        (&delivery["state"], &delivery["lot"], &delivery["attempts"]),
        (&json!("sent"), &json!(1), &json!(1))
    );
    assert!(delivery["wechat_msgid"].is_string());
    let queue = app.get(&channel("/queue")).await.ok(200);
    assert_eq!((&queue["queued"], &queue["in_doubt"]), (&json!(0), &json!(0)));
    msgid
}

async fn ledgers(app: &TestApp, openid: &str, msgid: &str) {
    for filter in ["userid=zhangsan".to_owned(), format!("openid={openid}"), format!("template_id={ORDER}")] {
        let listed = app.get(&channel(&format!("/ledgers?{filter}"))).await.ok(200);
        let items = listed["items"].as_array().unwrap();
        let order = items.iter().find(|ledger| ledger["template_id"] == ORDER).unwrap();
        assert_eq!(
            (&order["openid"], &order["granted"], &order["consumed"]),
            (&json!(openid), &json!(1), &json!(1))
        );
    }
    let all = app.get(&channel("/users/zhangsan/ledgers")).await.ok(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    let subject = all["items"][0]["subject"].as_str().unwrap();
    let ledger = channel(&format!("/ledgers/{subject}/{ORDER}"));
    assert_eq!(app.get(&ledger).await.ok(200)["balance"], 0);
    let lots = app.get(&format!("{ledger}/lots")).await.ok(200);
    assert_eq!(
        (&lots["items"][0]["state"], &lots["items"][0]["evidence_ref"]),
        (&json!("consumed"), &json!("r-1"))
    );
    assert_eq!(
        lots["items"][0]["delivery"],
        format!("{msgid}-0"),
        "the delivery names the tap that paid for it"
    );
    assert_eq!(lots["items"][0]["granted_at"], "2026-03-01T08:00:00.000000Z");
    let explained = app.get(&format!("{ledger}/explanation")).await.ok(200);
    assert_eq!((&explained["findings"], &explained["sum"]["consumed"]), (&json!([]), &json!(1)));
    let entries = app.get(&format!("{ledger}/entries")).await.ok(200);
    let kinds: Vec<&str> =
        entries["items"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ledger.granted", "ledger.reserved", "ledger.started", "ledger.consumed"]);
    assert_eq!(entries["items"][0]["cause"]["by"], "app:tester");
    assert!(!entries.to_string().contains(openid), "entries hold no personal data");
}

async fn retract(app: &TestApp) {
    app.user("wangwu", 1).await;
    let reason = json!({ "reason": "a test" });
    app.post(&channel("/pause"), &reason).await.ok(200);
    assert_eq!(app.get(&channel("")).await.ok(200)["pause_reason"], "a test");
    let sent = app.send(json!([{ "userid": "wangwu" }])).await;
    let retract = channel(&format!("/messages/{}/retract", sent["msgid"].as_str().unwrap()));
    let answer = app.raw(app.request("POST", &retract).bearer_auth(&app.key)).await.ok(200);
    assert_eq!((&answer["retracted"], &answer["too_late"]), (&json!(1), &json!(0)));
    app.post(&channel("/resume"), &reason).await.ok(200);
    let user = app.get(&channel("/users/wangwu")).await.ok(200);
    assert_eq!(user["ledgers"][0]["balance"], 1, "the grant is open again");
}

async fn settle(app: &TestApp) {
    app.user("lisi", 1).await;
    let fault = json!({ "appid": APPID, "path": "send", "kind": "drop_after_commit" });
    app.wechat.inject(serde_json::from_value(fault).unwrap()).unwrap();
    let sent = app.send(json!([{ "userid": "lisi" }])).await;
    let msgid = sent["msgid"].as_str().unwrap();
    assert_eq!(app.ended(msgid).await["counts"]["in_doubt"], 1);
    let doubts = app.get(&channel("/in-doubt")).await.ok(200);
    assert_eq!(
        (&doubts["items"][0]["msgid"], &doubts["items"][0]["userid"]),
        (&json!(msgid), &json!("lisi"))
    );
    let settle = channel(&format!("/messages/{msgid}/deliveries/0/settle"));
    let verdict = json!({ "verdict": "sent", "reason": "the user showed the card" });
    app.post(&settle, &verdict).await.ok(200);
    app.post(&settle, &verdict).await.problem(409, "not_in_doubt");
    assert_eq!(app.ended(msgid).await["counts"]["sent"], 1);
}

async fn relay(app: &TestApp) {
    let path = channel("/relay");
    let none = app.get(&path).await.ok(200);
    assert_eq!(
        (&none["relay"], &none["waiting"], &none["last_status"]),
        (&json!(null), &json!(0), &json!(null))
    );
    app.post(&channel("/relay/test"), &json!({})).await.problem(409, "not_relayed");
    // Nobody listens there any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}/hook");
    let wish = |url: &str| json!({ "url": url, "form": "decoded" });
    for bad in ["https://10.0.0.1/", "https://hooks.example.com/?key=1", "ftp://hooks.example.com/", ""] {
        let problem = app.send_method("PUT", &path, &wish(bad)).await.problem(422, "bad_relay_url");
        fault(&problem, "/url", "relay_url");
    }
    let nothing = json!({ "url": url, "form": "raw", "kinds": [] });
    app.send_method("PUT", &path, &nothing).await.problem(422, "bad_relay_kinds");
    let set = app.send_method("PUT", &path, &wish(&url)).await.ok(200);
    let secret = set["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{set}");
    let again = app.send_method("PUT", &path, &wish(&url)).await.ok(200);
    assert_eq!((&again["secret"], &again["previous_secret_until"]), (&json!(null), &json!(null)));
    let shown = app.get(&path).await.ok(200);
    assert_eq!(shown["relay"]["url"], url);
    assert_eq!(shown["relay"]["kinds"], json!(["popup", "change", "sent", "other", "undecodable"]));
    assert_eq!(shown["relay"]["stopped_at"], json!(null));
    assert!(!shown.to_string().contains(secret), "a secret is shown once");
    assert_eq!(app.get(&channel("")).await.ok(200)["relay"], shown["relay"]);
    let tested = app.post(&channel("/relay/test"), &json!({})).await.ok(200);
    assert_eq!((&tested["delivered"], &tested["outcome"]), (&json!(false), &json!("connection_refused")));
    assert_eq!(app.post(&channel("/relay/redrive"), &json!({})).await.ok(200)["redriven"], 0);
    app.send_method("DELETE", &path, &json!({})).await.ok(200);
    app.send_method("DELETE", &path, &json!({})).await.problem(409, "not_relayed");
    assert_eq!(app.get(&path).await.ok(200)["relay"]["stopped_because"], "asked");
}
