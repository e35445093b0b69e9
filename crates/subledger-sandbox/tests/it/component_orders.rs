//! The order of checks of platforms' calls, and of a platform's sends, is data: whichever of two violated checks stands
//! first in the table gives the code.

use serde_json::{Value, json};
use subledger_sandbox::{
    ComponentCall, ComponentCheck, DEFAULT_CHECK_ORDER, DEFAULT_COMPONENT_ORDER, SendCheck,
};

use crate::platform_world::{COMPONENT, COMPONENT_SECRET, Open};
use crate::support::{APP, code, order};

use ComponentCall::{AuthorizerToken, ComponentToken, CreatePreauthcode, GetAuthorizerList, QueryAuth};

/// How one check is made to fail, its code, and the calls that have a use for it.
struct Break {
    check: ComponentCheck,
    code: i64,
    calls: &'static [ComponentCall],
    world: fn(&Open),
    body: fn(&mut Value),
}

const ALL: &[ComponentCall] =
    &[ComponentToken, CreatePreauthcode, QueryAuth, AuthorizerToken, GetAuthorizerList];
const WITH_TOKEN: &[ComponentCall] = &[CreatePreauthcode, QueryAuth, AuthorizerToken, GetAuthorizerList];

fn nothing(_: &Open) {}
fn as_is(_: &mut Value) {}
fn lose_tokens(open: &Open) {
    open.world.wechat.revoke_platform_tokens(COMPONENT, None, true).unwrap();
}
fn untick(open: &Open) {
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[17].into()).unwrap();
}
fn deauthorize(open: &Open) {
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
}

const BREAKS: [Break; 11] = [
    Break { check: ComponentCheck::Token, code: 40001, calls: WITH_TOKEN, world: lose_tokens, body: as_is },
    Break {
        check: ComponentCheck::Component,
        code: 40013,
        calls: ALL,
        world: nothing,
        body: |b| b["component_appid"] = json!("wxnobody"),
    },
    Break {
        check: ComponentCheck::Banned,
        code: 61011,
        calls: ALL,
        world: |open| open.world.wechat.change_platform(COMPONENT, |s| s.banned = true).unwrap(),
        body: as_is,
    },
    Break {
        check: ComponentCheck::Ip,
        code: 61004,
        calls: ALL,
        world: |open| open.world.wechat.change_platform(COMPONENT, |s| s.ip_allowlist_on = true).unwrap(),
        body: as_is,
    },
    Break {
        check: ComponentCheck::Secret,
        code: 40125,
        calls: &[ComponentToken],
        world: nothing,
        body: |b| b["component_appsecret"] = json!("wrong"),
    },
    Break {
        check: ComponentCheck::Ticket,
        code: 61006,
        calls: &[ComponentToken],
        world: nothing,
        body: |b| b["component_verify_ticket"] = json!("wrong"),
    },
    Break {
        check: ComponentCheck::Account,
        code: 40013,
        calls: &[AuthorizerToken],
        world: nothing,
        body: |b| b["authorizer_appid"] = json!("wxnobody"),
    },
    Break {
        check: ComponentCheck::Code,
        code: 61009,
        calls: &[QueryAuth],
        world: nothing,
        body: |b| b["authorization_code"] = json!("queryauthcode@@@never"),
    },
    Break {
        check: ComponentCheck::Authorization,
        code: 61003,
        calls: &[QueryAuth, AuthorizerToken],
        world: deauthorize,
        body: as_is,
    },
    Break {
        check: ComponentCheck::RefreshToken,
        code: 61023,
        calls: &[AuthorizerToken],
        world: nothing,
        body: |b| b["authorizer_refresh_token"] = json!("refreshtoken@@@never"),
    },
    Break {
        check: ComponentCheck::Page,
        code: 40170,
        calls: &[GetAuthorizerList],
        world: nothing,
        body: |b| b["count"] = json!(501),
    },
];

/// Of a platform, an app or a code that does not exist there is nothing to check the other against.
fn hides(a: ComponentCheck, b: ComponentCheck) -> bool {
    use ComponentCheck::{Account, Authorization, Code, Component, Page, RefreshToken, Token};
    match (a, b) {
        (Component, b) => !matches!(b, Token | Page),
        (Account | Authorization, RefreshToken) | (Account | Code, Authorization) => true,
        _ => false,
    }
}

/// A call that is answered well.
async fn sound(open: &Open, call: ComponentCall) -> (String, Value) {
    let (token, _, refresh) = open.connected().await;
    let mut body = match call {
        ComponentToken => json!({
            "component_appsecret": COMPONENT_SECRET,
            "component_verify_ticket": open.ticket(),
        }),
        QueryAuth => json!({ "authorization_code": open.scan(&[17, 18]).auth_code }),
        AuthorizerToken => json!({ "authorizer_appid": APP, "authorizer_refresh_token": refresh }),
        GetAuthorizerList => json!({ "offset": 0, "count": 500 }),
        _ => json!({}),
    };
    body["component_appid"] = json!(COMPONENT);
    (token, body)
}

fn name(call: ComponentCall) -> &'static str {
    match call {
        ComponentToken => "api_component_token",
        CreatePreauthcode => "api_create_preauthcode",
        QueryAuth => "api_query_auth",
        AuthorizerToken => "api_authorizer_token",
        _ => "api_get_authorizer_list",
    }
}

#[tokio::test]
async fn of_two_violated_checks_the_first_in_the_table_answers() {
    let mut pairs = 0;
    for call in ALL {
        for a in BREAKS.iter().filter(|b| b.calls.contains(call)) {
            for b in BREAKS.iter().filter(|b| b.calls.contains(call)) {
                if a.check == b.check || hides(a.check, b.check) || hides(b.check, a.check) {
                    continue;
                }
                pairs += 1;
                let open = Open::new().await;
                let (token, mut body) = sound(&open, *call).await;
                let others = |check: &ComponentCheck| *check != a.check && *check != b.check;
                let mut table: Vec<_> = DEFAULT_COMPONENT_ORDER.into_iter().filter(others).collect();
                table.extend([a.check, b.check]);
                open.world.wechat.set_component_order(table).unwrap();
                for one in [a, b] {
                    (one.world)(&open);
                    (one.body)(&mut body);
                }
                let answer = open.call(name(*call), &token, body).await;
                assert_eq!(code(&answer), a.code, "{call:?}: {:?} before {:?}", a.check, b.check);
            }
        }
    }
    assert_eq!(pairs, 12 + 8 + 20 + 26 + 16);
}

#[tokio::test]
async fn each_call_is_sound_and_each_check_alone_refuses_it() {
    for call in ALL {
        let open = Open::new().await;
        let (token, body) = sound(&open, *call).await;
        assert_eq!(code(&open.call(name(*call), &token, body).await), 0, "{call:?}");
        for one in BREAKS.iter().filter(|b| b.calls.contains(call)) {
            let open = Open::new().await;
            let (token, mut body) = sound(&open, *call).await;
            (one.world)(&open);
            (one.body)(&mut body);
            let answer = open.call(name(*call), &token, body).await;
            assert_eq!(code(&answer), one.code, "{call:?} {:?}", one.check);
        }
    }
}

#[tokio::test]
async fn the_body_comes_first_unless_the_table_says_otherwise() {
    let open = Open::new().await;
    let path = format!("{}/cgi-bin/component/api_query_auth?access_token=short", open.world.base);
    let verdict = async |body: &'static str| {
        let answer = open.world.http.post(&path).body(body).send().await.unwrap();
        code(&answer.json::<Value>().await.unwrap())
    };
    assert_eq!((verdict("").await, verdict("[]").await, verdict("{}").await), (44002, 47001, 40014));
    let mut table = DEFAULT_COMPONENT_ORDER.to_vec();
    table.swap(0, 1);
    let body = json!({ "order": table });
    let put = open.world.http.put(format!("{}/sandbox/component-check-order", open.world.base));
    assert_eq!(put.json(&body).send().await.unwrap().status(), 200);
    assert_eq!(verdict("[]").await, 40014);
    assert_eq!(open.world.get("/sandbox/component-check-order").await, body);
    assert!(open.world.wechat.set_component_order(vec![ComponentCheck::Body]).is_err());
}

/// How a check of a send through a platform is made to fail, and its code.
type SendBreak = (SendCheck, i64, fn(&Open), fn(&mut Value));

const SEND_BREAKS: [SendBreak; 5] = [
    (
        SendCheck::PlatformIp,
        61004,
        |open| open.world.wechat.change_platform(COMPONENT, |s| s.ip_allowlist_on = true).unwrap(),
        as_is,
    ),
    (SendCheck::Authorization, 61003, deauthorize, as_is),
    (SendCheck::PermissionSet, 61007, untick, as_is),
    (
        SendCheck::Permission,
        48001,
        |open| open.world.wechat.change_app(APP, |s| s.permissions.send = false).unwrap(),
        as_is,
    ),
    (SendCheck::Touser, 40003, nothing, |b| b["touser"] = json!("oNobody")),
];

#[tokio::test]
async fn a_platforms_sends_follow_the_table_of_sends() {
    use SendCheck::{Authorization, PermissionSet};
    for a in &SEND_BREAKS {
        for b in &SEND_BREAKS {
            if a.0 == b.0
                || matches!((a.0, b.0), (Authorization, PermissionSet) | (PermissionSet, Authorization))
            {
                continue;
            }
            let open = Open::new().await;
            let (_, held, _) = open.connected().await;
            let mut table: Vec<_> =
                DEFAULT_CHECK_ORDER.into_iter().filter(|c| *c != a.0 && *c != b.0).collect();
            table.extend([a.0, b.0]);
            open.world.wechat.set_check_order(table).unwrap();
            let mut body = order(&open.world.user_with(1));
            for one in [a, b] {
                (one.2)(&open);
                (one.3)(&mut body);
            }
            assert_eq!(code(&open.world.send(&held, &body).await), a.1, "{:?} before {:?}", a.0, b.0);
        }
    }
}
