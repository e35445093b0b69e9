//! No token and no secret leaves through a log line, an error or a debug print.

use std::error::Error;

use subledger_wechat::component::ComponentClient;
use subledger_wechat::{
    ChannelError, KeeperSettings, REDACTED, SendOutcome, TokenKey, TokenMode, WeChatClient,
};

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
        (_, None) => {
            // A message's own text may come back in WeChat's words, which are kept; secrets never.
            let body = if seen.path.contains("component") { seen.body.as_str() } else { "" };
            let echo = format!("bad {} {body} rid: {RID}", seen.query);
            ok(&serde_json::json!({"errcode": 40003, "errmsg": echo}).to_string())
        }
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
    printed.extend(platform_round(raw.clone()).await);
    let token = keeper.token(&crate::server::key(), &crate::server::fetcher(&server.url(), SECRET)).await;
    printed.push(format!("{token:?} {keeper:?} {channel:?} {raw:?}"));
    printed
}

/// Makes every call of a platform against the same ending.
async fn platform_round(raw: WeChatClient) -> Vec<String> {
    let component = ComponentClient::new(raw, "wxComp");
    let (token, secret, code) = (TOKEN.into(), SECRET.into(), CODE.into());
    let errors = [
        component.start_push_ticket(&secret).await.err(),
        component.component_token(&secret, &code).await.err(),
        component.create_preauthcode(&token).await.err(),
        component.query_auth(&token, &code).await.err(),
        component.authorizer_token(&token, "wx1", &code).await.err(),
        component.authorizer_info(&token, "wx1").await.err(),
        component.authorizer_list(&token, 0, 9).await.err(),
        component.jscode2session(&token, "wx1", &code).await.err(),
    ];
    let mut printed: Vec<String> = errors.iter().flatten().map(|error| with_causes(error)).collect();
    printed.push(format!("{component:?}"));
    printed
}

/// A platform's answers are made of secrets; none is printed with them.
#[tokio::test]
async fn the_answers_to_a_platform_do_not_print_what_they_carry() {
    let body = format!(
        r#"{{"component_access_token":"{TOKEN}","pre_auth_code":"{CODE}","authorizer_access_token":"{TOKEN}",
        "authorizer_refresh_token":"{SECRET}","expires_in":600,"total_count":1,
        "authorization_info":{{"authorizer_appid":"wx1","authorizer_access_token":"{TOKEN}","expires_in":600,
            "authorizer_refresh_token":"{SECRET}","func_info":[]}},
        "authorizer_info":{{"principal_name":"示例面包"}},
        "list":[{{"authorizer_appid":"wx1","refresh_token":"{SECRET}","auth_time":1}}]}}"#
    );
    let server = Server::start(move |_| ok(&body)).await;
    let component = ComponentClient::new(client(&server.url()), "wxComp");
    let (token, secret) = ("t".into(), "s".into());
    let printed = [
        format!("{:?}", component.component_token(&secret, &token).await.unwrap()),
        format!("{:?}", component.create_preauthcode(&token).await.unwrap()),
        format!("{:?}", component.query_auth(&token, &secret).await.unwrap()),
        format!("{:?}", component.authorizer_token(&token, "wx1", &secret).await.unwrap()),
        format!("{:?}", component.authorizer_info(&token, "wx1").await.unwrap()),
        format!("{:?}", component.authorizer_list(&token, 0, 9).await.unwrap()),
    ];
    for text in &printed {
        assert_clean(text);
    }
}

#[tokio::test]
async fn nothing_private_is_logged_or_printed_whatever_happens() {
    let lines = capture::lines();
    // The last round is a server that echoes what it was sent: queries and bodies, where tokens, secrets and codes travel.
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
