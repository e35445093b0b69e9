//! The one client of WeChat's HTTP API.
//!
//! Owns the connection pool and the way from a request to a classified answer; the calls themselves are in `calls/`. It
//! keeps no token and no secret. Each call leaves one debug event and three metrics; neither carries a URL, a token, a
//! secret, an openid or WeChat's prose.

use std::time::Instant;

use metrics::{counter, histogram};
use reqwest::{RequestBuilder, Url};
use secrecy::SecretString;
use serde_json::Value;

use crate::answer::Answer;
use crate::codes::lookup;
use crate::config::WeChatConfig;
use crate::metric_definitions::{CALL_SECONDS, CALLS, ERRCODES};
use crate::outcome::{CallError, UnknownReason};
use crate::transport::{self, RawReply};

/// Cap of an answer's body, in bytes, for all calls but lists.
pub(crate) const BODY_CAP: usize = 64 * 1024;
/// Cap of a list's body, in bytes: 50 templates of a few kilobytes at most, 500 accounts of a few hundred bytes, the domains of
/// a Mini Program.
pub(crate) const LIST_BODY_CAP: usize = 1024 * 1024;

/// A call this crate can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `GET /cgi-bin/token`
    Token,
    /// `POST /cgi-bin/stable_token`
    StableToken,
    /// `POST /cgi-bin/message/subscribe/send`
    Send,
    /// `GET /wxaapi/newtmpl/gettemplate`
    GetTemplates,
    /// `GET /sns/jscode2session`
    Login,
    /// `POST /cgi-bin/component/api_start_push_ticket`
    StartPushTicket,
    /// `POST /cgi-bin/component/api_component_token`
    ComponentToken,
    /// `POST /cgi-bin/component/api_create_preauthcode`
    CreatePreAuthCode,
    /// `POST /cgi-bin/component/api_query_auth`
    QueryAuth,
    /// `POST /cgi-bin/component/api_authorizer_token`
    AuthorizerToken,
    /// `POST /cgi-bin/component/api_get_authorizer_info`
    AuthorizerInfo,
    /// `POST /cgi-bin/component/api_get_authorizer_list`
    AuthorizerList,
    /// `GET /sns/component/jscode2session`
    ComponentLogin,
    /// `POST /cgi-bin/openapi/quota/get`
    QuotaGet,
    /// `POST /cgi-bin/clear_quota`
    ClearQuota,
    /// `POST /cgi-bin/openapi/rid/get`
    RidGet,
    /// `GET /cgi-bin/getcallbackip`: made without a token, to see whether WeChat answers.
    CallbackAddresses,
}

impl Api {
    /// The stable snake_case name, as used in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::StableToken => "stable_token",
            Self::Send => "send",
            Self::GetTemplates => "get_templates",
            Self::Login => "jscode2session",
            Self::StartPushTicket => "start_push_ticket",
            Self::ComponentToken => "component_token",
            Self::CreatePreAuthCode => "create_preauthcode",
            Self::QueryAuth => "query_auth",
            Self::AuthorizerToken => "authorizer_token",
            Self::AuthorizerInfo => "get_authorizer_info",
            Self::AuthorizerList => "get_authorizer_list",
            Self::ComponentLogin => "component_jscode2session",
            Self::QuotaGet => "quota_get",
            Self::ClearQuota => "clear_quota",
            Self::RidGet => "rid_get",
            Self::CallbackAddresses => "getcallbackip",
        }
    }

    /// The path below the base URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Token => "/cgi-bin/token",
            Self::StableToken => "/cgi-bin/stable_token",
            Self::Send => "/cgi-bin/message/subscribe/send",
            Self::GetTemplates => "/wxaapi/newtmpl/gettemplate",
            Self::Login => "/sns/jscode2session",
            Self::StartPushTicket => "/cgi-bin/component/api_start_push_ticket",
            Self::ComponentToken => "/cgi-bin/component/api_component_token",
            Self::CreatePreAuthCode => "/cgi-bin/component/api_create_preauthcode",
            Self::QueryAuth => "/cgi-bin/component/api_query_auth",
            Self::AuthorizerToken => "/cgi-bin/component/api_authorizer_token",
            Self::AuthorizerInfo => "/cgi-bin/component/api_get_authorizer_info",
            Self::AuthorizerList => "/cgi-bin/component/api_get_authorizer_list",
            Self::ComponentLogin => "/sns/component/jscode2session",
            Self::QuotaGet => "/cgi-bin/openapi/quota/get",
            Self::ClearQuota => "/cgi-bin/clear_quota",
            Self::RidGet => "/cgi-bin/openapi/rid/get",
            Self::CallbackAddresses => "/cgi-bin/getcallbackip",
        }
    }

    /// Whether the call presents an access token (of a Mini Program or of a platform), rather than a secret.
    #[must_use]
    pub fn presents_token(self) -> bool {
        !matches!(
            self,
            Self::Token
                | Self::StableToken
                | Self::Login
                | Self::StartPushTicket
                | Self::ComponentToken
                | Self::CallbackAddresses
        )
    }

    /// Whether the call presents the secret of a third-party platform.
    pub(crate) fn presents_platform_secret(self) -> bool {
        matches!(self, Self::StartPushTicket | Self::ComponentToken)
    }

    fn body_cap(self) -> usize {
        match self {
            Self::GetTemplates | Self::AuthorizerInfo | Self::AuthorizerList => LIST_BODY_CAP,
            _ => BODY_CAP,
        }
    }

    /// Whether an answer without `errcode` is a success. The reference says so of calls that return data; a send and the
    /// clearing of a quota return none, so a bare object there is somebody else's answer and proves nothing; the same goes for
    /// asking for tickets.
    fn may_omit_errcode(self) -> bool {
        !matches!(self, Self::Send | Self::StartPushTicket | Self::ClearQuota)
    }
}

/// Why a client could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The base URL is not an `http(s)` URL, or has a query, a fragment or user info.
    #[error("the WeChat base URL must be an http or https URL without query, fragment or user info")]
    BaseUrl,
    /// The connect time-out must be above zero and below the read time-out.
    #[error("the connect time-out must be above zero and below the read time-out")]
    Timeouts,
    /// The HTTP client refused its settings.
    #[error("the HTTP client could not be built: {0}")]
    Http(String),
}

/// Calls WeChat. Cheap to clone; clones share the connection pool.
#[derive(Debug, Clone)]
pub struct WeChatClient {
    http: reqwest::Client,
    base: Url,
}

impl WeChatClient {
    /// Builds a client.
    ///
    /// # Errors
    /// [`SetupError`] if the settings make no sense.
    pub fn new(config: WeChatConfig) -> Result<Self, SetupError> {
        let base = Url::parse(&config.base_url).map_err(|_| SetupError::BaseUrl)?;
        let plain = matches!(base.scheme(), "http" | "https")
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !plain {
            return Err(SetupError::BaseUrl);
        }
        Ok(Self { http: transport::build(&config)?, base })
    }

    fn url(&self, api: Api, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{}", api.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The host and port that calls go to.
    pub(crate) fn host_and_port(&self) -> (String, u16) {
        let host = self.base.host_str().unwrap_or_default().to_owned();
        (host, self.base.port_or_known_default().unwrap_or(443))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    pub(crate) fn get(&self, api: Api, query: &[(&str, &str)]) -> RequestBuilder {
        self.http.get(self.url(api, query))
    }

    pub(crate) fn post(
        &self,
        api: Api,
        query: &[(&str, &str)],
        body: &impl serde::Serialize,
    ) -> RequestBuilder {
        self.http.post(self.url(api, query)).json(body)
    }

    /// Makes one call: sends, reads, classifies, and lets `read` take the result out of a successful answer. `secrets` are
    /// the values that must not survive in a message. `read` returns `None` if the answer is not that of the call.
    pub(crate) async fn call<T>(
        &self,
        api: Api,
        request: RequestBuilder,
        secrets: &[&SecretString],
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let result = transport::exchange(request, api.body_cap())
            .await
            .and_then(|reply| understand(api, &reply, secrets))
            .and_then(|body| read(&body).ok_or(CallError::Unknown(UnknownReason::Unintelligible)));
        report(api, result.as_ref().err(), started);
        result
    }
}

/// Turns an answer into its JSON body if it says success. The `errcode` counts before the HTTP status: WeChat answers with
/// status 200 as a rule, and a 5xx that carries an `errcode` is still WeChat's own word.
fn understand(api: Api, reply: &RawReply, secrets: &[&SecretString]) -> Result<Value, CallError> {
    let success_status = (200..300).contains(&reply.status);
    let not_understood = if success_status {
        CallError::Unknown(UnknownReason::Unintelligible)
    } else {
        CallError::Unknown(UnknownReason::HttpStatus(reply.status))
    };
    let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&reply.body) else {
        return Err(not_understood);
    };
    match Answer::read(&body, secrets) {
        Some(answer) if answer.code == 0 => Ok(body),
        Some(answer) => Err(CallError::from_answer(api, answer)),
        None if success_status && api.may_omit_errcode() && body.get("errcode").is_none() => Ok(body),
        None => Err(not_understood),
    }
}

/// The one event and the metrics of a call.
fn report(api: Api, error: Option<&CallError>, started: Instant) {
    let took = started.elapsed();
    let outcome = error.map_or("ok", CallError::label);
    let code = error.map_or(Some(0), CallError::code);
    counter!(CALLS, "api" => api.name(), "outcome" => outcome).increment(1);
    histogram!(CALL_SECONDS, "api" => api.name()).record(took.as_secs_f64());
    if let Some(code) = code {
        let label = lookup(code).map_or_else(|| "other".to_owned(), |entry| entry.code.to_string());
        counter!(ERRCODES, "api" => api.name(), "errcode" => label).increment(1);
    }
    tracing::debug!(
        wechat.api = api.name(),
        wechat.outcome = outcome,
        wechat.errcode = code,
        wechat.rid = error.and_then(CallError::rid),
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "WeChat call ended"
    );
}
