//! The simulated WeChat, through its control API only.

use serde_json::{Value, json};

use super::Process;

pub const CHANNEL: &str = "wechatmp123";
pub const APPID: &str = "wx00000000demo0001";
pub const SECRET: &str = "e2e-app-secret-0001";
pub const TEMPLATE: &str = "TPL_demo_order_ready_000000000000000000_001";

pub struct Wechat {
    pub url: String,
    http: reqwest::Client,
    /// `None` in a second handle: the first one owns the process.
    _process: Option<Process>,
}

impl Wechat {
    /// Starts it with one Mini Program and one template.
    pub async fn start() -> Self {
        let wechat = Self::start_with_seed(1).await;
        wechat.add_app(APPID).await;
        wechat
    }

    /// Starts it with nothing in it.
    pub async fn start_with_seed(seed: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (process, url) = Process::sandbox(seed).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, http, _process: Some(process) }
    }

    /// A second handle to it.
    pub fn another(&self) -> Self {
        Self { url: self.url.clone(), http: self.http.clone(), _process: None }
    }

    /// One more Mini Program with the same template.
    pub async fn add_app(&self, appid: &str) {
        self.post("/sandbox/apps", &json!({ "appid": appid, "secret": SECRET })).await;
        let content = "商品:{{thing1.DATA}}\n时间:{{date2.DATA}}\n状态:{{phrase3.DATA}}\n";
        let template = json!({ "priTmplId": TEMPLATE, "title": "取餐提醒", "content": content, "type": 2 });
        self.post(&format!("/sandbox/apps/{appid}/templates"), &template).await;
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// What a POST answers if it is taken and answered.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<Value> {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    pub async fn put(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.put(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.patch(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }

    pub async fn delete(&self, path: &str) {
        assert!(self.http.delete(format!("{}{path}", self.url)).send().await.unwrap().status().is_success());
    }

    /// A new user's openid.
    pub async fn user(&self) -> String {
        self.user_of(APPID).await
    }

    /// A new user's openid at this Mini Program.
    pub async fn user_of(&self, appid: &str) -> String {
        let user = self.post(&format!("/sandbox/apps/{appid}/users"), &json!({})).await;
        user["openid"].as_str().unwrap().to_owned()
    }

    /// The user accepts the template; the client's result object.
    pub async fn tap(&self, openid: &str) -> Value {
        self.tap_at(APPID, openid).await
    }

    /// The same at this Mini Program.
    pub async fn tap_at(&self, appid: &str, openid: &str) -> Value {
        let tap = json!({ "openid": openid, "template_ids": [TEMPLATE], "choice": "accept" });
        self.post(&format!("/sandbox/apps/{appid}/taps"), &tap).await
    }

    pub async fn fault(&self, fault: &Value) {
        self.post("/sandbox/faults", fault).await;
    }

    pub async fn clear_faults(&self) {
        self.delete("/sandbox/faults").await;
    }

    /// All entries of one of its journals that are about one app.
    pub async fn pages(&self, path: &str, appid: &str) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("{path}?appid={appid}&after={after}&limit=10000")).await;
            assert_eq!(page["dropped"], 0, "the journal is full");
            entries.extend(page["entries"].as_array().unwrap().iter().cloned());
            match page["next_after"].as_u64() {
                Some(next) => after = next,
                None => return entries,
            }
        }
    }

    /// The whole journal.
    pub async fn journal(&self) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry["seq"].as_u64().unwrap());
            let page = self.get(&format!("/sandbox/journal?after={after}&limit=10000")).await;
            let more = page["entries"].as_array().unwrap().clone();
            if more.is_empty() {
                return entries;
            }
            entries.extend(more);
        }
    }

    /// What WeChat says the user has left.
    pub async fn remaining(&self, openid: &str) -> u64 {
        let counts = self.get(&format!("/sandbox/apps/{APPID}/users/{openid}/counts")).await;
        counts["templates"][TEMPLATE]["remaining"].as_u64().unwrap_or(0)
    }
}
