//! An engine on a database of its own, beside a simulated WeChat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use subledger_domain::{
    AppId, ChannelCode, DeliveryId, LogName, MessageId, StreamName, TemplateId, Timestamp, UserId,
    channel::{Policy, TokenMode},
    ledger::Ledger,
};
use subledger_engine::{
    Caller, Engine, EngineError, EngineSettings, Values,
    channels::NewChannel,
    dispatch::DispatchSettings,
    gateway::Gateway,
    grants::{ClientReport, RecordedChoice, Tapper},
    send::{Recipient, SendAnswer, SendRequest, To},
    users::{BindBy, BindResult},
};
use subledger_projection::{DeliveryRow, DeliveryState, Projections, ProjectionsConfig};
use subledger_sandbox::{
    AppSpec, CallPath, Choice, FaultKind, FaultSpec, Sandbox, SandboxConfig, TapSpec, Template,
};
use subledger_store::{Clock, Executor, ExecutorConfig, MasterKey, Store, StoreConfig, SystemClock};
use subledger_wechat::WeChatConfig;

use crate::place::Place;

pub const APPID: &str = "wx00000000demo0001";
pub const SECRET: &str = "engine-test-secret";
pub const TEMPLATE: &str = "TPL_demo_order_ready_000000000000000000_001";
pub const LONG_TERM: &str = "TPL_demo_long_term_0000000000000000000_002";
const PATIENCE: Duration = Duration::from_secs(15);

/// The machine's clock, put forward by tests.
#[derive(Clone, Default)]
pub struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub fn pass_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_seconds(self.0.load(Ordering::Relaxed))
    }
}

pub struct World {
    pub engine: Engine,
    pub wechat: Sandbox,
    pub code: ChannelCode,
    pub caller: Caller,
    pub clock: Ahead,
    pub wechat_url: String,
    pub place: Place,
}

pub fn template() -> TemplateId {
    TEMPLATE.parse().unwrap()
}

pub fn values() -> Values {
    [("thing1", "牛角面包"), ("date2", "2026-11-23 09:30"), ("phrase3", "待取餐")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

pub fn send_request(recipients: Vec<Recipient>) -> SendRequest {
    SendRequest {
        template: template(),
        recipients,
        data: values(),
        page: None,
        state: Default::default(),
        lang: Default::default(),
        expires_at: None,
        idempotency_key: None,
    }
}

pub fn to_user(userid: &str) -> Recipient {
    Recipient { to: To::Userid(userid.parse().unwrap()), data: Values::new() }
}

/// A node on this database.
async fn node(place: &Place, url: &str, clock: &Ahead, change: impl FnOnce(&mut EngineSettings)) -> Engine {
    let config = StoreConfig {
        url: SecretString::from(place.url.clone()),
        master_key: MasterKey::from_bytes([7; 32]),
        max_connections: 8,
    };
    let store = Store::open(&config, Arc::new(clock.clone())).await.unwrap();
    let gateway = WeChatConfig {
        base_url: url.to_owned(),
        connect_timeout: Duration::from_millis(200),
        read_timeout: Duration::from_millis(600),
        ..WeChatConfig::default()
    };
    let gateway = Gateway::new(gateway, store.clone()).unwrap();
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let projections = Projections::start(store.clone(), ProjectionsConfig::default());
    let dispatch = DispatchSettings {
        lease: Duration::from_millis(1_000),
        poll: Duration::from_millis(20),
        ..DispatchSettings::default()
    };
    let mut settings = EngineSettings { dispatch, read_wait: PATIENCE, ..EngineSettings::default() };
    settings.platform.pc_base_url = url.to_owned();
    settings.platform.h5_base_url = url.to_owned();
    settings.platform.poll = Duration::from_millis(20);
    change(&mut settings);
    Engine::new(store, executor, projections, gateway, settings)
}

impl World {
    /// One more node on the same database.
    pub async fn another_node(&self, change: impl FnOnce(&mut EngineSettings)) -> Engine {
        node(&self.place, &self.wechat_url, &self.clock, change).await
    }

    /// A world with the channel set up and its templates read; nothing is dispatched yet.
    pub async fn new() -> Self {
        Self::with_policy(Policy::default()).await
    }

    pub async fn with_policy(policy: Policy) -> Self {
        Self::with(&Place::sqlite(), policy, |_| {}).await
    }

    pub async fn with_dispatch(change: impl FnOnce(&mut DispatchSettings)) -> Self {
        Self::with(&Place::sqlite(), Policy::default(), |settings| change(&mut settings.dispatch)).await
    }

    /// A world on this database under a policy.
    pub async fn on_with_policy(place: &Place, policy: Policy) -> Self {
        Self::with(place, policy, |_| {}).await
    }

    /// A world on this database.
    pub async fn on(place: &Place) -> Self {
        Self::with(place, Policy::default(), |_| {}).await
    }

    /// A world on this database, with other settings.
    pub async fn with(place: &Place, policy: Policy, change: impl FnOnce(&mut EngineSettings)) -> Self {
        Self::behind(place, policy, change, axum::Router::new()).await
    }

    /// A world whose WeChat answers some calls as `front` does.
    pub async fn behind(
        place: &Place,
        policy: Policy,
        change: impl FnOnce(&mut EngineSettings),
        front: axum::Router,
    ) -> Self {
        let wechat = Sandbox::new(SandboxConfig::default());
        wechat.create_app(AppSpec::new(APPID, SECRET)).unwrap();
        let lines = "商品:{{thing1.DATA}}\n时间:{{date2.DATA}}\n状态:{{phrase3.DATA}}\n";
        wechat.create_template(APPID, Template::one_time(TEMPLATE, "取餐提醒", lines)).unwrap();
        wechat.create_template(APPID, Template::long_term(LONG_TERM, "出行提醒", lines)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        if front.has_routes() {
            let app = front.fallback_service(wechat.router());
            tokio::spawn(async move { axum::serve(listener, app).await });
        } else {
            tokio::spawn(wechat.clone().serve(listener, std::future::pending()));
        }

        let clock = Ahead::default();
        let engine = node(place, &url, &clock, change).await;
        let caller = Caller::app("shop".parse::<AppId>().unwrap(), None);
        let code = "wechatmp123".parse().unwrap();
        let world = Self { engine, wechat, code, caller, clock, wechat_url: url, place: place.clone() };
        world.register(world.code.clone(), APPID, policy).await;
        world.engine.refresh_templates(&world.caller, &world.code).await.unwrap();
        world
    }

    async fn register(&self, code: ChannelCode, appid: &str, policy: Policy) {
        let new = NewChannel {
            code,
            name: "Bakery".to_owned(),
            appid: appid.to_owned(),
            secret: SecretString::from(SECRET),
            token_mode: TokenMode::Stable,
            token_url: None,
            policy,
            idempotency_key: None,
        };
        self.engine.register_channel(&self.caller, new).await.unwrap();
    }

    /// One more channel, of another Mini Program.
    pub async fn second_channel(&self) -> ChannelCode {
        let appid = "wx00000000demo0002";
        self.wechat.create_app(AppSpec::new(appid, SECRET)).unwrap();
        let code: ChannelCode = "wechatmp456".parse().unwrap();
        self.register(code.clone(), appid, Policy::default()).await;
        code
    }

    /// Binds a user to an openid in a channel.
    pub async fn bind_in(&self, code: &ChannelCode, userid: &str, openid: &str) -> BindResult {
        let by = BindBy::Openid(openid.parse().unwrap());
        let bound = self.engine.bind_user(&self.caller, code, userid.parse().unwrap(), by, None).await;
        bound.unwrap().answer
    }

    /// Binds a user to an openid.
    pub async fn bind(&self, userid: &str, openid: &str) -> BindResult {
        self.bind_in(&self.code, userid, openid).await
    }

    /// The next send gets no answer.
    pub fn never_answer(&self) {
        let fault = FaultSpec::on(FaultKind::DropBeforeCommit, CallPath::Send);
        self.wechat.inject(fault).unwrap();
    }

    pub fn log(&self) -> LogName {
        LogName::channel(&self.code)
    }

    /// A bound user with an openid at WeChat.
    pub async fn user(&self, userid: &str) -> String {
        let openid = self.wechat.create_user(APPID, None).unwrap();
        let userid: UserId = userid.parse().unwrap();
        let by = BindBy::Openid(openid.parse().unwrap());
        self.engine.bind_user(&self.caller, &self.code, userid, by, None).await.unwrap();
        openid
    }

    /// The user taps at WeChat, and the tap is reported.
    pub async fn tap(&self, userid: &str, openid: &str, report: &str) -> Vec<RecordedChoice> {
        self.tap_for(TEMPLATE, userid, openid, report).await
    }

    pub async fn tap_for(
        &self,
        template: &str,
        userid: &str,
        openid: &str,
        report: &str,
    ) -> Vec<RecordedChoice> {
        let result = self.wechat.tap(APPID, &TapSpec::new(openid, &[template], Choice::Accept)).unwrap();
        self.report(userid, report, &result).await.unwrap()
    }

    pub async fn report(
        &self,
        userid: &str,
        report: &str,
        result: &serde_json::Value,
    ) -> Result<Vec<RecordedChoice>, EngineError> {
        let report = ClientReport {
            id: report.parse().unwrap(),
            who: Tapper::Userid(userid.parse().unwrap()),
            tapped_at: None,
            result: result.as_object().unwrap().clone(),
        };
        Ok(self.engine.record_report(&self.caller, &self.code, report).await?.answer.choices)
    }

    pub async fn send(&self, recipients: Vec<Recipient>) -> Result<SendAnswer, EngineError> {
        Ok(self.engine.send(&self.caller, &self.code, send_request(recipients)).await?.answer)
    }

    pub async fn ledger(&self, openid: &str) -> Ledger {
        let subject = self.engine.store().subject_of(&self.code, &openid.parse().unwrap());
        let stream = StreamName::ledger(subject, &template());
        self.engine.store().load::<Ledger>(&self.log(), &stream).await.unwrap().0
    }

    pub async fn delivery(&self, msgid: MessageId, index: u32) -> DeliveryRow {
        assert!(self.engine.caught_up(&self.log(), None).await, "the read models did not catch up");
        let id = DeliveryId::new(msgid, index);
        self.engine.queries().delivery(&self.code, id).await.unwrap().value.unwrap()
    }

    /// Waits until the delivery is neither queued nor started.
    pub async fn ended(&self, msgid: MessageId, index: u32) -> DeliveryRow {
        let begun = std::time::Instant::now();
        loop {
            let row = self.delivery(msgid, index).await;
            if !matches!(row.state, DeliveryState::Queued | DeliveryState::Started) {
                return row;
            }
            assert!(begun.elapsed() < PATIENCE, "the delivery did not end: {row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many sends WeChat really accepted.
    pub fn accepted_by_wechat(&self) -> usize {
        self.wechat.journal().iter().filter(|entry| entry.committed).count()
    }

    /// The end of the channel's log.
    pub async fn events(&self) -> u64 {
        self.engine.store().head(&self.log()).await.unwrap().position.0
    }
}
