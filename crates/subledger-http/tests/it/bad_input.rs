//! What is refused: the status, the stable code, the field and the rule; and that nothing was recorded.

use serde_json::{Value, json};

use crate::support::{APPID, CHANNEL, LONG, ORDER, TestApp, fault, message, new_channel};

/// One request that must be refused.
struct Case {
    method: &'static str,
    path: String,
    body: Value,
    status: u16,
    code: &'static str,
    /// Pointer and rule of one of the errors; none where no field is at fault.
    fault: Option<(&'static str, &'static str)>,
}

fn post(
    path: &str,
    body: Value,
    status: u16,
    code: &'static str,
    fault: Option<(&'static str, &'static str)>,
) -> Case {
    Case { method: "POST", path: format!("/channels/{CHANNEL}{path}"), body, status, code, fault }
}

fn get(path: &str, status: u16, code: &'static str, fault: Option<(&'static str, &'static str)>) -> Case {
    let path =
        if path.starts_with("/channels") { path.to_owned() } else { format!("/channels/{CHANNEL}{path}") };
    Case { method: "GET", path, body: Value::Null, status, code, fault }
}

/// Runs every case and proves afterwards that no log has grown.
async fn check(app: &TestApp, cases: Vec<Case>) {
    let before = app.heads().await;
    for case in cases {
        let answer = match case.body {
            Value::Null => app.raw(app.request(case.method, &case.path).bearer_auth(&app.key)).await,
            ref body => app.send_method(case.method, &case.path, body).await,
        };
        let about = format!("{} {} {}: {}", case.method, case.path, case.body, answer.text);
        assert_eq!((answer.status, answer.body["code"].as_str()), (case.status, Some(case.code)), "{about}");
        let problem = answer.problem(case.status, case.code);
        if let Some((pointer, rule)) = case.fault {
            fault(&problem, pointer, rule);
        }
        assert_eq!(app.heads().await, before, "something was recorded: {about}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_up_refuses_what_cannot_be() {
    let app = TestApp::new().await;
    let with = |field: &str, value: Value| {
        let mut body = new_channel("other1");
        body[field] = value;
        body
    };
    let refuse = |body: Value, status, code, fault| Case {
        method: "POST",
        path: "/channels".to_owned(),
        body,
        status,
        code,
        fault,
    };
    check(
        &app,
        vec![
            refuse(
                with("code", json!("bad code!")),
                422,
                "bad_channel_code",
                Some(("/code", "bad_channel_code")),
            ),
            refuse(with("code", json!("main")), 422, "bad_channel_code", Some(("/code", "bad_channel_code"))),
            refuse(with("name", json!("")), 422, "bad_name", Some(("/name", "text_length"))),
            refuse(with("appid", json!("wx!")), 422, "bad_appid", Some(("/appid", "appid"))),
            refuse(with("secret", json!("short")), 422, "bad_secret", Some(("/secret", "secret"))),
            refuse(
                with("token_mode", json!("magic")),
                422,
                "invalid_body",
                Some(("/token_mode", "not_allowed")),
            ),
            refuse(
                with("policy", json!({ "x": 1 })),
                422,
                "invalid_body",
                Some(("/policy/x", "unknown_field")),
            ),
            refuse(
                with("policy", json!({ "doubt_deadline_s": 0 })),
                422,
                "bad_policy",
                Some(("/policy/doubt_deadline_s", "out_of_bounds")),
            ),
            refuse(with("colour", json!("red")), 422, "invalid_body", Some(("/colour", "unknown_field"))),
            refuse(json!({ "code": "other1" }), 422, "invalid_body", Some(("/name", "required"))),
            refuse(new_channel(CHANNEL), 409, "channel_exists", None),
            post("/pause", json!({ "reason": " " }), 422, "bad_reason", Some(("/reason", "text_length"))),
            post("/resume", json!({ "reason": "why" }), 409, "not_paused", None),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wechats_refusal_comes_back_with_its_reason_and_what_to_do() {
    let app = TestApp::new().await;
    let before = app.heads().await;
    for (appid, secret, errcode) in
        [("wx0000000000unknown", "demo-secret", 40013), (APPID, "not-the-secret", 40125)]
    {
        let body = json!({ "code": "other1", "name": "x", "appid": appid, "secret": secret });
        let problem = app.post("/channels", &body).await.problem(422, "wechat_refused");
        assert_eq!(problem["wechat"]["errcode"], errcode, "{problem}");
        for language in ["en", "zh"] {
            assert!(
                problem["wechat"]["advice"][language].as_str().is_some_and(|text| !text.is_empty()),
                "{problem}"
            );
        }
        assert!(!problem.to_string().contains(secret), "{problem}");
    }
    app.wechat
        .change_app(APPID, |settings| {
            settings.ip_allowlist_on = true;
        })
        .unwrap();
    let problem = app.post("/channels", &new_channel("other1")).await.problem(422, "wechat_refused");
    assert_eq!(
        (&problem["wechat"]["errcode"], &problem["wechat"]["caller_ip"]),
        (&json!(40164), &json!("127.0.0.1"))
    );
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_refuse_what_is_not_there_or_not_written_right() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let subject = "0".repeat(32);
    check(
        &app,
        vec![
            get("/channels/nosuch", 404, "unknown_channel", None),
            get("/channels/nosuch/messages", 404, "unknown_channel", None),
            get("/channels/not%20a%20code", 404, "unknown_channel", None),
            get("/channels/main/messages", 404, "unknown_channel", None),
            get("/users/nobody", 404, "unknown_user", None),
            get("/users/line%0Abreak", 422, "bad_userid", Some(("/userid", "bad_userid"))),
            get("/templates/no", 422, "bad_template_id", Some(("/template_id", "bad_template_id"))),
            get("/templates/unknown_template", 404, "unknown_template", None),
            get(&format!("/ledgers/xyz/{ORDER}"), 422, "bad_subject", Some(("/subject", "bad_subject"))),
            get(&format!("/ledgers/{subject}/{ORDER}"), 404, "unknown_ledger", None),
            get(&format!("/ledgers/{subject}/{ORDER}/lots"), 404, "unknown_ledger", None),
            get(&format!("/ledgers/{subject}/{ORDER}/entries"), 404, "unknown_ledger", None),
            get("/ledgers?userid=nobody", 404, "unknown_user", None),
            get("/ledgers?openid=short", 422, "bad_openid", Some(("/openid", "bad_openid"))),
            get("/ledgers?template_id=a", 422, "bad_template_id", Some(("/template_id", "bad_template_id"))),
            get(
                "/ledgers?userid=zhangsan&openid=oDemo0000000000000001",
                422,
                "invalid_query",
                Some(("/openid", "one_of")),
            ),
            get("/messages?app=a%20b", 422, "bad_app", Some(("/app", "bad_app"))),
            get("/messages?state=lost", 422, "invalid_query", Some(("/state", "not_allowed"))),
            get("/messages?stat=sent", 422, "invalid_query", Some(("/stat", "unknown_parameter"))),
            get("/messages?limit=0", 422, "bad_limit", Some(("/limit", "bad_limit"))),
            get("/messages?limit=201", 422, "bad_limit", Some(("/limit", "bad_limit"))),
            get("/messages?cursor=nonsense", 422, "bad_cursor", Some(("/cursor", "bad_cursor"))),
            get("/templates?cursor=nonsense", 422, "bad_cursor", Some(("/cursor", "bad_cursor"))),
            get("/messages/xyz", 422, "bad_msgid", Some(("/msgid", "bad_msgid"))),
            get(&format!("/messages/{subject}"), 404, "unknown_message", None),
            get(&format!("/messages/{subject}/deliveries"), 404, "unknown_message", None),
            get(
                &format!("/messages/{subject}/deliveries/x"),
                422,
                "bad_index",
                Some(("/index", "bad_index")),
            ),
            get("?min_position=999999", 503, "not_caught_up", None),
            post(&format!("/messages/{subject}/retract"), Value::Null, 404, "unknown_message", None),
            post(
                &format!("/messages/{subject}/retract"),
                json!({ "x": 1 }),
                422,
                "invalid_body",
                Some(("/x", "unknown_field")),
            ),
        ],
    )
    .await;
    let answer = app.get(&format!("/channels/{CHANNEL}?min_position=999999")).await;
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binding_and_reports_refuse_what_is_malformed() {
    let app = TestApp::new().await;
    let openid = "oDemo0000000000000001";
    let report = |result: Value| json!({ "report_id": "r-1", "openid": openid, "result": result });
    let ok = json!({ (ORDER): "accept" });
    check(
        &app,
        vec![
            post(
                "/users",
                json!({ "userid": "", "openid": openid }),
                422,
                "bad_userid",
                Some(("/userid", "bad_userid")),
            ),
            post(
                "/users",
                json!({ "userid": "a", "openid": "o" }),
                422,
                "bad_openid",
                Some(("/openid", "bad_openid")),
            ),
            post("/users", json!({ "userid": "a" }), 422, "invalid_body", Some(("/openid", "one_of"))),
            post(
                "/users",
                json!({ "userid": 7, "openid": openid }),
                422,
                "invalid_body",
                Some(("/userid", "type")),
            ),
            post(
                "/users",
                json!({ "userid": "a", "login_code": "" }),
                422,
                "bad_login_code",
                Some(("/login_code", "bad_login_code")),
            ),
            post("/users", json!({ "userid": "a", "login_code": "unknown" }), 422, "wechat_refused", None),
            post(
                "/client-reports",
                json!({ "report_id": "a b", "openid": openid, "result": ok }),
                422,
                "bad_report_id",
                Some(("/report_id", "bad_report_id")),
            ),
            post(
                "/client-reports",
                json!({ "report_id": "r", "result": ok }),
                422,
                "invalid_body",
                Some(("/userid", "one_of")),
            ),
            post(
                "/client-reports",
                json!({ "report_id": "r", "userid": "nobody", "result": ok }),
                404,
                "unknown_user",
                None,
            ),
            post(
                "/client-reports",
                json!({ "report_id": "r", "openid": "o", "result": ok }),
                422,
                "bad_openid",
                Some(("/openid", "bad_openid")),
            ),
            post("/client-reports", report(json!({ (ORDER): "maybe" })), 422, "bad_report", None),
            post(
                "/client-reports",
                report(json!({ "x": "accept" })),
                422,
                "bad_report",
                Some(("/result/x", "bad_template_id")),
            ),
            post("/client-reports", report(json!({})), 422, "bad_report", Some(("/result", "empty"))),
            post("/client-reports", report(json!([])), 422, "invalid_body", Some(("/result", "type"))),
            post(
                "/client-reports",
                json!({ "report_id": "r", "openid": openid, "tapped_at": "yesterday", "result": ok }),
                422,
                "invalid_body",
                Some(("/tapped_at", "invalid")),
            ),
            Case {
                method: "DELETE",
                path: format!("/channels/{CHANNEL}/users/nobody"),
                body: Value::Null,
                status: 404,
                code: "unknown_user",
                fault: None,
            },
            Case {
                method: "POST",
                path: "/channels/nosuch/client-reports".to_owned(),
                body: report(ok.clone()),
                status: 404,
                code: "unknown_channel",
                fault: None,
            },
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_refuse_what_cannot_be_sent() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let with = |field: &str, value: Value| {
        let mut body = message(json!([{ "userid": "zhangsan" }]));
        body[field] = value;
        body
    };
    let data = |data: Value| with("data", data);
    let to = |recipients: Value| with("recipients", recipients);
    let many: Vec<Value> = (0..1_001).map(|number| json!({ "userid": number.to_string() })).collect();
    let send = |body: Value, code, fault| post("/messages", body, 422, code, fault);
    check(
        &app,
        vec![
            send(
                with("template_id", json!("x")),
                "bad_template_id",
                Some(("/template_id", "bad_template_id")),
            ),
            send(
                with("template_id", json!("unknown_template")),
                "unknown_template",
                Some(("/template_id", "unknown_template")),
            ),
            send(to(json!([])), "no_recipients", Some(("/recipients", "empty"))),
            send(to(json!(many)), "too_many_recipients", Some(("/recipients", "too_many_recipients"))),
            send(
                to(json!([{ "userid": "zhangsan" }, { "openid": "short" }])),
                "bad_recipients",
                Some(("/recipients/1/openid", "bad_openid")),
            ),
            send(
                to(json!([{ "userid": "a\u{0}" }])),
                "bad_recipients",
                Some(("/recipients/0/userid", "bad_userid")),
            ),
            send(to(json!([{}])), "bad_recipients", Some(("/recipients/0/userid", "one_of"))),
            send(
                to(json!([{ "user": "zhangsan" }])),
                "invalid_body",
                Some(("/recipients/0/user", "unknown_field")),
            ),
            send(
                to(json!([{ "userid": "nobody" }])),
                "unknown_user",
                Some(("/recipients/0/userid", "unknown_user")),
            ),
            send(data(json!({ "thing1": "牛角面包" })), "bad_values", Some(("/data/phrase2", "missing_key"))),
            send(
                data(json!({ "thing1": "", "phrase2": "待取餐" })),
                "bad_values",
                Some(("/data/thing1", "empty_value")),
            ),
            send(
                data(json!({ "thing1": "长".repeat(21), "phrase2": "待取餐" })),
                "bad_values",
                Some(("/data/thing1", "too_long")),
            ),
            send(
                data(json!({ "thing1": null, "phrase2": "待取餐" })),
                "invalid_body",
                Some(("/data/thing1", "type")),
            ),
            send(
                data(json!({ "thing1": { "valeu": "x" } })),
                "invalid_body",
                Some(("/data/thing1/valeu", "unknown_field")),
            ),
            send(with("page", json!("https://example.com/")), "bad_page", Some(("/page", "page"))),
            send(
                with("miniprogram_state", json!("released")),
                "invalid_body",
                Some(("/miniprogram_state", "not_allowed")),
            ),
            send(with("lang", json!("fr_FR")), "invalid_body", Some(("/lang", "not_allowed"))),
            send(
                with("expires_at", json!("2020-01-01T00:00:00Z")),
                "bad_expires_at",
                Some(("/expires_at", "expires_at")),
            ),
            send(with("expires_at", json!("tomorrow")), "invalid_body", Some(("/expires_at", "invalid"))),
            send(with("touser", json!("x")), "invalid_body", Some(("/touser", "unknown_field"))),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_recipients_are_all_named_up_to_fifty() {
    let app = TestApp::new().await;
    let recipients: Vec<Value> = (0..200).map(|_| json!({ "openid": "short" })).collect();
    let answer = app.post(&format!("/channels/{CHANNEL}/messages"), &message(json!(recipients))).await;
    let problem = answer.problem(422, "bad_recipients");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 50);
    fault(&problem, "/recipients/0/openid", "bad_openid");
    fault(&problem, "/recipients/49/openid", "bad_openid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_json_or_too_large_are_refused_as_such() {
    let app = TestApp::new().await;
    let before = app.heads().await;
    let path = format!("/channels/{CHANNEL}/messages");
    let post = || app.request("POST", &path).bearer_auth(&app.key);
    let json_type = ("content-type", "application/json");

    app.raw(post().body("{}")).await.problem(415, "unsupported_media_type");
    app.raw(post().header("content-type", "text/plain").body("{}"))
        .await
        .problem(415, "unsupported_media_type");
    app.raw(post().header("content-type", "application/x-www-form-urlencoded").body("a=b"))
        .await
        .problem(415, "unsupported_media_type");
    let broken = app.raw(post().header(json_type.0, json_type.1).body("{\n  \"template_id\": }")).await;
    let problem = broken.problem(400, "malformed_json");
    assert_eq!(problem["errors"][0]["detail"], "line 2, column 18");
    for surplus in [1, 3 * 1024 * 1024] {
        let large = " ".repeat(2 * 1024 * 1024 + surplus);
        let answer = app.raw(post().header(json_type.0, json_type.1).body(large)).await;
        answer.problem(413, "body_too_large");
    }
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_routes_and_wrong_methods_are_problems_too() {
    let app = TestApp::new().await;
    app.get("/nothing/here").await.problem(404, "unknown_route");
    app.outside("/nothing").await.problem(404, "unknown_route");
    let answer = app.send_method("PATCH", "/channels", &json!({})).await;
    let allow: Vec<&str> = answer.header("allow").split(',').collect();
    assert!(allow.contains(&"GET") && allow.contains(&"POST"), "{allow:?}");
    answer.problem(405, "wrong_method");
    app.raw(app.request("POST", "/api/../healthz")).await.problem(405, "wrong_method");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_and_imports_refuse_what_is_malformed() {
    let app = TestApp::new().await;
    let openid = app.user("zhangsan", 1).await;
    let adjust = |field: &str, value: Value| {
        let mut body = json!({ "openid": openid, "template_id": ORDER, "add": 1, "reason": "a correction" });
        body[field] = value;
        body
    };
    let import = |field: &str, value: Value| {
        let row = json!({ "row_id": "1", "openid": openid, "template_id": ORDER, "count": 1 });
        let mut body = json!({ "import_id": "import-1", "rows": [row] });
        if field.starts_with("row") && field != "rows" || matches!(field, "count" | "template_id" | "userid")
        {
            body["rows"][0][field] = value;
        } else {
            body[field] = value;
        }
        body
    };
    let too_many: Vec<Value> = (0..1_001)
        .map(|row| json!({ "row_id": row.to_string(), "openid": openid, "template_id": ORDER, "count": 1 }))
        .collect();
    let twice = json!([import("x", Value::Null)["rows"][0], import("x", Value::Null)["rows"][0]]);
    let to_adjust = "/ledgers/adjustments";
    let to_import = "/opening-balances";
    let settle = |field: &str, value: Value| {
        let mut body = json!({ "verdict": "sent", "reason": "why" });
        body[field] = value;
        body
    };
    check(
        &app,
        vec![
            post(
                to_adjust,
                adjust("reason", json!(" ")),
                422,
                "bad_reason",
                Some(("/reason", "text_length")),
            ),
            post(to_adjust, adjust("add", json!(0)), 422, "bad_count", Some(("/add", "bad_count"))),
            post(to_adjust, adjust("add", Value::Null), 422, "invalid_body", Some(("/add", "one_of"))),
            post(to_adjust, adjust("remove", json!(1)), 422, "invalid_body", Some(("/remove", "one_of"))),
            post(
                to_adjust,
                adjust("userid", json!("zhangsan")),
                422,
                "invalid_body",
                Some(("/openid", "one_of")),
            ),
            post(to_adjust, adjust("template_id", json!("no_such_template")), 404, "unknown_template", None),
            post(to_adjust, adjust("template_id", json!(LONG)), 409, "long_term_template", None),
            post(to_adjust, adjust("add", json!(1_000_000)), 409, "too_many_grants", None),
            post(
                to_adjust,
                json!({ "openid": openid, "template_id": ORDER, "remove": 2, "reason": "why" }),
                409,
                "not_enough_open",
                None,
            ),
            post(
                to_adjust,
                json!({ "userid": "nobody", "template_id": ORDER, "add": 2, "reason": "why" }),
                404,
                "unknown_user",
                None,
            ),
            post(to_import, import("rows", json!([])), 422, "bad_rows", Some(("/rows", "row_count"))),
            post(to_import, import("rows", json!(too_many)), 422, "bad_rows", Some(("/rows", "row_count"))),
            post(to_import, import("rows", twice), 422, "bad_rows", Some(("/rows/1/row_id", "duplicate"))),
            post(
                to_import,
                import("row_id", json!("")),
                422,
                "bad_rows",
                Some(("/rows/0/row_id", "bad_row_id")),
            ),
            post(to_import, import("count", json!(0)), 422, "bad_rows", Some(("/rows/0/count", "bad_count"))),
            post(
                to_import,
                import("template_id", json!("a")),
                422,
                "bad_rows",
                Some(("/rows/0/template_id", "bad_template_id")),
            ),
            post(
                to_import,
                import("userid", json!("zhangsan")),
                422,
                "bad_rows",
                Some(("/rows/0/openid", "one_of")),
            ),
            post(
                to_import,
                import("import_id", json!("a b")),
                422,
                "bad_import_id",
                Some(("/import_id", "bad_import_id")),
            ),
            post(
                "/in-doubt/settle",
                settle("limit", json!(1_001)),
                422,
                "bad_limit",
                Some(("/limit", "bad_limit")),
            ),
            post(
                "/in-doubt/settle",
                settle("reason", json!("")),
                422,
                "bad_reason",
                Some(("/reason", "text_length")),
            ),
            post(
                "/in-doubt/settle",
                settle("template_id", json!("a")),
                422,
                "bad_template_id",
                Some(("/template_id", "bad_template_id")),
            ),
            post(
                "/in-doubt/settle",
                settle("state", json!("sent")),
                422,
                "invalid_body",
                Some(("/state", "unknown_field")),
            ),
        ],
    )
    .await;
}
