//! What each mode takes and what it refuses.

use std::time::Duration;

use subledger_wechat::push::{
    self, CLOCK_WINDOW, ContentKey, EncodingAesKey, Handling, Inbound, OpenedWith, PushError, PushKeys,
    PushMode, PushSettings, PushToken, QueryFault, SealFault, SettingsFault, Undecodable,
};

use super::harness::seal::{APPID, KEY, PREVIOUS_KEY, TOKEN, seal, seal_plain};
use super::{AT, Request, clear, harness, sealed, sealed_with, shape, signed_query};

const SEALING: [PushMode; 2] = [PushMode::Compatible, PushMode::Secure];

fn content() -> Vec<u8> {
    shape("popup-one.json")
}

/// As compatible mode sends it: everything in the clear, and sealed once more.
fn both_ways() -> Request {
    let Request { query, body } = sealed(&content());
    let encrypt = body.split('"').nth(7).unwrap();
    let clear = String::from_utf8(content()).unwrap();
    let body = clear.replacen('{', &format!("{{\"Encrypt\":\"{encrypt}\","), 1);
    Request { query, body }
}

#[test]
fn plaintext_takes_clear_bodies_with_a_signature() {
    let text = String::from_utf8(content()).unwrap();
    let received = clear(&text).receive(PushMode::Plaintext).unwrap();
    assert_eq!((received.opened_with, received.content), (OpenedWith::Nothing, content()));
    assert!(received.decoded.is_ok());

    let missing = clear(&text).with("signature=", "other=").receive(PushMode::Plaintext);
    assert_eq!(missing, Err(PushError::NoSignature("signature")));
    let only_the_other = clear(&text).with("signature=", "msg_signature=").receive(PushMode::Plaintext);
    assert_eq!(only_the_other, Err(PushError::NoSignature("signature")));
    let wrong = clear(&text).with("signature=", "signature=0").receive(PushMode::Plaintext);
    assert_eq!(wrong, Err(PushError::WrongSignature("signature")));
    for request in [sealed(&content()), both_ways()] {
        assert_eq!(request.receive(PushMode::Plaintext), Err(PushError::SealedBody));
    }
}

#[test]
fn compatible_and_secure_take_the_sealed_part_only() {
    for mode in SEALING {
        for request in [sealed(&content()), both_ways()] {
            let received = request.receive(mode).unwrap();
            assert_eq!((received.opened_with, received.content), (OpenedWith::CurrentKey, content()));
        }
        let forged = both_ways().with("\"accept\"", "\"reject\"").with("oDEMO_user", "oEVIL_user");
        let honest = forged.receive(mode).unwrap();
        assert_eq!(honest.content, content(), "the clear fields are not looked at");

        let text = String::from_utf8(content()).unwrap();
        let bare = Request { query: sealed(&content()).query, body: text };
        assert_eq!(bare.receive(mode), Err(PushError::ClearBody));
    }
}

#[test]
fn only_the_signature_over_the_sealed_part_counts() {
    for mode in SEALING {
        let request = sealed(&content());
        let absent = request.with("&msg_signature=", "&x=").receive(mode);
        assert_eq!(absent, Err(PushError::NoSignature("msg_signature")));
        let plain = request.query.split(['=', '&']).nth(1).unwrap();
        let whole = request.query.rsplit('=').next().unwrap();
        let swapped = request.with(whole, plain).receive(mode);
        assert_eq!(
            swapped,
            Err(PushError::WrongSignature("msg_signature")),
            "a signature of the query is not one of the body"
        );
        let without_plain = request.with(&format!("signature={plain}&"), "");
        assert!(without_plain.receive(mode).is_ok(), "and is not needed");
        for other in [whole.to_uppercase(), whole[..39].to_owned(), format!("{whole}0"), String::new()] {
            assert!(request.with(whole, &other).receive(mode).is_err(), "{other}");
        }
        let sealed_again = seal(KEY, APPID, b"other000rand0001", &content());
        let exchanged = Request { body: format!(r#"{{"Encrypt":"{sealed_again}"}}"#), query: request.query };
        assert_eq!(exchanged.receive(mode), Err(PushError::WrongSignature("msg_signature")));
    }
}

#[test]
fn another_token_is_a_wrong_signature() {
    let token = PushToken::parse("demoToken02").unwrap();
    let settings = PushSettings::new(APPID, token, PushMode::Secure, Some(harness::keys())).unwrap();
    let Request { query, body } = sealed(&content());
    let refused = push::receive(&settings, query.as_bytes(), body.as_bytes(), AT);
    assert_eq!(refused, Err(PushError::WrongSignature("msg_signature")));
}

#[test]
fn the_clock_window_is_closed_on_both_sides() {
    let window = i64::try_from(CLOCK_WINDOW.as_secs()).unwrap();
    let Request { query, body } = sealed(&content());
    let settings = harness::settings(PushMode::Secure);
    let at = |now| push::receive(&settings, query.as_bytes(), body.as_bytes(), now).map(|_| ());
    assert_eq!((at(AT - window), at(AT + window)), (Ok(()), Ok(())));
    assert_eq!(at(AT + window + 1), Err(PushError::Clock { ahead_seconds: -601 }));
    assert_eq!(at(AT - window - 1), Err(PushError::Clock { ahead_seconds: 601 }));
    for now in [i64::MIN, -1, 0, i64::MAX] {
        assert_eq!(at(now).unwrap_err().class(), "clock");
    }
    let narrow = settings.clone().with_clock_window(Duration::ZERO);
    let at = |now| push::receive(&narrow, query.as_bytes(), body.as_bytes(), now).map(|_| ());
    assert_eq!((at(AT), at(AT + 1)), (Ok(()), Err(PushError::Clock { ahead_seconds: -1 })));
    let forged = Request { query, body }.with("1790000001", "1890000001").receive(PushMode::Secure);
    assert_eq!(
        forged,
        Err(PushError::WrongSignature("msg_signature")),
        "the clock is judged by what was signed"
    );
    let url_check =
        "signature=c528c5e195199fea8804fe6fe90612e953b8bcf1&timestamp=1790000000&nonce=100200300&echostr=82";
    let old = push::answer_url_check(&narrow, url_check.as_bytes(), AT);
    assert_eq!(old, Err(PushError::Clock { ahead_seconds: -1 }));
}

#[test]
fn the_previous_key_opens_as_long_as_it_is_set() {
    let request = sealed_with(PREVIOUS_KEY, APPID, &content());
    assert_eq!(request.receive(PushMode::Secure).unwrap().opened_with, OpenedWith::PreviousKey);

    let keys = PushKeys { current: EncodingAesKey::parse(KEY).unwrap(), previous: None };
    let token = PushToken::parse(TOKEN).unwrap();
    let settings = PushSettings::new(APPID, token, PushMode::Secure, Some(keys)).unwrap();
    let refused = push::receive(&settings, request.query.as_bytes(), request.body.as_bytes(), AT);
    let error = refused.unwrap_err();
    assert_eq!((error.class(), error.handling()), ("unopened", Handling::Keep));
}

#[test]
fn the_appid_at_the_end_is_checked_with_either_key() {
    for key in [KEY, PREVIOUS_KEY] {
        for tail in ["wx00000000comp0001", "", "wx00000000demo000", "wx00000000demo00011"] {
            let request = sealed_with(key, tail, &content());
            assert_eq!(request.receive(PushMode::Secure), Err(PushError::WrongTail), "{tail}");
        }
    }
    let component = "wx00000000comp0001";
    let Request { query, body } = sealed_with(KEY, component, &content());
    let settings = harness::settings(PushMode::Secure).with_tail(component);
    let received = push::receive(&settings, query.as_bytes(), body.as_bytes(), AT).unwrap();
    let Inbound::Push(received) = received else { panic!() };
    let own = sealed(&content()).receive(PushMode::Secure).unwrap();
    assert_eq!(received.key, own.key, "the key is of the Mini Program, whoever delivers");
}

#[test]
fn what_is_signed_and_does_not_open_is_kept() {
    let frame = |length: u32, message: &[u8], pad: u8| {
        let mut plain = [&b"demo0000rand0001"[..], &length.to_be_bytes(), message, APPID.as_bytes()].concat();
        plain.resize(plain.len().next_multiple_of(32), pad);
        seal_plain(KEY, &plain)
    };
    let good = frame(6, b"{\"a\":1", 20);
    for (encrypt, fault) in [
        ("*".to_owned(), SealFault::Base64),
        (good[..good.len() - 1].to_owned(), SealFault::Base64),
        (String::new(), SealFault::Length),
        (seal_plain(KEY, &[7; 48]), SealFault::Length),
        (frame(6, b"{\"a\":1", 0), SealFault::Padding),
        (frame(6, b"{\"a\":1", 33), SealFault::Padding),
        (frame(6, b"{\"a\":1", 21), SealFault::Padding),
        (frame(25, b"{\"a\":1", 20), SealFault::Frame),
        (frame(u32::MAX, b"{\"a\":1", 20), SealFault::Frame),
        (seal_plain(KEY, &[32; 32]), SealFault::Frame),
    ] {
        let body = format!(r#"{{"Encrypt":"{encrypt}"}}"#);
        let refused = Request { query: signed_query(&encrypt), body }.receive(PushMode::Secure).unwrap_err();
        assert_eq!(refused, PushError::Unopened(fault), "{encrypt}");
        assert_eq!(refused.handling(), Handling::Keep);
    }
    let body = format!(r#"{{"Encrypt":"{good}"}}"#);
    let received = Request { query: signed_query(&good), body }.receive(PushMode::Secure).unwrap();
    assert_eq!(received.content, b"{\"a\":1");
}

#[test]
fn what_opens_and_is_not_understood_is_no_error() {
    for content in [&b"success"[..], b"", b"\xff\xfe", b"{\"MsgType\":\"event\""] {
        let received = sealed(content).receive(PushMode::Secure).unwrap();
        assert!(received.decoded.is_err());
        assert_eq!(received.content, content);
        assert_eq!(received.key, ContentKey::of_bytes(APPID, content));
    }
    let received = clear("gibberish").receive(PushMode::Plaintext).unwrap();
    assert_eq!(received.decoded, Err(Undecodable::UnknownFormat));
}

#[test]
fn the_check_of_cloud_hosting_needs_no_signature() {
    for mode in [PushMode::Plaintext, PushMode::Compatible, PushMode::Secure] {
        let settings = harness::settings(mode);
        let answer = push::receive(&settings, b"", b" {\"action\": \"CheckContainerPath\"}\n", AT);
        assert_eq!(answer, Ok(Inbound::ContainerCheck));
        let other =
            push::receive(&settings, b"", b"{\"action\":\"CheckContainerPath\",\"MsgType\":\"event\"}", AT);
        assert_eq!(other, Err(PushError::NoSignature("timestamp")));
    }
    let Request { query, body } = sealed(b"{\"action\":\"CheckContainerPath\"}");
    let settings = harness::settings(PushMode::Secure);
    let answer = push::receive(&settings, query.as_bytes(), body.as_bytes(), AT);
    assert_eq!(answer, Ok(Inbound::ContainerCheck));
}

#[test]
fn a_url_check_needs_its_text_and_its_signature() {
    let good = "signature=c528c5e195199fea8804fe6fe90612e953b8bcf1&timestamp=1790000000&nonce=100200300&echostr=8200000000000000001";
    for mode in [PushMode::Plaintext, PushMode::Compatible, PushMode::Secure] {
        let answer = |query: &str| push::answer_url_check(&harness::settings(mode), query.as_bytes(), AT);
        assert_eq!(answer(good).as_deref(), Ok("8200000000000000001"));
        let no_text = good.split("&echostr").next().unwrap();
        assert_eq!(answer(no_text), Err(PushError::Query(QueryFault::Missing("echostr"))));
        assert_eq!(answer(&good.replace("=c5", "=c6")), Err(PushError::WrongSignature("signature")));
        assert_eq!(
            answer(&good.replace("signature", "msg_signature")),
            Err(PushError::NoSignature("signature"))
        );
    }
}

#[test]
fn sealing_modes_need_a_key() {
    for mode in SEALING {
        let settings = PushSettings::new(APPID, PushToken::parse(TOKEN).unwrap(), mode, None);
        assert_eq!(settings.unwrap_err(), SettingsFault::KeyMissing);
    }
}

#[test]
fn every_error_has_its_class_and_its_handling() {
    use Handling::*;
    for (error, class, handling) in [
        (PushError::TooLarge, "too_large", Reject),
        (PushError::Query(QueryFault::TooLong), "query", Reject),
        (PushError::NoSignature("signature"), "no_signature", Forbid),
        (PushError::WrongSignature("signature"), "wrong_signature", Forbid),
        (PushError::Clock { ahead_seconds: 601 }, "clock", Forbid),
        (PushError::Envelope(Undecodable::Empty), "no_envelope", Reject),
        (PushError::ClearBody, "clear_body", Forbid),
        (PushError::SealedBody, "sealed_body", Forbid),
        (PushError::Unopened(SealFault::Padding), "unopened", Keep),
        (PushError::WrongTail, "wrong_tail", Forbid),
    ] {
        assert_eq!((error.class(), error.handling()), (class, handling));
    }
}
