//! The control API itself: bad input, the index, paging, bounds, reset, the same seed giving the same names.

use serde_json::{Value, json};
use subledger_sandbox::{Sandbox, SandboxConfig};

use crate::support::{APP, ORDER, World, code, config, order, text};

async fn call(world: &World, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{path}", world.base));
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn an_app_can_be_set_up_and_used_over_http_alone() {
    let world = World::new().await;
    let app = r#"{"appid":"wxother","secret":"s","daily_limit":5,"permissions":{"login":false},"pages":["pages/a"]}"#;
    assert_eq!(call(&world, "POST", "/sandbox/apps", Some(app)).await.0, 201);
    let template = r#"{"title":"题","content":"一:{{thing1.DATA}}\n","type":2}"#;
    let (status, made) = call(&world, "POST", "/sandbox/apps/wxother/templates", Some(template)).await;
    let id = text(&made, "priTmplId");
    assert_eq!((status, id.len()), (201, 43));
    let (status, made) = call(&world, "POST", "/sandbox/apps/wxother/users", None).await;
    let openid = text(&made, "openid");
    assert_eq!((status, openid.len(), &openid[..1]), (201, 28, "o"));
    let shown = world.get("/sandbox/apps/wxother").await;
    assert_eq!(shown["settings"]["daily_limit"], 5);
    assert_eq!(shown["settings"]["permissions"], json!({ "send": true, "templates": true, "login": false }));
    assert_eq!(shown["users"], json!([openid]));
    assert!(!shown.to_string().contains("\"s\""), "the secret is not shown");
    let change = r#"{"secret":"t","sensitive_words":["w"],"permissions":{"send":false}}"#;
    let (status, changed) = call(&world, "PATCH", "/sandbox/apps/wxother", Some(change)).await;
    assert_eq!((status, &changed["settings"]["sensitive_words"]), (200, &json!(["w"])));
    let permissions = json!({ "send": false, "templates": true, "login": false });
    assert_eq!(
        (&changed["settings"]["permissions"], &changed["settings"]["daily_limit"]),
        (&permissions, &json!(5))
    );
    let body = json!({ "grant_type": "client_credential", "appid": "wxother", "secret": "t" });
    assert_eq!(code(&world.post("/cgi-bin/stable_token", &body).await), 0);
    let gone = format!("/sandbox/apps/wxother/templates/{id}");
    assert_eq!(call(&world, "DELETE", &gone, None).await.0, 204);
    assert_eq!(call(&world, "DELETE", &gone, None).await.0, 404);
}

#[tokio::test]
async fn bad_input_is_refused_in_json() {
    let world = World::new().await;
    let openid = world.user();
    let app = format!("/sandbox/apps/{APP}");
    let again = format!(r#"{{"appid":"{APP}","secret":"x"}}"#);
    let twice = format!(r#"{{"openid":"{openid}"}}"#);
    let cases = [
        ("POST", "/sandbox/apps".to_owned(), "{", 400),
        ("POST", "/sandbox/apps".to_owned(), r#"{"appid":"a"}"#, 400),
        ("POST", "/sandbox/apps".to_owned(), r#"{"appid":"","secret":"s"}"#, 400),
        ("POST", "/sandbox/apps".to_owned(), r#"{"appid":"a","secret":"s","frosen":true}"#, 400),
        ("POST", "/sandbox/apps".to_owned(), again.as_str(), 409),
        ("PATCH", app.clone(), r#"{"frozen":"yes"}"#, 400),
        ("PATCH", app.clone(), r#"{"permissions":{"fly":true}}"#, 400),
        ("PATCH", "/sandbox/apps/none".to_owned(), "{}", 404),
        ("POST", format!("{app}/templates"), r#"{"title":"t","content":"no keys"}"#, 400),
        ("POST", format!("{app}/templates"), r#"{"title":"t","content":"{{thing1.DATA}}","type":9}"#, 400),
        ("POST", format!("{app}/users"), twice.as_str(), 409),
        ("POST", format!("{app}/users"), r#"{"openid":""}"#, 400),
        ("POST", format!("{app}/login-codes"), r#"{"openid":"nobody"}"#, 404),
        ("POST", format!("{app}/taps"), r#"{"openid":"nobody","template_ids":[]}"#, 404),
        ("POST", format!("{app}/taps"), r#"{"openid":"nobody","template_ids":[],"choice":"maybe"}"#, 400),
        ("POST", format!("{app}/settings"), twice.as_str(), 400),
        ("POST", format!("{app}/tokens/revoked"), "", 404),
        ("GET", format!("{app}/users/nobody/counts"), "", 404),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"fire"}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"latency"}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"latency","ms":600001}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"http_5xx","status":404}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"errcode"}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"reset","probability":1.5}"#, 400),
        ("POST", "/sandbox/faults".to_owned(), r#"{"kind":"reset","path":"elsewhere"}"#, 400),
        ("DELETE", "/sandbox/faults/99".to_owned(), "", 404),
        ("DELETE", "/sandbox/faults/abc".to_owned(), "", 400),
        ("GET", "/sandbox/journal?limit=0".to_owned(), "", 400),
        ("GET", "/sandbox/journal?after=x".to_owned(), "", 400),
        ("POST", "/sandbox/clock/advance".to_owned(), r#"{"seconds":-1}"#, 400),
        ("POST", "/sandbox/clock/advance".to_owned(), r#"{"seconds":99999999999}"#, 400),
    ];
    for (method, path, body, want) in cases {
        let (status, answer) = call(&world, method, &path, Some(body)).await;
        assert_eq!(status, want, "{method} {path} {body}: {answer}");
        assert!(answer["error"]["code"].is_string() && answer["error"]["message"].is_string(), "{answer}");
    }
    assert!(world.wechat.faults().is_empty());
}

#[tokio::test]
async fn what_is_left_open_can_be_chosen_over_http_and_reset_undoes_it() {
    let world = World::new().await;
    let chosen = call(&world, "PUT", "/sandbox/reality", Some(r#"{"most_counts":1}"#)).await;
    assert_eq!(
        (chosen.0, &chosen.1["most_counts"], &chosen.1["answer_msgid"]),
        (200, &json!(1), &json!(true))
    );
    let openid = world.user_with(3);
    assert_eq!(world.remaining(&openid), 1);
    let (status, answer) = call(&world, "PUT", "/sandbox/reality", Some(r#"{"gravity":1}"#)).await;
    assert!(status == 400 && answer["error"]["code"] == "invalid");
    world.wechat.reset();
    assert_eq!(world.get("/sandbox/reality").await["most_counts"], Value::Null);
}

#[tokio::test]
async fn the_index_lists_the_routes_and_liveness_answers() {
    let world = World::new().await;
    let index = world.get("/sandbox").await;
    let routes = index["routes"].to_string();
    for part in
        ["/sandbox/apps/{appid}/taps", "/sandbox/journal", "drop_after_commit", "/sandbox/clock/advance"]
    {
        assert!(routes.contains(part), "{part}");
    }
    let health = world.http.get(format!("{}/healthz", world.base)).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok"));
}

#[tokio::test]
async fn the_journal_is_paged_bounded_and_outlives_its_reader() {
    let world = World::with(SandboxConfig { journal_limit: 4, ..config() }).await;
    let (openid, token) = (world.user_with(6), world.token().await);
    for _ in 0..6 {
        world.send(&token, &order(&openid)).await;
    }
    let seqs = |page: &Value| -> Vec<u64> {
        page["entries"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect()
    };
    let first = world.get(&format!("/sandbox/journal?appid={APP}&limit=3")).await;
    assert_eq!((seqs(&first), first["next_after"].as_u64()), (vec![3, 4, 5], Some(5)));
    assert_eq!((first["dropped"].as_u64(), first["last_seq"].as_u64()), (Some(2), Some(6)));
    let rest = world.get("/sandbox/journal?after=5").await;
    assert_eq!((seqs(&rest), &rest["next_after"]), (vec![6], &Value::Null));
    assert!(seqs(&world.get("/sandbox/journal?appid=nobody").await).is_empty());
    assert!(world.wechat.journal().iter().all(|e| e.answered), "also those next to dropped ones");
    let stats = world.get("/sandbox/stats").await;
    assert_eq!((&stats["sends"]["0"], &stats["journal_dropped"]), (&json!(6), &json!(2)));
    assert_eq!(stats["token_calls"][APP]["stable"], 1);
}

#[tokio::test]
async fn reset_forgets_everything_but_the_numbers_go_on() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(1), world.token().await);
    world.send(&token, &order(&openid)).await;
    let before = world.last();
    let advanced = call(&world, "POST", "/sandbox/clock/advance", Some(r#"{"seconds":3600}"#)).await.1;
    assert_eq!(advanced["now"], "2030-01-02T04:00:00Z");
    assert_eq!(call(&world, "POST", "/sandbox/reset", None).await.0, 204);
    assert_eq!(world.get("/sandbox").await["apps"], json!([]));
    assert_eq!(world.wechat.now().to_string(), "2030-01-02T03:00:00Z");
    assert!(world.wechat.journal().is_empty());
    world.wechat.create_app(subledger_sandbox::AppSpec::new(APP, "demo-secret")).unwrap();
    world.wechat.create_template(APP, crate::support::order_template()).unwrap();
    assert_eq!(world.verdict(&token).await, 40001);
    let (openid, token) = (world.user_with(1), world.token().await);
    world.send(&token, &order(&openid)).await;
    let after = world.last();
    assert_eq!((after.seq, after.msgid.unwrap()), (before.seq + 1, before.msgid.unwrap() + 1));
}

#[test]
fn the_same_seed_gives_the_same_names() {
    let names = |seed| {
        let wechat = Sandbox::new(SandboxConfig { seed, ..config() });
        wechat.create_app(subledger_sandbox::AppSpec::new(APP, "s")).unwrap();
        let mut template = crate::support::order_template();
        assert_eq!(template.pri_tmpl_id, ORDER);
        template.pri_tmpl_id.clear();
        let template = wechat.create_template(APP, template).unwrap();
        let openid = wechat.create_user(APP, None).unwrap();
        let code = wechat.create_login_code(APP, &openid).unwrap();
        [template, openid, code]
    };
    assert_eq!(names(3), names(3));
    assert_ne!(names(3), names(4));
}
