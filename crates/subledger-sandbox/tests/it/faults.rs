//! Each fault as its caller sees it, and as the journal tells it.

use std::time::Duration;

use serde_json::{Value, json};
use subledger_sandbox::{CallPath, ComponentCall, FaultKind, FaultSpec, PlatformDeed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::platform_world::{COMPONENT, Open};
use crate::support::{APP, World, code, order, text, until};

/// What a caller can tell of an answer.
#[derive(Debug, PartialEq)]
enum Seen {
    Code(i64),
    Status(u16),
    NotJson,
    Broken,
    TimedOut,
}

async fn seen(request: reqwest::RequestBuilder, patience: Duration) -> Seen {
    let response = match request.timeout(patience).send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => return Seen::TimedOut,
        Err(_) => return Seen::Broken,
    };
    if response.status() != 200 {
        return Seen::Status(response.status().as_u16());
    }
    match response.text().await {
        Ok(body) => serde_json::from_str::<Value>(&body).map_or(Seen::NotJson, |v| Seen::Code(code(&v))),
        Err(error) if error.is_timeout() => Seen::TimedOut,
        Err(_) => Seen::Broken,
    }
}

fn fault(kind: FaultKind) -> FaultSpec {
    FaultSpec::on(kind, CallPath::Send)
}

fn committed(kind: FaultKind) -> FaultSpec {
    FaultSpec { commit: true, ..fault(kind) }
}

#[tokio::test]
async fn each_kind_looks_so_to_the_caller_and_so_in_the_journal() {
    let errcode = |commit| FaultSpec { code: Some(-1), commit, ..fault(FaultKind::Errcode) };
    let status = FaultSpec { status: Some(503), ..fault(FaultKind::Http5xx) };
    let slow = |kind| FaultSpec { ms: Some(30), ..fault(kind) };
    // (fault, what the caller sees, the journal's errcode, committed, answered)
    let cases = [
        (slow(FaultKind::Latency), Seen::Code(0), Some(0), true, true),
        (slow(FaultKind::SlowBody), Seen::Code(0), Some(0), true, true),
        (fault(FaultKind::DropBeforeCommit), Seen::Broken, None, false, false),
        (fault(FaultKind::DropAfterCommit), Seen::Broken, Some(0), true, false),
        (fault(FaultKind::HangBeforeCommit), Seen::TimedOut, None, false, false),
        (fault(FaultKind::HangAfterCommit), Seen::TimedOut, Some(0), true, false),
        (fault(FaultKind::Reset), Seen::Broken, None, false, false),
        (committed(FaultKind::Reset), Seen::Broken, Some(0), true, false),
        (status, Seen::Status(503), None, false, false),
        (committed(FaultKind::Http5xx), Seen::Status(502), Some(0), true, false),
        (fault(FaultKind::Garbage), Seen::NotJson, None, false, false),
        (committed(FaultKind::Garbage), Seen::NotJson, Some(0), true, false),
        (errcode(false), Seen::Code(-1), Some(-1), false, true),
        (errcode(true), Seen::Code(-1), Some(0), true, true),
        (fault(FaultKind::RevokeToken), Seen::Code(40001), Some(40001), false, true),
    ];
    let world = World::new().await;
    for (spec, sees, errcode, commits, answered) in cases {
        let (openid, token) = (world.user_with(1), world.token().await);
        world.wechat.inject(spec.clone()).unwrap();
        let hangs = sees == Seen::TimedOut;
        let patience = Duration::from_millis(if hangs { 300 } else { 10_000 });
        let outcome = seen(world.send_request(&token, &order(&openid)), patience).await;
        assert_eq!(outcome, sees, "{spec:?}");
        let entry = world.last();
        assert_eq!(entry.openid.as_deref(), Some(openid.as_str()), "{spec:?}");
        assert_eq!(
            (entry.errcode, entry.committed, entry.answered, entry.msgid.is_some(), entry.fault),
            (errcode, commits, answered, commits, Some(spec.kind)),
            "{spec:?}"
        );
        assert_eq!(world.remaining(&openid), u64::from(!commits), "{spec:?}");
        assert!(world.wechat.faults().is_empty(), "one time only: {spec:?}");
    }
}

/// Sends over a bare socket and reads until the connection ends.
async fn raw_send(
    address: std::net::SocketAddr,
    token: &str,
    body: &Value,
) -> (Vec<u8>, std::io::Result<()>) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /cgi-bin/message/subscribe/send?access_token={token} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let ended = socket.read_to_end(&mut received).await.map(drop);
    (received, ended)
}

#[tokio::test]
async fn a_dropped_call_gets_not_one_byte_and_a_reset_one_gets_rst() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(3), world.token().await);
    for kind in [FaultKind::DropBeforeCommit, FaultKind::DropAfterCommit] {
        world.wechat.inject(fault(kind)).unwrap();
        let (bytes, ended) = raw_send(world.address, &token, &order(&openid)).await;
        assert!(bytes.is_empty() && ended.is_ok(), "{kind:?}: an orderly close, {ended:?}");
    }
    world.wechat.inject(fault(FaultKind::Reset)).unwrap();
    let (bytes, ended) = raw_send(world.address, &token, &order(&openid)).await;
    assert!(bytes.is_empty());
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn behind_a_plain_server_a_dropped_call_gets_not_one_byte_either() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(3), world.token().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.wechat.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for kind in [FaultKind::DropBeforeCommit, FaultKind::DropAfterCommit, FaultKind::Reset] {
        world.wechat.inject(fault(kind)).unwrap();
        let (bytes, _) = raw_send(address, &token, &order(&openid)).await;
        assert!(bytes.is_empty(), "{kind:?}");
    }
    assert_eq!(world.remaining(&openid), 2);
}

#[tokio::test]
async fn a_send_delayed_past_its_callers_patience_is_accepted_all_the_same() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(1), world.token().await);
    world.wechat.inject(FaultSpec { ms: Some(600), ..fault(FaultKind::Latency) }).unwrap();
    let outcome = seen(world.send_request(&token, &order(&openid)), Duration::from_millis(100)).await;
    assert_eq!(outcome, Seen::TimedOut);
    until("the send is accepted", || !world.wechat.journal().is_empty()).await;
    let entry = world.last();
    assert_eq!((entry.errcode, entry.committed, entry.answered), (Some(0), true, false));
    assert_eq!(world.remaining(&openid), 0);
}

#[tokio::test]
async fn a_slow_body_comes_in_two_halves_and_counts_as_answered_at_its_end() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(1), world.token().await);
    world.wechat.inject(FaultSpec { ms: Some(60_000), ..fault(FaultKind::SlowBody) }).unwrap();
    let mut response = world.send_request(&token, &order(&openid)).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"{") && serde_json::from_slice::<Value>(&first).is_err());
    drop(response);
    let entry = world.last();
    assert!(entry.committed && !entry.answered);
}

#[tokio::test]
async fn a_hanging_send_keeps_its_openid_busy_until_the_caller_leaves() {
    let world = World::new().await;
    let (openid, token) = (world.user_with(2), world.token().await);
    world.wechat.inject(fault(FaultKind::HangAfterCommit)).unwrap();
    let hanging = tokio::spawn(world.send_request(&token, &order(&openid)).send());
    until("the first send hangs", || !world.wechat.journal().is_empty()).await;
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 43108);
    hanging.abort();
    let mut last = 43108;
    for _ in 0..500 {
        last = code(&world.send(&token, &order(&openid)).await);
        if last != 43108 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((last, world.remaining(&openid)), (0, 0));
}

#[tokio::test]
async fn faults_hit_only_what_they_name_and_as_often_as_they_say() {
    let world = World::new().await;
    let (hit, spared, token) = (world.user_with(5), world.user_with(5), world.token().await);
    let spec = FaultSpec {
        openid: Some(hit.clone()),
        appid: Some(APP.to_owned()),
        code: Some(-1),
        times: 2,
        ..fault(FaultKind::Errcode)
    };
    let mut codes = Vec::new();
    world.wechat.inject(spec.clone()).unwrap();
    for openid in [&hit, &spared, &hit, &hit] {
        codes.push(code(&world.send(&token, &order(openid)).await));
    }
    assert_eq!(codes, [-1, 0, -1, 0]);
    let id = world.wechat.inject(FaultSpec { times: 0, errmsg: Some("busy".to_owned()), ..spec }).unwrap();
    for _ in 0..3 {
        let answer = world.send(&token, &order(&hit)).await;
        assert!(text(&answer, "errmsg").starts_with("busy rid: "));
    }
    assert_eq!(world.wechat.faults()[0].hits, 3);
    world.wechat.remove_fault(id).unwrap();
    assert_eq!(code(&world.send(&token, &order(&hit)).await), 0);
    world
        .wechat
        .inject(FaultSpec { template_id: Some("another".to_owned()), ..fault(FaultKind::Garbage) })
        .unwrap();
    assert_eq!(code(&world.send(&token, &order(&hit)).await), 0);
}

#[tokio::test]
async fn chance_is_seeded() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let world = World::new().await;
        let (openid, token) = (world.user_with(100), world.token().await);
        let spec = FaultSpec { code: Some(-1), times: 0, probability: 0.3, ..fault(FaultKind::Errcode) };
        world.wechat.inject(spec).unwrap();
        let mut codes = Vec::new();
        for _ in 0..100 {
            codes.push(code(&world.send(&token, &order(&openid)).await));
        }
        runs.push(codes);
    }
    assert_eq!(runs[0], runs[1]);
    let hits = runs[0].iter().filter(|c| **c == -1).count();
    assert!((10..=60).contains(&hits), "{hits} of 100 at 0.3");
}

#[tokio::test]
async fn every_path_can_fail_and_after_commit_means_the_deed_is_done() {
    let world = World::new().await;
    let openid = world.user();
    let old = text(&world.normal().await, "access_token");
    world.wechat.inject(FaultSpec::on(FaultKind::DropAfterCommit, CallPath::Token)).unwrap();
    let query = "grant_type=client_credential&appid=wx00000000demo0001&secret=demo-secret";
    let request = world.http.get(format!("{}/cgi-bin/token?{query}", world.base));
    assert_eq!(seen(request, Duration::from_secs(10)).await, Seen::Broken);
    world.wechat.advance(300).unwrap();
    assert_eq!(world.verdict(&old).await, 40001, "the lost token replaced it");

    let js_code = world.wechat.create_login_code(APP, &openid).unwrap();
    let url = format!("{}/sns/jscode2session?{query}&js_code={js_code}", world.base);
    let url = url.replace("client_credential", "authorization_code");
    for (kind, first, then) in [
        (FaultKind::DropBeforeCommit, Seen::Broken, None),
        (FaultKind::DropAfterCommit, Seen::Broken, Some(Seen::Code(40163))),
    ] {
        world.wechat.inject(FaultSpec::on(kind, CallPath::Jscode2session)).unwrap();
        assert!(world.wechat.stats().jscode2session.is_empty(), "before commit nothing is done");
        assert_eq!(seen(world.http.get(&url), Duration::from_secs(10)).await, first);
        if let Some(then) = then {
            assert_eq!(seen(world.http.get(&url), Duration::from_secs(10)).await, then);
        }
    }
    let spec = FaultSpec { code: Some(45009), ..FaultSpec::on(FaultKind::Errcode, CallPath::Gettemplate) };
    world.wechat.inject(spec).unwrap();
    let token = world.token().await;
    assert_eq!((world.verdict(&token).await, world.verdict(&token).await), (45009, 0));
    world.wechat.inject(FaultSpec::on(FaultKind::Garbage, CallPath::StableToken)).unwrap();
    let body = json!({ "grant_type": "client_credential", "appid": APP, "secret": "demo-secret" });
    let request = world.http.post(format!("{}/cgi-bin/stable_token", world.base)).json(&body);
    assert_eq!(seen(request, Duration::from_secs(10)).await, Seen::NotJson);
}

#[tokio::test]
async fn calls_of_platforms_can_fail_and_the_journal_tells_what_was_done() {
    let open = Open::new().await;
    let token = open.token().await;
    let given = open.scan(&[18]).auth_code;
    let body = json!({ "component_appid": COMPONENT, "authorization_code": given });
    let path = format!("{}/cgi-bin/component/api_query_auth?access_token={token}", open.world.base);
    let query = || open.world.http.post(&path).json(&body);
    for (kind, first) in [
        (FaultKind::DropBeforeCommit, Seen::Broken),
        (FaultKind::Errcode, Seen::Code(-1)),
        (FaultKind::Garbage, Seen::NotJson),
        (FaultKind::DropAfterCommit, Seen::Broken),
    ] {
        let code = (kind == FaultKind::Errcode).then_some(-1);
        for appid in ["wxother", APP] {
            let appid = Some(appid.to_owned());
            let spec = FaultSpec { code, appid, ..FaultSpec::on(kind, CallPath::QueryAuth) };
            open.world.wechat.inject(spec).unwrap();
        }
        assert_eq!(seen(query(), Duration::from_secs(10)).await, first);
        open.world.wechat.clear_faults();
    }
    assert_eq!(
        seen(query(), Duration::from_secs(10)).await,
        Seen::Code(61010),
        "the answer is lost for good"
    );
    let told: Vec<_> = open
        .world
        .wechat
        .platform_journal()
        .into_iter()
        .filter_map(|entry| match entry.deed {
            PlatformDeed::Call { call: ComponentCall::QueryAuth, errcode, answered, fault, .. } => {
                Some((errcode, answered, fault))
            }
            _ => None,
        })
        .collect();
    let want = [
        (None, false, Some(FaultKind::DropBeforeCommit)),
        (Some(-1), true, Some(FaultKind::Errcode)),
        (None, false, Some(FaultKind::Garbage)),
        (Some(0), false, Some(FaultKind::DropAfterCommit)),
        (Some(61010), true, None),
    ];
    assert_eq!(told, want);
    let listed = text(&open.list(&token).await["list"][0], "refresh_token");
    assert_eq!(code(&open.refresh(&token, &listed).await), 0, "the list is the way back");
    let lost = FaultSpec::on(FaultKind::RevokeToken, CallPath::GetAuthorizerList);
    open.world.wechat.inject(lost).unwrap();
    assert_eq!(code(&open.list(&token).await), 40001, "the platform's own token");
}

#[tokio::test]
async fn shutdown_breaks_hanging_and_waiting_calls_off() {
    let mut world = World::new().await;
    let (one, two, token) = (world.user_with(1), world.user_with(1), world.token().await);
    world
        .wechat
        .inject(FaultSpec { openid: Some(one.clone()), ..fault(FaultKind::HangBeforeCommit) })
        .unwrap();
    let slow = FaultSpec { openid: Some(two.clone()), ms: Some(300_000), ..fault(FaultKind::Latency) };
    world.wechat.inject(slow).unwrap();
    let calls = [one, two]
        .map(|o| tokio::spawn(seen(world.send_request(&token, &order(&o)), Duration::from_secs(30))));
    until("both calls are stuck", || world.wechat.faults().is_empty()).await;
    world.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), &mut world.server).await.unwrap().unwrap().unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap(), Seen::Broken);
    }
}
