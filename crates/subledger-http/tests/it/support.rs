//! A server on a local port, a simulated WeChat behind it, and a client.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, Once, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::place::Place;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reqwest::{Method, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    app::{Created, Right},
};
use subledger_engine::{
    Caller, Engine, EngineSettings,
    gateway::{Gateway, TokenSettings},
};
use subledger_http::HttpSettings;
use subledger_projection::{Projections, ProjectionsConfig};
use subledger_sandbox::{AppSpec, Choice, Sandbox, SandboxConfig, TapSpec, Template};
use subledger_store::{Clock, Executor, ExecutorConfig, Head, MasterKey, Store, StoreConfig};
use subledger_webhook::{EgressPolicy, PrivateAddresses};
use subledger_wechat::WeChatConfig;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) const CHANNEL: &str = "wechatmp123";
pub(crate) const APPID: &str = "wx00000000demo0001";
pub(crate) const SECRET: &str = "demo-secret";
/// One-time: thing1, phrase2.
pub(crate) const ORDER: &str = "TPL_demo_order_ready_000000000000000000_001";
/// Long-term: thing1.
pub(crate) const LONG: &str = "TPL_demo_long_term_00000000000000000000_003";
/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The machine's clock, which a test may put forward.
#[derive(Default)]
pub(crate) struct TestClock {
    ahead_s: AtomicI64,
}

impl TestClock {
    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.ahead_s.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap());
        now.plus_seconds(self.ahead_s.load(Ordering::SeqCst))
    }
}

/// One recorder for the whole binary: the macros of `metrics` know only one.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

fn http_client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(redirects).timeout(PATIENCE).build().unwrap()
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// Asserts a whole problem document of this code, and gives its body.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        for text in ["title", "detail"] {
            assert!(self.body[text].as_str().is_some_and(|text| !text.is_empty()), "{}", self.text);
        }
        self.body
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Where a fault in the input was found.
#[track_caller]
pub(crate) fn fault(problem: &Value, pointer: &str, rule: &str) {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let found = errors.iter().any(|error| error["pointer"] == pointer && error["rule"] == rule);
    assert!(found, "no {rule} at {pointer}: {problem}");
}

pub(crate) struct TestApp {
    pub(crate) engine: Engine,
    pub(crate) wechat: Sandbox,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) url: String,
    /// Where the simulated WeChat is.
    pub(crate) wechat_url: String,
    /// A key with every right for every channel.
    pub(crate) key: String,
    http: reqwest::Client,
    /// Method and path of every request that was answered 2xx.
    done: Mutex<BTreeSet<(String, String)>>,
    servers: Vec<JoinHandle<()>>,
    _place: Place,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl TestApp {
    /// A server without channels.
    pub(crate) async fn empty(settings: HttpSettings) -> Self {
        Self::empty_on(&Place::sqlite(), settings).await
    }

    /// The same on this database.
    pub(crate) async fn empty_on(place: &Place, settings: HttpSettings) -> Self {
        let http = http_client();
        let wechat = Sandbox::new(SandboxConfig::default());
        wechat.create_app(AppSpec::new(APPID, SECRET)).unwrap();
        let order = Template::one_time(ORDER, "取餐提醒", "商品:{{thing1.DATA}}\n状态:{{phrase2.DATA}}\n");
        wechat.create_template(APPID, order).unwrap();
        wechat.create_template(APPID, Template::long_term(LONG, "公告", "内容:{{thing1.DATA}}\n")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let served = wechat.clone();
        let simulated =
            tokio::spawn(async move { served.serve(listener, std::future::pending()).await.unwrap() });

        let config = StoreConfig {
            url: SecretString::from(place.url.clone()),
            master_key: MasterKey::from_bytes([7; 32]),
            max_connections: 4,
        };
        let clock = Arc::new(TestClock::default());
        let store = Store::open(&config, Arc::<TestClock>::clone(&clock)).await.unwrap();
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        let projections = Projections::start(store.clone(), ProjectionsConfig::default());
        let wechat_config = WeChatConfig { base_url: base_url.clone(), ..WeChatConfig::default() };
        let mut engine_settings =
            EngineSettings { redo_every: Duration::from_millis(200), ..EngineSettings::default() };
        engine_settings.platform.pc_base_url = base_url.clone();
        engine_settings.platform.h5_base_url = base_url.clone();
        engine_settings.platform.poll = Duration::from_millis(50);
        engine_settings.dispatch.poll = Duration::from_millis(100);
        let loopback = PrivateAddresses::Only(vec!["127.0.0.1".parse().unwrap()]);
        engine_settings.relay.deliverer.policy =
            EgressPolicy { private: loopback, allow_http: true, ..EgressPolicy::default() };
        let servers = engine_settings.relay.deliverer.clone();
        let tokens = TokenSettings { servers, ..TokenSettings::default() };
        let gateway = Gateway::with_tokens(wechat_config, store.clone(), tokens).unwrap();
        let engine = Engine::new(store, executor, projections, gateway, engine_settings);
        engine.start_dispatch().await;
        engine.start_relay().await;
        engine.start_platforms().await;

        let router = subledger_http::router(engine.clone(), settings, metrics());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut app = Self {
            engine,
            wechat,
            clock,
            url,
            wechat_url: base_url,
            key: String::new(),
            http,
            done: Mutex::default(),
            servers: vec![simulated, server],
            _place: place.clone(),
        };
        app.key = app.app("tester", &Right::ALL, None).await;
        app
    }

    /// A server with the channel set up and its templates read.
    pub(crate) async fn new() -> Self {
        Self::with(HttpSettings::default()).await
    }

    pub(crate) async fn with(settings: HttpSettings) -> Self {
        Self::with_on(&Place::sqlite(), settings).await
    }

    /// The same on this database.
    pub(crate) async fn on(place: &Place) -> Self {
        Self::with_on(place, HttpSettings::default()).await
    }

    async fn with_on(place: &Place, settings: HttpSettings) -> Self {
        let app = Self::empty_on(place, settings).await;
        app.post("/channels", &new_channel(CHANNEL)).await.ok(201);
        app.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await.ok(200);
        app
    }

    /// A sender app; gives its key.
    pub(crate) async fn app(&self, id: &str, rights: &[Right], channels: Option<&[&str]>) -> String {
        let created = Created {
            name: id.to_owned(),
            rights: rights.iter().copied().collect(),
            channels: channels
                .map(|codes| codes.iter().map(|code| code.parse::<ChannelCode>().unwrap()).collect()),
        };
        let caller = Caller::operator("tests".parse().unwrap());
        let key = self.engine.create_app(&caller, id.parse().unwrap(), created).await.unwrap();
        assert!(self.engine.caught_up(&LogName::main(), None).await);
        key.expose_secret().to_owned()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let path = if path.starts_with("/api") { path.to_owned() } else { format!("/api/v1{path}") };
        self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.url))
    }

    /// Sends as it is.
    pub(crate) async fn raw(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let answer = self.http.execute(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            self.done.lock().unwrap().insert((method, path));
        }
        Answer { status, headers, body, text }
    }

    /// A path outside the API, without a key.
    pub(crate) async fn outside(&self, path: &str) -> Answer {
        self.raw(self.http.get(format!("{}{path}", self.url))).await
    }

    /// A POST outside the API, without a key; `query` goes behind the path.
    pub(crate) async fn strange(&self, path: &str, query: &str, body: &str) -> Answer {
        let url = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.raw(self.http.post(format!("{}{url}", self.url)).body(body.to_owned())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(self.request("GET", path).bearer_auth(&self.key)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw(self.request("POST", path).bearer_auth(&self.key).json(body)).await
    }

    pub(crate) async fn post_with_key(&self, path: &str, idempotency_key: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).bearer_auth(&self.key);
        self.raw(request.header("Idempotency-Key", idempotency_key).json(body)).await
    }

    /// A report of a user's own device.
    pub(crate) async fn own(&self, token: &str, report: &Value) -> Answer {
        self.raw(self.request("POST", "/client-reports").bearer_auth(token).json(report)).await
    }

    pub(crate) async fn send_method(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.raw(self.request(method, path).bearer_auth(&self.key).json(body)).await
    }

    /// Whether a request of this method to this path template was ever answered 2xx.
    pub(crate) fn was_done(&self, method: &str, template: &str) -> bool {
        let fits = |path: &str| {
            let (path, template): (Vec<_>, Vec<_>) =
                (path.split('/').collect(), template.split('/').collect());
            path.len() == template.len()
                && path.iter().zip(&template).all(|(part, wanted)| wanted.starts_with('{') || part == wanted)
        };
        self.done.lock().unwrap().iter().any(|(done, path)| done.eq_ignore_ascii_case(method) && fits(path))
    }

    /// The ends of all logs: equal before and after means that nothing was recorded.
    pub(crate) async fn heads(&self) -> Vec<Head> {
        self.engine.store().heads().await.unwrap()
    }

    /// A bound user who tapped "allow" `taps` times for the order template; gives the openid.
    pub(crate) async fn user(&self, userid: &str, taps: usize) -> String {
        let openid = self.wechat.create_user(APPID, None).unwrap();
        let body = json!({ "userid": userid, "openid": openid });
        self.post(&format!("/channels/{CHANNEL}/users"), &body).await.ok(200);
        for tap in 0..taps {
            let result = self.tap(&openid);
            let report =
                json!({ "report_id": format!("{userid}-{tap}"), "userid": userid, "result": result });
            self.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.ok(200);
        }
        openid
    }

    /// What the Mini Program gets when the user allows the order template.
    pub(crate) fn tap(&self, openid: &str) -> Value {
        self.wechat.tap(APPID, &TapSpec::new(openid, &[ORDER], Choice::Accept)).unwrap()
    }

    /// Sends the order template to these recipients.
    pub(crate) async fn send(&self, recipients: Value) -> Value {
        self.post(&format!("/channels/{CHANNEL}/messages"), &message(recipients)).await.ok(202)
    }

    /// Waits until no delivery of the message waits or is under way, and gives the message.
    pub(crate) async fn ended(&self, msgid: &str) -> Value {
        let path = format!("/channels/{CHANNEL}/messages/{msgid}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.get(&path).await.ok(200);
            if message["counts"]["queued"] == 0 && message["counts"]["started"] == 0 {
                return message;
            }
            assert!(Instant::now() < deadline, "{message}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The query of a push that carries no sealed part, as WeChat signs it.
pub(crate) fn signed_query(token: &str) -> String {
    use sha1::{Digest, Sha1};

    let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
    let nonce = "1234567";
    let mut parts = [token, &timestamp, nonce];
    parts.sort_unstable();
    let signature = hex::encode(Sha1::digest(parts.concat()));
    format!("signature={signature}&timestamp={timestamp}&nonce={nonce}")
}

pub(crate) fn new_channel(code: &str) -> Value {
    json!({ "code": code, "name": "门店小程序", "appid": APPID, "secret": SECRET })
}

pub(crate) fn message(recipients: Value) -> Value {
    json!({
        "template_id": ORDER,
        "recipients": recipients,
        "data": { "thing1": "牛角面包", "phrase2": { "value": "待取餐" } },
        "page": "pages/order/show?id=42",
    })
}
