//! The happy path of every route, in one story; at its end no documented operation may be left untried.

use serde_json::{Value, json};

use crate::support::{APPID, CHANNEL, LONG, ORDER, SECRET, TestApp, fault, new_channel, signed_query};

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
    push(&app).await;
    relay(&app).await;
    secrets(&app).await;
    quota(&app).await;
    correct(&app).await;
    tokens(&app).await;
    platform(&app).await;
    for report in ["activity", "stock"] {
        app.get(&format!("/reports/{report}?channel={CHANNEL}")).await.ok(200);
    }
    app.get(&format!("/reports/reach?channel={CHANNEL}&template_id={ORDER}")).await.ok(200);
    app.get(&format!("/reports/loss?channel={CHANNEL}&msgid={msgid}")).await.ok(200);
    app.get(&format!("/reports/drift?channel={CHANNEL}")).await.ok(200);
    app.get(&format!("/reports/doubts?channel={CHANNEL}")).await.ok(200);
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
            // Only WeChat can seal what comes there: the tests `platforms` have it push.
            let sealed = path == "/callbacks/wechat-open/{component_appid}";
            assert!(sealed || app.was_done(method, path), "{method} {path} was never tried");
        }
    }
}

/// A fingerprint and a date of each secret, and no value.
async fn secrets(app: &TestApp) {
    let shown = app.get(&channel("/secrets")).await.ok(200);
    let secrets = shown["secrets"].as_array().unwrap();
    let kinds: Vec<_> = secrets.iter().map(|secret| secret["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["app_secret", "push_token"], "{shown}");
    for secret in secrets {
        assert!(secret["fingerprint"].as_str().is_some_and(|it| it.len() == 8), "{shown}");
        assert!(secret["set_at"].is_string() && secret.as_object().unwrap().len() == 3, "{shown}");
    }
    let callback = app.get(&channel("/callback")).await.ok(200);
    assert_eq!(callback["token_fingerprint"], secrets[1]["fingerprint"], "{callback}");
    assert_eq!(callback["token_set_at"], secrets[1]["set_at"], "{callback}");
    assert!(!shown.to_string().contains(SECRET), "{shown}");
}

async fn quota(app: &TestApp) {
    app.get(&channel("/quota")).await.ok(200);
    let quota = app.post(&channel("/quota/refresh"), &json!({})).await.ok(200);
    assert_eq!(quota["limit"], 10_000_000);
    app.clock.pass_seconds(11);
    app.post(&channel("/quota/clear"), &json!({ "reason": "tried out" })).await.ok(200);
    for path in ["/doctor", &channel("/doctor")] {
        let report = app.get(path).await.ok(200);
        assert!(report["findings"].as_array().is_some_and(|findings| !findings.is_empty()), "{report}");
    }
}

/// A platform is set up, an administrator scans, and the browser comes back.
async fn platform(app: &TestApp) {
    const COMPONENT: &str = "wx00000000comp0001";
    let body = json!({
        "name": "门店平台", "public_url": app.url, "secret": "component-secret-01", "token": "compToken01",
        "encoding_aes_key": "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc",
    });
    let path = format!("/platforms/{COMPONENT}");
    let set = app.send_method("PUT", &path, &body).await.ok(200);
    let mut spec = subledger_sandbox::PlatformSpec::new(COMPONENT, "component-secret-01");
    spec.settings.authorization_url = set["authorization_url"].as_str().unwrap().to_owned();
    spec.settings.token = "compToken01".to_owned();
    spec.settings.encoding_aes_key = body["encoding_aes_key"].as_str().unwrap().to_owned();
    app.wechat.create_platform(spec).unwrap();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while app.get(&path).await.ok(200)["ticket"]["state"] != "fresh" {
        assert!(std::time::Instant::now() < deadline, "no ticket came");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(app.get("/platforms").await.ok(200)["items"][0]["component_appid"], COMPONENT);
    app.post(&format!("{path}/start-ticket"), &json!({})).await.ok(200);

    let code = "scanned1";
    let appid = "wx00000000scan0001";
    app.wechat.create_app(subledger_sandbox::AppSpec::new(appid, "scan-secret")).unwrap();
    let begun = app.post(&format!("/channels/{code}/authorization"), &json!({})).await.ok(201);
    let id = begun["id"].as_str().unwrap();
    let start = format!("/callbacks/wechat-open/{COMPONENT}/start/{code}/{id}");
    app.outside(&start).await;
    let scan = subledger_sandbox::AuthorizeSpec {
        appid: appid.to_owned(),
        link: begun["pc_url"].as_str().map(str::to_owned),
        ..Default::default()
    };
    let redirect = app.wechat.authorize(COMPONENT, &scan).unwrap().redirect.unwrap();
    let page = app.outside(redirect.strip_prefix(&app.url).unwrap()).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let own = format!("/channels/{code}/authorization/{id}");
    app.get(&format!("{own}/stream")).await;
    assert_eq!(app.get(&own).await.ok(200)["status"], "authorized");
    let check = json!({ "action": "CheckContainerPath" }).to_string();
    let taken = app.strange(&format!("/callbacks/wechat-open/{COMPONENT}/{appid}"), "", &check).await;
    assert_eq!((taken.status, taken.text.as_str()), (200, "success"));
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
    let mut policy = json!({
        "unknown_balance": "attempt",
        "taps": "both",
        "tap_window_s": 300,
        "doubt_deadline_s": 259_200,
        "doubt_verdict": "assume_sent",
        "refused_send": "release",
        "settings_off": "keep",
        "bulk_reserve": 10,
    });
    app.send_method("PUT", &channel("/policy"), &json!({ "unknown_balance": "attempt" })).await.ok(200);
    assert_eq!(app.get(&channel("")).await.ok(200)["policy"], policy);
    let change = json!({ "taps": "push_only", "doubt_deadline_s": 60 });
    app.send_method("PATCH", &channel("/policy"), &change).await.ok(200);
    (policy["taps"], policy["doubt_deadline_s"]) = (json!("push_only"), json!(60));
    assert_eq!(app.get(&channel("")).await.ok(200)["policy"], policy, "what is not named stays");
    let wrong = app.send_method("PATCH", &channel("/policy"), &json!({ "tap_window_s": 0 })).await;
    fault(&wrong.problem(422, "bad_policy"), "/tap_window_s", "out_of_bounds");
    assert_eq!(app.get(&channel("")).await.ok(200)["policy"], policy);
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
    let token = app.post(&channel("/user-tokens"), &json!({ "userid": "zhangsan" })).await.ok(200);
    let own =
        json!({ "report_id": "r-2", "tapped_at": "2026-03-01T16:00:01+08:00", "result": failed["result"] });
    assert_eq!(app.own(token["token"].as_str().unwrap(), &own).await.ok(200)["popup_error"], 20004);
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

    let fault = json!({ "appid": APPID, "path": "send", "kind": "drop_after_commit" });
    app.wechat.inject(serde_json::from_value(fault).unwrap()).unwrap();
    app.user("zhaoliu", 1).await;
    let sent = app.send(json!([{ "userid": "zhaoliu" }])).await;
    let msgid = sent["msgid"].as_str().unwrap();
    assert_eq!(app.ended(msgid).await["counts"]["in_doubt"], 1);
    let many = channel("/in-doubt/settle");
    let mut body = json!({ "template_id": ORDER, "verdict": "sent", "reason": "an outage", "dry_run": true });
    let shown = app.post(&many, &body).await.ok(200);
    assert_eq!((&shown["settled"], &shown["matched"][0]["msgid"]), (&json!(0), &json!(msgid)));
    assert_eq!(app.ended(msgid).await["counts"]["in_doubt"], 1);
    body["dry_run"] = json!(false);
    let done = app.post(&many, &body).await.ok(200);
    assert_eq!((&done["settled"], &done["more"]), (&json!(1), &json!(false)));
    let delivery = app.get(&channel(&format!("/messages/{msgid}/deliveries/0"))).await.ok(200);
    assert_eq!((&delivery["state"], &delivery["settled_by"]), (&json!("sent"), &json!("operator")));
    assert_eq!(app.post(&many, &body).await.ok(200)["matched"], json!([]));
}

async fn correct(app: &TestApp) {
    let openid = app.user("sunqi", 2).await;
    let adjust = channel("/ledgers/adjustments");
    let body = json!({ "userid": "sunqi", "template_id": ORDER, "remove": 1, "reason": "reported twice" });
    let first = app.post_with_key(&adjust, "correction-1", &body).await.ok(200);
    let numbers =
        |granted, balance, voided| json!({ "granted": granted, "balance": balance, "voided": voided });
    assert_eq!((&first["before"], &first["after"]), (&numbers(2, 2, 0), &numbers(2, 1, 1)));
    assert_eq!((&first["added"], &first["removed"]), (&json!([]), &json!([2])), "the newest goes");
    let again = app.post_with_key(&adjust, "correction-1", &body).await.ok(200);
    assert_eq!((&again["replayed"], &again["after"]), (&json!(true), &first["after"]));
    let more = json!({ "openid": openid, "template_id": ORDER, "add": 3, "reason": "counted on paper" });
    let added = app.post(&adjust, &more).await.ok(200);
    assert_eq!((&added["after"], &added["added"]), (&numbers(5, 4, 1), &json!([3, 4, 5])));
    let subject = added["subject"].as_str().unwrap();
    let entries = app.get(&channel(&format!("/ledgers/{subject}/{ORDER}/entries"))).await.ok(200);
    let last = entries["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["kind"], "ledger.adjusted");
    let evidence = &last["data"]["evidence"];
    assert_eq!(
        (&evidence["source"], &evidence["ref"], &evidence["reason"]),
        (&json!("operator"), &json!("app:tester"), &json!("counted on paper"))
    );
    let shown = app.get(&channel(&format!("/ledgers/{subject}/{ORDER}"))).await.ok(200);
    assert_eq!((&shown["granted"], &shown["balance"], &shown["voided"]), (&json!(5), &json!(4), &json!(1)));

    let import = channel("/opening-balances");
    let rows = json!({ "import_id": "old-system", "rows": [
        { "row_id": "1", "userid": "sunqi", "template_id": ORDER, "count": 2 },
        { "row_id": "2", "userid": "nobody", "template_id": ORDER, "count": 1 },
        { "row_id": "3", "openid": openid, "template_id": LONG, "count": 1 },
        { "row_id": "4", "openid": openid, "template_id": "no_such_template", "count": 1 },
        { "row_id": "5", "openid": openid, "template_id": ORDER, "count": 100_000 },
    ] });
    let done = app.post(&import, &rows).await.ok(200);
    assert_eq!(
        (&done["counted"], &done["repeated"], &done["refused"]),
        (&json!(1), &json!(0), &json!(4)),
        "{done}"
    );
    assert_eq!(done["rows"][0], json!({ "row_id": "1", "result": "counted", "balance": 6 }));
    let codes: Vec<_> = done["rows"].as_array().unwrap().iter().map(|row| row["code"].as_str()).collect();
    let refused = ["unknown_user", "long_term_template", "unknown_template", "too_many_grants"].map(Some);
    assert_eq!(codes[1..], refused);
    // The user comes to be known; the same request counts what is left, and nothing twice.
    let late = app.user("nobody", 0).await;
    let done = app.post(&import, &rows).await.ok(200);
    let results: Vec<_> = done["rows"].as_array().unwrap().iter().map(|row| row["result"].as_str()).collect();
    assert_eq!(results[..2], [Some("repeated"), Some("counted")]);
    let ledgers = app.get(&channel(&format!("/ledgers?openid={late}"))).await.ok(200);
    assert_eq!(ledgers["items"][0]["balance"], 1);
    // The same row with another content is not the same row.
    let mut other = rows.clone();
    other["rows"][0]["count"] = json!(3);
    assert_eq!(app.post(&import, &other).await.ok(200)["rows"][0]["code"], "idempotency_key_reused");
    let shown = app.get(&channel(&format!("/ledgers/{subject}/{ORDER}"))).await.ok(200);
    assert_eq!(shown["balance"], 6);
}

async fn push(app: &TestApp) {
    app.get(&channel("/callback")).await.problem(404, "no_callback");
    let set = app.send_method("PUT", &channel("/callback"), &json!({ "mode": "plaintext" })).await.ok(200);
    let token = set["generated_token"].as_str().unwrap();
    assert!(set["warning"].is_string() && set["generated_key"].is_null(), "{set}");
    let shown = app.get(&channel("/callback")).await.ok(200);
    assert_eq!(
        (&shown["path"], &shown["mode"]),
        (&json!("/callbacks/wechat/wechatmp123"), &json!("plaintext"))
    );
    assert!(!shown.to_string().contains(token), "it is shown once");

    let url = format!("/callbacks/wechat/{CHANNEL}");
    let checked = app.outside(&format!("{url}?{}&echostr=5837397576500011341", signed_query(token))).await;
    assert_eq!((checked.status, &*checked.text), (200, "5837397576500011341"));
    assert_eq!(checked.header("content-type"), "text/plain; charset=utf-8");
    let body = json!({
        "ToUserName": "gh_0123456789ab", "FromUserName": "oPUSHED_user_0000000000001", "CreateTime": "1790000000",
        "MsgType": "text", "Content": "hello", "MsgId": "1",
    });
    let taken = app.strange(&url, &signed_query(token), &body.to_string()).await;
    assert_eq!((taken.status, &*taken.text), (200, "success"));

    let listed = app.get(&channel("/pushes")).await.ok(200);
    let push = &listed["items"][0];
    assert_eq!(
        (&push["kind"], &push["state"], &push["seen"]),
        (&json!("other"), &json!("ignored"), &json!(1))
    );
    let path = channel(&format!("/pushes/{}", push["key"].as_str().unwrap()));
    assert_eq!(app.get(&path).await.ok(200)["decoded"]["msg_type"], "text");
    assert_eq!(app.get(&format!("{path}/body")).await.ok(200)["text"], body.to_string());
    app.get(&channel("/pushes/xyz")).await.problem(422, "bad_push_key");
    app.get(&channel(&format!("/pushes/{}", "0".repeat(32)))).await.problem(404, "unknown_push");
    let redone = app.post(&channel("/pushes/redo"), &json!({})).await.ok(200);
    assert_eq!((&redone["tried"], &redone["more"]), (&json!(0), &json!(false)));
    let health = app.get(&channel("/push-health")).await.ok(200);
    assert_eq!((&health["kinds"]["other"]["kept"], &health["states"]["ignored"]), (&json!(1), &json!(1)));
    assert_eq!(health["hints"][0]["code"], "plaintext", "{health}");
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
    let secret = set["generated_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{set}");
    let again = app.send_method("PUT", &path, &wish(&url)).await.ok(200);
    assert_eq!((&again["generated_secret"], &again["previous_secret_until"]), (&json!(null), &json!(null)));
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

async fn tokens(app: &TestApp) {
    assert_eq!(app.get(&channel("/token")).await.ok(200)["token_mode"], "stable");
    app.post(&channel("/token/refresh"), &json!({ "force": true })).await.ok(200);
    app.send_method("PUT", &channel("/token-source"), &json!({ "token_mode": "stable" })).await.ok(200);
}
