//! Settings of the HTTP side.
//!
//! The host is a setting so that the same binary can talk to the simulated WeChat. Proxies from the environment are never
//! used: an access token travels in the URL, and a forward proxy would see or log it.

use std::time::Duration;

/// WeChat's default API host.
pub const DEFAULT_BASE_URL: &str = "https://api.weixin.qq.com";

/// How to reach WeChat.
#[derive(Debug, Clone)]
pub struct WeChatConfig {
    /// `http` or `https` URL without query, fragment or user info. A path is kept as a prefix of every call.
    pub base_url: String,
    /// Longest time for DNS, TCP and TLS together. Must be shorter than `read_timeout`: only then does a connection that
    /// cannot be made end as a connect failure (provably unsent) and not as an unknown outcome.
    pub connect_timeout: Duration,
    /// Longest time for one whole request, from the start of connecting to the last byte of the answer.
    pub read_timeout: Duration,
    /// How long an idle connection stays in the pool.
    pub pool_idle_timeout: Duration,
    /// How many idle connections are kept for the host.
    pub pool_max_idle: usize,
    /// TCP keep-alive interval of pooled connections.
    pub tcp_keepalive: Duration,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for WeChatConfig {
    fn default() -> Self {
        Self {
            base_url: DEFAULT_BASE_URL.to_owned(),
            connect_timeout: Duration::from_secs(3),
            // Field reports: a normal answer takes about 0.1 s, and clients with 3 s saw dozens of time-outs a day. Each
            // time-out is a delivery in doubt, so patience is cheaper here.
            read_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(50),
            pool_max_idle: 64,
            tcp_keepalive: Duration::from_secs(30),
            user_agent: concat!("subledger/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
