//! No token and no secret leaves through a log line, an error or a debug print.

use std::error::Error;

use subledger_wechat::{ChannelError, KeeperSettings, REDACTED, SendOutcome, TokenKey, TokenMode};

use crate::capture;
use crate::server::{Act, HandClock, STABLE, Server, channel_of, client, keeper, message, ok, source};

const SECRET: &str = "sEcReT-0a1b2c";
const TOKEN: &str = "tOkEn-9z8y7x";
const CODE: &str = "cOdE-5q6w7e";
const RID: &str = "0a0b0c0d-1a1b1c1d-2a2b2c2d";

fn assert_clean(text: &str) {
    for private in [SECRET, TOKEN, CODE, "oDEMO_user", "示例面包"] {
        assert!(!text.contains(private), "{private} in: {text}");
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(" <- {cause} {cause:?}");
        next = cause.source();
    }
    text
}

/// Every kind of ending, of every call, with the token call working.
fn endings() -> Vec<Act> {
    let stale = format!(r#"{{"errcode":40001,"errmsg":"stale rid: {RID}"}}"#);
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec();
    vec![
        ok(r#"{"errcode":0,"msgid":1,"openid":"o","data":[]}"#),
        ok(&stale),
        ok("garbage"),
        Act::Json(502, "bad gateway".to_owned()),
        Act::Close,
        Act::Reset,
        Act::Raw(truncated),
        Act::Raw(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Act::Raw(b"not http at all\r\n\r\n".to_vec()),
        Act::RawThenHang(Vec::new()),
    ]
}

/// Makes every call against one ending and returns all that can be printed of it.
async fn round(ending: Option<Act>) -> Vec<String> {
    let server = Server::start(move |seen| match (seen.path.as_str(), &ending) {
        (STABLE, _) => ok(&format!(r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#)),
        (_, Some(ending)) => ending.clone(),
        (_, None) => ok(&format!(r#"{{"errcode":40003,"errmsg":"bad {} rid: {RID}"}}"#, seen.query)),
    })
    .await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let channel = channel_of(&keeper, &server.url(), SECRET);
    let raw = client(&server.url());
    let (request, code, secret) = (message("T"), CODE.into(), SECRET.into());
    let (sent, templates, login, token) = tokio::join!(
        channel.send(&request),
        channel.templates(),
        channel.login(&code),
        raw.token("wx1", &secret)
    );
    let mut printed = vec![format!("{sent:?}")];
    let failures: [Option<ChannelError>; 2] = [templates.err(), login.err()];
    printed.extend(failures.iter().flatten().map(|error| with_causes(error)));
    printed.extend(token.err().iter().map(|error| with_causes(error)));
    let token = keeper.token(&crate::server::key(), &crate::server::fetcher(&server.url(), SECRET)).await;
    printed.push(format!("{token:?} {keeper:?} {channel:?} {raw:?}"));
    printed
}

#[tokio::test]
async fn nothing_private_is_logged_or_printed_whatever_happens() {
    let lines = capture::lines();
    // The last round is a server that echoes the query it was sent, where tokens, secrets and codes travel.
    let rounds: Vec<_> =
        endings().into_iter().map(Some).chain([None]).map(|e| tokio::spawn(round(e))).collect();
    let mut printed = Vec::new();
    for round in rounds {
        printed.extend(round.await.unwrap());
    }
    for text in &printed {
        assert_clean(text);
    }
    assert!(printed.iter().any(|text| text.contains(REDACTED)), "the echo was cut out, and the rest kept");
    assert!(printed.iter().any(|text| text.contains("TokenConflict")));
    let caught = lines.lock().unwrap().join("\n");
    assert!(caught.contains(RID) && caught.contains("wechat.api"), "the capture works");
    assert!(caught.contains("TRACE") || caught.contains("DEBUG"), "at every level");
    assert_clean(&caught);
}

#[tokio::test]
async fn an_unreachable_host_leaks_nothing_either() {
    let lines = capture::lines();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let raw = client(&format!("http://{closed}"));
    let send = raw.send(&TOKEN.into(), &message("T")).await.unwrap_err();
    let token = raw.token("wx1", &SECRET.into()).await.unwrap_err();
    for error in [send, token] {
        assert_clean(&with_causes(&error));
    }
    assert_clean(&lines.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn each_call_leaves_one_event_with_its_facts() {
    let lines = capture::lines();
    let rid = "77777777-88888888-99999999";
    let server = Server::sending(ok(&format!(r#"{{"errcode":43101,"errmsg":"no rid: {rid}"}}"#))).await;
    let key = TokenKey { appid: "wxEvents".to_owned(), mode: TokenMode::Stable };
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let channel =
        subledger_wechat::ChannelClient::with_secret(client(&server.url()), keeper, key, source(SECRET));
    let outcome = channel.send(&message("T")).await;
    assert!(matches!(outcome, SendOutcome::Refused { code: 43101, .. }));
    let lines = lines.lock().unwrap();
    let events: Vec<&String> = lines.iter().filter(|line| line.contains(rid)).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    for part in ["DEBUG subledger_wechat", "wechat.api=\"send\"", "wechat.errcode=43101", "duration_ms="] {
        assert!(events[0].contains(part), "{part} in {}", events[0]);
    }
}
