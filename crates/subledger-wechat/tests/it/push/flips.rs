//! One wrong byte anywhere.

use subledger_wechat::push::{self, Inbound, PushError, PushMode};

use super::{AT, harness, sealed, shape};

/// Every byte of an envelope, every bit of it: refused, or (outside the sealed part, which nothing signs) without effect.
#[test]
fn a_flipped_bit_of_an_envelope_changes_nothing_that_is_taken_in() {
    let request = sealed(&shape("popup-one.json"));
    let good = request.receive(PushMode::Secure).unwrap();
    let settings = harness::settings(PushMode::Secure);
    let begin = request.body.find("Encrypt\":\"").unwrap() + 10;
    let end = request.body.rfind('"').unwrap();
    for at in 0..request.body.len() {
        for bit in 0..8 {
            let mut body = request.body.clone().into_bytes();
            body[at] ^= 1 << bit;
            let result = push::receive(&settings, request.query.as_bytes(), &body, AT);
            match result {
                Ok(Inbound::Push(received)) => {
                    assert!(!(begin..end).contains(&at), "byte {at}, bit {bit}");
                    assert_eq!(received, good);
                }
                Ok(Inbound::ContainerCheck) => panic!("byte {at}, bit {bit}"),
                Err(error) => assert_ne!(error.class(), "unopened", "nothing unsigned is opened"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_of_the_query_is_refused() {
    let request = sealed(&shape("popup-one.json"));
    let settings = harness::settings(PushMode::Secure);
    for name in ["timestamp=", "nonce=", "msg_signature="] {
        let begin = request.query.rfind(name).unwrap() + name.len();
        let end = request.query[begin..].find('&').map_or(request.query.len(), |length| begin + length);
        for at in begin..end {
            for bit in 0..8 {
                let mut query = request.query.clone().into_bytes();
                query[at] ^= 1 << bit;
                let error = push::receive(&settings, &query, request.body.as_bytes(), AT).unwrap_err();
                let class = error.class();
                let expected = ["wrong_signature", "query", "no_signature"];
                assert!(expected.contains(&class), "{name} byte {at}, bit {bit}: {class}");
            }
        }
    }
}

#[test]
fn a_flipped_signature_of_a_url_check_is_refused() {
    let query =
        "signature=c528c5e195199fea8804fe6fe90612e953b8bcf1&timestamp=1790000000&nonce=100200300&echostr=82";
    let settings = harness::settings(PushMode::Secure);
    assert_eq!(push::answer_url_check(&settings, query.as_bytes(), AT).as_deref(), Ok("82"));
    for at in 10..50 {
        for bit in 0..8 {
            let mut query = query.as_bytes().to_vec();
            query[at] ^= 1 << bit;
            let refused = push::answer_url_check(&settings, &query, AT);
            assert!(
                matches!(
                    refused,
                    Err(PushError::WrongSignature(_) | PushError::NoSignature(_) | PushError::Query(_))
                ),
                "byte {at}, bit {bit}"
            );
        }
    }
}
