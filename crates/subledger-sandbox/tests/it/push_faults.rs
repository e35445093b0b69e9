//! Faults of pushes: each as the receiver sees it, and the same pushes hit for the same seed.

use serde_json::json;
use subledger_sandbox::{
    Choice, PushFaultKind, PushFaultSpec, PushState, SandboxConfig, SettleSpec, TapSpec,
};

use crate::pushes::{plain_world, settled, spec};
use crate::receiver::{Got, Receiver, read};
use crate::support::{APP, ORDER, World, config, until};

fn fault(kind: PushFaultKind) -> PushFaultSpec {
    PushFaultSpec::new(kind)
}

/// The words of the pushes got, in order.
fn words(got: &[Got]) -> Vec<String> {
    got.iter().map(|g| read(&g.body).items[0]["SubscribeStatusString"].clone()).collect()
}

fn tap(world: &World, openid: &str, choice: Choice) {
    world.wechat.tap(APP, &TapSpec::new(openid, &[ORDER], choice)).unwrap();
}

#[tokio::test]
async fn a_lost_push_never_comes() {
    let (world, receiver) = plain_world().await;
    world.wechat.inject_push_fault(fault(PushFaultKind::Lost)).unwrap();
    let openid = world.user();
    tap(&world, &openid, Choice::Accept);
    tap(&world, &openid, Choice::Reject);
    settled(&world).await;
    assert_eq!(words(&receiver.got()), ["reject"]);
    let pushes = world.wechat.pushes();
    assert_eq!((pushes[0].state, pushes[1].state), (PushState::Lost, PushState::Taken));
    assert_eq!(pushes[0].faults, [PushFaultKind::Lost]);
    assert!(world.wechat.push_faults().is_empty(), "it was good for one push");
    assert_eq!(world.remaining(&openid), 1, "the tap is true all the same");
}

#[tokio::test]
async fn a_duplicated_push_comes_again_although_it_was_taken() {
    let (world, receiver) = plain_world().await;
    world.wechat.inject_push_fault(PushFaultSpec { copies: 2, ..fault(PushFaultKind::Duplicated) }).unwrap();
    tap(&world, &world.user(), Choice::Accept);
    settled(&world).await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|g| g.body == got[0].body));
    let nonces: std::collections::BTreeSet<_> = got.iter().map(|g| &g.query["nonce"]).collect();
    assert_eq!(nonces.len(), 3);
    let push = world.wechat.pushes().pop().unwrap();
    assert_eq!(
        push.deliveries.iter().map(|d| (d.copy, d.number)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1)]
    );
}

#[tokio::test]
async fn a_reordered_push_is_overtaken_by_the_next_of_its_user_only() {
    let (world, receiver) = plain_world().await;
    let (one, two) = (world.user(), world.user());
    let spec =
        PushFaultSpec { ms: Some(600_000), openid: Some(one.clone()), ..fault(PushFaultKind::Reordered) };
    world.wechat.inject_push_fault(spec).unwrap();
    tap(&world, &one, Choice::Accept);
    tap(&world, &two, Choice::Accept);
    until("the other user's push came", || receiver.got().len() == 1).await;
    tap(&world, &one, Choice::Reject);
    until("both came", || receiver.got().len() == 3).await;
    assert_eq!(words(&receiver.got()[1..]), ["reject", "accept"]);
    // One that nobody overtakes goes when its time is over.
    let alone = PushFaultSpec { ms: Some(20), ..fault(PushFaultKind::Reordered) };
    world.wechat.inject_push_fault(alone).unwrap();
    tap(&world, &two, Choice::Reject);
    until("it came", || receiver.got().len() == 4).await;
}

#[tokio::test]
async fn a_late_push_waits_for_real_time_or_for_the_sandboxs() {
    let (world, receiver) = plain_world().await;
    let openid = world.user();
    let hold = SettleSpec { hold: true, ..SettleSpec::default() };
    world.wechat.inject_push_fault(PushFaultSpec { ms: Some(800), ..fault(PushFaultKind::Late) }).unwrap();
    let begun = std::time::Instant::now();
    tap(&world, &openid, Choice::Accept);
    tap(&world, &openid, Choice::Reject);
    assert!(world.wechat.settle(&hold).await.unwrap().settled);
    assert!(begun.elapsed().as_millis() >= 800);
    assert_eq!(words(&receiver.got()), ["reject", "accept"], "it holds up nothing");

    let hour = PushFaultSpec { seconds: Some(3_600), ..fault(PushFaultKind::Late) };
    world.wechat.inject_push_fault(hour.clone()).unwrap();
    tap(&world, &openid, Choice::Accept);
    let waiting = world.wechat.settle(&hold).await.unwrap();
    assert_eq!((waiting.settled, waiting.held_back, receiver.got().len()), (true, 1, 2));
    world.wechat.advance(3_599).unwrap();
    assert_eq!(world.wechat.settle(&hold).await.unwrap().held_back, 1);
    world.wechat.advance(1).unwrap();
    until("its time has come", || receiver.got().len() == 3).await;
    let late = receiver.got().pop().unwrap();
    assert_eq!(read(&late.body).fields["CreateTime"], "1893553200", "it tells of the past");
    assert_eq!(late.query["timestamp"], "1893556800");

    world.wechat.inject_push_fault(hour).unwrap();
    tap(&world, &openid, Choice::Accept);
    settled(&world).await;
    assert_eq!(receiver.got().len(), 4, "settling lets it go");
}

#[tokio::test]
async fn faults_hit_what_they_name_and_the_same_for_the_same_seed() {
    let hits = |seed: u64, own: Option<u64>| async move {
        let world = World::with(SandboxConfig { seed, ..config() }).await;
        let receiver = Receiver::start().await;
        world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
        let spec = PushFaultSpec {
            times: 0,
            probability: 0.3,
            seed: own,
            event: Some("subscribe_msg_popup_event".to_owned()),
            ..fault(PushFaultKind::Lost)
        };
        world.wechat.inject_push_fault(spec).unwrap();
        let openid = world.user();
        for _ in 0..60 {
            tap(&world, &openid, Choice::Accept);
        }
        world
            .wechat
            .push_request(APP, &serde_json::from_value(json!({ "openid": openid, "text": "x" })).unwrap())
            .unwrap();
        settled(&world).await;
        let pushes = world.wechat.pushes();
        assert_eq!(pushes.last().unwrap().state, PushState::Taken, "of another event");
        let lost: Vec<u64> = pushes.iter().filter(|p| p.state == PushState::Lost).map(|p| p.seq).collect();
        assert_eq!(receiver.got().len() + lost.len(), 61);
        assert!((5..40).contains(&lost.len()), "{lost:?}");
        lost
    };
    assert_eq!(hits(5, None).await, hits(5, None).await);
    assert_ne!(hits(5, None).await, hits(6, None).await);
    assert_eq!(hits(5, Some(1)).await, hits(6, Some(1)).await, "a seed of its own decides alone");
    assert_ne!(hits(5, Some(1)).await, hits(5, Some(2)).await);
}

#[tokio::test]
async fn faults_of_pushes_are_kept_over_http() {
    let world = World::new().await;
    let post = |body: serde_json::Value| {
        world.http.post(format!("{}/sandbox/push-faults", world.base)).json(&body).send()
    };
    for (body, status) in [
        (json!({ "kind": "lost" }), 201),
        (json!({ "kind": "late", "seconds": 5, "times": 0 }), 201),
        (json!({ "kind": "late" }), 400),
        (json!({ "kind": "late", "ms": 1, "seconds": 1 }), 400),
        (json!({ "kind": "late", "ms": 600_001 }), 400),
        (json!({ "kind": "duplicated", "copies": 0 }), 400),
        (json!({ "kind": "lost", "probability": 2 }), 400),
        (json!({ "kind": "eaten" }), 400),
    ] {
        assert_eq!(post(body.clone()).await.unwrap().status().as_u16(), status, "{body}");
    }
    let list = world.get("/sandbox/push-faults").await;
    assert_eq!(list["faults"].as_array().unwrap().len(), 2);
    let gone = |path: &str| world.http.delete(format!("{}/sandbox/push-faults{path}", world.base)).send();
    assert_eq!(gone("/1").await.unwrap().status(), 204);
    assert_eq!(gone("/1").await.unwrap().status(), 404);
    assert_eq!(gone("").await.unwrap().status(), 204);
    assert!(world.wechat.push_faults().is_empty());
}
