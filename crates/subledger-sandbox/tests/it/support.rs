//! One sandbox on a local port with an app, three templates and a client.

use std::sync::{Arc, Once};
use std::time::Duration;

use serde_json::{Value, json};
use subledger_sandbox::{
    AppSpec, Choice, FixedClock, JournalEntry, Sandbox, SandboxConfig, TapSpec, Template,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const APP: &str = "wx00000000demo0001";
pub(crate) const SECRET: &str = "demo-secret";
/// One-time: thing1, phrase2, thing3.
pub(crate) const ORDER: &str = "TPL_demo_order_ready_000000000000000000_001";
/// One-time with an enum: enum_string2, thing5.
pub(crate) const LEVEL: &str = "TPL_demo_level_notice_00000000000000000_002";
/// Long-term: thing1.
pub(crate) const LONG: &str = "TPL_demo_long_term_00000000000000000000_003";
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) wechat: Sandbox,
    pub(crate) base: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

/// A configuration whose clock stands still at 2030-01-02 11:00 in China.
pub(crate) fn config() -> SandboxConfig {
    let start = "2030-01-02T03:00:00Z".parse().unwrap();
    SandboxConfig { seed: 7, clock: Arc::new(FixedClock(start)), ..SandboxConfig::default() }
}

pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

pub(crate) fn order_template() -> Template {
    Template::one_time(ORDER, "取餐", "商品:{{thing1.DATA}}\n状态:{{phrase2.DATA}}\n备注:{{thing3.DATA}}\n")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: SandboxConfig) -> Self {
        let wechat = Sandbox::new(config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(wechat.clone().serve(listener, async move {
            let _ = stopped.await;
        }));
        let base = format!("http://{address}");
        wechat.create_app(AppSpec::new(APP, SECRET)).unwrap();
        wechat.create_template(APP, order_template()).unwrap();
        let mut level =
            Template::one_time(LEVEL, "等级", "等级:{{enum_string2.DATA}}\n说明:{{thing5.DATA}}\n");
        level.keyword_enum_value_list = serde_json::from_value(
            json!([{ "keywordCode": "enum_string2.DATA", "enumValueList": ["银", "金"] }]),
        )
        .unwrap();
        wechat.create_template(APP, level).unwrap();
        wechat.create_template(APP, Template::long_term(LONG, "公告", "内容:{{thing1.DATA}}\n")).unwrap();
        Self { wechat, base, address, http: client(), stop: Some(stop), server }
    }

    pub(crate) fn user(&self) -> String {
        self.wechat.create_user(APP, None).unwrap()
    }

    /// A user who accepted the order template `taps` times.
    pub(crate) fn user_with(&self, taps: usize) -> String {
        let openid = self.user();
        for _ in 0..taps {
            self.accept(&openid, ORDER);
        }
        openid
    }

    pub(crate) fn accept(&self, openid: &str, template: &str) {
        let result = self.wechat.tap(APP, &TapSpec::new(openid, &[template], Choice::Accept)).unwrap();
        assert_eq!(result[template], "accept");
    }

    pub(crate) fn remaining(&self, openid: &str) -> u64 {
        self.wechat.remaining(APP, openid, ORDER).unwrap()
    }

    pub(crate) fn last(&self) -> JournalEntry {
        self.wechat.journal().pop().unwrap()
    }

    /// A GET whose answer must be HTTP 200 and JSON.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let response = self.http.post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// A token of the stable family.
    pub(crate) async fn token(&self) -> String {
        text(&self.stable(false).await, "access_token")
    }

    pub(crate) async fn stable(&self, force: bool) -> Value {
        let body = json!({ "grant_type": "client_credential", "appid": APP, "secret": SECRET, "force_refresh": force });
        self.post("/cgi-bin/stable_token", &body).await
    }

    /// A token call of the normal family.
    pub(crate) async fn normal(&self) -> Value {
        self.get(&format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={SECRET}")).await
    }

    /// What a token is good for just now: 0, or the code it is refused with.
    pub(crate) async fn verdict(&self, token: &str) -> i64 {
        code(&self.get(&format!("/wxaapi/newtmpl/gettemplate?access_token={token}")).await)
    }

    pub(crate) fn send_request(&self, token: &str, body: &Value) -> reqwest::RequestBuilder {
        let path = "/cgi-bin/message/subscribe/send?access_token=";
        self.http.post(format!("{}{path}{token}", self.base)).json(body)
    }

    pub(crate) async fn send(&self, token: &str, body: &Value) -> Value {
        let response = self.send_request(token, body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

/// A sound body for the order template.
pub(crate) fn order(openid: &str) -> Value {
    json!({
        "touser": openid,
        "template_id": ORDER,
        "page": "pages/order/show?id=42",
        "data": { "thing1": { "value": "示例面包" }, "phrase2": { "value": "待自取" }, "thing3": { "value": "请带好取餐码" } },
    })
}

/// `errcode` of an answer; absent counts as 0. A refusal must end in a rid.
pub(crate) fn code(answer: &Value) -> i64 {
    let code = answer["errcode"].as_i64().unwrap_or(0);
    if code != 0 {
        let message = answer["errmsg"].as_str().unwrap();
        let rid = message.rsplit_once(" rid: ").unwrap().1;
        let groups: Vec<&str> = rid.split('-').collect();
        assert_eq!(groups.len(), 3, "{message}");
        for group in groups {
            assert!(group.len() == 8 && group.chars().all(|c| c.is_ascii_hexdigit()), "{message}");
        }
    }
    code
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Waits until `holds`; fails the test when it takes too long.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
