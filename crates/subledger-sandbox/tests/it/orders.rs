//! The order of checks is data: whichever of two violated checks stands first in the table gives the code.

use serde_json::{Value, json};
use subledger_sandbox::{AppSettings, DEFAULT_CHECK_ORDER, SendCheck};

use crate::support::{APP, World, code, order};

/// How one check is made to fail, and its code.
struct Break {
    check: SendCheck,
    code: i64,
    switch: fn(&mut AppSettings),
    body: fn(&mut Value),
}

const fn nothing(_: &mut AppSettings) {}
const fn as_is(_: &mut Value) {}

const BREAKS: [Break; 9] = [
    Break { check: SendCheck::Permission, code: 48001, switch: |s| s.permissions.send = false, body: as_is },
    Break {
        check: SendCheck::Touser,
        code: 40003,
        switch: nothing,
        body: |b| b["touser"] = json!("oNobody"),
    },
    Break {
        check: SendCheck::Template,
        code: 40037,
        switch: nothing,
        body: |b| b["template_id"] = json!("x"),
    },
    Break { check: SendCheck::Ban, code: 43107, switch: |s| s.banned = true, body: as_is },
    Break {
        check: SendCheck::Page,
        code: 41030,
        switch: |s| s.pages = vec!["pages/home".to_owned()],
        body: as_is,
    },
    Break {
        check: SendCheck::Data,
        code: 47003,
        switch: nothing,
        body: |b| b["data"]["phrase2"]["value"] = json!("1"),
    },
    Break {
        check: SendCheck::Sensitive,
        code: 45168,
        switch: |s| s.sensitive_words = vec!["面包".to_owned()],
        body: as_is,
    },
    Break { check: SendCheck::Rate, code: 45011, switch: |s| s.per_minute_limit = 1, body: as_is },
    // The user has spent the only count on the first send.
    Break { check: SendCheck::Subscription, code: 43101, switch: nothing, body: as_is },
];

/// With an unknown user or template there is nothing to check the other against.
fn hides(a: SendCheck, b: SendCheck) -> bool {
    matches!(
        (a, b),
        (SendCheck::Touser | SendCheck::Template, SendCheck::Subscription)
            | (SendCheck::Template, SendCheck::Data)
    )
}

#[tokio::test]
async fn of_two_violated_checks_the_first_in_the_table_answers() {
    let world = World::new().await;
    let token = world.token().await;
    let clean = world.wechat.app(APP).unwrap().settings;
    let mut pairs = 0;
    for a in &BREAKS {
        for b in &BREAKS {
            if a.check == b.check || hides(a.check, b.check) || hides(b.check, a.check) {
                continue;
            }
            pairs += 1;
            world.wechat.change_app(APP, |s| *s = clean.clone()).unwrap();
            world.wechat.advance(60).unwrap();
            let token = if world.verdict(&token).await == 0 { token.clone() } else { world.token().await };
            let mut table: Vec<SendCheck> =
                DEFAULT_CHECK_ORDER.into_iter().filter(|c| *c != a.check && *c != b.check).collect();
            table.extend([a.check, b.check]);
            world.wechat.set_check_order(table).unwrap();
            let openid = world.user_with(1);
            assert_eq!(code(&world.send(&token, &order(&openid)).await), 0);
            let refill = [a.check, b.check].contains(&SendCheck::Subscription);
            if !refill {
                world.accept(&openid, crate::support::ORDER);
            }
            let mut body = order(&openid);
            for one in [a, b] {
                world.wechat.change_app(APP, one.switch).unwrap();
                (one.body)(&mut body);
            }
            let answer = world.send(&token, &body).await;
            assert_eq!(code(&answer), a.code, "{:?} before {:?}", a.check, b.check);
        }
    }
    assert_eq!(pairs, 9 * 8 - 6);
}

#[tokio::test]
async fn the_default_order_is_the_documented_suggestion() {
    let world = World::new().await;
    let order = world.get("/sandbox/check-order").await;
    let want = json!([
        "body",
        "token",
        "platform_ip",
        "authorization",
        "permission_set",
        "permission",
        "touser",
        "template",
        "ban",
        "concurrency",
        "page",
        "data",
        "sensitive",
        "rate",
        "subscription"
    ]);
    assert_eq!(order["order"], want);
    let response = world
        .http
        .put(format!("{}/sandbox/check-order", world.base))
        .json(&json!({ "order": ["token", "body"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400, "an order that leaves checks out is refused");
}

#[tokio::test]
async fn an_unreadable_body_with_a_bad_token_follows_the_table_too() {
    let world = World::new().await;
    assert_eq!(code(&world.send("short", &json!([])).await), 47001);
    let mut table = DEFAULT_CHECK_ORDER.to_vec();
    table.swap(0, 1);
    world.wechat.set_check_order(table).unwrap();
    assert_eq!(code(&world.send("short", &json!([])).await), 40014);
}
