//! WeChat's pushes, posted one by one: for tests that decide what comes when, to which node, and how often.

use std::time::{Duration, SystemTime};

use serde_json::json;
use subledger_sandbox::{PushSealer, SealedPush};

use super::{APPID, CHANNEL, Client, TEMPLATE};

pub const PUSH_TOKEN: &str = "e2eToken01";
pub const PUSH_KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";

/// WeChat, as far as a push URL sees it.
#[derive(Clone)]
pub struct Pusher {
    http: reqwest::Client,
    sealer: PushSealer,
}

impl Pusher {
    pub fn new(token: &str, key: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { http, sealer: PushSealer::new(APPID, token, key).unwrap() }
    }

    /// This user allowed one message.
    pub fn popup(&self, number: u64, openid: &str) -> SealedPush {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let message = json!({
            "ToUserName": "gh_000000000001",
            "FromUserName": openid,
            "CreateTime": now,
            "MsgType": "event",
            "Event": "subscribe_msg_popup_event",
            "List": { "TemplateId": TEMPLATE, "SubscribeStatusString": "accept", "PopupScene": "0" },
        });
        self.sealer.seal(number, i64::try_from(now).unwrap(), &message.to_string())
    }

    /// Posts it to the node of this client; status and body, if there was an answer.
    pub async fn post(&self, node: &Client, push: &SealedPush) -> Option<(u16, String)> {
        let url = format!("{}/callbacks/wechat/{CHANNEL}?{}", node.url, push.query);
        let answer = self.http.post(url).body(push.body.clone()).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Whether WeChat would not come back with it.
    pub async fn is_taken(&self, node: &Client, push: &SealedPush) -> bool {
        self.post(node, push).await == Some((200, "success".to_owned()))
    }
}

/// Sets the channel's pushes up through this node: secure mode, JSON.
pub async fn set_pushes_up(node: &Client, token: &str, key: &str) {
    let body = json!({ "mode": "secure", "format": "json", "token": token, "encoding_aes_key": key });
    node.put(&format!("/channels/{CHANNEL}/callback"), &body).await.expect_status(200);
}
