//! A small API client, as an integrator would write one.

use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// How long the story waits for deliveries to end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

impl Client {
    pub(super) fn new(url: &str, key: SecretString) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("the demo's HTTP client")?;
        Ok(Self { http, base: format!("{url}/api/v1"), key })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.call(request, path).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.call(request, path).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.put(format!("{}{path}", self.base)).json(body);
        self.call(request, path).await
    }

    async fn call(&self, request: reqwest::RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let answer =
            request.bearer_auth(self.key.expose_secret()).send().await.with_context(|| path.to_owned())?;
        let status = answer.status();
        let body: Value = answer.json().await.with_context(|| format!("{path}: the answer is not JSON"))?;
        if !status.is_success() {
            bail!("{path} answered {status}: {body}");
        }
        Ok(body)
    }

    /// Opens a page as the administrator's browser does.
    pub(super) async fn visit(&self, url: &str) -> anyhow::Result<()> {
        let answer = self.http.get(url).send().await.context("the page that WeChat leads back to")?;
        let status = answer.status();
        if !status.is_success() {
            bail!("the page that WeChat leads back to answered {status}: {}", answer.text().await?);
        }
        Ok(())
    }

    /// Waits until what a path shows fits.
    pub(super) async fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let begun = std::time::Instant::now();
        loop {
            let shown = self.get(path).await?;
            if fits(&shown) {
                return Ok(shown);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{path} is not as awaited after {} s: {shown}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no delivery of a message waits or is under way, and answers the message.
    pub(super) async fn settled(&self, channel: &str, msgid: &str) -> anyhow::Result<Value> {
        let begun = std::time::Instant::now();
        loop {
            let message = self.get(&format!("/channels/{channel}/messages/{msgid}")).await?;
            let count = |state: &str| message["counts"][state].as_u64().unwrap_or(0);
            if count("queued") + count("started") == 0 {
                return Ok(message);
            }
            if begun.elapsed() > PATIENCE {
                bail!("message {msgid} is not settled after {} s: {message}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
