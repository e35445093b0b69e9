//! The feed: pages, streams, who may follow what, and that nothing is lost or repeated.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Response, header::ACCEPT};
use serde_json::{Value, json};
use subledger_domain::app::Right;
use subledger_http::HttpSettings;

use crate::support::{CHANNEL, PATIENCE, TestApp, fault, new_channel};

/// An event stream, read as a client reads it.
struct Stream {
    response: Response,
    text: String,
}

/// What came: an event or a comment.
#[derive(Debug)]
enum Came {
    Event { id: u64, kind: String, data: Value },
    Comment,
}

async fn open(app: &TestApp, key: &str, query: &str, last: Option<u64>) -> Result<Stream, Response> {
    let mut request = app.request("GET", &format!("/events?{query}")).bearer_auth(key);
    request = request.header(ACCEPT, "text/event-stream").timeout(PATIENCE * 3);
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    let response = request.send().await.unwrap();
    if response.status() != 200 {
        return Err(response);
    }
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Ok(Stream { response, text: String::new() })
}

impl Stream {
    /// The next thing; nothing at the end of the stream.
    async fn next(&mut self) -> Option<Came> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(parse(&block));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn event(&mut self) -> (u64, String, Value) {
        loop {
            match self.next().await.expect("the stream ended") {
                Came::Event { id, kind, data } => return (id, kind, data),
                Came::Comment => {}
            }
        }
    }
}

fn parse(block: &str) -> Came {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    match field("data:") {
        None => Came::Comment,
        Some(data) => Came::Event {
            id: field("id:").unwrap().parse().unwrap(),
            kind: field("event:").unwrap().to_owned(),
            data: serde_json::from_str(data).unwrap(),
        },
    }
}

fn log() -> String {
    format!("log={CHANNEL}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lead_through_the_whole_log() {
    let app = TestApp::new().await;
    app.user("zhangsan", 3).await;
    let head = app.heads().await.into_iter().find(|head| head.log.as_str() == CHANNEL).unwrap();
    let (mut after, mut positions) = (0, Vec::new());
    loop {
        let answer = app.get(&format!("/events?{}&after={after}&limit=2", log())).await;
        assert_eq!(answer.header("subledger-position"), head.position.to_string());
        let page = answer.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        positions.extend(items.iter().map(|item| item["position"].as_u64().unwrap()));
        after = page["next_after"].as_u64().unwrap();
        if items.is_empty() {
            break;
        }
    }
    assert_eq!(positions, (1..=head.position.0).collect::<Vec<_>>());
    assert_eq!(after, head.position.0);
    let first = &app.get(&format!("/events?{}&limit=1", log())).await.ok(200)["items"][0];
    assert_eq!((&first["kind"], &first["stream"]), (&json!("channel.registered"), &json!("channel/self")));
    assert_eq!((first["log"].as_str(), first["version"].as_u64()), (Some(CHANNEL), Some(1)));
    assert_eq!(first["link"].as_str().unwrap().len(), 64);
    assert_eq!(first["cause"]["by"], "app:tester");
    assert!(first["data"]["appid"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_parameters_are_named() {
    let app = TestApp::new().await;
    let refused = async |query: &str, pointer: &str, rule: &str| {
        let answer = app.get(&format!("/events?{query}")).await;
        assert_eq!(answer.status, 422, "{query}: {}", answer.text);
        fault(&answer.body, pointer, rule);
    };
    refused("", "/log", "required").await;
    refused(&format!("{}&limit=0", log()), "/limit", "bad_limit").await;
    refused(&format!("{}&limit=1001", log()), "/limit", "bad_limit").await;
    refused(&format!("{}&after=-1", log()), "/after", "invalid").await;
    refused(&format!("{}&after=4000", log()), "/after", "bad_after").await;
    refused(&format!("{}&since=1", log()), "/since", "unknown_parameter").await;
    app.get(&format!("/events?{}&limit=1000", log())).await.ok(200);
    let request = app.request("GET", &format!("/events?{}", log())).bearer_auth(&app.key);
    let answer = app.raw(request.header("Last-Event-ID", "x")).await;
    fault(&answer.problem(422, "bad_last_event_id"), "/Last-Event-ID", "bad_last_event_id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_follows_the_logs_it_may_read_and_no_other() {
    let app = TestApp::new().await;
    let here: &[&str] = &[CHANNEL];
    let elsewhere: &[&str] = &["othermp"];
    let reader = app.app("reader", &[Right::Read], None).await;
    let mine = app.app("mine", &[Right::Read, Right::Manage], Some(here)).await;
    let other = app.app("other", &[Right::Read, Right::Manage], Some(elsewhere)).await;
    let sender = app.app("sender", &[Right::Send, Right::Manage], None).await;
    let keeper = app.app("keeper", &[Right::Read, Right::Manage], None).await;
    let get = async |key: &str, log: &str| {
        let page = app.raw(app.request("GET", &format!("/events?log={log}")).bearer_auth(key)).await;
        let streamed = match open(&app, key, &format!("log={log}"), None).await {
            Ok(_) => 200,
            Err(refused) => refused.status().as_u16(),
        };
        assert_eq!(page.status, streamed, "{log}: pages and streams have one rule");
        (page.status, page.body["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |code: &str| (if code == "missing_right" { 403 } else { 404 }, code.to_owned());
    let fine = (200, String::new());
    for key in [&reader, &mine, &keeper, &app.key] {
        assert_eq!(get(key, CHANNEL).await, fine);
    }
    for key in [&other, &sender] {
        assert_eq!(get(key, CHANNEL).await, refused("missing_right"));
        assert_eq!(get(key, "main").await, refused("missing_right"));
    }
    for key in [&reader, &mine] {
        assert_eq!(get(key, "main").await, refused("missing_right"));
    }
    for key in [&keeper, &app.key] {
        assert_eq!(get(key, "main").await, fine);
    }
    for unknown in ["nosuch", "Main", "a%20b"] {
        assert_eq!(get(&reader, unknown).await, refused("unknown_channel"), "{unknown}");
    }
    // Whether a channel exists is no business of a key that may not use it.
    assert_eq!(get(&mine, "nosuch").await, refused("missing_right"));
}

/// Commands are carried out all the while; the client is cut off again and again, and goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reconnects_loses_nothing_and_repeats_nothing() {
    // The server notices a client that went away a little later than the client.
    let settings = HttpSettings { max_streams_per_key: 64, ..HttpSettings::default() };
    let app = TestApp::with(settings).await;
    app.user("zhangsan", 1).await;
    let openid = app.user("lisi", 0).await;
    let writing = async {
        for tap in 0..120 {
            let report =
                json!({ "report_id": format!("r-{tap}"), "userid": "lisi", "result": app.tap(&openid) });
            app.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.ok(200);
        }
        app.heads().await.into_iter().find(|head| head.log.as_str() == CHANNEL).unwrap().position.0
    };
    let reading = async {
        let (mut last, mut seen) = (None, Vec::new());
        // Cut off after so many events, each time another number.
        for (round, events) in [1, 7, 2, 30, 3, 11].into_iter().cycle().take(60).enumerate() {
            let mut stream = open(&app, &app.key, &log(), last).await.unwrap_or_else(|_| panic!("{round}"));
            for _ in 0..events {
                let (id, _, data) = stream.event().await;
                assert_eq!(data["position"], id);
                seen.push(id);
                last = Some(id);
                if seen.len() == 125 {
                    return seen;
                }
            }
        }
        seen
    };
    let (head, seen) = tokio::join!(writing, reading);
    assert!(head >= 125, "{head}");
    assert_eq!(seen, (1..=125).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_where_asked_and_is_woken_by_the_next_event() {
    let app = TestApp::new().await;
    let heads = app.heads().await;
    let head = heads.iter().find(|head| head.log.as_str() == CHANNEL).unwrap().position.0;
    let mut stream = open(&app, &app.key, &format!("{}&after={head}", log()), None).await.ok().unwrap();
    let body = json!({ "reason": "maintenance" });
    app.post(&format!("/channels/{CHANNEL}/pause"), &body).await.ok(200);
    let (id, kind, data) = stream.event().await;
    assert_eq!((id, kind.as_str()), (head + 1, "channel.paused"));
    assert_eq!(data["data"], body);
    // `Last-Event-ID` outweighs the query.
    let mut again = open(&app, &app.key, &format!("{}&after=0", log()), Some(head)).await.ok().unwrap();
    assert_eq!(again.event().await.0, head + 1);
    let page = app.get(&format!("/events?{}&after={head}", log())).await.ok(200);
    assert_eq!(page["items"][0], data, "a stream shows events as pages do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_a_key_are_bounded_and_a_closed_one_makes_room() {
    let settings = HttpSettings {
        max_streams_per_key: 2,
        heartbeat: Duration::from_millis(50),
        ..HttpSettings::default()
    };
    let app = TestApp::with(settings).await;
    let one = open(&app, &app.key, &log(), None).await.ok().unwrap();
    let _two = open(&app, &app.key, &log(), None).await.ok().unwrap();
    let refused = open(&app, &app.key, &log(), None).await.err().unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "too_many_streams");
    let other = app.app("other", &[Right::Read], None).await;
    assert!(open(&app, &other, &log(), None).await.is_ok(), "another key has its own");
    app.get(&format!("/events?{}", log())).await.ok(200);
    drop(one);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while open(&app, &app.key, &log(), None).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the slot is never given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_is_kept_open_and_ends_with_its_key() {
    let settings = HttpSettings { heartbeat: Duration::from_millis(50), ..HttpSettings::default() };
    let app = TestApp::with(settings).await;
    let key = app.app("leaver", &[Right::Read], None).await;
    let mut stream = open(&app, &key, &format!("{}&after=1", log()), None).await.ok().unwrap();
    let mut comments = 0;
    while comments < 3 {
        comments += u32::from(matches!(stream.next().await.expect("it ended"), Came::Comment));
    }
    let caller = subledger_engine::Caller::operator("tests".parse().unwrap());
    app.engine.revoke_key(&caller, "leaver".parse().unwrap(), &key).await.unwrap();
    while stream.next().await.is_some() {}
    assert_eq!(open(&app, &key, &log(), None).await.err().unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_the_service_stops() {
    let app = TestApp::new().await;
    let mut stream = open(&app, &app.key, &log(), None).await.ok().unwrap();
    let (first, ..) = stream.event().await;
    assert_eq!(first, 1);
    app.engine.close_streams();
    let mut rest = BTreeSet::new();
    while let Some(came) = stream.next().await {
        if let Came::Event { id, .. } = came {
            assert!(rest.insert(id), "{id} came twice");
        }
    }
    // A stream that is opened after that ends at once.
    let mut late = open(&app, &app.key, &log(), None).await.ok().unwrap();
    assert!(late.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_has_its_own_feed() {
    let app = TestApp::new().await;
    app.post("/channels", &new_channel("secondmp")).await.ok(201);
    let page = app.get("/events?log=secondmp").await.ok(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["log"]), (1, &json!("secondmp")));
}
