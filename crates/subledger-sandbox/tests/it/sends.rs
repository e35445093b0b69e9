//! Sends: counts, codes, the journal, and what is left open by the documents.

use serde_json::{Value, json};
use subledger_sandbox::{
    CallPath, Choice, FaultKind, FaultSpec, Reality, SandboxConfig, SettingState, TapSpec,
};

use crate::support::{APP, LEVEL, LONG, ORDER, World, code, config, order, until};

#[tokio::test]
async fn each_accept_pays_for_one_message_and_then_43101() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(2), world.token().await);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&world.send(&token, &order(&openid)).await));
    }
    assert_eq!(codes, [0, 0, 43101]);
    let count = world.wechat.counts(APP, &openid).unwrap().templates[ORDER].clone();
    assert_eq!((count.remaining, count.accept_taps, count.accepted_sends), (0, 2, 2));
    let journal = world.wechat.journal();
    let seen: Vec<_> = journal.iter().map(|e| (e.seq, e.errcode, e.committed, e.answered)).collect();
    assert_eq!(seen, [(1, Some(0), true, true), (2, Some(0), true, true), (3, Some(43101), false, true)]);
    assert_eq!(journal[0].page.as_deref(), Some("pages/order/show?id=42"));
    assert_eq!((journal[0].state.as_deref(), journal[0].lang.as_deref()), (Some("formal"), Some("zh_CN")));
    assert_eq!(journal[0].data["thing1"]["value"], "示例面包");
}

#[tokio::test]
async fn msgid_is_a_json_number_beyond_two_to_the_53_and_exact() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(2), world.token().await);
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(world.send_request(&token, &order(&openid)).send().await.unwrap().text().await.unwrap());
    }
    assert!(texts[0].contains("\"msgid\":4000000000000000017"), "{}", texts[0]);
    assert!(texts[1].contains("\"msgid\":4000000000000000018"), "{}", texts[1]);
    let page =
        world.http.get(format!("{}/sandbox/journal", world.base)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("\"msgid\":4000000000000000017") && page.contains("\"msgid\":4000000000000000018"));
}

#[tokio::test]
async fn every_refusal_has_its_code_and_takes_nothing() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(1), world.token().await);
    world
        .wechat
        .change_app(APP, |s| {
            s.pages = vec!["pages/order/show".to_owned()];
            s.sensitive_words = vec!["彩票".to_owned()];
        })
        .unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut body = order(&openid);
        match body.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => body[&pointer[1..]] = value,
        }
        body
    };
    for (body, want, wording) in [
        (json!([]), 47001, ""),
        (changed("/touser", json!(5)), 47001, ""),
        (changed("/data", json!("text")), 47001, ""),
        (changed("/touser", json!("oNobody")), 40003, ""),
        (changed("/touser", Value::Null), 40003, ""),
        (changed("/template_id", json!("nothing")), 40037, ""),
        (changed("/page", json!("pages/other")), 41030, ""),
        (changed("/data/thing3", Value::Null), 47003, "argument invalid! data.thing3.value"),
        (changed("/data/thing3/value", json!("")), 47003, "argument invalid! data.thing3.value is emtpy"),
        (changed("/data", json!({})), 47003, "argument invalid! data.thing1.value is emtpy"),
        (changed("/data/phrase2/value", json!("abc")), 47003, "argument invalid! data.phrase2.value invalid"),
        (
            changed("/data/thing1/value", json!("两\n行")),
            47003,
            "argument invalid! data.thing1.value invalid",
        ),
        (changed("/data/thing1/value", json!("字".repeat(21))), 47003, "data.thing1.value invalid"),
        (changed("/miniprogram_state", json!("beta")), 47003, "miniprogram_state"),
        (changed("/data/thing1/value", json!("买彩票吧")), 45168, ""),
    ] {
        let answer = world.send(&token, &body).await;
        assert_eq!(code(&answer), want, "{body}");
        assert!(answer["errmsg"].as_str().unwrap().contains(wording), "{answer}");
    }
    let empty = world.send_request(&token, &json!(0)).body("").send().await.unwrap();
    assert_eq!(code(&empty.json().await.unwrap()), 44002);
    assert_eq!(code(&world.send("", &order(&openid)).await), 41001);
    let sent = world.get("/cgi-bin/message/subscribe/send").await;
    assert_eq!(code(&sent), 43002);
    world.wechat.change_app(APP, |s| s.permissions.send = false).unwrap();
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 48001);
    world.wechat.change_app(APP, |s| (s.permissions.send, s.banned) = (true, true)).unwrap();
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 43107);
    world.wechat.change_app(APP, |s| s.banned = false).unwrap();
    assert_eq!(world.remaining(&openid), 1);
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 0);
    world.wechat.delete_template(APP, ORDER).unwrap();
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 40037);
    let stats = world.wechat.stats();
    assert_eq!((stats.sends[&0], stats.sends[&47001], stats.sends[&47003]), (1, 3, 7));
}

#[tokio::test]
async fn numbers_and_enum_values_are_checked_as_the_template_says() {
    let world = World::new().await;
    let (openid, token) = (world.user(), world.token().await);
    world.accept(&openid, LEVEL);
    let body = |level: &str| {
        json!({ "touser": openid, "template_id": LEVEL,
                "data": { "enum_string2": { "value": level }, "thing5": { "value": 12 }, "unknown9": { "value": "" } } })
    };
    assert_eq!(code(&world.send(&token, &body("铜")).await), 47003);
    assert_eq!(
        code(&world.send(&token, &body("金")).await),
        0,
        "a JSON number is taken, unknown keys are ignored"
    );
}

#[tokio::test]
async fn sends_to_one_openid_at_a_time() {
    let world = World::new().await;
    let (openid, other, token) = (world.user_with(2), world.user_with(1), world.token().await);
    let mut slow = FaultSpec::on(FaultKind::Latency, CallPath::Send);
    slow.ms = Some(1_500);
    world.wechat.inject(slow).unwrap();
    let body = order(&openid);
    let first = world.send(&token, &body);
    let rest = async {
        until("the first send is in flight", || world.wechat.faults().is_empty()).await;
        let concurrent = world.send(&token, &body).await;
        (code(&concurrent), code(&world.send(&token, &order(&other)).await), world.wechat.journal().len())
    };
    let (first, (concurrent, other_code, judged)) = tokio::join!(first, rest);
    assert_eq!((code(&first), concurrent, other_code), (0, 43108, 0));
    assert_eq!(judged, 2, "both were answered while the first still waited");
    assert_eq!(code(&world.send(&token, &body).await), 0, "the openid is free again");
}

#[tokio::test]
async fn send_quotas_are_per_minute_and_per_day() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(9), world.token().await);
    world.wechat.change_app(APP, |s| (s.per_minute_limit, s.daily_limit) = (2, 3)).unwrap();
    let mut codes = Vec::new();
    for advance in [0, 0, 0, 60, 0, 13 * 3_600] {
        world.wechat.advance(advance).unwrap();
        let token = if advance > 60 { world.token().await } else { token.clone() };
        codes.push(code(&world.send(&token, &order(&openid)).await));
    }
    assert_eq!(codes, [0, 0, 45011, 0, 45009, 0]);
}

#[tokio::test]
async fn a_long_term_template_needs_consent_only() {
    let world = World::new().await;
    let (openid, token) = (world.user(), world.token().await);
    let body = json!({ "touser": openid, "template_id": LONG, "data": { "thing1": { "value": "公告" } } });
    assert_eq!(code(&world.send(&token, &body).await), 43101);
    world.accept(&openid, LONG);
    for _ in 0..5 {
        assert_eq!(code(&world.send(&token, &body).await), 0);
    }
    let count = world.wechat.counts(APP, &openid).unwrap().templates[LONG].clone();
    assert_eq!((count.remaining, count.consent, count.accepted_sends), (0, true, 5));
}

async fn under(reality: Reality) -> World {
    World::with(SandboxConfig { reality, ..config() }).await
}

#[tokio::test]
async fn what_the_documents_leave_open_can_be_chosen() {
    let world = under(Reality { refusal_takes_count: true, ..Reality::default() }).await;
    let (openid, token) = (world.user_with(2), world.token().await);
    let mut bad = order(&openid);
    bad["data"]["thing1"]["value"] = json!("");
    assert_eq!(code(&world.send(&token, &bad).await), 47003);
    assert_eq!(world.remaining(&openid), 1);

    let world = under(Reality { most_counts: Some(1), ..Reality::default() }).await;
    let openid = world.user_with(3);
    assert_eq!(world.remaining(&openid), 1);

    for (clears, left) in [(true, 0), (false, 2)] {
        let world = under(Reality { off_clears_counts: clears, ..Reality::default() }).await;
        let openid = world.user_with(2);
        world.wechat.change_setting(APP, &openid, Some(ORDER), SettingState::Reject).unwrap();
        world.wechat.change_setting(APP, &openid, Some(ORDER), SettingState::Accept).unwrap();
        assert_eq!(world.remaining(&openid), left);
    }

    for (clears, left) in [(true, 0), (false, 2)] {
        let world = under(Reality { deleting_clears_counts: clears, ..Reality::default() }).await;
        let openid = world.user_with(2);
        world.wechat.delete_template(APP, ORDER).unwrap();
        world.wechat.create_template(APP, crate::support::order_template()).unwrap();
        assert_eq!(world.remaining(&openid), left);
    }

    let world = under(Reality { answer_msgid: false, ..Reality::default() }).await;
    let (openid, token) = (world.user_with(1), world.token().await);
    let answer = world.send(&token, &order(&openid)).await;
    assert_eq!(answer, json!({ "errcode": 0, "errmsg": "ok" }));
    assert!(world.last().msgid.is_some(), "the journal knows it all the same");
}

#[tokio::test]
async fn an_openid_of_another_app_is_40003() {
    let world = World::new().await;
    let other = subledger_sandbox::AppSpec::new("wx00000000demo0002", "other");
    world.wechat.create_app(other).unwrap();
    let stranger = world.wechat.create_user("wx00000000demo0002", None).unwrap();
    let token = world.token().await;
    assert_eq!(code(&world.send(&token, &order(&stranger)).await), 40003);
    let tap = TapSpec::new(&stranger, &[ORDER], Choice::Accept);
    assert!(world.wechat.tap(APP, &tap).is_err());
}
