//! WeChat's daily quota: asked for by one node, counted down, and kept in part for single sends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use subledger_domain::{
    MessageId,
    channel::{ChannelEvent, Policy, PolicyChange},
};
use subledger_engine::{
    EngineSettings, limits,
    quota::{Forecast, QuotaSettings},
};
use subledger_projection::DeliveryState;
use subledger_store::Position;

use crate::{
    place::{Place, on_both_databases},
    world::{World, send_request, to_user},
};

on_both_databases!(
    one_node_asks_and_all_know,
    bulk_is_held_at_the_reserve_and_goes_on_after_midnight,
    a_smaller_reserve_lets_bulk_go_on_at_once,
    bulk_goes_on_when_wechat_says_that_more_is_left,
    held_bulk_makes_no_node_unready,
    clearing_is_asked_of_wechat_and_put_on_the_books,
    a_failure_is_told_and_tried_again_later,
);

const DAY: i64 = 86_400;
const LIMIT: u64 = 20;
/// Ten per hundred of it are kept by a reserve of half.
const HALF: u8 = 50;

/// What WeChat says of the quota.
#[derive(Clone, Default)]
pub struct Told {
    limit: Arc<AtomicU64>,
    remain: Arc<AtomicU64>,
    /// Answers with this code instead, unless 0.
    refuse: Arc<AtomicI64>,
    asked: Arc<AtomicU64>,
}

impl Told {
    pub fn of(limit: u64, remain: u64) -> Self {
        let told = Self::default();
        told.says(limit, remain);
        told
    }

    pub fn says(&self, limit: u64, remain: u64) {
        self.limit.store(limit, Ordering::SeqCst);
        self.remain.store(remain, Ordering::SeqCst);
    }

    pub fn refuses(&self, code: i64) {
        self.refuse.store(code, Ordering::SeqCst);
    }

    /// How often WeChat was asked for a quota.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/cgi-bin/openapi/quota/get", post(quota))
            .route("/cgi-bin/clear_quota", post(clear))
            .with_state(self.clone())
    }

    fn refusal(&self) -> Option<Json<Value>> {
        let code = self.refuse.load(Ordering::SeqCst);
        (code != 0).then(|| Json(json!({ "errcode": code, "errmsg": "no rid: 1-2-3" })))
    }
}

async fn quota(State(told): State<Told>) -> Json<Value> {
    told.asked.fetch_add(1, Ordering::SeqCst);
    if let Some(refusal) = told.refusal() {
        return refusal;
    }
    let (limit, remain) = (told.limit.load(Ordering::SeqCst), told.remain.load(Ordering::SeqCst));
    Json(json!({ "errcode": 0, "quota": { "daily_limit": limit, "used": limit - remain, "remain": remain } }))
}

async fn clear(State(told): State<Told>) -> Json<Value> {
    if let Some(refusal) = told.refusal() {
        return refusal;
    }
    told.remain.store(told.limit.load(Ordering::SeqCst), Ordering::SeqCst);
    Json(json!({ "errcode": 0, "errmsg": "ok" }))
}

fn often(settings: &mut EngineSettings) {
    let long = Duration::from_secs(3_600);
    settings.quota =
        QuotaSettings { busy: long, idle: 6 * long, retry: long, tick: Duration::from_millis(10) };
}

async fn world(place: &Place, percent: u8, told: &Told) -> World {
    let policy = Policy { bulk_reserve: percent, ..Policy::default() };
    by_day(World::behind(place, policy, often, told.router()).await)
}

/// A world whose day in China does not end within the hour: a quota begins anew at its midnight.
pub fn by_day(world: World) -> World {
    const CHINA: i64 = 8 * 3_600;
    let into_the_day = (world.engine.now().micros() / 1_000_000 + CHINA) % DAY;
    if DAY - into_the_day < 3_600 {
        world.clock.pass_seconds(DAY - into_the_day + 60);
    }
    world
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A message to two more than the reserve lets through, on its way.
async fn bulk(world: &World) -> MessageId {
    let mut recipients = Vec::new();
    for n in 0..12 {
        let userid = format!("bulk{n}");
        let openid = world.user(&userid).await;
        world.tap(&userid, &openid, &userid).await;
        recipients.push(to_user(&userid));
    }
    assert!(recipients.len() > limits::BULK_OVER);
    let mut request = send_request(recipients);
    request.expires_at = Some(world.engine.now().plus_seconds(10 * DAY));
    world.engine.send(&world.caller, &world.code, request).await.unwrap().answer.msgid
}

async fn sent(world: &World, msgid: MessageId) -> u32 {
    assert!(world.engine.caught_up(&world.log(), None).await);
    world.engine.queries().message(&world.code, msgid).await.unwrap().value.unwrap().counts.sent
}

async fn all_sent(world: &World, msgid: MessageId) {
    until("the rest", async || (sent(world, msgid).await == 12).then_some(())).await;
}

/// A bulk message of which ten are sent and two are held.
async fn held(world: &World) -> MessageId {
    let quota = world.engine.refresh_quota(&world.code).await.unwrap();
    assert_eq!(quota.figures.unwrap().remaining, LIMIT);
    world.engine.start_dispatch().await;
    let msgid = bulk(world).await;
    until("the hold", async || world.engine.bulk_held(&world.code).await.unwrap()).await;
    until("the tenth", async || (sent(world, msgid).await == 10).then_some(())).await;
    msgid
}

async fn channel_events(world: &World) -> Vec<ChannelEvent> {
    let log = world.engine.store().read_log(&world.log(), Position(0), 10_000).await.unwrap();
    log.iter().filter_map(|event| event.decode::<ChannelEvent>().ok()).collect()
}

async fn one_node_asks_and_all_know(place: Place) {
    let told = Told::of(1_000, 600);
    let world = world(&place, 10, &told).await;
    let other = world.another_node(often).await;
    world.engine.start_quota().await;
    other.start_quota().await;
    for engine in [&world.engine, &other] {
        let quota = until("the figures", async || {
            let quota = engine.quota(&world.code).await.unwrap();
            quota.figures.map(|figures| (quota, figures))
        });
        let (quota, figures) = quota.await;
        assert_eq!((figures.limit, figures.used, figures.remaining), (1_000, 400, 600));
        assert_eq!((quota.reserve, quota.held, quota.failure), (Some(100), None, None));
    }
    // Another channel is asked about once both have looked around again, and the first one is not.
    let second = world.second_channel().await;
    let second_quota = async || world.engine.quota(&second).await.unwrap().figures;
    until("the figures of the second channel", second_quota).await;
    assert_eq!(told.asked(), 2, "each channel was asked about once");
    // What is sent from here is counted at once.
    world.engine.start_dispatch().await;
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap").await;
    let answer = world.send(vec![to_user("lisi")]).await.unwrap();
    assert_eq!(world.ended(answer.msgid, 0).await.state, DeliveryState::Sent);
    let figures = other.quota(&world.code).await.unwrap().figures.unwrap();
    assert_eq!((figures.sent_since, figures.used, figures.remaining), (1, 401, 599));
    other.shutdown().await;
}

async fn bulk_is_held_at_the_reserve_and_goes_on_after_midnight(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    let world = world(&place, HALF, &told).await;
    let msgid = held(&world).await;
    let quota = world.engine.quota(&world.code).await.unwrap();
    let hold = quota.held.unwrap();
    assert_eq!((hold.limit, hold.remaining, hold.reserve, hold.until), (LIMIT, 10, HALF, quota.resets_at));
    assert_eq!(quota.bulk_waiting, 2);
    // Single sends go on, to a person whose bulk delivery waits as well.
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap-lisi").await;
    let single = world.send(vec![to_user("lisi")]).await.unwrap();
    assert_eq!(world.ended(single.msgid, 0).await.state, DeliveryState::Sent);
    assert_eq!(sent(&world, msgid).await, 10, "what is held stays held");
    assert_eq!(world.accepted_by_wechat(), 11);
    let holds = channel_events(&world).await;
    assert_eq!(holds.iter().filter(|event| matches!(event, ChannelEvent::BulkHeld(_))).count(), 1);
    // The quota begins anew at midnight in China; nothing has to be asked or recorded for that.
    let seconds = (hold.until.micros() - world.engine.now().micros()) / 1_000_000 + 1;
    world.clock.pass_seconds(seconds);
    all_sent(&world, msgid).await;
    assert_eq!(world.engine.bulk_held(&world.code).await.unwrap(), None);
}

async fn a_smaller_reserve_lets_bulk_go_on_at_once(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    let world = world(&place, HALF, &told).await;
    let msgid = held(&world).await;
    let change = PolicyChange { bulk_reserve: Some(10), ..PolicyChange::default() };
    world.engine.amend_policy(&world.caller, &world.code, change).await.unwrap();
    all_sent(&world, msgid).await;
    assert!(channel_events(&world).await.iter().any(|event| matches!(event, ChannelEvent::BulkReleased(_))));
}

async fn bulk_goes_on_when_wechat_says_that_more_is_left(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    let world = world(&place, HALF, &told).await;
    let msgid = held(&world).await;
    // Just above the reserve is within what WeChat's figures may be off by: nothing flutters.
    told.says(1_000, 510);
    world.clock.pass_seconds(60);
    world.engine.refresh_quota(&world.code).await.unwrap();
    assert!(world.engine.bulk_held(&world.code).await.unwrap().is_some());
    told.says(1_000, 900);
    world.clock.pass_seconds(60);
    world.engine.refresh_quota(&world.code).await.unwrap();
    all_sent(&world, msgid).await;
}

async fn held_bulk_makes_no_node_unready(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    let policy = Policy { bulk_reserve: HALF, ..Policy::default() };
    let impatient = |settings: &mut EngineSettings| {
        often(settings);
        settings.max_undone_age = Duration::from_secs(5);
    };
    let world = by_day(World::behind(&place, policy, impatient, told.router()).await);
    held(&world).await;
    world.clock.pass_seconds(10);
    let readiness = world.engine.readiness().await;
    assert!(readiness.ready(), "{readiness:?}");
}

async fn clearing_is_asked_of_wechat_and_put_on_the_books(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    let world = world(&place, HALF, &told).await;
    let msgid = held(&world).await;
    told.refuses(48006);
    world.clock.pass_seconds(60);
    let reason = || "a loop in our back end".to_owned();
    let refused = world.engine.clear_quota(&world.caller, &world.code, reason()).await.unwrap_err();
    assert_eq!((refused.code, refused.wechat.unwrap().errcode), ("wechat_refused", Some(48006)));
    let empty = world.engine.clear_quota(&world.caller, &world.code, String::new()).await.unwrap_err();
    assert_eq!(empty.code, "bad_reason");
    told.refuses(0);
    let soon = world.engine.clear_quota(&world.caller, &world.code, reason()).await.unwrap_err();
    assert_eq!(soon.code, "quota_too_soon");
    world.clock.pass_seconds(60);
    world.engine.clear_quota(&world.caller, &world.code, reason()).await.unwrap();
    assert_eq!(world.engine.quota(&world.code).await.unwrap().figures.unwrap().remaining, LIMIT);
    let events = channel_events(&world).await;
    let cleared =
        |event: &ChannelEvent| matches!(event, ChannelEvent::QuotaCleared(e) if e.reason == reason());
    assert_eq!(events.iter().filter(|event| cleared(event)).count(), 1);
    all_sent(&world, msgid).await;
}

async fn a_failure_is_told_and_tried_again_later(place: Place) {
    let told = Told::of(LIMIT, LIMIT);
    told.refuses(76021);
    let world = world(&place, 10, &told).await;
    world.engine.start_quota().await;
    let failure = async || world.engine.quota(&world.code).await.unwrap().failure;
    let failed = until("the failure", failure).await;
    assert_eq!((failed.failures, failed.errcode, failed.word.as_str()), (1, Some(76021), "refused"));
    let quota = world.engine.quota(&world.code).await.unwrap();
    assert_eq!((quota.figures, quota.forecast), (None, Forecast::Unknown));
    // An hour and a tenth later the next try is due.
    told.refuses(0);
    world.clock.pass_seconds(3_600 + 360);
    until("the figures", async || world.engine.quota(&world.code).await.unwrap().figures).await;
    assert_eq!(world.engine.quota(&world.code).await.unwrap().failure, None);
    assert_eq!(told.asked(), 2);
}
