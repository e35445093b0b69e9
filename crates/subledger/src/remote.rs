//! A client of a running service's API, for commands that must not go to the database themselves.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;

use crate::cli;

/// Longest time for one request; behind some of them the service calls WeChat.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer to use.
#[derive(Debug, Error)]
pub(crate) enum RemoteError {
    /// The URL is none.
    #[error("--url must be an http or https URL without a query, such as http://127.0.0.1:8080")]
    Url,
    /// There is no key.
    #[error(
        "an API key with the right manage is needed: set SUBLEDGER_API_KEY (`subledger app create` prints one)"
    )]
    NoKey,
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built: {0}")]
    Client(String),
    /// Nobody answered.
    #[error("the service at {url} cannot be reached ({cause}); is it running, and is --url right?")]
    Unreached {
        /// Where.
        url: String,
        /// What went wrong, without the URL.
        cause: String,
    },
    /// What answered is not this service.
    #[error("{url} answered {status} as subledger never does; is --url right?")]
    NotOurs {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The service refused.
    #[error("{}", told(.0))]
    Refused(Box<Refusal>),
}

/// A refusal of the service: its problem document, as far as it is told to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
    /// Pointer and detail of each field at fault.
    pub(crate) fields: Vec<(String, String)>,
    /// What WeChat said and what to do about it, ready to print.
    pub(crate) wechat: Option<String>,
}

impl RemoteError {
    /// Whether the caller must change a flag or a key.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Url | Self::NoKey => true,
            Self::Refused(refusal) => matches!(refusal.status, 401 | 403),
            _ => false,
        }
    }

    /// Whether the service says that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 404)
    }
}

/// One service, with the key.
pub(crate) struct Service {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
}

impl Service {
    pub(crate) fn new(remote: &cli::Remote) -> Result<Self, RemoteError> {
        let base = Url::parse(&remote.url).map_err(|_| RemoteError::Url)?;
        let plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none();
        if !plain {
            return Err(RemoteError::Url);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing a race to another installer is fine: any provider serves.
            let _lost_race = rustls::crypto::ring::default_provider().install_default();
        }
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        let http = http.map_err(|error| RemoteError::Client(error.without_url().to_string()))?;
        let key = remote.key.clone().ok_or(RemoteError::NoKey)?;
        Ok(Self { http, base, key })
    }

    /// The service's own URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) async fn get(&self, path: &[&str], telling: &str) -> Result<Value, RemoteError> {
        self.call(Method::GET, path, None, telling).await
    }

    pub(crate) async fn put(&self, path: &[&str], body: &Value, telling: &str) -> Result<Value, RemoteError> {
        self.call(Method::PUT, path, Some(body), telling).await
    }

    pub(crate) async fn post(
        &self,
        path: &[&str],
        body: &Value,
        telling: &str,
    ) -> Result<Value, RemoteError> {
        self.call(Method::POST, path, Some(body), telling).await
    }

    /// `path` is given in segments, so that nothing typed can become another path. `telling` is a text that every such answer of
    /// the service has: other services answer anything with 200, WeChat among them.
    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        telling: &str,
    ) -> Result<Value, RemoteError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| RemoteError::Url)?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        let mut request = self.http.request(method, url).bearer_auth(self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreached = |error: reqwest::Error| RemoteError::Unreached {
            url: self.url().to_owned(),
            cause: innermost(&error.without_url()),
        };
        let answer = request.send().await.map_err(unreached)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreached)?;
        let not_ours = || RemoteError::NotOurs { url: self.url().to_owned(), status: status.as_u16() };
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| not_ours())?;
        if status.is_success() {
            return if body[telling].is_string() { Ok(body) } else { Err(not_ours()) };
        }
        Err(refusal(status, &body).map_or_else(not_ours, |refusal| RemoteError::Refused(Box::new(refusal))))
    }
}

/// The end of a chain of causes: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn refusal(status: StatusCode, body: &Value) -> Option<Refusal> {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let field = |entry: &Value| {
        Some((entry["pointer"].as_str()?.to_owned(), entry["detail"].as_str().unwrap_or_default().to_owned()))
    };
    let wechat = &body["wechat"];
    let wechat = wechat.is_object().then(|| {
        let mut told = format!("WeChat: {}", wechat["errmsg"].as_str().unwrap_or_default());
        if let Some(code) = wechat["errcode"].as_i64() {
            told.push_str(&format!(" (errcode {code})"));
        }
        for language in ["en", "zh"] {
            if let Some(advice) = wechat["advice"][language].as_str().filter(|advice| !advice.is_empty()) {
                told.push_str(&format!("\n  {advice}"));
            }
        }
        told
    });
    Some(Refusal {
        status: status.as_u16(),
        code: text("code")?,
        detail: text("detail").or_else(|| text("title"))?,
        fields: body["errors"].as_array().into_iter().flatten().filter_map(field).collect(),
        wechat,
    })
}

fn told(refusal: &Refusal) -> String {
    let mut told = format!("{} ({})", refusal.detail, refusal.code);
    for (pointer, detail) in &refusal.fields {
        told.push_str(&format!("\n  {pointer}: {detail}"));
    }
    if let Some(wechat) = &refusal.wechat {
        told.push_str(&format!("\n{wechat}"));
    }
    told
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_is_told_with_its_fields_and_wechat_s_words() {
        let body = json!({
            "code": "wechat_refused", "detail": "WeChat refused", "title": "x",
            "errors": [{ "pointer": "/secret", "rule": "r", "detail": "wrong" }],
            "wechat": { "errcode": 40125, "errmsg": "invalid appsecret", "advice": { "en": "Copy it again.", "zh": "请重新复制。" } },
        });
        let refusal = refusal(StatusCode::UNPROCESSABLE_ENTITY, &body).unwrap();
        let error = RemoteError::Refused(Box::new(refusal));
        assert_eq!(
            error.to_string(),
            "WeChat refused (wechat_refused)\n  /secret: wrong\nWeChat: invalid appsecret (errcode 40125)\n  Copy it again.\n  请重新复制。"
        );
        assert!(!error.is_usage() && !error.is_not_found());
    }

    #[test]
    fn other_json_is_no_problem_of_ours() {
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, &json!({ "message": "no" })), None);
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, &json!([])), None);
    }
}
