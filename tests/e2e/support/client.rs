//! A client of the native API.

use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A status and a body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}", self.body);
        &self.body
    }

    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
    }
}

/// Answers as they came, each with what was asked.
pub type Record = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub url: String,
    /// Its API key.
    pub key: String,
    /// Where every answer is noted, if anywhere.
    pub record: Option<Record>,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(20))
            .build()
            .unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned(), record: None }
    }

    /// The same with another credential.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub fn moved(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.try_send(self.http.get(self.at(path))).await.unwrap()
    }

    /// A GET that may find nobody there.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send(self.http.get(self.at(path))).await.ok()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_send(self.http.post(self.at(path)).json(body)).await.unwrap()
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.try_send(self.http.put(self.at(path)).json(body)).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.try_send(self.http.delete(self.at(path))).await.unwrap()
    }

    /// A POST under a key, or under none where that is empty; without a body where that is null.
    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        let mut request = self.http.post(self.at(path));
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        self.try_send(request).await.unwrap()
    }

    /// A POST that may find nobody there.
    pub async fn try_post(&self, path: &str, idempotency_key: &str, body: &Value) -> Option<Answer> {
        let request = self.http.post(self.at(path)).header("Idempotency-Key", idempotency_key).json(body);
        self.try_send(request).await.ok()
    }

    /// A plain GET outside the API.
    pub async fn status_of(&self, path: &str) -> Option<u16> {
        self.http.get(format!("{}{path}", self.url)).send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// The text of a plain GET outside the API, without a key.
    pub async fn text_of(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }

    fn at(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.bearer_auth(&self.key).build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let answer = self.http.execute(request).await?;
        let status = answer.status().as_u16();
        let headers = format!("{:?}", answer.headers());
        let bytes = answer.bytes().await?;
        if let Some(record) = &self.record {
            let whole = [headers.as_bytes(), b"\n", &bytes[..]].concat();
            record.lock().unwrap().push((asked, whole));
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }
}
