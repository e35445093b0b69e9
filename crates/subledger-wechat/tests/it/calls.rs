//! Login and templates end to end.

use subledger_wechat::{
    CallError, ChannelError, ConnectFailure, LoginIdentity, RefusalClass, RetryHint, TemplateKind,
    UnknownReason,
};

use crate::server::{APPID, Act, STABLE, Server, channel, ok};

async fn login(act: Act) -> Result<LoginIdentity, ChannelError> {
    let server = Server::start(move |_| act.clone()).await;
    let result = channel(&server.url()).login(&"CODE".into()).await;
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/sns/jscode2session"));
    let query = format!("appid={APPID}&secret=SECRET&js_code=CODE&grant_type=authorization_code");
    assert_eq!((seen[0].method.as_str(), &seen[0].query), ("GET", &query));
    result
}

#[tokio::test]
async fn a_login_yields_the_openid_and_never_the_session_key() {
    let body =
        r#"{"openid":"pDEMO_A","session_key":"REVNT19TRVNTSU9OX0tFWQ==","unionid":"uDEMO_union_0001"}"#;
    let identity = login(ok(body)).await.unwrap();
    assert_eq!(
        (identity.openid.as_str(), identity.unionid.as_deref()),
        ("pDEMO_A", Some("uDEMO_union_0001"))
    );
    let text = format!("{identity:?}");
    for private in ["REVNT19", "pDEMO", "uDEMO"] {
        assert!(!text.contains(private), "{text}");
    }
    let bare = login(ok(r#"{"errcode":0,"openid":"o1","session_key":"x"}"#)).await.unwrap();
    assert_eq!(bare.unionid, None);
}

#[tokio::test]
async fn a_login_can_be_refused_put_off_or_not_understood() {
    for (code, expected) in [
        (40029, RefusalClass::LoginCode),
        (40163, RefusalClass::LoginCode),
        (40226, RefusalClass::LoginBlocked),
        (40125, RefusalClass::ChannelConfig),
        (40001, RefusalClass::ChannelConfig),
    ] {
        let error = login(ok(&format!(r#"{{"errcode":{code},"errmsg":"no, rid: 1-2-3"}}"#))).await;
        let Err(ChannelError::Call(CallError::Refused { code: told, rid, class, .. })) = error else {
            panic!("{error:?}")
        };
        assert_eq!((told, rid.as_deref(), class), (code, Some("1-2-3"), expected));
    }
    let busy = login(ok(r#"{"errcode":45011,"errmsg":"slower"}"#)).await;
    assert!(matches!(busy, Err(ChannelError::Call(CallError::TryAgain { when: RetryHint::NextMinute, .. }))));
    let unknown = |reason| Err(ChannelError::Call(CallError::Unknown(reason)));
    assert_eq!(login(ok(r#"{"session_key":"x"}"#)).await, unknown(UnknownReason::Unintelligible));
    assert_eq!(login(Act::Json(500, "oops".into())).await, unknown(UnknownReason::HttpStatus(500)));
}

#[tokio::test]
async fn templates_are_fetched_with_a_token_and_may_be_large() {
    let entry = |number: usize| {
        let pad = "说明".repeat(600);
        format!(
            r#"{{"priTmplId":"TPL_{number}","title":"示例","content":"{pad}:{{{{thing{number}.DATA}}}}\n","example":"","type":2}}"#
        )
    };
    let data: Vec<String> = (1..=50).map(entry).collect();
    let body = format!(r#"{{"errcode":0,"errmsg":"ok","data":[{}]}}"#, data.join(","));
    assert!(body.len() > 64 * 1024, "larger than the cap of other calls");
    let server = Server::start(move |seen| match seen.path.as_str() {
        STABLE => ok(r#"{"access_token":"T1","expires_in":7200}"#),
        _ => ok(&body),
    })
    .await;
    let list = channel(&server.url()).templates().await.unwrap();
    assert_eq!((list.templates.len(), list.undecodable), (50, 0));
    let last = &list.templates[49];
    assert_eq!((last.kind, last.keys[0].key.as_str()), (TemplateKind::OneTime, "thing50"));
    let asked = &server.seen()[1];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str(), asked.query.as_str()),
        ("GET", "/wxaapi/newtmpl/gettemplate", "access_token=T1")
    );
}

#[tokio::test]
async fn an_answer_without_a_list_is_not_an_empty_list() {
    let server = Server::start(|seen| match seen.path.as_str() {
        STABLE => ok(r#"{"access_token":"T1","expires_in":7200}"#),
        _ => ok(r#"{"errcode":0,"errmsg":"ok"}"#),
    })
    .await;
    let error = channel(&server.url()).templates().await.unwrap_err();
    assert_eq!(error, ChannelError::Call(CallError::Unknown(UnknownReason::Unintelligible)));
}

#[tokio::test]
async fn a_path_in_the_base_url_is_a_prefix() {
    let server = Server::start(|_| ok(r#"{"openid":"o1"}"#)).await;
    channel(&format!("{}/wechat/", server.url())).login(&"C".into()).await.unwrap();
    assert_eq!(server.seen()[0].path, "/wechat/sns/jscode2session");
}

#[tokio::test]
async fn an_unreachable_host_is_told_apart() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = channel(&format!("http://{closed}")).login(&"C".into()).await.unwrap_err();
    assert_eq!(error, ChannelError::Call(CallError::NotReached(ConnectFailure::Refused)));
}
