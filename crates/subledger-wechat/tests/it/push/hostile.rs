//! What a stranger could send to make a parser read files, grow or fall over.

use std::time::Instant;

use subledger_wechat::push::{
    self, MAX_BODY_BYTES, MAX_DEPTH, MAX_NODES, PushError, PushMode, PushQuery, QueryFault, SealFault,
    Undecodable, decode,
};

use super::harness::seal::{APPID, KEY, TOKEN, seal, sign};
use super::{AT, Request, clear, harness, sealed, shape};

/// In every place where a body is parsed: as an envelope of a stranger, as clear content, as opened content.
fn everywhere(body: &str) -> [Undecodable; 3] {
    let query = sealed(b"").query;
    let outside = push::receive(&harness::settings(PushMode::Secure), query.as_bytes(), body.as_bytes(), AT);
    let Err(PushError::Envelope(outside)) = outside else { panic!("{outside:?}") };
    let clear = clear(body).receive(PushMode::Plaintext).unwrap().decoded.unwrap_err();
    let inside = decode(body.as_bytes()).unwrap_err();
    [outside, clear, inside]
}

#[test]
fn nothing_is_read_from_elsewhere() {
    for body in [
        r#"<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><Encrypt>&x;</Encrypt></xml>"#,
        r#"<?xml version="1.0"?><!DOCTYPE xml SYSTEM "http://127.0.0.1/evil.dtd"><xml/>"#,
        r#"<!DOCTYPE xml [<!ENTITY % p SYSTEM "http://127.0.0.1/p"> %p;]><xml/>"#,
        r#"<!DOCTYPE xml PUBLIC "-//W3C//DTD" "http://127.0.0.1/x"><xml/>"#,
    ] {
        assert_eq!(everywhere(body), [Undecodable::Doctype; 3], "{body}");
    }
    let inclusion = r#"<xml xmlns:xi="http://www.w3.org/2001/XInclude"><Encrypt><xi:include href="file:///etc/passwd"/></Encrypt></xml>"#;
    assert_eq!(everywhere(inclusion)[0], Undecodable::Odd("Encrypt"));
}

#[test]
fn nothing_grows_when_it_is_read() {
    let mut laughs = String::from("<!DOCTYPE lolz [<!ENTITY lol0 \"lol\">");
    for level in 1..10 {
        let inner = format!("&lol{};", level - 1).repeat(10);
        laughs += &format!("<!ENTITY lol{level} \"{inner}\">");
    }
    laughs += "]><xml><ToUserName>&lol9;</ToUserName></xml>";
    assert_eq!(everywhere(&laughs), [Undecodable::Doctype; 3]);
    for reason in everywhere("<xml><Encrypt>&lol9;</Encrypt></xml>") {
        assert!(matches!(reason, Undecodable::Entity { .. }));
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let most = MAX_BODY_BYTES / 8;
    let [xml_open, xml_close] = ["<a>".repeat(most), "</a>".repeat(most)];
    for deep in [
        xml_open.clone(),
        xml_open + &xml_close,
        "{\"a\":".repeat(most),
        format!("{{\"a\":{}", "[".repeat(most)),
        format!("{{\"a\":{}1{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)),
    ] {
        assert_eq!(everywhere(&deep), [Undecodable::TooDeep; 3]);
    }
    for many in [
        format!("<xml>{}</xml>", "<a/>".repeat(MAX_NODES)),
        format!("<xml>{}</xml>", "<a>1</a>".repeat(MAX_NODES)),
        format!("{{\"List\":[{}0]}}", "{},".repeat(MAX_NODES)),
        format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MAX_NODES)),
    ] {
        assert_eq!(everywhere(&many), [Undecodable::TooMany; 3]);
    }
    let fits = format!("{{\"a\":{}1{}}}", "[".repeat(MAX_DEPTH - 2), "]".repeat(MAX_DEPTH - 2));
    assert_eq!(decode(fits.as_bytes()), Err(Undecodable::Missing("ToUserName")));
}

#[test]
fn every_entry_point_refuses_what_is_too_large() {
    let large = vec![b'a'; 64 * 1024 * 1024];
    let begun = Instant::now();
    assert_eq!(decode(&large), Err(Undecodable::TooLarge));
    assert_eq!(PushQuery::parse(&large), Err(PushError::Query(QueryFault::TooLong)));
    let text = std::str::from_utf8(&large).unwrap();
    let unsealed = push::unseal(&harness::keys(), "wx1", text);
    assert_eq!(unsealed, Err(PushError::Unopened(SealFault::Length)));
    let query = sealed(b"").query;
    for mode in [PushMode::Plaintext, PushMode::Compatible, PushMode::Secure] {
        let settings = harness::settings(mode);
        assert_eq!(push::receive(&settings, query.as_bytes(), &large, AT), Err(PushError::TooLarge));
        let refused = push::receive(&settings, &large, b"{}", AT);
        assert_eq!(refused, Err(PushError::Query(QueryFault::TooLong)));
    }
    assert!(begun.elapsed().as_secs() < 5, "none of them looks at the bytes");
    assert!(push::EncodingAesKey::parse(text).is_err() && push::PushToken::parse(text).is_err());
}

#[test]
fn the_largest_body_is_still_taken() {
    let room = MAX_BODY_BYTES / 4 * 3 - 200;
    let content = format!(
        r#"{{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1,"MsgType":"text","Content":"{}"}}"#,
        "x".repeat(room)
    );
    let request = sealed(content.as_bytes());
    assert!(MAX_BODY_BYTES - 300 < request.body.len() && request.body.len() <= MAX_BODY_BYTES);
    assert!(request.receive(PushMode::Secure).unwrap().decoded.is_ok());
}

#[test]
fn the_front_of_a_sealed_part_cannot_be_passed_off_as_the_nonce() {
    // A signature joins its parts without separators. With the first 96 bytes of the sealed part moved to the nonce it still
    // fits wherever the order of the parts stays, and the rest is still whole blocks.
    let timestamp = AT.to_string();
    let fits = (0..100_u8).find_map(|random| {
        let encrypt = seal(KEY, APPID, &[random; 16], &shape("popup-one.json"));
        let (front, rest) = encrypt.split_at(128);
        let nonce = format!("200300400{front}");
        let signature = sign(&[TOKEN, &timestamp, &nonce, rest]);
        (signature == sign(&[TOKEN, &timestamp, "200300400", &encrypt])).then(|| Request {
            query: form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("timestamp", &timestamp), ("nonce", &nonce), ("msg_signature", &signature)])
                .finish(),
            body: format!(r#"{{"Encrypt":"{rest}"}}"#),
        })
    });
    let moved = fits.expect("in one of a hundred the order stays");
    assert_eq!(moved.receive(PushMode::Secure), Err(PushError::Query(QueryFault::Nonce)));
}
