//! Pushes on their way to the integrator's back end. Attempts follow a schedule of the test's own.

use std::{collections::BTreeSet, time::Duration};

use secrecy::ExposeSecret;
use serde_json::json;
use subledger_domain::{
    ChannelCode, LogName, StreamName,
    channel::{Channel, Policy, RELAY_SECRET_OVERLAP_S, RelayForm, RelayKind, RelayStop},
};
use subledger_engine::{
    Engine, EngineError, EngineSettings,
    relay::{CIRCUIT_FAILURES, RelaySet, RelayWish, relay_state_for},
};
use subledger_store::{
    Cause, Effect, KeptPush, Known, PushFilter, PushFormat, PushKey, PushKind, PushMode, PushPage, PushRow,
    RelayRoom, RelayState, Stage, Stop, StreamRef, Submission, Work,
};
use subledger_webhook::{Allowed, EgressPolicy, PrivateAddresses};

use crate::{
    place::{Place, on_both_databases},
    receiver::Receiver,
    world::World,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps a push as the intake does: whether it is relayed is decided beside the channel's state.
#[derive(Debug, Clone)]
struct Keep(PushRow);

impl Work for Keep {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Channel>(StreamName::channel())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        let channel = stage.state::<Channel>(&StreamName::channel())?;
        let relay_due_at = relay_state_for(channel, self.0.kind, self.0.received_at);
        stage.effect(Effect::KeepPush(PushRow { relay_due_at, ..self.0.clone() }));
        Ok(())
    }
}

/// Keeps what this openid pushed; answers with the id the back end knows it by.
async fn keep(world: &World, kind: PushKind, openid: &str, body: String) -> String {
    keep_in(world, &world.code, kind, openid, body).await
}

/// The same in this channel.
async fn keep_in(world: &World, code: &ChannelCode, kind: PushKind, openid: &str, body: String) -> String {
    let engine = &world.engine;
    let key = PushKey::of(body.as_bytes());
    let row = PushRow {
        key,
        received_at: engine.now(),
        kind,
        event: "subscribe_msg_popup_event".to_owned(),
        subject: Some(engine.store().subject_of(code, &openid.parse().unwrap())),
        mode: PushMode::Secure,
        format: PushFormat::Json,
        body: body.into_bytes(),
        relay_due_at: None,
    };
    let cause = Cause { by: "test".to_owned(), command: "keep".to_owned(), request: None };
    let submission = Submission { log: LogName::channel(code), receipt: None, cause, work: Keep(row) };
    engine.executor().submit(submission).await.unwrap();
    engine.wake_relay();
    key.to_string()
}

fn popup(openid: &str, second: u32) -> String {
    json!({
        "ToUserName": "gh_000000000001",
        "FromUserName": openid,
        "CreateTime": 1_790_000_000 + second,
        "MsgType": "event",
        "Event": "subscribe_msg_popup_event",
        "List": [{ "TemplateId": "TPL_1", "SubscribeStatusString": "accept", "PopupScene": "0" }],
    })
    .to_string()
}

pub(crate) async fn tap(world: &World, openid: &str, second: u32) -> String {
    keep(world, PushKind::Popup, openid, popup(openid, second)).await
}

/// Loopback is allowed; a push that failed is tried again at once.
pub(crate) fn settings(settings: &mut EngineSettings) {
    let loopback: Allowed = "127.0.0.1".parse().unwrap();
    let relay = &mut settings.relay;
    relay.deliverer.policy = EgressPolicy {
        private: PrivateAddresses::Only(vec![loopback]),
        allow_http: true,
        ..EgressPolicy::default()
    };
    relay.poll = Duration::from_millis(20);
    relay.schedule = |_, _, _, _| Some(Duration::from_millis(5));
    relay.circuit_pause = Duration::from_millis(5);
}

/// Two attempts and no more.
fn two_attempts(settings_: &mut EngineSettings) {
    settings(settings_);
    settings_.relay.schedule = |attempts, _, _, _| (attempts < 2).then_some(Duration::from_millis(5));
}

async fn world(place: &Place, change: impl FnOnce(&mut EngineSettings)) -> World {
    World::with(place, Policy::default(), change).await
}

pub(crate) fn wish(url: &str) -> RelayWish {
    RelayWish {
        url: url.to_owned(),
        form: RelayForm::Decoded,
        kinds: RelayKind::ALL.into(),
        rotate_secret: false,
    }
}

async fn configure(world: &World, wish: RelayWish) -> RelaySet {
    world.engine.configure_relay(&world.caller, &world.code, wish).await.unwrap().answer
}

fn secret(set: &RelaySet) -> String {
    set.secret.as_ref().unwrap().expose_secret().to_owned()
}

/// Waits until something holds that is looked at again and again.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn kept(engine: &Engine, log: &LogName) -> Vec<KeptPush> {
    engine.store().pushes(log, &PushFilter::default(), PushPage::Newest, 1_000).await.unwrap()
}

/// Waits until all pushes are in one of these states of the relay.
async fn all(world: &World, states: &[RelayState]) {
    until(&format!("{states:?}"), || async {
        kept(&world.engine, &world.log()).await.iter().all(|push| states.contains(&push.relay))
    })
    .await;
}

async fn statuses(world: &World) -> BTreeSet<String> {
    let pushes = kept(&world.engine, &world.log()).await;
    pushes.into_iter().filter_map(|push| push.relay_status).collect()
}

async fn pushes_arrive_signed_and_in_order_whatever_fails(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    let secret = secret(&configure(&world, wish(&receiver.url())).await);
    let zhangsan = world.user("zhangsan").await;
    assert!(world.engine.caught_up(&world.log(), None).await);
    // The first push fails three times, in three ways.
    receiver.script(&["503", "400", "302\nlocation: /elsewhere"], "200");
    let mut ids = Vec::new();
    for second in 0..4 {
        ids.push(tap(&world, &zhangsan, second).await);
    }
    world.engine.start_relay().await;
    all(&world, &[RelayState::Done]).await;
    let expected = [[ids[0].clone(), ids[0].clone(), ids[0].clone()].as_slice(), &ids].concat();
    assert_eq!(receiver.ids(), expected);
    for seen in receiver.seen() {
        assert!(seen.verifies(&secret));
        let timestamp: i64 = seen.header("webhook-timestamp").parse().unwrap();
        assert!((timestamp - world.engine.now().micros() / 1_000_000).abs() < 60);
    }
    let first = receiver.seen()[0].json();
    assert_eq!(first["type"], "wechat.push");
    assert_eq!(first["id"], ids[0].as_str());
    assert_eq!((&first["channel"], &first["kind"]), (&json!("wechatmp123"), &json!("popup")));
    assert_eq!(first["user"], json!({ "userid": "zhangsan", "openid": zhangsan }));
    assert_eq!(first["happened_at"], "2026-09-21T14:13:20.000000Z");
    assert_eq!(first["items"], json!([{ "template_id": "TPL_1", "status": "accept", "scene": 0 }]));
    world.engine.shutdown().await;
}

async fn raw_pushes_are_wechats_own_words_and_only_those_wanted(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    let kinds = [RelayKind::Popup, RelayKind::Undecodable].into();
    configure(&world, RelayWish { form: RelayForm::Raw, kinds, ..wish(&receiver.url()) }).await;
    world.engine.start_relay().await;
    let other = keep(&world, PushKind::Other, "oOTHER0000000000000", "{}".to_owned()).await;
    let id = tap(&world, "oSTRANGER000000000", 1).await;
    all(&world, &[RelayState::Done, RelayState::None]).await;
    let seen = receiver.seen();
    assert_eq!(receiver.ids(), [id]);
    assert_ne!(seen[0].id(), other);
    assert_eq!(seen[0].body, popup("oSTRANGER000000000", 1).into_bytes());
    assert_eq!(seen[0].header("content-type"), "application/json; charset=utf-8");
    let headers =
        ["channel", "appid", "kind"].map(|name| seen[0].header(&format!("subledger-{name}")).to_owned());
    assert_eq!(headers, ["wechatmp123", crate::world::APPID, "popup"]);
    world.engine.shutdown().await;
}

async fn what_has_no_items_comes_in_wechats_words(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    world.engine.start_relay().await;
    let push = |event: &str, extra: serde_json::Value| {
        let mut push = json!({ "ToUserName": "gh_1", "FromUserName": "oUSER0000000000000", "CreateTime": 1_790_000_000, "MsgType": event });
        push.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        push.to_string()
    };
    let text = push("text", json!({ "Content": "在吗" }));
    let list = json!([{ "TemplateId": "TPL_1", "MsgID": "1234567890123456789", "ErrorCode": "0", "ErrorStatus": "success" }]);
    let sent = push("event", json!({ "Event": "subscribe_msg_sent_event", "List": list }));
    keep(&world, PushKind::Other, "oUSER0000000000000", text.clone()).await;
    keep(&world, PushKind::Sent, "oUSER0000000000000", sent).await;
    keep(&world, PushKind::Undecodable, "oUSER0000000000000", "<xml".to_owned()).await;
    all(&world, &[RelayState::Done]).await;
    let [chat, sent, odd] = receiver.seen().try_into().unwrap();
    let media_type = "application/json; charset=utf-8";
    assert_eq!(chat.json()["content"], json!({ "media_type": media_type, "text": text }));
    assert_eq!(chat.json()["user"], json!({ "openid": "oUSER0000000000000" }));
    assert_eq!(
        sent.json()["items"],
        json!([{ "template_id": "TPL_1", "msgid": "1234567890123456789", "error_code": "0", "error_status": "success" }])
    );
    assert!(sent.json().get("content").is_none());
    assert_eq!(odd.json()["content"], json!({ "media_type": media_type, "text": "<xml" }));
    assert!(odd.json().get("user").is_none());
    world.engine.shutdown().await;
}

async fn two_nodes_relay_each_push_once_while_leases_hold(place: Place) {
    let world = world(&place, settings).await;
    let other = world.another_node(settings).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    receiver.answering(false);
    world.engine.start_relay().await;
    other.start_relay().await;
    let mut ids = BTreeSet::new();
    for user in 0..12 {
        ids.insert(tap(&world, &format!("oUSER0000000000000{user}"), 1).await);
        ids.insert(tap(&world, &format!("oUSER0000000000000{user}"), 2).await);
    }
    until("all first pushes are under way", || async { receiver.ids().len() == 12 }).await;
    receiver.answering(true);
    all(&world, &[RelayState::Done]).await;
    assert_eq!(receiver.ids().len(), 24, "none came twice");
    assert_eq!(receiver.ids().into_iter().collect::<BTreeSet<_>>(), ids);
    other.shutdown().await;
    world.engine.shutdown().await;
}

async fn a_node_that_died_is_made_up_for(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    let first = tap(&world, "oUSER0000000000000", 1).await;
    let second = tap(&world, "oUSER0000000000000", 2).await;
    let lease = Duration::from_millis(300);
    assert_eq!(world.engine.store().claim_relays("dead", lease, &RelayRoom::of(9)).await.unwrap().len(), 1);
    world.engine.shutdown().await;
    let next = world.another_node(settings).await;
    next.start_relay().await;
    until("both have arrived", || async { receiver.ids().len() == 2 }).await;
    assert_eq!(receiver.ids(), [first, second]);
    next.shutdown().await;
}

async fn what_is_inside_is_not_called(place: Place) {
    let strict = World::with(&place, Policy::default(), |_| {}).await;
    let receiver = Receiver::start().await;
    for url in [
        receiver.url(),
        format!("https://{}/", receiver.address),
        "https://user:secret@hooks.example.com/".to_owned(),
        "https://hooks.example.com/?key=secret".to_owned(),
        "https://169.254.169.254/latest".to_owned(),
    ] {
        let refused = strict.engine.configure_relay(&strict.caller, &strict.code, wish(&url)).await;
        let error = refused.unwrap_err();
        assert_eq!((error.code, error.fields[0].pointer.as_str()), ("bad_relay_url", "/url"), "{url}");
        assert!(!error.detail.contains("secret"), "{error}");
    }
    let kinds = BTreeSet::new();
    let nothing = RelayWish { kinds, ..wish("https://hooks.example.com/") };
    let refused = strict.engine.configure_relay(&strict.caller, &strict.code, nothing).await;
    assert_eq!(refused.unwrap_err().code, "bad_relay_kinds");
    // Configured while it was allowed; the rules of the node that delivers count.
    let lax = strict.another_node(settings).await;
    lax.configure_relay(&strict.caller, &strict.code, wish(&receiver.url())).await.unwrap();
    tap(&strict, "oUSER0000000000000", 1).await;
    strict.engine.start_relay().await;
    until("it was refused", || async { statuses(&strict).await == ["url_forbidden".to_owned()].into() })
        .await;
    assert!(receiver.seen().is_empty());
    let tested = strict.engine.test_relay(&strict.code).await.unwrap();
    assert_eq!((tested.delivered, tested.outcome), (false, "url_forbidden"));
    lax.shutdown().await;
    strict.engine.shutdown().await;
}

async fn a_redirect_leads_nowhere(place: Place) {
    let world = world(&place, two_attempts).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    configure(&world, wish(&receiver.url())).await;
    receiver.script(&[], &format!("307\nlocation: {}", elsewhere.url()));
    world.engine.start_relay().await;
    tap(&world, "oUSER0000000000000", 1).await;
    all(&world, &[RelayState::GivenUp]).await;
    assert_eq!((receiver.seen().len(), elsewhere.seen().len()), (2, 0));
    assert_eq!(statuses(&world).await, ["307".to_owned()].into());
    world.engine.shutdown().await;
}

async fn gone_ends_the_relay_and_a_redrive_makes_up_for_it(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    receiver.script(&[], "410");
    for second in 0..3 {
        tap(&world, "oUSER0000000000000", second).await;
    }
    world.engine.start_relay().await;
    all(&world, &[RelayState::GivenUp]).await;
    assert_eq!(receiver.seen().len(), 1);
    assert_eq!(statuses(&world).await, ["410".to_owned(), "stopped".to_owned()].into());
    let channel = world.engine.store().load::<Channel>(&world.log(), &StreamName::channel()).await.unwrap().0;
    assert!(channel.relay().is_none());
    assert!(world.engine.caught_up(&world.log(), None).await);
    let row = world.engine.queries().channel(&world.code).await.unwrap().value.unwrap();
    assert_eq!(row.relay.unwrap().stopped.unwrap().1, RelayStop::Gone);
    let refused = world.engine.redrive_relay(&world.code, None).await.unwrap_err();
    assert_eq!(refused.code, "not_relayed");
    assert_eq!(world.engine.test_relay(&world.code).await.unwrap_err().code, "not_relayed");
    // A push that comes now is not to be relayed.
    tap(&world, "oUSER0000000000000", 9).await;
    receiver.script(&[], "204");
    assert!(configure(&world, wish(&receiver.url())).await.secret.is_some(), "begun anew, with a new secret");
    assert_eq!(world.engine.redrive_relay(&world.code, None).await.unwrap(), 3);
    all(&world, &[RelayState::Done, RelayState::None]).await;
    assert_eq!(receiver.seen().len(), 4);
    world.engine.shutdown().await;
}

async fn what_is_given_up_lets_the_next_go_and_can_be_tried_again(place: Place) {
    let world = world(&place, two_attempts).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    receiver.script(&["500", "422"], "200");
    let first = tap(&world, "oUSER0000000000000", 1).await;
    let second = tap(&world, "oUSER0000000000000", 2).await;
    world.engine.start_relay().await;
    all(&world, &[RelayState::Done, RelayState::GivenUp]).await;
    assert_eq!(receiver.ids(), [first.clone(), first.clone(), second.clone()]);
    let report = world.engine.relay_report(&world.code).await.unwrap();
    assert_eq!((report.health.waiting, report.health.given_up), (0, 1));
    assert_eq!(world.engine.redrive_relay(&world.code, Some(PushKind::Sent)).await.unwrap(), 0);
    assert_eq!(world.engine.redrive_relay(&world.code, None).await.unwrap(), 1);
    all(&world, &[RelayState::Done]).await;
    assert_eq!(receiver.ids(), [first.clone(), first.clone(), second, first]);
    world.engine.shutdown().await;
}

async fn a_replaced_secret_still_signs(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    let one = configure(&world, wish(&receiver.url())).await;
    assert!(one.previous_until.is_none());
    assert!(configure(&world, wish(&receiver.url())).await.secret.is_none(), "nothing changed");
    let two = configure(&world, RelayWish { rotate_secret: true, ..wish(&receiver.url()) }).await;
    let left = (two.previous_until.unwrap().micros() - world.engine.now().micros()) / 1_000_000;
    assert!((RELAY_SECRET_OVERLAP_S - 60..=RELAY_SECRET_OVERLAP_S).contains(&left), "{left}");
    let tested = world.engine.test_relay(&world.code).await.unwrap();
    assert_eq!((tested.delivered, tested.status), (true, Some(200)));
    world.engine.start_relay().await;
    tap(&world, "oUSER0000000000000", 1).await;
    all(&world, &[RelayState::Done]).await;
    assert_eq!(receiver.seen()[0].json()["type"], "relay.test");
    for seen in receiver.seen() {
        assert!(seen.verifies(&secret(&one)) && seen.verifies(&secret(&two)));
        assert!(!seen.verifies("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    }
    // Neither of them is in the log.
    let log =
        format!("{:?}", world.engine.store().load::<Channel>(&world.log(), &StreamName::channel()).await);
    assert!(!log.contains("whsec_"), "{log}");
    assert!(log.contains("relaysecret/"), "{log}");
    world.engine.shutdown().await;
}

async fn a_back_end_that_keeps_failing_is_left_alone(place: Place) {
    let world = world(&place, |s| {
        settings(s);
        s.relay.concurrency = 2;
        s.relay.circuit_pause = Duration::from_secs(300);
    })
    .await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    receiver.script(&[], "503");
    for user in 0..40 {
        tap(&world, &format!("oUSER0000000000000{user}"), 1).await;
    }
    world.engine.start_relay().await;
    let soon = world.engine.now().plus_seconds(200);
    until("all wait for the end of the pause", || async {
        kept(&world.engine, &world.log())
            .await
            .iter()
            .all(|push| push.relay == RelayState::Waiting && push.relay_due_at.is_some_and(|due| soon < due))
    })
    .await;
    let most = CIRCUIT_FAILURES as usize + 1;
    assert!(receiver.seen().len() <= most, "{} attempts", receiver.seen().len());
    let attempts: u32 = kept(&world.engine, &world.log()).await.iter().map(|push| push.relay_attempts).sum();
    assert_eq!(attempts as usize, receiver.seen().len(), "what was held back was not tried");
    let report = world.engine.relay_report(&world.code).await.unwrap();
    assert!(report.paused_until.is_some() && report.health.waiting == 40);
    // What comes now waits, too.
    tap(&world, "oUSER000000000000099", 1).await;
    until("it waits", || async {
        let pushes = kept(&world.engine, &world.log()).await;
        pushes[0].relay == RelayState::Waiting && pushes[0].relay_due_at.is_some_and(|due| soon < due)
    })
    .await;
    assert_eq!(kept(&world.engine, &world.log()).await[0].relay_attempts, 0);
    // Another URL is another back end: what comes now goes at once.
    let other = Receiver::start().await;
    configure(&world, wish(&other.url())).await;
    tap(&world, "oUSER0000000000000100", 1).await;
    until("it arrived", || async { other.seen().len() == 1 }).await;
    world.engine.shutdown().await;
}

async fn a_back_end_that_hangs_holds_up_no_other(place: Place) {
    let world = world(&place, |s| {
        settings(s);
        (s.relay.concurrency, s.relay.per_channel) = (6, 2);
    })
    .await;
    let (hangs, answers) = (Receiver::start().await, Receiver::start().await);
    let other = world.second_channel().await;
    configure(&world, wish(&hangs.url())).await;
    world.engine.configure_relay(&world.caller, &other, wish(&answers.url())).await.unwrap();
    hangs.answering(false);
    // More than a claim looks at, and all of it due before what the other channel has.
    let mut waiting = BTreeSet::new();
    for user in 0..300 {
        waiting.insert(tap(&world, &format!("oUSER{user:015}"), 1).await);
    }
    world.engine.start_relay().await;
    until("the slow one has its share", || async { hangs.ids().len() == 2 }).await;
    let mut ids = BTreeSet::new();
    for user in 0..40 {
        let openid = format!("oUSER{user:015}");
        ids.insert(keep_in(&world, &other, PushKind::Popup, &openid, popup(&openid, 2)).await);
    }
    until("the other one has all", || async { answers.ids().len() == ids.len() }).await;
    assert_eq!(answers.ids().into_iter().collect::<BTreeSet<_>>(), ids);
    assert_eq!(hangs.ids().len(), 2, "as many as one channel may have, and none of them has ended");
    hangs.answering(true);
    all(&world, &[RelayState::Done]).await;
    assert_eq!(hangs.ids().into_iter().collect::<BTreeSet<_>>(), waiting);
    world.engine.shutdown().await;
}

async fn a_stopped_relay_sends_nothing_more(place: Place) {
    let world = world(&place, settings).await;
    let receiver = Receiver::start().await;
    configure(&world, wish(&receiver.url())).await;
    tap(&world, "oUSER0000000000000", 1).await;
    let stopped = world.engine.stop_relay(&world.caller, &world.code).await.unwrap();
    assert!(stopped.position.0 > 0);
    let again = world.engine.stop_relay(&world.caller, &world.code).await.unwrap_err();
    assert_eq!(again.code, "not_relayed");
    world.engine.start_relay().await;
    all(&world, &[RelayState::GivenUp]).await;
    assert!(receiver.seen().is_empty());
    world.engine.shutdown().await;
}

on_both_databases!(
    pushes_arrive_signed_and_in_order_whatever_fails,
    raw_pushes_are_wechats_own_words_and_only_those_wanted,
    what_has_no_items_comes_in_wechats_words,
    two_nodes_relay_each_push_once_while_leases_hold,
    a_node_that_died_is_made_up_for,
    what_is_inside_is_not_called,
    a_redirect_leads_nowhere,
    gone_ends_the_relay_and_a_redrive_makes_up_for_it,
    what_is_given_up_lets_the_next_go_and_can_be_tried_again,
    a_replaced_secret_still_signs,
    a_back_end_that_keeps_failing_is_left_alone,
    a_stopped_relay_sends_nothing_more,
    a_back_end_that_hangs_holds_up_no_other,
);
