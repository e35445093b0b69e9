//! Calls of a third-party platform end to end, with the answers of the reference.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use subledger_wechat::component::{ComponentClient, DEVELOPMENT_SET, MOST_LISTED};
use subledger_wechat::{CallError, ConnectFailure, RefusalClass, RetryHint, UnknownReason};

use crate::server::{Act, Seen, Server, client, ok};

const COMPONENT: &str = "wx00000000comp0001";
const APPID: &str = "wx00000000demo0001";

fn secret(text: &str) -> SecretString {
    text.into()
}

fn exposed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(ExposeSecret::expose_secret)
}

async fn answering(act: Act) -> (Server, ComponentClient) {
    let server = Server::start(move |_| act.clone()).await;
    let component = ComponentClient::new(client(&server.url()), COMPONENT);
    (server, component)
}

/// Asserts the one request that was made: a POST to a call of the platform, with this body and nothing else.
fn assert_posted(server: &Server, call: &str, query: &str, body: Value) {
    let seen: [Seen; 1] = server.seen().try_into().unwrap();
    let [Seen { method, path, query: told, body: sent }] = seen;
    assert_eq!((method.as_str(), path), ("POST", format!("/cgi-bin/component/{call}")));
    assert_eq!(told, query);
    assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), body);
}

const TOKEN_QUERY: &str = "component_access_token=CT";

#[tokio::test]
async fn the_platform_s_token_is_bought_with_the_ticket() {
    let body = r#"{"component_access_token":"DEMO_COMP_TOKEN_0001","expires_in":7200}"#;
    let (server, component) = answering(ok(body)).await;
    let grant = component.component_token(&secret("CS"), &secret("ticket@@@demo-0001")).await.unwrap();
    assert_eq!((grant.token.expose_secret(), grant.expires_in), ("DEMO_COMP_TOKEN_0001", 7200));
    let sent = json!({"component_appid": COMPONENT, "component_appsecret": "CS",
        "component_verify_ticket": "ticket@@@demo-0001"});
    assert_posted(&server, "api_component_token", "", sent);
}

#[tokio::test]
async fn tickets_are_asked_for_and_wechat_s_words_kept() {
    for words in ["ok", "in a normal state"] {
        let (server, component) = answering(ok(&json!({"errcode":0,"errmsg":words}).to_string())).await;
        let answer = component.start_push_ticket(&secret("CS")).await.unwrap();
        assert_eq!(answer.message, words);
        let sent = json!({"component_appid": COMPONENT, "component_secret": "CS"});
        assert_posted(&server, "api_start_push_ticket", "", sent);
    }
    let (_server, component) = answering(ok("{}")).await;
    let bare = component.start_push_ticket(&secret("CS")).await;
    assert_eq!(bare, Err(CallError::Unknown(UnknownReason::Unintelligible)), "nobody said yes");
}

#[tokio::test]
async fn a_pre_auth_code_lives_as_long_as_the_answer_says() {
    for life in [1800, 600] {
        let body = json!({"pre_auth_code":"preauthcode@@@demo-0001","expires_in":life}).to_string();
        let (server, component) = answering(ok(&body)).await;
        let code = component.create_preauthcode(&secret("CT")).await.unwrap();
        assert_eq!((code.code.expose_secret(), code.expires_in), ("preauthcode@@@demo-0001", life));
        assert_posted(&server, "api_create_preauthcode", TOKEN_QUERY, json!({"component_appid": COMPONENT}));
    }
}

#[tokio::test]
async fn a_code_becomes_an_authorization() {
    let body = r#"{"authorization_info":{"authorizer_appid":"wx00000000demo0001","authorizer_access_token":"DEMO_AUTH_TOKEN_0001","expires_in":7200,"authorizer_refresh_token":"refreshtoken@@@demo-0001","func_info":[{"funcscope_category":{"id":17}},{"funcscope_category":{"id":18}}]}}"#;
    let (server, component) = answering(ok(body)).await;
    let code = secret("queryauthcode@@@demo-0001");
    let given = component.query_auth(&secret("CT"), &code).await.unwrap();
    assert_eq!(given.appid, APPID);
    assert_eq!(given.token.as_ref().unwrap().token.expose_secret(), "DEMO_AUTH_TOKEN_0001");
    assert_eq!(exposed(&given.refresh_token), Some("refreshtoken@@@demo-0001"));
    assert_eq!(given.permission_sets.ids(), [17, DEVELOPMENT_SET]);
    let sent = json!({"component_appid": COMPONENT, "authorization_code": "queryauthcode@@@demo-0001"});
    assert_posted(&server, "api_query_auth", TOKEN_QUERY, sent);

    let bare = r#"{"authorization_info":{"authorizer_appid":"wx2","authorizer_access_token":"","authorizer_refresh_token":"","func_info":[]}}"#;
    let (_server, component) = answering(ok(bare)).await;
    let given = component.query_auth(&secret("CT"), &code).await.unwrap();
    assert!(given.token.is_none() && given.refresh_token.is_none(), "a spent code is no error");
}

#[tokio::test]
async fn an_account_s_token_comes_with_the_refresh_token_to_keep() {
    let body = r#"{"authorizer_access_token":"DEMO_AUTH_TOKEN_0002","expires_in":7200,"authorizer_refresh_token":"refreshtoken@@@demo-0002"}"#;
    let (server, component) = answering(ok(body)).await;
    let old = secret("refreshtoken@@@demo-0001");
    let grant = component.authorizer_token(&secret("CT"), APPID, &old).await.unwrap();
    assert_eq!(grant.token.token.expose_secret(), "DEMO_AUTH_TOKEN_0002");
    assert_eq!(exposed(&grant.refresh_token), Some("refreshtoken@@@demo-0002"));
    let sent = json!({"component_appid": COMPONENT, "authorizer_appid": APPID,
        "authorizer_refresh_token": "refreshtoken@@@demo-0001"});
    assert_posted(&server, "api_authorizer_token", TOKEN_QUERY, sent);

    let (_server, component) = answering(ok(r#"{"authorizer_access_token":"T","expires_in":7200}"#)).await;
    let grant = component.authorizer_token(&secret("CT"), APPID, &old).await.unwrap();
    assert_eq!(exposed(&grant.refresh_token), None, "the old one stays");
}

#[tokio::test]
async fn an_account_is_described() {
    let body = r#"{"authorizer_info":{"nick_name":"示例小程序","head_img":"https://example.invalid/h.png","service_type_info":{"id":0},"verify_type_info":{"id":0},"user_name":"gh_demo00000001","alias":"","principal_name":"示例公司","MiniProgramInfo":{"network":{"RequestDomain":["https://example.invalid"],"WsRequestDomain":[],"UploadDomain":[],"DownloadDomain":[]},"categories":[{"first":"示例","second":"餐饮"}]},"account_status":1},"authorization_info":{"authorizer_appid":"wx00000000demo0001","authorizer_refresh_token":"refreshtoken@@@demo-0001","func_info":[{"funcscope_category":{"id":18}}]}}"#;
    let (server, component) = answering(ok(body)).await;
    let info = component.authorizer_info(&secret("CT"), APPID).await.unwrap();
    assert_eq!((info.original_id.as_deref(), info.is_mini_program), (Some("gh_demo00000001"), true));
    assert_eq!(
        (info.nick_name.as_deref(), info.principal_name.as_deref()),
        (Some("示例小程序"), Some("示例公司"))
    );
    assert_eq!((info.verify_type, info.account_status), (Some(0), Some(1)));
    assert_eq!((info.categories[0].first.as_str(), info.categories[0].second.as_str()), ("示例", "餐饮"));
    assert_eq!(exposed(&info.refresh_token), Some("refreshtoken@@@demo-0001"));
    assert!(info.permission_sets.has(DEVELOPMENT_SET));
    let sent = json!({"component_appid": COMPONENT, "authorizer_appid": APPID});
    assert_posted(&server, "api_get_authorizer_info", TOKEN_QUERY, sent);
}

#[tokio::test]
async fn the_list_finds_refresh_tokens_again_and_may_be_long() {
    let entry = |number: usize| json!({"authorizer_appid": format!("wx{number}"), "refresh_token": "r".repeat(200), "auth_time": 1_790_000_200});
    let mut list: Vec<Value> = (0..498).map(entry).collect();
    list.push(json!({"authorizer_appid": "wxNew", "refresh_token": "", "auth_time": "1790000300"}));
    list.push(json!({"refresh_token": "r"}));
    let body = json!({"total_count": 777, "list": list}).to_string();
    assert!(body.len() > 64 * 1024, "larger than the cap of other calls");
    let (server, component) = answering(ok(&body)).await;
    let page = component.authorizer_list(&secret("CT"), 500, u32::MAX).await.unwrap();
    assert_eq!((page.total, page.accounts.len(), page.undecodable), (777, 499, 1));
    assert_eq!(exposed(&page.accounts[0].refresh_token).map(str::len), Some(200));
    let new = &page.accounts[498];
    assert_eq!((exposed(&new.refresh_token), new.authorized_at), (None, Some(1_790_000_300)));
    let sent = json!({"component_appid": COMPONENT, "offset": 500, "count": MOST_LISTED});
    assert_posted(&server, "api_get_authorizer_list", TOKEN_QUERY, sent);
}

#[tokio::test]
async fn a_login_goes_through_the_platform() {
    let body = r#"{"openid":"oDEMO_A","session_key":"REVNT19TRVNTSU9OX0tFWQ=="}"#;
    let (server, component) = answering(ok(body)).await;
    let identity = component.jscode2session(&secret("CT"), APPID, &secret("CODE")).await.unwrap();
    assert_eq!(identity.openid, "oDEMO_A");
    let seen = &server.seen()[0];
    let query = format!(
        "appid={APPID}&js_code=CODE&grant_type=authorization_code&component_appid={COMPONENT}&component_access_token=CT"
    );
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/sns/component/jscode2session"));
    assert_eq!(seen.query, query);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let refused = |code: i64, words: &str| ok(&json!({"errcode": code, "errmsg": words}).to_string());
    for (code, class) in [
        (61003, RefusalClass::NotAuthorized),
        (61023, RefusalClass::NotAuthorized),
        (61004, RefusalClass::PlatformConfig),
        (61014, RefusalClass::Bug),
        (40013, RefusalClass::ChannelConfig),
    ] {
        let (_server, component) = answering(refused(code, "no rid: 1-2-3")).await;
        let error = component.authorizer_token(&secret("CT"), APPID, &secret("R")).await.unwrap_err();
        let CallError::Refused { code: told, rid, class: given, .. } = error else { panic!("{error:?}") };
        assert_eq!((told, rid.as_deref(), given), (code, Some("1-2-3"), class));
    }
    for code in [61009, 61010, 40097] {
        let (_server, component) = answering(refused(code, "code")).await;
        let error = component.query_auth(&secret("CT"), &secret("C")).await.unwrap_err();
        let spent = RefusalClass::AuthorizationCode;
        assert!(matches!(error, CallError::Refused { class, .. } if class == spent), "{error:?}");
    }
    for code in [61005, 61006, 40125, 40001] {
        let (_server, component) = answering(refused(code, "ticket")).await;
        let error = component.component_token(&secret("CS"), &secret("T")).await.unwrap_err();
        let platform = RefusalClass::PlatformConfig;
        assert!(matches!(error, CallError::Refused { class, .. } if class == platform), "{error:?}");
    }
    for code in [40001, 40014, 42001] {
        let (_server, component) = answering(refused(code, "stale")).await;
        let stale = [
            component.create_preauthcode(&secret("CT")).await.unwrap_err(),
            component.authorizer_info(&secret("CT"), APPID).await.unwrap_err(),
            component.jscode2session(&secret("CT"), APPID, &secret("C")).await.unwrap_err(),
        ];
        for error in stale {
            assert!(matches!(error, CallError::StaleToken { code: told, .. } if told == code), "{error:?}");
        }
    }
    let (_server, component) = answering(refused(-1, "busy")).await;
    let busy = component.create_preauthcode(&secret("CT")).await.unwrap_err();
    assert!(matches!(busy, CallError::TryAgain { when: RetryHint::Backoff, .. }));
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let unknown = |error: CallError| assert_eq!(error, CallError::Unknown(UnknownReason::Unintelligible));
    for body in [
        "{}",
        r#"{"errcode":0,"errmsg":"ok"}"#,
        r#"{"expires_in":7200,"authorization_info":{"func_info":[]},"authorizer_info":{},"list":[]}"#,
    ] {
        let (_server, component) = answering(ok(body)).await;
        let token = secret("CT");
        unknown(component.component_token(&token, &token).await.unwrap_err());
        unknown(component.create_preauthcode(&token).await.unwrap_err());
        unknown(component.query_auth(&token, &token).await.unwrap_err());
        unknown(component.authorizer_token(&token, APPID, &token).await.unwrap_err());
        unknown(component.authorizer_list(&token, 0, 1).await.unwrap_err());
        unknown(component.jscode2session(&token, APPID, &token).await.unwrap_err());
    }
    let (_server, component) = answering(ok(r#"{"authorizer_info":{}}"#)).await;
    unknown(component.authorizer_info(&secret("CT"), APPID).await.unwrap_err());
}

#[tokio::test]
async fn an_empty_secret_is_never_presented() {
    let (server, component) = answering(ok("{}")).await;
    let (full, empty) = (secret("x"), secret(""));
    let errors = [
        component.start_push_ticket(&empty).await.unwrap_err(),
        component.component_token(&full, &empty).await.unwrap_err(),
        component.component_token(&empty, &full).await.unwrap_err(),
        component.create_preauthcode(&empty).await.unwrap_err(),
        component.query_auth(&full, &empty).await.unwrap_err(),
        component.authorizer_token(&full, APPID, &empty).await.unwrap_err(),
        component.jscode2session(&empty, APPID, &full).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error, CallError::NotReached(ConnectFailure::NotBuilt));
    }
    assert!(server.seen().is_empty(), "nothing was sent");
}
