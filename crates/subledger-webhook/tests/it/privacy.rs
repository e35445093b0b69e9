//! Nothing of a URL but its host, and no secret, leaves through a log line, an outcome or a debug print.

use std::time::Duration;

use subledger_webhook::{Deliverer, Request, SigningSecret};

use crate::capture;
use crate::receiver::{Act, Names, Receiver, SECRET, answer, config, impatient, request, status};

const PRIVATE: &[&str] = &[
    "query-secret",
    "path-secret",
    "body-secret",
    "header-secret",
    "answer-secret",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "v1,",
];

fn private(url: &str) -> Request {
    let mut request = request(&format!("{url}/path-secret?key=query-secret"));
    request.headers.push(("Authorization".to_owned(), "Basic header-secret".to_owned()));
    request.headers.push(("X-Key".to_owned(), "header-secret".to_owned()));
    request.body = b"body-secret".to_vec();
    request
}

#[tokio::test]
async fn nothing_private_is_logged_or_printed_whatever_happens() {
    let lines = capture::lines();
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nanswer-secret".to_vec();
    let mut printed = Vec::new();
    let mut urls = vec![
        "http://hooks.example.com".to_owned(),
        "http://127.0.0.1:25".to_owned(),
        "http://10.0.0.1".to_owned(),
        "http://u:query-secret@127.0.0.1".to_owned(),
        "nonsense query-secret".to_owned(),
    ];
    for act in [
        status(200),
        status(500),
        status(410),
        Act::Keep(answer(302, "Location: http://127.0.0.1/answer-secret\r\n", "answer-secret")),
        Act::Close(Vec::new()),
        Act::Close(truncated),
        Act::Close(b"answer-secret\r\n\r\n".to_vec()),
        Act::Reset,
        Act::Hang(Vec::new()),
    ] {
        let receiver = Receiver::start(act).await;
        urls.push(format!("http://{}", receiver.address));
    }
    let inward = Names::new(&[&["10.0.0.1"]]);
    // Without answers no name resolves, and no test asks a real name server.
    let deliverers = [Names::new(&[]), inward].map(|names| {
        let config = impatient(Duration::from_millis(200), Duration::from_millis(400));
        Deliverer::with_lookup(config, names).unwrap()
    });
    for url in &urls {
        for deliverer in &deliverers {
            let request = private(url);
            printed.push(format!("{request:?}"));
            printed.push(format!("{:?}", deliverer.deliver(request).await));
        }
        printed.push(format!("{:?}", config(&[]).policy.endpoint(url)));
    }
    printed.push(format!("{:?}", SigningSecret::parse(SECRET)));

    let lines = lines.lock().unwrap();
    let ours = lines.iter().filter(|line| line.contains("webhook attempt ended"));
    assert!(urls.len() * 2 <= ours.count(), "the capture sees our events");
    assert!(lines.iter().any(|line| line.contains("webhook.host=\"hooks.example.com\"")));
    for text in lines.iter().chain(&printed) {
        for word in PRIVATE {
            assert!(!text.contains(word), "{word} in: {text}");
        }
    }
}
