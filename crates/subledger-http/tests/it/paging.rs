//! Pages join up to the whole list, whatever the limit, and a page says where it stands.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{CHANNEL, ORDER, TestApp, fault, new_channel};

/// Walks a list and gives the values of `field`, in order.
async fn walk(app: &TestApp, path: &str, limit: usize, field: &str) -> Vec<String> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{path}{joint}limit={limit}{cursor}")).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit && (!items.is_empty() || seen.is_empty()), "{page}");
        seen.extend(items.iter().map(|item| item[field].to_string()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_can_be_walked_page_by_page() {
    let app = TestApp::new().await;
    for number in 0..5 {
        app.user(&format!("user-{number}"), 1).await;
        app.post("/channels", &new_channel(&format!("more{number}"))).await.ok(201);
    }
    let recipients: Vec<_> = (0..5).map(|number| json!({ "userid": format!("user-{number}") })).collect();
    let sent = app.send(json!(recipients)).await;
    let msgid = sent["msgid"].as_str().unwrap();
    app.ended(msgid).await;
    for _ in 0..4 {
        app.send(json!([{ "userid": "user-0" }])).await;
    }
    app.user("many-taps", 3).await;
    let lost = json!({ "path": "send", "kind": "drop_after_commit", "times": 3 });
    app.wechat.inject(serde_json::from_value(lost).unwrap()).unwrap();
    for userid in ["doubt-1", "doubt-2", "doubt-3"] {
        app.user(userid, 1).await;
        let sent = app.send(json!([{ "userid": userid }])).await;
        app.ended(sent["msgid"].as_str().unwrap()).await;
    }
    let many = app.get(&format!("/channels/{CHANNEL}/users/many-taps")).await.ok(200);
    let many = many["subject"].as_str().unwrap();
    let user = app.get(&format!("/channels/{CHANNEL}/users/user-1")).await.ok(200);
    let subject = user["subject"].as_str().unwrap();
    let lists = [
        ("/channels".to_owned(), "code", 6),
        (format!("/channels/{CHANNEL}/templates"), "template_id", 2),
        (format!("/channels/{CHANNEL}/users"), "userid", 9),
        (format!("/channels/{CHANNEL}/ledgers"), "subject", 9),
        (format!("/channels/{CHANNEL}/ledgers?template_id={ORDER}"), "subject", 9),
        (format!("/channels/{CHANNEL}/messages"), "msgid", 8),
        (format!("/channels/{CHANNEL}/messages/{msgid}/deliveries"), "index", 5),
        (format!("/channels/{CHANNEL}/ledgers/{subject}/{ORDER}/entries"), "version", 4),
        (format!("/channels/{CHANNEL}/ledgers/{many}/{ORDER}/lots"), "lot", 3),
        (format!("/channels/{CHANNEL}/in-doubt"), "msgid", 3),
    ];
    for (path, field, count) in lists {
        let whole = walk(&app, &path, 200, field).await;
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), count, "{path}: {whole:?}");
        for limit in [1, 2, count] {
            assert_eq!(walk(&app, &path, limit, field).await, whole, "{path} by {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_works_only_where_it_was_made() {
    let app = TestApp::new().await;
    app.user("a", 1).await;
    app.user("b", 1).await;
    let page = app.get(&format!("/channels/{CHANNEL}/users?limit=1")).await.ok(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in ["ledgers", "messages", "templates"] {
        let answer = app.get(&format!("/channels/{CHANNEL}/{path}?cursor={cursor}")).await;
        fault(&answer.problem(422, "bad_cursor"), "/cursor", "bad_cursor");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_read_at_once_by_its_position() {
    let app = TestApp::new().await;
    for number in 0..20 {
        let openid = app.wechat.create_user(crate::support::APPID, None).unwrap();
        let body = json!({ "userid": format!("user-{number}"), "openid": openid });
        let written = app.post(&format!("/channels/{CHANNEL}/users"), &body).await.ok(200);
        let position = written["position"].as_u64().unwrap();
        let path = format!("/channels/{CHANNEL}/users/user-{number}?min_position={position}");
        let read = app.get(&path).await;
        assert_eq!(read.header("subledger-position"), read.body["position"].to_string());
        let read = read.ok(200);
        assert!(read["position"].as_u64().unwrap() >= position);
        assert_eq!(read["openid"], openid);
    }
}
