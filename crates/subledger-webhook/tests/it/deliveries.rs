//! What arrives at a receiver that behaves.

use std::process::Command;

use secrecy::ExposeSecret;
use subledger_webhook::{Outcome, SigningSecret, SigningSecrets};

use crate::receiver::{Act, Receiver, SECRET, TIMESTAMP, deliverer, request, status};
use crate::verifier::verifies;

#[tokio::test]
async fn a_signed_message_arrives_as_it_was_handed_in() {
    let receiver = Receiver::start(status(204)).await;
    let mut request = request(&format!("{}?key=1", receiver.url()));
    request.headers.push(("X-Channel".to_owned(), "wechatmp123".to_owned()));
    assert_eq!(deliverer().deliver(request).await, Outcome::Delivered { status: 204 });

    let seen = &receiver.seen()[0];
    assert_eq!(seen.line, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(seen.body, br#"{"type":"push.received"}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", "msg_0001"),
        ("webhook-timestamp", "1700000000"),
        ("x-channel", "wechatmp123"),
        ("host", &receiver.address.to_string()),
    ] {
        assert_eq!(seen.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(verifies(seen, SECRET, TIMESTAMP + 299));
    assert!(!verifies(seen, SECRET, TIMESTAMP + 301));
    let mut forged = seen.clone();
    forged.body.push(b' ');
    assert!(!verifies(&forged, SECRET, TIMESTAMP));
}

#[tokio::test]
async fn during_a_rotation_either_secret_verifies_and_no_other() {
    let receiver = Receiver::start(status(200)).await;
    let current = SigningSecret::generate(&mut rand::rng());
    let shown = current.reveal();
    let mut request = request(&receiver.url());
    request.secrets = SigningSecrets { current, previous: Some(SigningSecret::parse(SECRET).unwrap()) };
    deliverer().deliver(request).await;

    let seen = &receiver.seen()[0];
    assert!(verifies(seen, shown.expose_secret(), TIMESTAMP));
    assert!(verifies(seen, SECRET, TIMESTAMP));
    let other = SigningSecret::generate(&mut rand::rng()).reveal();
    assert!(!verifies(seen, other.expose_secret(), TIMESTAMP));
}

#[tokio::test]
async fn a_body_of_any_bytes_is_signed_as_it_is_sent() {
    let receiver = Receiver::start(status(200)).await;
    let deliverer = deliverer();
    for body in [vec![], vec![0, 255, b'.', b'\r', b'\n'], "消息。".into(), vec![7; 300_000]] {
        let mut request = request(&receiver.url());
        request.body = body.clone();
        assert!(deliverer.deliver(request).await.is_final());
        let seen = receiver.seen().pop().unwrap();
        assert_eq!(seen.body, body);
        assert!(verifies(&seen, SECRET, TIMESTAMP));
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let receiver = Receiver::start(status(200)).await;
    let deliverer = deliverer();
    for _ in 0..5 {
        assert!(deliverer.deliver(request(&receiver.url())).await.is_final());
    }
    assert_eq!((receiver.seen().len(), receiver.accepted().len()), (5, 1));
}

/// Runs the first test of this file again in a process whose environment names a proxy for everything.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    let proxy = Receiver::start(Act::Close(Vec::new())).await;
    let url = format!("http://{}", proxy.address);
    let child = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "deliveries::a_signed_message_arrives_as_it_was_handed_in"])
            .envs(
                ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"]
                    .map(|name| (name, &url)),
            )
            .env_remove("no_proxy")
            .env_remove("NO_PROXY")
            .output()
            .unwrap()
    });
    let output = child.await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert!(proxy.accepted().is_empty());
}
