//! Every way an attempt can end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use subledger_webhook::{
    ANSWER_CAP_BYTES, Deliverer, Lookup, LookupFuture, Outcome, Refusal, RequestFault, SetupError, Trouble,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::receiver::{Act, Names, Receiver, answer, config, deliverer, impatient, request, status};

/// The words an attempt against `act` ends with.
async fn ending(act: Act) -> Outcome {
    let receiver = Receiver::start(act).await;
    let outcome = deliverer().deliver(request(&receiver.url())).await;
    assert_eq!(receiver.seen().len(), 1, "nothing is repeated");
    outcome
}

fn trouble(why: Trouble) -> Outcome {
    Outcome::TryAgain { why, retry_after: None }
}

#[tokio::test]
async fn statuses_are_told_apart() {
    assert_eq!(ending(status(202)).await, Outcome::Delivered { status: 202 });
    assert_eq!(ending(status(410)).await, Outcome::Gone);
    assert_eq!(ending(status(404)).await, Outcome::Refused(Refusal::Status { status: 404 }));
    assert_eq!(ending(status(500)).await, trouble(Trouble::Status { status: 500 }));
    assert_eq!(ending(status(429)).await, trouble(Trouble::Status { status: 429 }));
}

#[tokio::test]
async fn a_receiver_says_when_to_come_back() {
    for (header, seconds) in
        [("Retry-After: 120\r\n", 120), ("Retry-After: Tue, 14 Nov 2023 22:23:20 GMT\r\n", 600)]
    {
        let retry_after = Some(Duration::from_secs(seconds));
        let why = Trouble::Status { status: 503 };
        assert_eq!(ending(Act::Keep(answer(503, header, ""))).await, Outcome::TryAgain { why, retry_after });
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::start(status(200)).await;
    let deliverer = deliverer();
    for code in [301, 302, 303, 307, 308] {
        for target in [elsewhere.url().as_str(), "http://169.254.169.254/latest/meta-data/", "/other", ""] {
            let act = Act::Keep(answer(code, &format!("Location: {target}\r\n"), ""));
            let receiver = Receiver::start(act).await;
            let outcome = deliverer.deliver(request(&receiver.url())).await;
            assert_eq!(outcome, Outcome::Refused(Refusal::Redirect { status: code }), "{target}");
            assert_eq!(receiver.seen().len(), 1);
        }
    }
    assert!(elsewhere.accepted().is_empty());
}

#[tokio::test]
async fn a_receiver_that_breaks_off_is_tried_again() {
    let garbage = b"SSH-2.0-OpenSSH\r\n\r\n".to_vec();
    let half = b"HTTP/1.1 20".to_vec();
    for act in [Act::Close(Vec::new()), Act::Reset, Act::Close(garbage), Act::Close(half)] {
        assert_eq!(ending(act).await, trouble(Trouble::ConnectionLost));
    }
}

#[tokio::test]
async fn a_receiver_that_is_silent_is_given_up_in_time() {
    let config = impatient(Duration::from_secs(5), Duration::from_secs(6));
    let deliverer = Deliverer::new(config).unwrap();
    let attempt = async |start: &str| {
        let receiver = Receiver::start(Act::Hang(start.into())).await;
        let outcome = deliverer.deliver(request(&receiver.url())).await;
        assert_eq!(outcome, trouble(Trouble::Timeout));
        assert_eq!(receiver.seen().len(), 1, "nothing is repeated");
    };
    tokio::join!(attempt(""), attempt("HTTP/1.1 200 OK\r\nX: "));
}

/// A name server that never answers.
struct Silence;

impl Lookup for Silence {
    fn lookup(&self, _: &str) -> LookupFuture {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn the_time_to_connect_covers_names_and_tls() {
    let config = impatient(Duration::from_millis(300), Duration::from_secs(60));
    let deliverer = Deliverer::with_lookup(config, Arc::new(Silence)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("https://{}/", listener.local_addr().unwrap());
    for url in ["http://hooks.example.com/", &mute] {
        assert_eq!(deliverer.deliver(request(url)).await, trouble(Trouble::ConnectTimeout), "{url}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_not_read_for_ever() {
    assert_eq!(
        ending(Act::Flood(b"HTTP/1.1 200 OK\r\nX: ".to_vec())).await,
        trouble(Trouble::ConnectionLost)
    );
}

#[tokio::test]
async fn nobody_listening_is_told_from_no_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(deliverer().deliver(request(&url)).await, trouble(Trouble::ConnectionRefused));

    for names in [Names::new(&[]), Names::new(&[&[]])] {
        let deliverer = Deliverer::with_lookup(config(&[]), names.clone()).unwrap();
        let outcome = deliverer.deliver(request("http://hooks.example.com/")).await;
        assert_eq!(outcome, trouble(Trouble::Dns));
        assert_eq!(names.asked(), ["hooks.example.com"]);
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _gone = stream.read_to_end(&mut Vec::new()).await;
    });
    assert_eq!(deliverer().deliver(request(&url)).await, trouble(Trouble::Tls));
}

#[tokio::test]
async fn an_answer_counts_when_its_head_is_there() {
    let head = |length: &str| format!("HTTP/1.1 200 OK\r\n{length}\r\n").into_bytes();
    let delivered = Outcome::Delivered { status: 200 };
    for act in [
        Act::Hang(head("Content-Length: 9\r\n")),
        Act::Close(head("Content-Length: 9\r\n")),
        Act::Flood(head("Content-Length: 99999999999\r\n")),
        Act::Flood(head("")),
    ] {
        let started = Instant::now();
        assert_eq!(ending(act).await, delivered);
        assert!(started.elapsed() < Duration::from_secs(50), "not waited for the whole time-out");
    }
}

#[tokio::test]
async fn a_long_answer_costs_its_connection_and_a_short_one_does_not() {
    for (bytes, connections) in [(ANSWER_CAP_BYTES, 1), (1024 * 1024, 2)] {
        let receiver = Receiver::start(Act::Keep(answer(200, "", &"x".repeat(bytes)))).await;
        let deliverer = deliverer();
        for _ in 0..2 {
            assert!(deliverer.deliver(request(&receiver.url())).await.is_final());
        }
        assert_eq!(receiver.accepted().len(), connections, "{bytes}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is_connected() {
    let receiver = Receiver::start(status(200)).await;
    let mut request = request(&receiver.url());
    request.headers.push(("Host".to_owned(), "elsewhere.example".to_owned()));
    let outcome = deliverer().deliver(request).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::Request(RequestFault::Reserved("host".to_owned()))));
    assert!(receiver.accepted().is_empty());
}

#[test]
fn time_outs_that_make_no_sense_are_refused() {
    let mut swapped = config(&[]);
    std::mem::swap(&mut swapped.connect_timeout, &mut swapped.whole_timeout);
    let mut zero = config(&[]);
    zero.connect_timeout = Duration::ZERO;
    for config in [swapped, zero] {
        assert_eq!(Deliverer::new(config).err(), Some(SetupError::Timeouts));
    }
}
