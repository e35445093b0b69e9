//! The quota calls, the address WeChat sees, and whether WeChat is reached at all.

use subledger_wechat::{ApiQuota, CallError, ChannelError, RateLimit, ReachFailure, RefusalClass, lookup};

use crate::server::{APPID, Act, STABLE, Seen, Server, channel, client, ok};

const GET: &str = "/cgi-bin/openapi/quota/get";
const CLEAR: &str = "/cgi-bin/clear_quota";
const RID: &str = "/cgi-bin/openapi/rid/get";

async fn answering(answer: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match seen.path.as_str() {
        STABLE => ok(r#"{"access_token":"T1","expires_in":7200}"#),
        _ => answer(seen),
    })
    .await
}

#[tokio::test]
async fn the_quota_of_sending_is_asked_for_by_its_path() {
    let body = r#"{"errcode":0,"errmsg":"ok","quota":{"daily_limit":100,"used":40,"remain":60},"rate_limit":{"call_count":9,"refresh_second":60}}"#;
    let server = answering(move |_| ok(body)).await;
    let quota = channel(&server.url()).send_quota().await.unwrap();
    let rate = Some(RateLimit { calls: 9, seconds: 60 });
    assert_eq!(quota, ApiQuota { daily_limit: 100, used: 40, remain: 60, rate });
    let asked = &server.seen()[1];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str(), asked.query.as_str()),
        ("POST", GET, "access_token=T1")
    );
    assert_eq!(asked.body, r#"{"cgi_path":"/cgi-bin/message/subscribe/send"}"#);
}

#[tokio::test]
async fn refusals_of_the_quota_calls_say_what_to_do() {
    for (code, class) in [
        (76021, RefusalClass::Bug),
        (76022, RefusalClass::Bug),
        (76003, RefusalClass::Bug),
        (48006, RefusalClass::ChannelStopped),
    ] {
        let server =
            answering(move |_| ok(&format!(r#"{{"errcode":{code},"errmsg":"no rid: 1-2-3"}}"#))).await;
        for error in [
            channel(&server.url()).send_quota().await.unwrap_err(),
            channel(&server.url()).clear_quota().await.unwrap_err(),
        ] {
            let ChannelError::Call(CallError::Refused { code: told, class: found, .. }) = error else {
                panic!("{error:?}")
            };
            assert_eq!((told, found), (code, class));
        }
        assert!(lookup(code).is_some_and(|entry| entry.advice_en.len() > 20), "{code}");
    }
}

#[tokio::test]
async fn a_stale_token_is_renewed_for_the_quota_too() {
    let server = answering(|seen| {
        if seen.path == GET && seen.query == "access_token=T1" {
            return ok(r#"{"errcode":42001,"errmsg":"expired"}"#);
        }
        ok(r#"{"quota":{"daily_limit":1,"used":0,"remain":1}}"#)
    })
    .await;
    // The server gives the same token again, so the second is refused as well: two tokens in a row are a conflict.
    let error = channel(&server.url()).send_quota().await.unwrap_err();
    assert!(matches!(error, ChannelError::TokenConflict(_)), "{error:?}");
    assert_eq!((server.count(STABLE), server.count(GET)), (2, 2));
}

#[tokio::test]
async fn clearing_names_the_account_and_needs_a_plain_yes() {
    let server = answering(|_| ok(r#"{"errcode":0,"errmsg":"ok"}"#)).await;
    channel(&server.url()).clear_quota().await.unwrap();
    let asked = &server.seen()[1];
    assert_eq!((asked.path.as_str(), asked.body.clone()), (CLEAR, format!(r#"{{"appid":"{APPID}"}}"#)));
    let odd = answering(|_| ok("{}")).await;
    assert!(channel(&odd.url()).clear_quota().await.is_err(), "an answer without a code proves nothing");
}

#[tokio::test]
async fn wechat_tells_the_address_of_a_call_it_refused() {
    let server = answering(|seen| match seen.path.as_str() {
        GET => ok(r#"{"errcode":76021,"errmsg":"cgi_path not found, please check rid: 7-8-9"}"#),
        RID if seen.body == r#"{"rid":"7-8-9"}"# => {
            ok(r#"{"errcode":0,"request":{"request_body":"{\"touser\":\"oX\"}","client_ip":"203.0.113.9"}}"#)
        }
        _ => ok(r#"{"errcode":76001,"errmsg":"rid not found"}"#),
    })
    .await;
    assert_eq!(channel(&server.url()).seen_address().await.unwrap().as_deref(), Some("203.0.113.9"));
    let silent = answering(|_| ok(r#"{"errcode":76021,"errmsg":"no"}"#)).await;
    assert_eq!(channel(&silent.url()).seen_address().await.unwrap(), None);
    assert_eq!(silent.count(RID), 0, "nothing to ask about");
}

#[tokio::test]
async fn reaching_tells_the_first_step_that_fails() {
    let dated = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 17\r\n\r\n{\"errcode\":41001}";
    let server = Server::start(move |_| Act::Raw(dated.as_bytes().to_vec())).await;
    let reach = client(&server.url()).reach().await;
    assert_eq!(reach.host, server.address.to_string());
    assert_eq!(reach.addresses, [server.address.ip()]);
    let answered = reach.answer.unwrap();
    assert_eq!((answered.status, answered.code), (200, Some(41001)));
    assert_eq!(answered.date_micros, Some(784_111_777_000_000));
    assert_eq!(server.seen()[0].query, "", "neither token nor secret is presented");

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let reach = client(&format!("http://{closed}")).reach().await;
    assert_eq!((reach.connected_in, reach.answer), (None, Err(ReachFailure::Tcp)));

    let mute = Server::start(|_| Act::Close).await;
    let reach = client(&mute.url()).reach().await;
    assert!(reach.connected_in.is_some());
    assert_eq!(reach.answer, Err(ReachFailure::NoAnswer));

    let plain = Server::start(|_| Act::Raw(b"not tls".to_vec())).await;
    let reach = client(&format!("https://{}", plain.address)).reach().await;
    assert_eq!(reach.answer, Err(ReachFailure::Tls));

    // A name that no resolver may ever know (RFC 6761).
    let reach = client("http://wechat.invalid").reach().await;
    assert_eq!((reach.addresses.len(), reach.answer), (0, Err(ReachFailure::Dns)));
}
