//! One attempt to deliver one message.
//!
//! One POST, signed, to a checked address, never redirected, through no proxy, with bounds on every wait and on what is read
//! of the answer. Nothing here loops and nothing is limited in number: the caller bounds how many attempts are under way.
//!
//! reqwest's errors print the URL. They are turned into our own types here and never leave.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use reqwest::redirect;

use crate::endpoint::Endpoint;
use crate::lookup::{AddressRefused, GuardedResolver, Lookup, SystemLookup};
use crate::metric_definitions::{ATTEMPT_SECONDS, ATTEMPTS};
use crate::outcome::{Outcome, Refusal, Trouble};
use crate::policy::EgressPolicy;
use crate::request::{Request, retry_after};

/// Longest time for DNS, TCP and TLS together, unless configured otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a whole attempt, unless configured otherwise. Standard Webhooks recommends 15 to 30 s.
pub const WHOLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an idle connection is kept, unless configured otherwise. Short: most receivers are called in bursts or rarely.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many idle connections are kept per host, unless configured otherwise.
pub const POOL_MAX_IDLE_PER_HOST: usize = 2;
/// How much of an answer's body is read, in bytes, only so that its connection can be used again. A longer one costs the
/// connection and nothing else.
pub const ANSWER_CAP_BYTES: usize = 4 * 1024;
/// How long an answer's body is waited for. The status has said everything by then.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How to deliver.
#[derive(Debug, Clone)]
pub struct DelivererConfig {
    /// Where connections may go.
    pub policy: EgressPolicy,
    /// Longest time for DNS, TCP and TLS together; above zero and below `whole_timeout`.
    pub connect_timeout: Duration,
    /// Longest time for a whole attempt.
    pub whole_timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many idle connections are kept per host.
    pub pool_max_idle_per_host: usize,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for DelivererConfig {
    fn default() -> Self {
        Self {
            policy: EgressPolicy::default(),
            connect_timeout: CONNECT_TIMEOUT,
            whole_timeout: WHOLE_TIMEOUT,
            pool_idle_timeout: POOL_IDLE_TIMEOUT,
            pool_max_idle_per_host: POOL_MAX_IDLE_PER_HOST,
            user_agent: concat!("subledger/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Why a deliverer could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The connect time-out must be above zero and below that of the whole.
    #[error("the connect time-out must be above zero and below the time-out of the whole attempt")]
    Timeouts,
    /// The HTTP client refused its settings.
    #[error("the HTTP client could not be built: {0}")]
    Http(String),
}

/// Makes attempts. Cheap to clone; clones share the connection pool.
#[derive(Clone)]
pub struct Deliverer {
    http: reqwest::Client,
    policy: Arc<EgressPolicy>,
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliverer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Deliverer {
    /// Builds a deliverer that resolves names as the operating system does.
    ///
    /// # Errors
    /// [`SetupError`] if the settings make no sense.
    pub fn new(config: DelivererConfig) -> Result<Self, SetupError> {
        Self::with_lookup(config, Arc::new(SystemLookup))
    }

    /// Builds a deliverer with another way to resolve names. Its answers are checked all the same.
    ///
    /// # Errors
    /// [`SetupError`] if the settings make no sense.
    pub fn with_lookup(config: DelivererConfig, lookup: Arc<dyn Lookup>) -> Result<Self, SetupError> {
        if config.connect_timeout.is_zero() || config.whole_timeout <= config.connect_timeout {
            return Err(SetupError::Timeouts);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // The provider is process-wide; losing a race to another installer is fine, any installed one serves.
            let _lost_race = rustls::crypto::ring::default_provider().install_default();
        }
        let policy = Arc::new(config.policy);
        let http = reqwest::Client::builder()
            .http1_only()
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            // A proxy would resolve names itself, behind the check.
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(GuardedResolver { policy: Arc::clone(&policy), lookup }))
            .connect_timeout(config.connect_timeout)
            .timeout(config.whole_timeout)
            .pool_idle_timeout(config.pool_idle_timeout)
            .pool_max_idle_per_host(config.pool_max_idle_per_host)
            .tcp_nodelay(true)
            .user_agent(config.user_agent.as_str())
            .build()
            .map_err(|error| SetupError::Http(error.without_url().to_string()))?;
        Ok(Self { http, policy })
    }

    /// The rules of this deliverer, by which URLs are to be checked when they are configured.
    #[must_use]
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Makes one attempt and says what became of it. Leaves one debug event and two metrics, which name the host and nothing
    /// else of the URL.
    pub async fn deliver(&self, request: Request) -> Outcome {
        let started = Instant::now();
        let endpoint = self.policy.endpoint(&request.url);
        let host = endpoint.as_ref().map(|endpoint| endpoint.host().to_owned()).ok();
        let id = request.id.clone();
        let outcome = match endpoint {
            Ok(endpoint) => self.attempt(&endpoint, request).await,
            Err(refused) => Outcome::Refused(Refusal::Url(refused)),
        };
        let took = started.elapsed();
        counter!(ATTEMPTS, "outcome" => outcome.word()).increment(1);
        histogram!(ATTEMPT_SECONDS).record(took.as_secs_f64());
        tracing::debug!(
            webhook.id = id.as_str(),
            webhook.host = host,
            webhook.outcome = outcome.word(),
            webhook.status = outcome.status(),
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "webhook attempt ended"
        );
        outcome
    }

    async fn attempt(&self, endpoint: &Endpoint, request: Request) -> Outcome {
        let headers = match request.signed_headers() {
            Ok(headers) => headers,
            Err(fault) => return Outcome::Refused(Refusal::Request(fault)),
        };
        let Request { timestamp, body, .. } = request;
        let post = self.http.post(endpoint.url().clone()).headers(headers).body(body);
        match post.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let outcome = Outcome::from_status(status, || retry_after(response.headers(), timestamp));
                drain(response).await;
                outcome
            }
            Err(error) => failure(&error),
        }
    }
}

/// Reads what is left of an answer, within bounds, so that its connection goes back to the pool. Whatever happens here changes
/// nothing about the outcome.
async fn drain(mut response: reqwest::Response) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if ANSWER_CAP_BYTES < read {
                return;
            }
        }
    };
    let _late = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

/// Sorts an error that came before an answer.
pub(crate) fn failure(error: &reqwest::Error) -> Outcome {
    let cause = causes(error).find_map(known_cause);
    if let Some(Cause::Forbidden(refused)) = cause {
        return Outcome::Refused(Refusal::Address(refused.0));
    }
    let why = if !error.is_connect() {
        if error.is_timeout() { Trouble::Timeout } else { Trouble::ConnectionLost }
    } else if error.is_dns() {
        Trouble::Dns
    } else if error.is_timeout() {
        Trouble::ConnectTimeout
    } else {
        match cause {
            Some(Cause::Tls) => Trouble::Tls,
            Some(Cause::ConnectionRefused) => Trouble::ConnectionRefused,
            _ => Trouble::Connect,
        }
    };
    Outcome::TryAgain { why, retry_after: None }
}

enum Cause {
    Forbidden(AddressRefused),
    Tls,
    ConnectionRefused,
}

/// The chain of causes of an error, itself left out.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// What one link of the chain tells. An I/O error that wraps another error hides it from `source()`, and the TLS layers
/// wrap twice, so the inside is unwrapped here.
fn known_cause(link: &(dyn StdError + 'static)) -> Option<Cause> {
    let mut inside = Some(link);
    while let Some(error) = inside {
        if let Some(refused) = error.downcast_ref::<AddressRefused>() {
            return Some(Cause::Forbidden(*refused));
        }
        if error.is::<rustls::Error>() {
            return Some(Cause::Tls);
        }
        let io = error.downcast_ref::<std::io::Error>()?;
        if io.kind() == std::io::ErrorKind::ConnectionRefused {
            return Some(Cause::ConnectionRefused);
        }
        inside = io.get_ref().map(|error| error as &(dyn StdError + 'static));
    }
    None
}
