//! One key for all deliveries of a push, and different keys for different pushes.

use std::collections::HashSet;

use subledger_wechat::push::{ContentKey, Decoded, PushMode, decode};

use super::harness::seal::{APPID, KEY, PREVIOUS_KEY, seal};
use super::{Request, clear, sealed, sealed_with, shape, signed_query};

fn key(content: &[u8]) -> ContentKey {
    match decode(content) {
        Ok(Decoded::Push(push)) => ContentKey::of_push(APPID, &push, content),
        other => panic!("{other:?}"),
    }
}

fn changed(name: &str, from: &str, to: &str) -> ContentKey {
    let text = String::from_utf8(shape(name)).unwrap();
    assert!(text.contains(from), "{from} in {name}");
    key(text.replace(from, to).as_bytes())
}

#[test]
fn a_repetition_has_the_same_key_however_it_comes() {
    for family in [
        &[
            "popup-one.json",
            "popup-one.xml",
            "popup-array-of-one.json",
            "popup-wrapper-item.json",
            "popup-indented.xml",
        ][..],
        &["popup-two.json", "popup-two.xml", "popup-wrapper-array.json", "popup-repeated-wrapper.xml"],
        &["change.json", "change.xml"],
        &["sent.json", "sent.xml", "sent-numbers.json", "sent-text.xml", "sent-wrapper-array.json"],
    ] {
        let keys: HashSet<ContentKey> = family.iter().map(|name| key(&shape(name))).collect();
        assert_eq!(keys.len(), 1, "{family:?}");
    }
    let content = shape("popup-one.json");
    let again = seal(KEY, APPID, b"other000rand0001", &content);
    let again =
        Request { query: signed_query(&again), body: format!("<xml><Encrypt>{again}</Encrypt></xml>") };
    let text = String::from_utf8(content.clone()).unwrap();
    let keys = [
        sealed(&content).receive(PushMode::Secure),
        again.receive(PushMode::Compatible),
        sealed_with(PREVIOUS_KEY, APPID, &content).receive(PushMode::Secure),
        clear(&text).receive(PushMode::Plaintext),
    ]
    .map(|received| received.unwrap().key);
    assert!(keys.iter().all(|other| *other == key(&content)));
}

#[test]
fn different_pushes_have_different_keys() {
    let mut keys = vec![
        key(&shape("popup-one.json")),
        key(&shape("popup-two.json")),
        key(&shape("change.json")),
        changed("popup-one.json", "gh_demo00000001", "gh_demo00000002"),
        changed("popup-one.json", "_A", "_B"),
        changed("popup-one.json", "1790000001", "1790000002"),
        changed("popup-one.json", "accept", "reject"),
        changed("popup-one.json", "ready_000", "ready_001"),
        changed("popup-one.json", "\"PopupScene\":\"0\"", "\"PopupScene\":\"1\""),
        changed("change.json", "1790000050", "1790000051"),
    ];
    let content = shape("popup-one.json");
    let Ok(Decoded::Push(push)) = decode(&content) else { panic!() };
    keys.push(ContentKey::of_push("wx00000000demo0002", &push, &content));
    keys.push(ContentKey::of_bytes(APPID, &content));
    keys.push(ContentKey::of_bytes("wx00000000demo0002", &content));
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
}

#[test]
fn the_order_of_items_and_what_nobody_acts_on_do_not_matter() {
    let swapped = r#"{"ToUserName":"gh_demo00000001","FromUserName":"oDEMO_user_000000000000000_A","CreateTime":1790000001,
        "MsgType":"event","Event":"subscribe_msg_popup_event","List":[
        {"PopupScene":0,"TemplateId":"TPL_demo_level_notice_00000000000000000_002","SubscribeStatusString":"reject"},
        {"New":1,"TemplateId":"TPL_demo_order_ready_000000000000000000_001","SubscribeStatusString":"accept","PopupScene":0}]}"#;
    assert_eq!(key(swapped.as_bytes()), key(&shape("popup-two.json")));
}

#[test]
fn a_result_is_told_apart_by_its_message() {
    let sent = key(&shape("sent.json"));
    assert_eq!(changed("sent.json", "1790000060", "1790000065"), sent, "a late repetition is one");
    assert_eq!(changed("sent.json", "success", "ok"), sent);
    for (from, to) in [
        ("4000000000000000017", "4000000000000000018"),
        ("\"ErrorCode\":\"0\"", "\"ErrorCode\":\"1\""),
        ("\"ErrorCode\":\"0\"", "\"ErrorCode\":\"x\""),
        ("ready_000", "ready_001"),
        ("_A", "_B"),
    ] {
        assert_ne!(changed("sent.json", from, to), sent, "{from}");
    }
    let nameless = key(&shape("sent-no-msgid.json"));
    assert_eq!(nameless, key(&shape("sent-zero-msgid.json")));
    assert_ne!(nameless, sent);
    assert_ne!(
        changed("sent-no-msgid.json", "1790000060", "1790000065"),
        nameless,
        "without an id the time counts"
    );
}

#[test]
fn what_nobody_acts_on_has_the_key_of_its_bytes() {
    for name in ["chat-text.json", "chat-text.xml", "debug-demo.json", "user-enter.json"] {
        let content = shape(name);
        assert_eq!(key(&content), ContentKey::of_bytes(APPID, &content));
    }
    assert_ne!(key(&shape("chat-text.json")), key(&shape("chat-text.xml")));
}

/// The encoding is stored: a change of it would make every pending repetition look new.
#[test]
fn the_encoding_stays() {
    let pinned = [
        (key(&shape("popup-one.json")), "5a4e1a09c897c98a52ea769482cd1e4f4db0498dc2be4faa206d09d486784a27"),
        (key(&shape("sent.json")), "3b31c2178bf69516a06e8795f5ed85c507ca77cf5e003d456055d38239f99c18"),
        (
            ContentKey::of_bytes("wx1", b"a"),
            "e9a64c170d5fdd0c025915a500838e6686b6e981ec51f0c0d44563e5c4e36b75",
        ),
    ];
    let found = pinned.map(|(key, _)| format!("{key:?}"));
    assert_eq!(found, pinned.map(|(_, hex)| format!("ContentKey({hex})")));
}
