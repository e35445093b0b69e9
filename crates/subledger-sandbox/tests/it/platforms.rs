//! Calls of platforms: lifetimes, single use, refusals, and what their tokens are good for.

use serde_json::{Value, json};
use subledger_sandbox::{
    AppSpec, AuthorizeSpec, ComponentCall, ControlError, Habit, PlatformDeed, PlatformSpec, Reality,
};

use crate::platform_world::{COMPONENT, COMPONENT_SECRET, Open, plain, spec};
use crate::receiver::Receiver;
use crate::support::{APP, SECRET, code, order, text};

#[tokio::test]
async fn a_ticket_gives_a_token_for_twelve_hours() {
    let open = Open::new().await;
    let ticket = open.ticket();
    open.world.wechat.change_platform(COMPONENT, |s| s.tickets_on = false).unwrap();
    let got = open.token_for(&ticket).await;
    assert_eq!((code(&got), got["expires_in"].as_i64()), (0, Some(7_200)));
    open.world.wechat.advance(12 * 3_600 - 1).unwrap();
    assert_eq!(code(&open.token_for(&ticket).await), 0);
    open.world.wechat.advance(1).unwrap();
    assert_eq!(code(&open.token_for(&ticket).await), 61005);
    for wrong in ["", "ticket@@@never"] {
        assert_eq!(code(&open.token_for(wrong).await), 61006);
    }
}

#[tokio::test]
async fn a_platforms_token_is_replaced_and_expires_as_an_apps_does() {
    let open = Open::new().await;
    let verdict = async |token: &str| code(&open.list(token).await);
    let first = open.token().await;
    let second = open.token().await;
    assert_ne!(first, second);
    open.world.wechat.advance(299).unwrap();
    assert_eq!((verdict(&first).await, verdict(&second).await), (0, 0));
    open.world.wechat.advance(1).unwrap();
    assert_eq!((verdict(&first).await, verdict(&second).await), (40001, 0));
    open.world.wechat.advance(6_900).unwrap();
    assert_eq!(verdict(&second).await, 42001);
    let third = open.token().await;
    assert_eq!(open.world.wechat.revoke_platform_tokens(COMPONENT, None, true).unwrap().tokens, 1);
    assert_eq!(verdict(&third).await, 40001);
    let hurried = Open::under(Reality { replaced_token_seconds: 0, ..plain() }).await;
    let (first, _) = (hurried.token().await, hurried.token().await);
    assert_eq!(code(&hurried.list(&first).await), 40001);
}

#[tokio::test]
async fn both_names_of_the_token_are_taken_and_other_tokens_are_not() {
    let open = Open::new().await;
    let (token, held, _) = open.connected().await;
    let body = json!({ "component_appid": COMPONENT });
    for (query, want) in [
        (format!("component_access_token={token}"), 0),
        (format!("access_token={token}"), 0),
        (String::new(), 41001),
        ("access_token=short".to_owned(), 40014),
        (format!("access_token={held}"), 61014),
        (format!("access_token={}", open.world.token().await), 61014),
    ] {
        let path = format!("/cgi-bin/component/api_create_preauthcode?{query}");
        assert_eq!(code(&open.world.post(&path, &body).await), want, "{query}");
    }
    assert_eq!(open.world.verdict(&token).await, 61015, "a platform's token is no app's");
    assert_eq!(open.world.verdict(&held).await, 0);
    let own =
        format!("/cgi-bin/token?grant_type=client_credential&appid={COMPONENT}&secret={COMPONENT_SECRET}");
    assert_eq!(code(&open.world.get(&own).await), 61024);
    open.world.wechat.create_platform(PlatformSpec::new("wx00000000comp0002", "s")).unwrap();
    for other in ["wx00000000comp0002", "wxnobody", ""] {
        let named = open.call("api_create_preauthcode", &token, json!({ "component_appid": other })).await;
        assert_eq!(code(&named), 40013, "{other:?} is not the token's");
    }
    let post = open.world.get("/cgi-bin/component/api_query_auth").await;
    assert_eq!(code(&post), 43002);
}

#[tokio::test]
async fn a_pre_auth_code_serves_one_authorization_in_its_time() {
    for (reality, seconds) in [(plain(), 1_800), (Reality { pre_auth_code_seconds: 600, ..plain() }, 600)] {
        let open = Open::under(reality).await;
        let token = open.token().await;
        let code_of = async || {
            let made = open.call("api_create_preauthcode", &token, json!({})).await;
            assert_eq!(made["expires_in"], seconds);
            text(&made, "pre_auth_code")
        };
        let scan = |pre_auth_code: &str| {
            let spec = AuthorizeSpec {
                appid: APP.to_owned(),
                pre_auth_code: Some(pre_auth_code.to_owned()),
                ..AuthorizeSpec::default()
            };
            open.world.wechat.authorize(COMPONENT, &spec)
        };
        let (first, second) = (code_of().await, code_of().await);
        open.world.wechat.advance(seconds - 1).unwrap();
        scan(&first).unwrap();
        assert!(matches!(scan(&first), Err(ControlError::Refused { .. })), "used");
        open.world.wechat.advance(1).unwrap();
        assert!(matches!(scan(&second), Err(ControlError::Refused { .. })), "too old");
        assert!(matches!(scan("preauthcode@@@never"), Err(ControlError::Refused { .. })));
    }
}

#[tokio::test]
async fn an_authorization_code_is_traded_once_within_ten_minutes() {
    let open = Open::new().await;
    let token = open.token().await;
    let given = open.scan(&[18]);
    assert_eq!((given.info_type, given.expires_in), (Some("authorized"), 600));
    let info = open.query(&token, &given.auth_code).await;
    let info = &info["authorization_info"];
    assert_eq!((info["authorizer_appid"].as_str(), info["expires_in"].as_i64()), (Some(APP), Some(7_200)));
    assert_eq!(info["func_info"], json!([{ "funcscope_category": { "id": 18 } }]));
    open.world
        .wechat
        .set_platform_reality(COMPONENT, None, Reality { named_sets: Habit::Always, ..plain() })
        .unwrap();
    let got = open.call("api_get_authorizer_info", &token, json!({ "authorizer_appid": APP })).await;
    let named = &got["authorization_info"]["func_info"][0]["funcscope_category"];
    assert_eq!((named["id"].as_u64(), named["name"].as_str()), (Some(18), Some("权限集18")));
    assert_eq!(code(&open.query(&token, &given.auth_code).await), 61010, "used");
    assert_eq!(code(&open.query(&token, "queryauthcode@@@never").await), 61009);
    assert_eq!(code(&open.query(&token, "").await), 40097);

    let late = open.scan(&[18]);
    open.world.wechat.advance(600).unwrap();
    let token = open.token().await;
    assert_eq!(code(&open.query(&token, &late.auth_code).await), 61010, "too old");
}

#[tokio::test]
async fn the_code_of_the_push_works_too_where_it_is_another_one() {
    for habit in [Habit::Always, Habit::Never] {
        let open = Open::under(Reality { push_has_its_own_code: habit, ..plain() }).await;
        let (token, given) = (open.token().await, open.scan(&[18]));
        let told = open.told().await.pop().unwrap();
        let pushed = &told["AuthorizationCode"];
        assert_eq!(*pushed == given.auth_code, habit == Habit::Never);
        assert_eq!(code(&open.query(&token, &given.auth_code).await), 0);
        let (second, life) = if habit == Habit::Always { (0, 3_600) } else { (61010, 600) };
        let now: i64 = told["CreateTime"].parse().unwrap();
        assert_eq!(told["AuthorizationCodeExpiredTime"], (now + life).to_string());
        assert_eq!(code(&open.query(&token, pushed).await), second);
    }
}

#[tokio::test]
async fn a_refresh_token_lives_until_the_next_scan() {
    let open = Open::new().await;
    let (token, first, refresh) = open.connected().await;
    let again = open.refresh(&token, &refresh).await;
    let second = text(&again, "authorizer_access_token");
    assert_eq!(text(&again, "authorizer_refresh_token"), refresh, "observed: it stays");
    assert_eq!((open.world.verdict(&first).await, open.world.verdict(&second).await), (0, 0));
    open.world.wechat.advance(300).unwrap();
    assert_eq!((open.world.verdict(&first).await, open.world.verdict(&second).await), (40001, 0));

    open.world.wechat.advance(365 * 86_400).unwrap();
    let token = open.token().await;
    assert_eq!(code(&open.refresh(&token, &refresh).await), 0, "a year later");
    let rescan = open.scan(&[17, 18]);
    assert_eq!(rescan.info_type, None, "nothing changed, nothing is pushed");
    assert_eq!(code(&open.refresh(&token, &refresh).await), 61023, "superseded");
    let info = open.query(&token, &rescan.auth_code).await;
    let newer = text(&info["authorization_info"], "authorizer_refresh_token");
    assert_ne!(newer, refresh);
    assert_eq!(code(&open.refresh(&token, &newer).await), 0);
    for lost in ["", "refreshtoken@@@never"] {
        assert_eq!(code(&open.refresh(&token, lost).await), 61023);
    }
}

#[tokio::test]
async fn a_refresh_token_may_rotate_and_end_the_one_before() {
    for (ends, then) in [(false, 0), (true, 61023)] {
        let reality =
            Reality { refresh_token_rotates: Habit::Always, rotated_refresh_token_ends: ends, ..plain() };
        let open = Open::under(reality).await;
        let (token, _, refresh) = open.connected().await;
        let newer = text(&open.refresh(&token, &refresh).await, "authorizer_refresh_token");
        assert_ne!(newer, refresh);
        assert_eq!(code(&open.refresh(&token, &refresh).await), then, "{ends}");
        let listed = text(&open.list(&token).await["list"][0], "refresh_token");
        assert_eq!(code(&open.refresh(&token, &listed).await), 0, "the list tells the one that works");
    }
}

#[tokio::test]
async fn deauthorization_ends_everything_until_the_next_scan() {
    let open = Open::new().await;
    let (token, held, refresh) = open.connected().await;
    let openid = open.world.user_with(3);
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 0);
    assert_eq!(open.world.last().platform.as_deref(), Some(COMPONENT));
    let unused = open.scan(&[18]).auth_code;
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    assert!(open.world.wechat.deauthorize(COMPONENT, APP).is_err(), "there is none to take back");
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 61003);
    assert_eq!(open.world.verdict(&held).await, 61003);
    assert_eq!(code(&open.refresh(&token, &refresh).await), 61003);
    assert_eq!(code(&open.query(&token, &unused).await), 61003);
    let info = json!({ "authorizer_appid": APP });
    assert_eq!(code(&open.call("api_get_authorizer_info", &token, info).await), 61003);
    assert_eq!(open.list(&token).await["total_count"], 0);

    let given = open.scan(&[18]);
    assert_eq!(given.info_type, Some("authorized"));
    assert_eq!(open.world.verdict(&held).await, 40001, "its tokens do not come back");
    let info = open.query(&token, &given.auth_code).await;
    let held = text(&info["authorization_info"], "authorizer_access_token");
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 0);
    assert_eq!(code(&open.refresh(&token, &refresh).await), 61023);
}

#[tokio::test]
async fn without_set_18_calls_are_61007() {
    let open = Open::new().await;
    let token = open.token().await;
    let info = open.query(&token, &open.scan(&[17]).auth_code).await;
    let held = text(&info["authorization_info"], "authorizer_access_token");
    let openid = open.world.user_with(1);
    let js_code = open.world.wechat.create_login_code(APP, &openid).unwrap();
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 61007);
    assert_eq!(open.world.verdict(&held).await, 61007);
    assert_eq!(code(&login(&open, &token, &js_code).await), 61007);
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[17, 18].into()).unwrap();
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 0, "the same token");
    assert_eq!(login(&open, &token, &js_code).await["openid"], openid.as_str());
    assert_eq!(code(&login(&open, &token, &js_code).await), 40163);
}

async fn login(open: &Open, token: &str, js_code: &str) -> Value {
    let path = format!(
        "/sns/component/jscode2session?appid={APP}&js_code={js_code}&grant_type=authorization_code\
         &component_appid={COMPONENT}&component_access_token={token}"
    );
    open.world.get(&path).await
}

#[tokio::test]
async fn only_one_platform_holds_set_18() {
    let open = Open::new().await;
    let other = "wx00000000comp0002";
    open.world.wechat.create_platform(spec(&open.receiver, other)).unwrap();
    open.scan(&[17, 18]);
    let wanted = |sets: &[u32]| AuthorizeSpec {
        appid: APP.to_owned(),
        permission_sets: Some(sets.iter().copied().collect()),
        ..AuthorizeSpec::default()
    };
    let refused = open.world.wechat.authorize(other, &wanted(&[18])).unwrap_err();
    assert!(refused.to_string().contains(COMPONENT), "{refused}");
    open.world.wechat.authorize(other, &wanted(&[17])).unwrap();
    assert!(open.world.wechat.change_permission_sets(other, APP, &[17, 18].into()).is_err());
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    open.world.wechat.change_permission_sets(other, APP, &[17, 18].into()).unwrap();
    assert!(matches!(
        open.world.wechat.authorize(COMPONENT, &wanted(&[18])),
        Err(ControlError::Refused { .. })
    ));
}

#[tokio::test]
async fn an_authorization_that_cannot_be_changes_nothing() {
    let open = Open::new().await;
    let scan = |change: fn(&mut AuthorizeSpec)| {
        let mut spec = AuthorizeSpec { appid: APP.to_owned(), ..AuthorizeSpec::default() };
        change(&mut spec);
        open.world.wechat.authorize(COMPONENT, &spec)
    };
    let wechat = &open.world.wechat;
    assert!(matches!(scan(|s| s.appid = "wxnobody".to_owned()), Err(ControlError::NotFound { what: "app" })));
    assert!(matches!(scan(|s| s.permission_sets = Some([99].into())), Err(ControlError::Invalid { .. })));
    assert!(matches!(
        scan(|s| s.redirect_uri = Some("nowhere".to_owned())),
        Err(ControlError::Invalid { .. })
    ));
    assert!(scan(|s| s.link = Some("http://x/?component_appid=wxother&pre_auth_code=1".to_owned())).is_err());
    assert!(scan(|s| s.link = Some(format!("http://x/?component_appid={COMPONENT}"))).is_err());
    wechat.change_platform(COMPONENT, |s| s.published = false).unwrap();
    assert!(matches!(scan(|_| {}), Err(ControlError::Refused { errcode: Some(61028), .. })));
    assert!(wechat.platform(COMPONENT).unwrap().authorizers.is_empty());
    wechat.change_platform(COMPONENT, |s| s.test_list = vec![APP.to_owned()]).unwrap();
    scan(|_| {}).unwrap();
    wechat.change_platform(COMPONENT, |s| s.banned = true).unwrap();
    assert!(matches!(scan(|_| {}), Err(ControlError::Refused { errcode: Some(61011), .. })));
}

#[tokio::test]
async fn the_list_is_paged_and_may_hide_what_was_not_traded() {
    let open = Open::under(Reality { list_hides_unqueried: true, ..plain() }).await;
    for n in 0..5 {
        let appid = format!("wxmany{n}");
        open.world.wechat.create_app(AppSpec::new(&appid, "s")).unwrap();
        open.world.wechat.advance(1).unwrap();
        let spec = AuthorizeSpec { appid, ..AuthorizeSpec::default() };
        open.world.wechat.authorize(COMPONENT, &spec).unwrap();
    }
    let token = open.token().await;
    let page = async |offset: i64, count: i64| {
        open.call("api_get_authorizer_list", &token, json!({ "offset": offset, "count": count })).await
    };
    let mut seen = Vec::new();
    for offset in [0, 2, 4, 6] {
        let got = page(offset, 2).await;
        assert_eq!(got["total_count"], 5);
        for entry in got["list"].as_array().unwrap() {
            assert_eq!(entry["refresh_token"], "", "its code was not traded");
            seen.push(text(entry, "authorizer_appid"));
        }
    }
    assert_eq!(seen, ["wxmany0", "wxmany1", "wxmany2", "wxmany3", "wxmany4"]);
    for (offset, count) in [(0, 0), (0, 501), (-1, 10)] {
        assert_eq!(code(&page(offset, count).await), 40170, "{offset} {count}");
    }
    open.world.wechat.advance(1).unwrap();
    let (_, _, refresh) = open.connected().await;
    assert_eq!(page(5, 1).await["list"][0]["refresh_token"], refresh.as_str());
}

#[tokio::test]
async fn the_info_tells_a_mini_program_from_another_account() {
    let open = Open::new().await;
    let (token, _, refresh) = open.connected().await;
    let ask = async || open.call("api_get_authorizer_info", &token, json!({ "authorizer_appid": APP })).await;
    let got = ask().await;
    let info = &got["authorizer_info"];
    assert!(info["MiniProgramInfo"]["network"]["RequestDomain"].is_array(), "{info}");
    assert_eq!((info["nick_name"].as_str(), info["account_status"].as_i64()), (Some("示例小程序"), Some(1)));
    let pushed = open.world.wechat.app(APP).unwrap().platform_push.unwrap().gh_id;
    assert!(text(info, "user_name") == pushed && pushed.starts_with("gh_"), "{pushed}");
    assert_eq!(got["authorization_info"]["authorizer_refresh_token"], refresh.as_str());
    assert!(got["authorization_info"].get("authorizer_access_token").is_none());
    open.world.wechat.change_app(APP, |s| s.account.mini_program = false).unwrap();
    assert!(ask().await["authorizer_info"].get("MiniProgramInfo").is_none());
}

#[tokio::test]
async fn addresses_off_the_list_are_61004_wherever_a_platform_calls() {
    let open = Open::new().await;
    let (token, held, _) = open.connected().await;
    open.world.wechat.change_platform(COMPONENT, |s| s.ip_allowlist_on = true).unwrap();
    let refused = open.list(&token).await;
    assert_eq!(code(&refused), 61004);
    assert!(text(&refused, "errmsg").contains("requestIP: 127.0.0.1 "), "{refused}");
    assert_eq!(
        (open.world.verdict(&held).await, code(&open.token_for(&open.ticket()).await)),
        (61004, 61004)
    );
    let openid = open.world.user_with(1);
    assert_eq!(code(&open.world.send(&held, &order(&openid)).await), 61004);
    assert_eq!(open.world.verdict(&open.world.token().await).await, 0, "an app's own token is not concerned");
    open.world.wechat.change_platform(COMPONENT, |s| s.ip_allowlist = vec!["127.0.0.1".to_owned()]).unwrap();
    assert_eq!((code(&open.list(&token).await), open.world.verdict(&held).await), (0, 0));
}

#[tokio::test]
async fn an_apps_own_tokens_go_on_unless_it_is_so_that_they_end() {
    for (ends, want) in [(false, 0), (true, 61024)] {
        let open = Open::under(Reality { platform_ends_own_tokens: ends, ..plain() }).await;
        assert_eq!(code(&open.world.normal().await), 0);
        open.scan(&[18]);
        assert_eq!((code(&open.world.normal().await), code(&open.world.stable(false).await)), (want, want));
        open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
        assert_eq!(code(&open.world.stable(false).await), 0);
    }
}

#[tokio::test]
async fn tokens_are_lost_in_bulk_and_calls_counted() {
    let open = Open::new().await;
    let other = "wx00000000demo0002";
    open.world.wechat.create_app(AppSpec::new(other, SECRET)).unwrap();
    let (token, held, refresh) = open.connected().await;
    let (stable, normal) = (open.world.token().await, text(&open.world.normal().await, "access_token"));
    let lost = open.world.post("/sandbox/tokens/revoke", &json!({ "appids": [other] })).await;
    assert_eq!(lost["tokens"], 0);
    assert_eq!(open.world.post("/sandbox/tokens/revoke", &json!({})).await["tokens"], 3);
    for lost in [&held, &stable, &normal] {
        assert_eq!(open.world.verdict(lost).await, 40001);
    }
    assert_eq!(code(&open.refresh(&token, &refresh).await), 0, "the platform's own token is not lost");
    assert_ne!(open.world.token().await, stable);
    open.world.token().await;
    let calls = open.world.wechat.stats().token_calls[APP].clone();
    assert_eq!((calls.token, calls.stable, calls.query_auth, calls.authorizer), (1, 3, 1, 1));
    assert_eq!(calls.issued, 5, "the last stable call gave what was there");
    let by_code = &open.world.wechat.stats().component_calls[COMPONENT][&ComponentCall::AuthorizerToken];
    assert_eq!(by_code.iter().collect::<Vec<_>>(), [(&0, &1)]);
}

#[tokio::test]
async fn another_system_refreshes_and_ours_ends() {
    let open = Open::new().await;
    let (stable, normal) = (open.world.token().await, text(&open.world.normal().await, "access_token"));
    let before = open.world.wechat.stats();
    assert_eq!(open.world.post("/sandbox/tokens/refresh", &json!({})).await["apps"], 1);
    assert_eq!((open.world.verdict(&stable).await, open.world.verdict(&normal).await), (0, 0));
    open.world.wechat.advance(300).unwrap();
    assert_eq!((open.world.verdict(&stable).await, open.world.verdict(&normal).await), (0, 40001));
    let forced = json!({ "appids": [APP], "mode": "forced" });
    open.world.post("/sandbox/tokens/refresh", &forced).await;
    assert_eq!(open.world.verdict(&stable).await, 40001);
    assert_eq!(open.world.wechat.stats().token_calls, before.token_calls, "it is not our call");
}

#[tokio::test]
async fn every_deed_stands_in_the_journal() {
    let open = Open::new().await;
    let (token, _, refresh) = open.connected().await;
    open.refresh(&token, "lost").await;
    open.refresh(&token, &refresh).await;
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[18].into()).unwrap();
    open.scan(&[18]);
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    let journal = open.world.wechat.platform_journal();
    let told: Vec<String> = journal
        .iter()
        .map(|entry| match &entry.deed {
            PlatformDeed::Call { call, errcode, answered, .. } => {
                assert!(*answered);
                format!("{call:?} {}", errcode.unwrap())
            }
            PlatformDeed::Authorized { permission_sets, again } => {
                format!("scan {permission_sets:?} {again}")
            }
            PlatformDeed::SetsChanged { permission_sets } => format!("sets {permission_sets:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "Ticket { repeated: false }",
            "ComponentToken 0",
            "scan {17, 18} false",
            "QueryAuth 0",
            "AuthorizerToken 61023",
            "AuthorizerToken 0",
            "sets {18}",
            "scan {18} true",
            "Unauthorized",
        ]
    );
    assert!(journal.iter().all(|e| e.component.as_deref() == Some(COMPONENT)));
    assert!(journal.iter().zip(1..).all(|(e, seq)| e.seq == seq));
    let written = serde_json::to_string(&journal).unwrap();
    for secret in [&token, &refresh, &open.ticket(), &COMPONENT_SECRET.to_owned()] {
        assert!(!written.contains(secret.as_str()), "a journal holds no secret");
    }
    let page = open.world.get(&format!("/sandbox/platform-journal?appid={APP}&call=authorizer_token")).await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn platforms_are_set_up_and_authorized_over_http() {
    let open = Open::new().await;
    let receiver = Receiver::start().await;
    let world = &open.world;
    let send = async |method: reqwest::Method, path: &str, body: Value| {
        let answer =
            world.http.request(method, format!("{}{path}", world.base)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (post, patch, put) = (reqwest::Method::POST, reqwest::Method::PATCH, reqwest::Method::PUT);
    let body = json!({ "component_appid": "wxcomp", "secret": "s", "authorization_url": receiver.url });
    let (status, made) = send(post.clone(), "/sandbox/platforms", body.clone()).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(text(&made["settings"], "encoding_aes_key").len(), 43);
    assert!(text(&made, "ticket").starts_with("ticket@@@"));
    assert_eq!(made["next_ticket"], "2030-01-02T03:10:00Z");
    assert_eq!(send(post.clone(), "/sandbox/platforms", body).await.0, 409);
    for bad in [
        json!({ "component_appid": "x" }),
        json!({ "component_appid": "", "secret": "s" }),
        json!({ "component_appid": "x", "secret": "s", "gravity": 1 }),
        json!({ "component_appid": "x", "secret": "s", "message_url": "ftp://x/$APPID$" }),
        json!({ "component_appid": "x", "secret": "s", "encoding_aes_key": "short" }),
    ] {
        assert_eq!(send(post.clone(), "/sandbox/platforms", bad.clone()).await.0, 400, "{bad}");
    }
    let (status, changed) =
        send(patch, "/sandbox/platforms/wxcomp", json!({ "permission_sets": [18], "secret": "t" })).await;
    assert_eq!((status, &changed["settings"]["permission_sets"]), (200, &json!([18])));
    let link = "http://mp.invalid/cgi-bin/componentloginpage?component_appid=wxcomp&pre_auth_code=";
    let ticket = send(post.clone(), "/sandbox/platforms/wxcomp/tickets", json!({})).await.1;
    let token = world
        .post(
            "/cgi-bin/component/api_component_token",
            &json!({ "component_appid": "wxcomp", "component_appsecret": "t",
                     "component_verify_ticket": ticket["ticket"] }),
        )
        .await;
    let path = format!(
        "/cgi-bin/component/api_create_preauthcode?component_access_token={}",
        text(&token, "component_access_token")
    );
    let pre = text(&world.post(&path, &json!({ "component_appid": "wxcomp" })).await, "pre_auth_code");
    let link = format!("{link}{pre}&redirect_uri=http%3A%2F%2Fback.invalid%2Fdone%3Fstate%3D7&auth_type=2");
    let authorize = "/sandbox/platforms/wxcomp/authorize";
    let (status, given) = send(post.clone(), authorize, json!({ "appid": APP, "link": link })).await;
    assert_eq!(status, 200, "{given}");
    let redirect = reqwest::Url::parse(&text(&given, "redirect")).unwrap();
    let query: std::collections::BTreeMap<_, _> = redirect.query_pairs().into_owned().collect();
    assert_eq!((query["state"].as_str(), query["expires_in"].as_str()), ("7", "600"));
    assert_eq!(query["auth_code"], text(&given, "auth_code"));
    let (status, again) = send(post.clone(), authorize, json!({ "appid": APP, "link": link })).await;
    assert_eq!((status, again["error"]["code"].as_str()), (409, Some("refused")));
    let sets = json!({ "permission_sets": [] });
    assert_eq!(send(put, &format!("/sandbox/platforms/wxcomp/authorizers/{APP}"), sets).await.0, 200);
    let off = send(post, "/sandbox/platforms/wxcomp/deauthorize", json!({ "appid": APP })).await;
    assert!(off.0 == 200 && off.1["push"].is_u64(), "{off:?}");
    assert_eq!(world.get("/sandbox/platforms").await["platforms"], json!([COMPONENT, "wxcomp"]));
    world.wechat.reset();
    assert!(world.wechat.platforms().is_empty());
    assert!(world.wechat.create_platform(PlatformSpec::new(COMPONENT, "s")).is_ok());
    assert!(world.wechat.create_app(AppSpec::new(COMPONENT, "s")).is_err(), "one appid, one thing");
}
