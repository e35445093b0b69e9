//! Every shape that WeChat's documents, samples and traffic show, and what it means.

use subledger_wechat::push::{
    ChangeItem, Decoded, PopupItem, Push, PushEvent, SentItem, Undecodable as Not, decode,
};

use super::{corpus, shape};

const READY: &str = "TPL_demo_order_ready_000000000000000000_001";
const LEVEL: &str = "TPL_demo_level_notice_00000000000000000_002";

fn popup(template: &str, status: &str) -> PopupItem {
    PopupItem { template_id: template.to_owned(), status: status.to_owned(), scene: Some(0) }
}

fn one() -> PushEvent {
    PushEvent::Popup(vec![popup(READY, "accept")])
}

fn two() -> PushEvent {
    PushEvent::Popup(vec![popup(READY, "accept"), popup(LEVEL, "reject")])
}

fn change() -> PushEvent {
    PushEvent::Change(vec![ChangeItem { template_id: READY.to_owned(), status: "reject".to_owned() }])
}

fn sent_item() -> SentItem {
    SentItem {
        template_id: READY.to_owned(),
        msgid: Some("4000000000000000017".to_owned()),
        error_code: Some(0),
        error_code_text: Some("0".to_owned()),
        error_status: Some("success".to_owned()),
    }
}

fn sent() -> PushEvent {
    PushEvent::Sent(vec![sent_item()])
}

fn other(msg_type: &str, event: Option<&str>) -> PushEvent {
    PushEvent::Other { msg_type: msg_type.to_owned(), event: event.map(str::to_owned) }
}

/// The shapes that are understood: file, time, meaning.
fn understood() -> Vec<(&'static str, i64, PushEvent)> {
    let text = |text: &str| Some(text.to_owned());
    let later = PopupItem { scene: None, ..popup(READY, "accept") };
    let scene_two = PopupItem { scene: Some(2), ..popup(READY, "accept") };
    let second =
        SentItem { template_id: LEVEL.to_owned(), msgid: text("4000000000000000018"), ..sent_item() };
    let no_msgid = || PushEvent::Sent(vec![SentItem { msgid: None, ..sent_item() }]);
    let failed = SentItem {
        error_code: Some(5001),
        error_code_text: text("5001"),
        error_status: text("failed: system failed"),
        ..sent_item()
    };
    let word = SentItem { error_code: None, error_code_text: text("unknown"), ..sent_item() };
    let bare = SentItem {
        template_id: READY.to_owned(),
        msgid: None,
        error_code: None,
        error_code_text: None,
        error_status: None,
    };
    let (popup_at, change_at, sent_at) = (1_790_000_001, 1_790_000_050, 1_790_000_060);
    vec![
        ("popup-one.json", popup_at, one()),
        ("popup-one.xml", popup_at, one()),
        ("popup-two.json", popup_at, two()),
        ("popup-two.xml", popup_at, two()),
        ("popup-array-of-one.json", popup_at, one()),
        ("popup-wrapper-array.json", popup_at, two()),
        ("popup-wrapper-item.json", popup_at, one()),
        ("popup-wrapper-list-object.json", popup_at, one()),
        ("popup-wrapper-list-array.json", popup_at, two()),
        ("popup-wrapper-array-of-lists.json", popup_at, two()),
        ("popup-time-text-scene-number.json", popup_at, one()),
        ("popup-unknown-fields.json", popup_at, PushEvent::Popup(vec![later])),
        ("popup-accept-with-audio.json", popup_at, PushEvent::Popup(vec![popup(READY, "acceptWithAudio")])),
        ("popup-spaced.json", popup_at, one()),
        ("popup-scene-two.xml", popup_at, PushEvent::Popup(vec![scene_two])),
        ("popup-no-wrapper.xml", popup_at, one()),
        ("popup-no-cdata.xml", popup_at, one()),
        ("popup-references.xml", popup_at, one()),
        ("popup-indented.xml", popup_at, one()),
        ("popup-repeated-wrapper.xml", popup_at, two()),
        ("change.json", change_at, change()),
        ("change.xml", change_at, change()),
        ("sent.json", sent_at, sent()),
        ("sent.xml", sent_at, sent()),
        ("sent-numbers.json", sent_at, sent()),
        ("sent-text.xml", sent_at, sent()),
        ("sent-wrapper-array.json", sent_at, sent()),
        ("sent-two.json", sent_at, PushEvent::Sent(vec![sent_item(), second])),
        ("sent-no-msgid.json", sent_at, no_msgid()),
        ("sent-zero-msgid.json", sent_at, no_msgid()),
        ("sent-inexact-msgid.json", sent_at, no_msgid()),
        ("sent-failed.json", sent_at, PushEvent::Sent(vec![failed])),
        ("sent-word-code.json", sent_at, PushEvent::Sent(vec![word])),
        ("sent-bare.json", sent_at, PushEvent::Sent(vec![bare])),
        ("debug-demo.json", popup_at, other("event", Some("debug_demo"))),
        ("chat-text.json", 1_790_000_070, other("text", None)),
        ("chat-text.xml", 1_790_000_070, other("text", None)),
        ("user-enter.json", 1_790_000_071, other("event", Some("user_enter_tempsession"))),
    ]
}

/// The shapes that are not understood. Places in the text are not repeated here: the class says it.
fn not_understood() -> Vec<(&'static str, &'static str)> {
    vec![
        ("bad-array.json", "unknown_format"),
        ("bad-both-lists.json", "repeated_field"),
        ("bad-bytes.json", "not_utf8"),
        ("bad-deep.json", "too_deep"),
        ("bad-deep.xml", "too_deep"),
        ("bad-doctype.xml", "doctype"),
        ("bad-empty", "empty"),
        ("bad-empty-list.json", "missing_field"),
        ("bad-entity.xml", "entity"),
        ("bad-laughs.xml", "doctype"),
        ("bad-list-text.json", "odd_field"),
        ("bad-no-list.json", "missing_field"),
        ("bad-no-template.json", "missing_field"),
        ("bad-no-time.json", "missing_field"),
        ("bad-plain.txt", "unknown_format"),
        ("bad-status.json", "odd_field"),
        ("bad-time.json", "odd_field"),
        ("bad-truncated.json", "broken_json"),
        ("bad-truncated.xml", "broken_xml"),
        ("bad-two-roots.xml", "broken_xml"),
        ("bad-two-users.json", "repeated_field"),
        ("ticket.xml", "missing_field"),
        // What a platform is told about itself is another vocabulary.
        ("platform-authorized.xml", "missing_field"),
        ("platform-ticket.xml", "missing_field"),
        ("platform-unauthorized.xml", "missing_field"),
    ]
}

#[test]
fn every_shape_is_understood() {
    for (name, created_at, what) in understood() {
        let expected = Push {
            to_user: "gh_demo00000001".to_owned(),
            from_user: "oDEMO_user_000000000000000_A".to_owned(),
            created_at,
            what,
        };
        assert_eq!(decode(&shape(name)), Ok(Decoded::Push(expected)), "{name}");
    }
}

#[test]
fn what_is_not_understood_is_an_error_with_a_reason() {
    for (name, class) in not_understood() {
        let reason = decode(&shape(name)).expect_err(name);
        assert_eq!(reason.class(), class, "{name}: {reason}");
    }
}

#[test]
fn the_check_of_cloud_hosting_is_a_case_of_its_own() {
    assert_eq!(decode(&shape("container-check.json")), Ok(Decoded::ContainerCheck));
    let more = br#"{"action":"CheckContainerPath","x":1}"#;
    assert_eq!(decode(more), Err(Not::Missing("ToUserName")), "nothing else may pass for it");
}

#[test]
fn no_shape_is_left_out() {
    let mut listed: Vec<&str> = understood().iter().map(|(name, ..)| *name).collect();
    listed.extend(not_understood().iter().map(|(name, _)| *name));
    listed.push("container-check.json");
    listed.sort_unstable();
    let hash = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut there: Vec<String> = std::fs::read_dir(corpus("push_decode"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !hash(name))
        .collect();
    there.sort_unstable();
    assert_eq!(there, listed);
}

#[test]
fn fields_have_a_possible_shape() {
    let text = String::from_utf8(shape("popup-one.json")).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from));
        decode(text.replace(from, to).as_bytes()).unwrap_err()
    };
    assert_eq!(changed("\"gh_demo00000001\"", "\"\""), Not::Missing("ToUserName"));
    assert_eq!(changed("\"gh_demo00000001\"", "{}"), Not::Odd("ToUserName"));
    assert_eq!(changed("\"oDEMO_user_000000000000000_A\"", "null"), Not::Missing("FromUserName"));
    assert_eq!(changed("oDEMO_user", "o DEMO"), Not::Odd("FromUserName"));
    assert_eq!(changed("oDEMO_user", &"o".repeat(200)), Not::Odd("FromUserName"));
    assert_eq!(changed("1790000001", "-1"), Not::Odd("CreateTime"));
    assert_eq!(changed("1790000001", "1790000001000000"), Not::Odd("CreateTime"));
    assert_eq!(changed("1790000001", "[1790000001]"), Not::Odd("CreateTime"));
    assert_eq!(changed("\"MsgType\":\"event\",", ""), Not::Missing("MsgType"));
    assert_eq!(changed("_popup_event\"", "_popup_event <b>\""), Not::Odd("Event"));
    assert_eq!(changed("TPL_demo", "TPL demo"), Not::Odd("TemplateId"));
    assert_eq!(changed("\"accept\"", "\"\""), Not::Missing("SubscribeStatusString"));
}
