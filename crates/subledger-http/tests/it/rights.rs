//! Every route against every right. Routes come from the OpenAPI document, so a new one cannot be forgotten.

use serde_json::Value;
use subledger_domain::app::Right;

use crate::support::{CHANNEL, ORDER, TestApp};

/// Method, concrete path and right of every operation of the API.
async fn operations(app: &TestApp) -> Vec<(String, String, Option<Right>)> {
    let document = app.outside("/openapi.json").await.ok(200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        let concrete = path
            .replace("{code}", CHANNEL)
            .replace("{template_id}", ORDER)
            .replace("{userid}", "zhangsan")
            .replace("{subject}", &"0".repeat(32))
            .replace("{msgid}", &"0".repeat(32))
            .replace("{push}", &"0".repeat(32))
            .replace("{index}", "0")
            .replace("{component_appid}", "wx00000000comp0001")
            .replace("{id}", "00000000-0000-0000-0000-000000000000");
        assert!(!concrete.contains('{'), "{concrete}");
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"][0].get("UserToken").is_some() {
                assert_eq!(path, "/api/v1/client-reports", "one route takes user tokens, and no key");
                continue;
            }
            let right = operation["security"][0]["api_key"][0].as_str();
            let right = right.map(|name| Right::from_name(name).unwrap());
            operations.push((method.to_uppercase(), concrete.clone(), right));
        }
    }
    assert!(operations.len() >= 30, "{}", operations.len());
    operations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_asks_for_exactly_the_right_it_documents() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let mut without = Vec::new();
    let mut only = Vec::new();
    for right in Right::ALL {
        let others: Vec<Right> = Right::ALL.into_iter().filter(|other| *other != right).collect();
        without.push((right, app.app(&format!("without-{}", right.as_str()), &others, None).await));
        only.push((right, app.app(&format!("only-{}", right.as_str()), &[right], None).await));
    }
    let key_of = |keys: &[(Right, String)], right: Right| {
        keys.iter().find(|(of, _)| *of == right).map(|(_, key)| key.clone()).unwrap()
    };
    let before = app.heads().await;
    for (method, path, right) in operations(&app).await {
        let Some(right) = right else {
            assert_eq!(path, "/api/v1/whoami");
            continue;
        };
        let refused = app.raw(app.request(&method, &path).bearer_auth(key_of(&without, right))).await;
        let detail = refused.problem(403, "missing_right")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(right.as_str()), "{method} {path}: {detail}");
    }
    assert_eq!(app.heads().await, before, "nothing was recorded");
    for (method, path, right) in operations(&app).await {
        let Some(right) = right else { continue };
        let request = app.request(&method, &path).bearer_auth(key_of(&only, right));
        let answer = app.raw(request).await;
        assert!(![401, 403, 405].contains(&answer.status), "{method} {path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_channel_learns_nothing() {
    let app = TestApp::new().await;
    let elsewhere = app.app("elsewhere", &Right::ALL, Some(&["othermp"])).await;
    let before = app.heads().await;
    for (method, path, _) in operations(&app).await.into_iter().filter(|(_, path, _)| path.contains(CHANNEL))
    {
        let answer = app.raw(app.request(&method, &path).bearer_auth(&elsewhere)).await;
        answer.problem(403, "missing_right");
    }
    let unknown = app.raw(app.request("GET", "/channels/nosuch").bearer_auth(&elsewhere)).await;
    unknown.problem(403, "missing_right");
    let body = crate::support::new_channel("thirdmp");
    let created = app.raw(app.request("POST", "/channels").bearer_auth(&elsewhere).json(&body)).await;
    created.problem(403, "missing_right");
    let listed = app.raw(app.request("GET", "/channels").bearer_auth(&elsewhere)).await.ok(200);
    assert_eq!(listed["items"], Value::Array(Vec::new()));
    assert_eq!(app.heads().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_key_there_is_nothing() {
    let app = TestApp::new().await;
    for (method, path, _) in operations(&app).await {
        let answer = app.raw(app.request(&method, &path)).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"subledger\"");
        answer.problem(401, "missing_key");
    }
    let last = if app.key.ends_with('0') { "1" } else { "0" };
    let almost = format!("{}{last}", &app.key[..app.key.len() - 1]);
    for key in ["nonsense", "slk_0000000000000000_x", &almost, &app.key.to_uppercase()] {
        let answer = app.raw(app.request("GET", "/whoami").bearer_auth(key)).await;
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        answer.problem(401, "bad_key");
    }
    let basic = app.raw(app.request("GET", "/whoami").basic_auth("tester", Some(&app.key))).await;
    basic.problem(401, "missing_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_working() {
    let app = TestApp::new().await;
    let key = app.app("leaver", &[Right::Read], None).await;
    app.raw(app.request("GET", "/whoami").bearer_auth(&key)).await.ok(200);
    let caller = subledger_engine::Caller::operator("tests".parse().unwrap());
    app.engine.revoke_key(&caller, "leaver".parse().unwrap(), &key).await.unwrap();
    assert!(app.engine.caught_up(&subledger_domain::LogName::main(), None).await);
    app.raw(app.request("GET", "/whoami").bearer_auth(&key)).await.problem(401, "bad_key");
}
