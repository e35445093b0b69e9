//! Fetches of small documents: the rules of deliveries hold for them, too.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use subledger_webhook::{AddressClass, Deliverer, Fetched, Outcome, Refusal, Trouble, UrlRefused};

use crate::{
    capture,
    receiver::{Act, Receiver, answer, config, deliverer, impatient, status},
};

const CAP: usize = 1_000;
const BEARER: &str = "PLANTED_CREDENTIAL";

async fn fetch(deliverer: &Deliverer, url: &str) -> Fetched {
    deliverer.fetch(url, &SecretString::from(BEARER), CAP).await
}

#[tokio::test]
async fn a_document_is_fetched_whole_with_its_credential() {
    let receiver = Receiver::start(Act::Keep(answer(200, "", r#"{"a":1}"#))).await;
    let lines = capture::lines();
    let fetched = fetch(&deliverer(), &receiver.url()).await;
    assert_eq!(fetched, Fetched::Body(br#"{"a":1}"#.to_vec()));
    assert_eq!(format!("{fetched:?}"), "Body(7 bytes)");
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    let sent = format!("{:?}", seen[0]);
    assert!(sent.contains(&format!("Bearer {BEARER}")), "{sent}");
    let lines = lines.lock().unwrap().join("\n");
    assert!(!lines.contains(BEARER), "{lines}");
}

#[tokio::test]
async fn nothing_is_followed_repeated_or_read_without_end() {
    let elsewhere = Receiver::start(status(200)).await;
    let moved = answer(302, &format!("Location: {}\r\n", elsewhere.url()), "");
    let long = "x".repeat(CAP + 1);
    for (act, expected) in [
        (Act::Keep(moved), Fetched::Failed(Outcome::Refused(Refusal::Redirect { status: 302 }))),
        (Act::Keep(answer(200, "", &long)), Fetched::TooLong),
        (Act::Keep(answer(200, "", &long[1..])), Fetched::Body(vec![b'x'; CAP])),
        (status(401), Fetched::Failed(Outcome::Refused(Refusal::Status { status: 401 }))),
        (
            status(503),
            Fetched::Failed(Outcome::TryAgain { why: Trouble::Status { status: 503 }, retry_after: None }),
        ),
    ] {
        let receiver = Receiver::start(act).await;
        assert_eq!(fetch(&deliverer(), &receiver.url()).await, expected);
        assert_eq!(receiver.seen().len(), 1, "nothing is repeated");
    }
    assert!(elsewhere.accepted().is_empty());
}

#[tokio::test]
async fn forbidden_addresses_are_not_connected() {
    let receiver = Receiver::start(status(200)).await;
    let strict = Deliverer::new(config(&[])).unwrap();
    let refused = |refusal| Fetched::Failed(Outcome::Refused(refusal));
    let loopback = UrlRefused::Address(AddressClass::Loopback);
    assert_eq!(fetch(&strict, &receiver.url()).await, refused(Refusal::Url(loopback)));
    assert!(receiver.accepted().is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left() {
    let receiver = Receiver::start(Act::Hang(Vec::new())).await;
    let (connect, whole) = (Duration::from_millis(100), Duration::from_millis(200));
    let deliverer = Deliverer::new(impatient(connect, whole)).unwrap();
    let begun = Instant::now();
    let failed = Outcome::TryAgain { why: Trouble::Timeout, retry_after: None };
    assert_eq!(fetch(&deliverer, &receiver.url()).await, Fetched::Failed(failed));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
