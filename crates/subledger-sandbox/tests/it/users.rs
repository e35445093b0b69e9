//! Taps, kept answers, settings, login codes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subledger_sandbox::{Choice, SettingState, TapSpec, Template};

use crate::support::{APP, LEVEL, LONG, ORDER, SECRET, World, code, order, text};

/// A tap over HTTP; the result object is what `wx.requestSubscribeMessage` gives.
async fn tap(world: &World, body: Value) -> Value {
    world.post(&format!("/sandbox/apps/{APP}/taps"), &body).await
}

#[tokio::test]
async fn a_tap_answers_the_clients_object_and_adds_one_per_accept() {
    let world = World::new().await;
    let openid = world.user();
    let choices = BTreeMap::from([(LEVEL.to_owned(), Choice::Reject)]);
    let result = tap(
        &world,
        json!({ "openid": openid, "template_ids": [ORDER, LEVEL], "choice": "acceptWithAlert", "choices": choices }),
    )
    .await;
    assert_eq!(
        result,
        json!({ "errMsg": "requestSubscribeMessage:ok", ORDER: "acceptWithAlert", LEVEL: "reject" })
    );
    for choice in ["accept", "acceptWithAudio", "acceptWithForcePush", "ban", "filter", "reject"] {
        let result =
            tap(&world, json!({ "openid": openid, "template_ids": [ORDER], "choice": choice })).await;
        assert_eq!(result[ORDER], choice);
    }
    let counts = world.get(&format!("/sandbox/apps/{APP}/users/{openid}/counts")).await;
    assert_eq!(counts["templates"][ORDER]["remaining"], 4);
    assert_eq!(counts["templates"][LEVEL]["remaining"], 0);
    assert_eq!(counts["main_switch"], true);
}

#[tokio::test]
async fn a_kept_answer_applies_silently_and_each_accept_still_adds_one() {
    let world = World::new().await;
    let openid = world.user();
    let silent = json!({ "openid": openid, "template_ids": [ORDER] });
    let refused =
        world.http.post(format!("{}/sandbox/apps/{APP}/taps", world.base)).json(&silent).send().await;
    assert_eq!(refused.unwrap().status(), 400, "nothing is kept yet");
    tap(&world, json!({ "openid": openid, "template_ids": [ORDER], "choice": "accept", "keep": true })).await;
    for _ in 0..3 {
        let result = tap(&world, silent.clone()).await;
        assert_eq!(result, json!({ "errMsg": "requestSubscribeMessage:ok", ORDER: "accept" }));
    }
    assert_eq!(world.remaining(&openid), 4);
    let setting = world.get(&format!("/sandbox/apps/{APP}/users/{openid}/setting")).await;
    assert_eq!(
        setting["subscriptionsSetting"],
        json!({ "mainSwitch": true, "itemSettings": { ORDER: "accept" } })
    );
    // Cancelled in the settings page: silent taps reject from now on.
    world.wechat.change_setting(APP, &openid, Some(ORDER), SettingState::Reject).unwrap();
    assert_eq!(tap(&world, silent.clone()).await[ORDER], "reject");
    assert_eq!(world.remaining(&openid), 4);
}

#[tokio::test]
async fn a_tap_that_cannot_be_shown_fails_as_the_client_sees_it() {
    let world = World::new().await;
    let openid = world.user();
    let ask = |ids: Vec<String>| json!({ "openid": openid, "template_ids": ids, "choice": "accept" });
    let many: Vec<String> = (0..6).map(|i| format!("t{i}")).collect();
    for (ids, want) in [
        (vec![], 10001),
        (many, 20003),
        (vec!["unknown".to_owned()], 20001),
        (vec![ORDER.to_owned(), LONG.to_owned()], 20002),
    ] {
        let result = tap(&world, ask(ids)).await;
        assert_eq!(result["errCode"], want, "{result}");
        assert!(result["errMsg"].as_str().unwrap().starts_with("requestSubscribeMessage:fail "), "{result}");
    }
    world.wechat.change_app(APP, |s| s.tap_limit = 1).unwrap();
    assert_eq!(tap(&world, ask(vec![ORDER.to_owned(), LEVEL.to_owned()])).await["errCode"], 20003);
    world.wechat.change_setting(APP, &openid, None, SettingState::MainSwitchOff).unwrap();
    let result = tap(&world, ask(vec![ORDER.to_owned()])).await;
    let want =
        json!({ "errMsg": "requestSubscribeMessage:fail The main switch is switched off", "errCode": 20004 });
    assert_eq!(result, want);
    world.wechat.change_app(APP, |s| s.banned = true).unwrap();
    assert_eq!(tap(&world, ask(vec![ORDER.to_owned()])).await["errCode"], 20005);
    assert_eq!(world.remaining(&openid), 0);
}

#[tokio::test]
async fn templates_of_one_title_answer_filter_and_omitted_keys_are_booked() {
    let world = World::new().await;
    let twin =
        world.wechat.create_template(APP, Template::one_time("", "取餐", "甲:{{thing1.DATA}}")).unwrap();
    assert_eq!(twin.len(), 43);
    let openid = world.user();
    let result = world.wechat.tap(APP, &TapSpec::new(&openid, &[ORDER, &twin], Choice::Accept)).unwrap();
    assert_eq!((&result[ORDER], &result[&twin]), (&json!("accept"), &json!("filter")));
    assert_eq!(world.wechat.remaining(APP, &openid, &twin).unwrap(), 0);
    let lossy = TapSpec { omit: vec![ORDER.to_owned()], ..TapSpec::new(&openid, &[ORDER], Choice::Accept) };
    assert_eq!(world.wechat.tap(APP, &lossy).unwrap(), json!({ "errMsg": "requestSubscribeMessage:ok" }));
    assert_eq!(world.remaining(&openid), 2);
}

#[tokio::test]
async fn switched_off_means_43101_until_switched_on_or_accepted_again() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(3), world.token().await);
    let path = format!("/sandbox/apps/{APP}/settings");
    let reject = json!({ "openid": openid, "template_id": ORDER, "state": "reject" });
    let send = || async { code(&world.send(&token, &order(&openid)).await) };
    assert_eq!(world.post(&path, &reject).await["templates"][ORDER]["off"], true);
    assert_eq!(send().await, 43101);
    world.post(&path, &json!({ "openid": openid, "template_id": ORDER, "state": "accept" })).await;
    assert_eq!(send().await, 0);
    world.post(&path, &reject).await;
    world.accept(&openid, ORDER);
    assert_eq!(send().await, 0, "a newer accept ends the refusal");
    world.post(&path, &json!({ "openid": openid, "main_switch": false })).await;
    assert_eq!(send().await, 43101);
    world.post(&path, &json!({ "openid": openid, "state": "main_switch_on" })).await;
    assert_eq!((send().await, world.remaining(&openid)), (0, 1));
}

async fn login(world: &World, js_code: &str) -> Value {
    let query = format!("appid={APP}&secret={SECRET}&js_code={js_code}&grant_type=authorization_code");
    world.get(&format!("/sns/jscode2session?{query}")).await
}

#[tokio::test]
async fn a_login_code_works_once_within_five_minutes() {
    let world = World::new().await;
    let openid = world.user();
    let path = format!("/sandbox/apps/{APP}/login-codes");
    let new_code = || async {
        let made =
            world.http.post(format!("{}{path}", world.base)).json(&json!({ "openid": openid })).send().await;
        text(&made.unwrap().json().await.unwrap(), "code")
    };
    let js_code = new_code().await;
    let session = login(&world, &js_code).await;
    assert_eq!(session["openid"], json!(openid));
    assert_eq!(text(&session, "session_key").len(), 24);
    assert_eq!((session.get("errcode"), session.get("unionid")), (None, None));
    assert_eq!(code(&login(&world, &js_code).await), 40163);
    assert_eq!(code(&login(&world, "nonsense").await), 40029);

    let (fresh, stale) = (new_code().await, new_code().await);
    world.wechat.change_app(APP, |s| s.unionid_on = true).unwrap();
    world.wechat.advance(299).unwrap();
    assert_eq!(text(&login(&world, &fresh).await, "unionid").len(), 28);
    world.wechat.advance(1).unwrap();
    assert_eq!(code(&login(&world, &stale).await), 40029);

    for (query, want) in [
        (format!("secret={SECRET}&js_code=x&grant_type=authorization_code"), 41002),
        (format!("appid={APP}&js_code=x&grant_type=authorization_code"), 41004),
        (format!("appid={APP}&secret={SECRET}&grant_type=authorization_code"), 41008),
        (format!("appid={APP}&secret=no&js_code=x&grant_type=authorization_code"), 40125),
        (format!("appid={APP}&secret={SECRET}&js_code=x&grant_type=x"), 40002),
    ] {
        assert_eq!(code(&world.get(&format!("/sns/jscode2session?{query}")).await), want, "{query}");
    }
}

#[tokio::test]
async fn gettemplate_answers_the_documented_shape() {
    let world = World::new().await;
    let token = world.token().await;
    let path = format!("/wxaapi/newtmpl/gettemplate?access_token={token}");
    let list = world.get(&path).await;
    assert_eq!((list["errcode"].as_i64(), list["errmsg"].as_str()), (Some(0), Some("ok")));
    let data = list["data"].as_array().unwrap();
    let kinds: Vec<_> = data.iter().map(|t| (text(t, "priTmplId"), t["type"].as_i64().unwrap())).collect();
    assert_eq!(kinds, [(ORDER.to_owned(), 2), (LEVEL.to_owned(), 2), (LONG.to_owned(), 3)]);
    assert!(data[0].get("keywordEnumValueList").is_none());
    let enums = json!([{ "keywordCode": "enum_string2.DATA", "enumValueList": ["银", "金"] }]);
    assert_eq!(data[1]["keywordEnumValueList"], enums);
    world.wechat.change_app(APP, |s| s.permissions.templates = false).unwrap();
    assert_eq!(code(&world.get(&path).await), 48001);
}
