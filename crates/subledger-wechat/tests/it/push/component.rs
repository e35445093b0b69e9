//! What WeChat tells a platform about itself.

use secrecy::ExposeSecret;
use subledger_wechat::push::component::{
    PlatformEvent, PlatformPush, Received, decode, receive, receive_kept, settings, user_settings,
};
use subledger_wechat::push::{
    self, EncodingAesKey, Handling, Inbound, OpenedWith, PushError, PushKeys, PushToken, Undecodable,
};

use super::harness::seal::{APPID, KEY, PREVIOUS_KEY, TOKEN};
use super::{AT, Request, harness, sealed_with, shape};

const COMPONENT: &str = "wx00000000comp0001";

const TICKET: &str = include_str!("../../../../../fuzz/corpus/push_decode/platform-ticket.xml");
const AUTHORIZED: &str = include_str!("../../../../../fuzz/corpus/push_decode/platform-authorized.xml");
const UNAUTHORIZED: &str = include_str!("../../../../../fuzz/corpus/push_decode/platform-unauthorized.xml");

fn token() -> PushToken {
    PushToken::parse(TOKEN).unwrap()
}

/// A content as WeChat pushes it to a platform: XML around it, `AppId` in place of `ToUserName`.
fn pushed(key: &str, content: &str) -> Request {
    let json = sealed_with(key, COMPONENT, content.as_bytes());
    let encrypt = json.body.split('"').nth(7).unwrap();
    let body =
        format!("<xml><AppId><![CDATA[{COMPONENT}]]></AppId><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>");
    Request { query: json.query, body }
}

fn take(request: &Request) -> Result<Received, PushError> {
    let settings = settings(COMPONENT, token(), harness::keys());
    receive(&settings, request.query.as_bytes(), request.body.as_bytes(), AT)
}

fn understood(content: &str) -> PlatformPush {
    let received = take(&pushed(KEY, content)).unwrap();
    assert_eq!((&received.content[..], received.opened_with), (content.as_bytes(), OpenedWith::CurrentKey));
    received.decoded.unwrap()
}

#[test]
fn a_ticket_is_taken_out() {
    let push = understood(TICKET);
    assert_eq!((push.component_appid.as_deref(), push.created_at), (Some(COMPONENT), Some(1_790_000_100)));
    assert_eq!((push.what.kind(), push.what.appid()), ("ticket", None));
    let PlatformEvent::Ticket(ticket) = push.what else { panic!("{push:?}") };
    assert_eq!(ticket.expose_secret(), "ticket@@@demo-0001");
}

#[test]
fn authorizations_are_read_whether_first_or_changed() {
    for (info_type, kind) in [("authorized", "authorized"), ("updateauthorized", "update_authorized")] {
        let push = understood(&AUTHORIZED.replace("[authorized]", &format!("[{info_type}]")));
        assert_eq!((push.what.kind(), push.what.appid()), (kind, Some(APPID)));
        let (PlatformEvent::Authorized(news) | PlatformEvent::UpdateAuthorized(news)) = push.what else {
            panic!("{push:?}")
        };
        assert_eq!(news.code.unwrap().expose_secret(), "queryauthcode@@@demo-0001");
        assert_eq!(news.pre_auth_code.unwrap().expose_secret(), "preauthcode@@@demo-0001");
        assert_eq!((news.appid.as_str(), news.code_expires_at), (APPID, Some(1_790_003_800)));
    }
}

#[test]
fn a_withdrawal_is_read() {
    let push = understood(UNAUTHORIZED);
    assert_eq!(push.created_at, Some(1_790_000_300));
    assert!(matches!(push.what, PlatformEvent::Unauthorized { appid } if appid == APPID));
}

#[test]
fn what_acting_needs_must_be_there_and_the_rest_need_not() {
    let bare =
        "<xml><InfoType>authorized</InfoType><AuthorizerAppid>wx1</AuthorizerAppid><New><A>1</A></New></xml>";
    let push = understood(bare);
    assert_eq!((push.component_appid, push.created_at), (None, None));
    let PlatformEvent::Authorized(news) = push.what else { panic!("an authorization") };
    assert!(news.code.is_none() && news.code_expires_at.is_none() && news.pre_auth_code.is_none());

    let other = "<xml><InfoType>notify_third_fasteregister</InfoType><appid>wx1</appid></xml>";
    let push = understood(other);
    assert_eq!(push.what.kind(), "other");
    assert!(
        matches!(push.what, PlatformEvent::Other { info_type } if info_type == "notify_third_fasteregister")
    );

    let long = format!(
        "<xml><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>{}</ComponentVerifyTicket></xml>",
        "t".repeat(2049)
    );
    for (content, reason) in [
        ("<xml><AppId>wx1</AppId></xml>", Undecodable::Missing("InfoType")),
        ("<xml><InfoType>a b</InfoType></xml>", Undecodable::Odd("InfoType")),
        (
            "<xml><InfoType>component_verify_ticket</InfoType></xml>",
            Undecodable::Missing("ComponentVerifyTicket"),
        ),
        (&long, Undecodable::Odd("ComponentVerifyTicket")),
        ("<xml><InfoType>unauthorized</InfoType></xml>", Undecodable::Missing("AuthorizerAppid")),
        (
            "<xml><InfoType>unauthorized</InfoType><AuthorizerAppid>a</AuthorizerAppid><AuthorizerAppid>b</AuthorizerAppid></xml>",
            Undecodable::Repeated("AuthorizerAppid"),
        ),
        ("<!DOCTYPE x><xml/>", Undecodable::Doctype),
        ("success", Undecodable::UnknownFormat),
    ] {
        assert_eq!(take(&pushed(KEY, content)).unwrap().decoded.unwrap_err(), reason, "{content}");
    }
    assert_eq!(decode(&shape("popup-one.json")).unwrap_err(), Undecodable::Missing("InfoType"));
}

#[test]
fn the_previous_key_opens_and_the_key_is_that_of_the_content() {
    let current = take(&pushed(KEY, TICKET)).unwrap();
    let previous = take(&pushed(PREVIOUS_KEY, TICKET)).unwrap();
    assert_eq!(previous.opened_with, OpenedWith::PreviousKey);
    assert_eq!(current.key, previous.key, "one push, whatever sealed it");
    let later = take(&pushed(KEY, &TICKET.replace("1790000100", "1790000700"))).unwrap();
    assert_ne!(current.key, later.key, "the same ticket ten minutes later is another push");
}

#[test]
fn what_was_not_sealed_for_this_platform_is_refused() {
    let good = pushed(KEY, TICKET);
    for (request, error) in [
        (good.with("msg_signature=", "msg_signature=0"), PushError::WrongSignature("msg_signature")),
        (good.with("msg_signature=", "x="), PushError::NoSignature("msg_signature")),
        (Request { query: good.query.clone(), body: TICKET.to_owned() }, PushError::ClearBody),
    ] {
        assert_eq!(take(&request).unwrap_err(), error);
    }
    let elsewhere = sealed_with(KEY, "wx00000000comp0002", TICKET.as_bytes());
    assert_eq!(take(&elsewhere).unwrap_err(), PushError::WrongTail, "another platform's URL was filled in");
    let own = sealed_with(KEY, APPID, TICKET.as_bytes());
    assert_eq!(take(&own).unwrap_err(), PushError::WrongTail);
    let plain = harness::settings(push::PushMode::Plaintext);
    let (query, body) = (good.query.as_bytes(), good.body.as_bytes());
    assert_eq!(receive(&plain, query, body, AT).unwrap_err(), PushError::ClearBody);
    let late = receive(&settings(COMPONENT, token(), harness::keys()), query, body, AT + 601);
    assert!(matches!(late, Err(PushError::Clock { ahead_seconds: -601 })));
}

#[test]
fn what_no_key_opens_is_kept_and_opened_later() {
    let request = pushed(KEY, TICKET);
    let other = PushKeys { current: EncodingAesKey::parse(&"9".repeat(43)).unwrap(), previous: None };
    let wrong = settings(COMPONENT, token(), other);
    let error = receive(&wrong, request.query.as_bytes(), request.body.as_bytes(), AT).unwrap_err();
    assert_eq!(error.handling(), Handling::Keep);
    let right = settings(COMPONENT, token(), harness::keys());
    let received = receive_kept(&right, request.body.as_bytes()).unwrap();
    assert_eq!(received.decoded.unwrap().what.kind(), "ticket");
}

#[test]
fn user_events_of_a_platform_s_accounts_end_with_the_platform() {
    let content = shape("popup-one.json");
    let settings = user_settings(COMPONENT, APPID, token(), harness::keys());
    let request = sealed_with(KEY, COMPONENT, &content);
    let inbound = push::receive(&settings, request.query.as_bytes(), request.body.as_bytes(), AT).unwrap();
    let Inbound::Push(received) = inbound else { panic!("a push") };
    assert_eq!(received.decoded.unwrap().what.kind(), "popup");
    let own = sealed_with(KEY, APPID, &content);
    let refused = push::receive(&settings, own.query.as_bytes(), own.body.as_bytes(), AT);
    assert_eq!(refused, Err(PushError::WrongTail));
}

#[test]
fn tickets_and_codes_are_not_printed() {
    for content in [TICKET, AUTHORIZED] {
        let received = take(&pushed(KEY, content)).unwrap();
        let text = format!("{received:?}");
        assert!(text.contains("PlatformPush") && !text.contains("@@@"), "{text}");
    }
}
