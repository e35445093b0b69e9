//! A third-party platform on both sides: in the simulated WeChat and in the service, set up by the command line.

use std::time::Duration;

use serde_json::{Value, json};

use super::{APPID, CHANNEL, Database, Stage, eventually, run_cli_with};

pub const COMPONENT: &str = "wx00000000comp0001";
const SECRET: &str = "e2e-platform-secret-0001";
const TOKEN: &str = "e2ePlatformToken01";
const KEY: &str = "UGxhdGZvcm1EZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDE";

const PATIENCE: Duration = Duration::from_secs(30);

/// By what the service learns of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The browser and WeChat's push.
    Both,
    /// The browser; the push is lost.
    Browser,
    /// WeChat's push; the browser was closed.
    Push,
}

impl Stage {
    /// A running service with a platform whose ticket has come, and no channel.
    pub async fn with_platform(database: Database) -> Self {
        let stage = Self::bare(database).await;
        let url = stage.client.url.clone();
        let secrets = [
            ("SUBLEDGER_PLATFORM_SECRET", SECRET),
            ("SUBLEDGER_PLATFORM_TOKEN", TOKEN),
            ("SUBLEDGER_PLATFORM_KEY", KEY),
        ];
        let environment = [&secrets[..], &stage.remote()].concat();
        let arguments = ["platform", "set", COMPONENT, "--public-url", &url, "--json"];
        let set = run_cli_with(&stage.database, &environment, &arguments);
        let said = String::from_utf8_lossy(&set.stdout).into_owned();
        assert!(set.status.success(), "{said}{}", String::from_utf8_lossy(&set.stderr));
        assert!([SECRET, TOKEN, KEY].iter().all(|secret| !said.contains(secret)), "{said}");
        let set: Value = serde_json::from_str(&said).unwrap();
        let platform = json!({
            "component_appid": COMPONENT, "secret": SECRET, "token": TOKEN, "encoding_aes_key": KEY,
            "authorization_url": set["authorization_url"], "message_url": set["message_url"],
        });
        stage.wechat.post("/sandbox/platforms", &platform).await;
        stage.settle().await;
        stage
    }

    /// What commands need that talk to the running service.
    pub fn remote(&self) -> [(&'static str, &str); 2] {
        [("SUBLEDGER_URL", &self.client.url), ("SUBLEDGER_API_KEY", &self.client.key)]
    }

    /// Waits until everything that WeChat has to push has come.
    pub async fn settle(&self) {
        let settled = self.wechat.post("/sandbox/pushes/settle", &json!({})).await;
        assert_eq!(settled["settled"], true, "{settled}");
    }

    /// Begins an authorization of the channel.
    pub async fn begin(&self) -> Value {
        let begun = self
            .client
            .post(&format!("/channels/{CHANNEL}/authorization"), &json!({ "component_appid": COMPONENT }))
            .await;
        assert!(matches!(begun.status, 200 | 201), "{}", begun.body);
        begun.body
    }

    /// The administrator of the Mini Program scans the link and ticks these sets.
    pub async fn scan(&self, begun: &Value, sets: &[u32], told: Told) {
        let spec = json!({ "appid": APPID, "link": begun["pc_url"], "permission_sets": sets });
        self.scanned(&spec, told).await;
    }

    /// Somebody scans the link who should not have been able to: what WeChat's page would refuse is passed over.
    pub async fn stray_scan(&self, begun: &Value, appid: &str, told: Told) {
        let link = reqwest::Url::parse(begun["pc_url"].as_str().unwrap()).unwrap();
        let part = |name: &str| link.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let spec = json!({
            "appid": appid, "pre_auth_code": part("pre_auth_code"), "redirect_uri": part("redirect_uri"),
        });
        self.scanned(&spec, told).await;
    }

    async fn scanned(&self, spec: &Value, told: Told) {
        if told == Told::Browser {
            for event in ["authorized", "updateauthorized"] {
                let lost = json!({ "kind": "lost", "event": event });
                self.wechat.post("/sandbox/push-faults", &lost).await;
            }
        }
        let scanned = self.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/authorize"), spec).await;
        if told != Told::Push {
            self.browse(scanned["redirect"].as_str().unwrap()).await;
        }
        self.settle().await;
        self.wechat.delete("/sandbox/push-faults").await;
    }

    /// The browser follows WeChat's redirect; the status of the page it ends on.
    pub async fn browse(&self, url: &str) -> u16 {
        let path = url.strip_prefix(&self.client.url).unwrap_or_else(|| panic!("{url} is not the service's"));
        self.client.status_of(path).await.unwrap()
    }

    /// Waits until an authorization has ended, and shows it.
    pub async fn ended(&self, begun: &Value) -> Value {
        let path = format!("/channels/{CHANNEL}/authorization/{}", begun["id"].as_str().unwrap());
        eventually("the authorization ends", PATIENCE, async || {
            let shown = self.client.get(&path).await;
            (shown.expect_status(200)["status"] != "waiting").then_some(shown.body)
        })
        .await
    }

    /// A channel that is authorized with set 18, its templates read.
    pub async fn authorized(database: Database) -> Self {
        let stage = Self::with_platform(database).await;
        let begun = stage.begin().await;
        stage.scan(&begun, &[17, 18], Told::Both).await;
        assert_eq!(stage.ended(&begun).await["status"], "authorized");
        let refreshed =
            stage.client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await;
        refreshed.expect_status(200);
        stage
    }

    /// Every call of the platform: name and WeChat's code.
    pub async fn platform_calls(&self, call: &str) -> Vec<i64> {
        let page = self.wechat.get(&format!("/sandbox/platform-journal?call={call}&limit=10000")).await;
        let entries = page["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["errcode"].as_i64().unwrap_or(i64::MIN)).collect()
    }
}
