//! One HTTP request, written at most once.
//!
//! A POST to WeChat's send call has no idempotency key: written twice, it may deliver twice. So this module must know
//! every layer that could repeat a request.
//! * reqwest repeats on HTTP/2 protocol refusals unless told otherwise; [`reqwest::retry::never`] turns that off, and
//!   [`reqwest::ClientBuilder::http1_only`] keeps the connection to a protocol where such refusals do not exist.
//! * Redirects are off: a 307 would repeat the POST elsewhere, token included.
//! * hyper's pool may take another connection if the pooled one turns out to be closed. It does so only while the request
//!   still lies in the connection's queue, not one byte of it encoded (hyper hands the untouched request back; once the
//!   connection has taken it from the queue, an error carries no request). reqwest has no switch for this, and none is needed.
//! * Nothing here loops. A retry after a stale token is made by [`crate::ChannelClient`], on WeChat's explicit refusal.
//!
//! "Not sent" is claimed only for errors that hyper marks as connect errors (DNS, TCP, TLS) and for requests that could not
//! be built. A pooled connection that dies under a request is `Unknown`, even if in truth nothing was read by the peer.
//!
//! reqwest's errors print the URL, which carries the token: they are turned into our own types here and never leave.

use std::error::Error as StdError;

use reqwest::redirect;

use crate::client::SetupError;
use crate::config::WeChatConfig;
use crate::outcome::{CallError, ConnectFailure, UnknownReason};

/// A complete answer, not yet understood.
pub(crate) struct RawReply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The `Date` header as it came.
    pub(crate) date: Option<String>,
}

/// Builds the pooled client. The TLS provider is process-wide in rustls: ours (ring) is installed unless one is there
/// already, whichever it is, because a second installation fails and any installed provider serves.
pub(crate) fn build(config: &WeChatConfig) -> Result<reqwest::Client, SetupError> {
    if config.connect_timeout.is_zero() || config.connect_timeout >= config.read_timeout {
        return Err(SetupError::Timeouts);
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race to another installer is fine, see above.
        let _lost_race = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .timeout(config.read_timeout)
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle)
        .tcp_keepalive(config.tcp_keepalive)
        .tcp_nodelay(true)
        .user_agent(config.user_agent.as_str())
        .build()
        .map_err(|error| SetupError::Http(error.without_url().to_string()))
}

/// Sends one request and reads at most `cap` bytes of its answer.
pub(crate) async fn exchange(request: reqwest::RequestBuilder, cap: usize) -> Result<RawReply, CallError> {
    let mut response = request.send().await.map_err(|error| head_failure(&error))?;
    let status = response.status().as_u16();
    let date = response.headers().get(reqwest::header::DATE);
    let date = date.and_then(|date| date.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(RawReply { status, body, date }),
            Err(error) if error.is_timeout() => return Err(CallError::Unknown(UnknownReason::Timeout)),
            Err(_) => return Err(CallError::Unknown(UnknownReason::BodyTruncated)),
        };
        if body.len() + chunk.len() > cap {
            return Err(CallError::Unknown(UnknownReason::BodyTooLarge));
        }
        body.extend_from_slice(&chunk);
    }
}

/// Sorts an error that came before a complete answer head.
fn head_failure(error: &reqwest::Error) -> CallError {
    if error.is_builder() {
        return CallError::NotReached(ConnectFailure::NotBuilt);
    }
    if !error.is_connect() {
        let reason = if error.is_timeout() { UnknownReason::Timeout } else { UnknownReason::ConnectionLost };
        return CallError::Unknown(reason);
    }
    let failure = if error.is_dns() {
        ConnectFailure::Dns
    } else if error.is_timeout() {
        ConnectFailure::Timeout
    } else {
        connect_cause(error)
    };
    CallError::NotReached(failure)
}

/// Looks for the cause of a connect error in its chain.
fn connect_cause(error: &reqwest::Error) -> ConnectFailure {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(failure) = known_cause(cause) {
            return failure;
        }
        next = cause.source();
    }
    ConnectFailure::Other
}

/// What one link of the chain tells. An I/O error that wraps another error hides it from `source()`, and the TLS layers
/// wrap twice, so the inside is unwrapped here.
fn known_cause(cause: &(dyn StdError + 'static)) -> Option<ConnectFailure> {
    let mut inside = Some(cause);
    while let Some(error) = inside {
        if error.is::<rustls::Error>() {
            return Some(ConnectFailure::Tls);
        }
        let io = error.downcast_ref::<std::io::Error>()?;
        if io.kind() == std::io::ErrorKind::ConnectionRefused {
            return Some(ConnectFailure::Refused);
        }
        inside = io.get_ref().map(|error| error as &(dyn StdError + 'static));
    }
    None
}
