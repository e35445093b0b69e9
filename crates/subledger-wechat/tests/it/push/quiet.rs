//! Nothing that is printed tells a secret, a user, or a word of a body.

use std::error::Error;

use subledger_wechat::push::{self, PushMode, PushQuery};

use super::harness::seal::{KEY, PREVIOUS_KEY, TOKEN};
use super::{AT, Request, clear, harness, sealed, sealed_with, shape};

const USER: &str = "oDEMO_user";
const CONTENT: &str = "wORd-of-a-bODy";

fn assert_clean(text: &str) {
    for private in [TOKEN, KEY, PREVIOUS_KEY, "BootstrapDemoKey", USER, CONTENT] {
        assert!(!text.contains(private), "{private} in: {text}");
    }
}

fn printed(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(" <- {cause} {cause:?}");
        next = cause.source();
    }
    text
}

#[test]
fn settings_do_not_print_their_secrets() {
    let settings = harness::settings(PushMode::Secure);
    let text = format!("{settings:?} {:#?} {:?}", settings, harness::keys());
    assert!(text.contains("[redacted]"));
    assert_clean(&text);
}

#[test]
fn requests_do_not_print_whom_they_are_about() {
    let request = sealed(&shape("popup-one.json"));
    let received = request.receive(PushMode::Secure).unwrap();
    let opened = push::open(
        &harness::settings(PushMode::Secure),
        request.query.as_bytes(),
        request.body.as_bytes(),
        AT,
    );
    let query = PushQuery::parse(request.query.as_bytes());
    assert_clean(&format!("{received:?} {opened:?} {query:?}"));
}

#[test]
fn errors_quote_nothing() {
    let text = String::from_utf8(shape("popup-one.json")).unwrap();
    let good = sealed(text.as_bytes());
    let broken = [
        text.replace("\"event\"", CONTENT),
        text.replace("\"event\"", &format!("\"{CONTENT}")),
        text.replace("popup_event", &format!("popup event {CONTENT}")),
        text.replace("\"accept\"", &format!("[\"{CONTENT}\"]")),
        text.replace('}', CONTENT),
        format!("<xml><{CONTENT}></a></xml>"),
        format!("<xml><a {CONTENT}"),
        format!("<xml>&{CONTENT};</xml>"),
        format!("<!DOCTYPE {CONTENT}><xml/>"),
        format!("{CONTENT} {USER}"),
    ];
    let mut errors: Vec<String> = Vec::new();
    for content in &broken {
        let inside = sealed(content.as_bytes()).receive(PushMode::Secure).unwrap();
        let clear = clear(content).receive(PushMode::Plaintext).unwrap();
        errors.push(format!("{inside:?} {clear:?}"));
        errors.extend([inside, clear].map(|received| printed(&received.decoded.unwrap_err())));
        let outside = Request { query: good.query.clone(), body: content.clone() };
        errors.push(printed(&outside.receive(PushMode::Secure).unwrap_err()));
    }
    for request in [
        good.with("nonce=", "nonce=%20"),
        good.with("timestamp=", &format!("timestamp={CONTENT}")),
        good.with("msg_signature=", &format!("msg_signature={CONTENT}")),
        good.with("&timestamp", &format!("&nonce={CONTENT}&timestamp")),
        sealed_with(KEY, CONTENT, text.as_bytes()),
        sealed_with("9999999999999999999999999999999999999999999", TOKEN, text.as_bytes()),
    ] {
        errors.push(printed(&request.receive(PushMode::Secure).unwrap_err()));
    }
    assert!(errors.iter().any(|text| text.contains("line 1")), "the place is told: {errors:?}");
    for error in errors {
        assert_clean(&error);
    }
}
