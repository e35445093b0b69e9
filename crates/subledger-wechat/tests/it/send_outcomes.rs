//! Every way a send can end, each with its own outcome.

use std::time::Duration;

use subledger_wechat::{
    ConnectFailure, NotSentReason, RefusalClass, RetryHint, SendOutcome, TokenError, UnknownReason,
};

use crate::server::{Act, SEND, STABLE, Server, channel, http, message, ok};

async fn outcome(act: Act) -> SendOutcome {
    let server = Server::sending(act).await;
    let outcome = channel(&server.url()).send(&message("TPL")).await;
    assert_eq!(server.count(SEND), 1, "handed over exactly once");
    outcome
}

fn accepted(msgid: Option<&str>) -> SendOutcome {
    SendOutcome::Accepted { msgid: msgid.map(str::to_owned) }
}

#[tokio::test]
async fn accepted_keeps_every_digit_of_the_message_id() {
    let exact = accepted(Some("4000000000000000017"));
    assert_eq!(outcome(ok(r#"{"errcode":0,"errmsg":"ok","msgid":4000000000000000017}"#)).await, exact);
    assert_eq!(outcome(ok(r#"{"errcode":0,"errmsg":"ok","msgid":"4000000000000000017"}"#)).await, exact);
    let largest = r#"{"errcode":"0","msgid":18446744073709551615}"#;
    assert_eq!(outcome(ok(largest)).await, accepted(Some("18446744073709551615")));
    assert_eq!(outcome(ok(r#"{"errcode":0,"errmsg":"ok"}"#)).await, accepted(None));
}

#[tokio::test]
async fn the_request_is_what_the_reference_shows() {
    let server = Server::sending(ok(r#"{"errcode":0}"#)).await;
    channel(&server.url()).send(&message("TPL")).await;
    let seen = server.seen();
    let token = &seen[0];
    assert_eq!((token.method.as_str(), token.path.as_str(), token.query.as_str()), ("POST", STABLE, ""));
    for part in
        [r#""grant_type":"client_credential""#, r#""appid":"wx00000000demo0001""#, r#""secret":"SECRET""#]
    {
        assert!(token.body.contains(part), "{part} in {}", token.body);
    }
    assert!(token.body.contains(r#""force_refresh":false"#));
    let send = &seen[1];
    assert_eq!(
        (send.method.as_str(), send.path.as_str(), send.query.as_str()),
        ("POST", SEND, "access_token=T1")
    );
    assert!(send.body.contains(r#""data":{"thing1":{"value":"示例面包"}}"#), "{}", send.body);
}

#[tokio::test]
async fn a_refusal_is_verbatim_with_its_request_id_and_class() {
    for (code, class) in [
        (43101, RefusalClass::NoPermission),
        (40003, RefusalClass::Recipient),
        (47003, RefusalClass::Content),
        (45168, RefusalClass::Content),
        (40037, RefusalClass::Template),
        (41030, RefusalClass::Page),
        (43107, RefusalClass::ChannelStopped),
        (48001, RefusalClass::ChannelConfig),
        (47001, RefusalClass::Bug),
        (987_654, RefusalClass::UnknownCode),
    ] {
        let message = format!("参数 is emtpy {code} rid: 00000010-00000020-00000030");
        let body = format!(r#"{{"errcode":{code},"errmsg":"{message}"}}"#);
        let rid = Some("00000010-00000020-00000030".to_owned());
        assert_eq!(outcome(ok(&body)).await, SendOutcome::Refused { code, message, rid, class });
    }
}

#[tokio::test]
async fn wechats_own_try_again_says_when() {
    for (code, when) in [
        (-1, RetryHint::Backoff),
        (43108, RetryHint::SameLane),
        (45011, RetryHint::NextMinute),
        (45009, RetryHint::NextDay),
    ] {
        let body = format!(r#"{{"errcode":{code},"errmsg":"wait"}}"#);
        let expected = SendOutcome::TryAgain { code, rid: None, message: "wait".to_owned(), when };
        assert_eq!(outcome(ok(&body)).await, expected);
    }
}

#[tokio::test]
async fn a_5xx_is_classified_by_its_errcode_and_unknown_without_one() {
    let busy = outcome(Act::Json(503, r#"{"errcode":-1,"errmsg":"system error"}"#.to_owned())).await;
    assert!(matches!(busy, SendOutcome::TryAgain { code: -1, .. }), "{busy:?}");
    let refused = outcome(Act::Json(500, r#"{"errcode":43101,"errmsg":"no"}"#.to_owned())).await;
    assert!(matches!(refused, SendOutcome::Refused { code: 43101, .. }), "{refused:?}");
    for body in ["", "<html>bad gateway</html>", "{}", r#"{"error":"x"}"#] {
        let unknown = outcome(Act::Json(502, body.to_owned())).await;
        assert_eq!(unknown, SendOutcome::Unknown { reason: UnknownReason::HttpStatus(502) });
    }
}

#[tokio::test]
async fn a_broken_connection_after_the_request_is_unknown() {
    for act in [Act::Close, Act::Reset, Act::Raw(b"HTTP/1.1 200".to_vec())] {
        let lost = outcome(act).await;
        assert_eq!(lost, SendOutcome::Unknown { reason: UnknownReason::ConnectionLost });
    }
    let whole = http(200, r#"{"errcode":0,"errmsg":"ok","msgid":4000000000000000017}"#);
    let half = Act::Raw(whole[..whole.len() - 20].to_vec());
    assert_eq!(outcome(half).await, SendOutcome::Unknown { reason: UnknownReason::BodyTruncated });
}

#[tokio::test]
async fn silence_is_unknown_before_and_inside_the_answer() {
    let timeout = SendOutcome::Unknown { reason: UnknownReason::Timeout };
    assert_eq!(outcome(Act::RawThenHang(Vec::new())).await, timeout);
    let whole = http(200, r#"{"errcode":0,"errmsg":"ok"}"#);
    assert_eq!(outcome(Act::RawThenHang(whole[..whole.len() - 5].to_vec())).await, timeout);
}

#[tokio::test]
async fn an_answer_that_is_not_wechats_is_unknown() {
    let odd = SendOutcome::Unknown { reason: UnknownReason::Unintelligible };
    for body in ["", "garbage", "[]", "null", "{}", r#"{"errmsg":"ok"}"#, r#"{"errcode":1.5}"#, "\u{feff}{"] {
        assert_eq!(outcome(ok(body)).await, odd, "{body:?}");
    }
    let not_utf8 = Act::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01".to_vec());
    assert_eq!(outcome(not_utf8).await, odd);
    let huge = format!(r#"{{"errcode":0,"pad":"{}"}}"#, "x".repeat(70 * 1024));
    assert_eq!(outcome(ok(&huge)).await, SendOutcome::Unknown { reason: UnknownReason::BodyTooLarge });
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::sending(ok(r#"{"errcode":0}"#)).await;
    let target = elsewhere.url();
    let moved =
        format!("HTTP/1.1 307 X\r\nLocation: {target}{SEND}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let unknown = outcome(Act::Raw(moved)).await;
    assert_eq!(unknown, SendOutcome::Unknown { reason: UnknownReason::HttpStatus(307) });
    assert_eq!(elsewhere.seen().len(), 0);
}

/// A send to `send_url` with a token that is already there.
async fn send_to(send_url: &str) -> SendOutcome {
    let tokens = Server::sending(ok("{}")).await;
    let clock = crate::server::HandClock::new();
    let keeper = crate::server::keeper(&clock, Default::default());
    let fetcher = crate::server::fetcher(&tokens.url(), "SECRET");
    keeper.token(&crate::server::key(), &fetcher).await.unwrap();
    crate::server::channel_of(&keeper, send_url, "SECRET").send(&message("TPL")).await
}

fn not_reached(failure: ConnectFailure) -> SendOutcome {
    SendOutcome::NotSent { reason: NotSentReason::NotReached(failure) }
}

#[tokio::test]
async fn failures_before_the_first_byte_are_not_sent() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    assert_eq!(send_to(&format!("http://{closed}")).await, not_reached(ConnectFailure::Refused));

    // A label this long is refused by the resolver itself, without a query.
    let name = format!("http://{}.invalid", "x".repeat(70));
    assert_eq!(send_to(&name).await, not_reached(ConnectFailure::Dns));
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_sent() {
    let garbage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, b"this is not TLS at all").await;
            // Held open until the peer gives up, so that it sees the garbage and not a reset.
            let _gone = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
        }
    });
    assert_eq!(send_to(&format!("https://{address}")).await, not_reached(ConnectFailure::Tls));

    // Accepts TCP and stays silent: the connect time-out covers the handshake.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(send_to(&format!("https://{address}")).await, not_reached(ConnectFailure::Timeout));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let server = Server::start(|seen| match seen.path.as_str() {
        STABLE => Act::Close,
        _ => ok(r#"{"errcode":0}"#),
    })
    .await;
    let outcome = channel(&server.url()).send(&message("TPL")).await;
    let SendOutcome::NotSent { reason: NotSentReason::NoToken(error @ TokenError::Call(_)) } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.failure(), subledger_wechat::TokenFailure::Transient);
    assert_eq!(server.count(SEND), 0);
}

#[test]
fn settings_that_would_blur_not_sent_and_unknown_are_refused() {
    use subledger_wechat::{SetupError, WeChatClient, WeChatConfig};
    let with = |change: fn(&mut WeChatConfig)| {
        let mut config = WeChatConfig::default();
        change(&mut config);
        WeChatClient::new(config).err()
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|config| config.connect_timeout = config.read_timeout), Some(SetupError::Timeouts));
    assert_eq!(with(|config| config.connect_timeout = Duration::ZERO), Some(SetupError::Timeouts));
    for bad in ["ftp://a", "nonsense", "http://user@host", "http://host/?a=1", "http://host/#x"] {
        let config = WeChatConfig { base_url: bad.to_owned(), ..WeChatConfig::default() };
        assert_eq!(WeChatClient::new(config).err(), Some(SetupError::BaseUrl), "{bad}");
    }
}
