//! Whether WeChat can be reached from here, step by step: name, connection, TLS, answer; and what time it is there.
//!
//! For diagnosis only. It presents no token and no secret: the request asks for WeChat's own addresses and is refused for
//! want of a token (41001), which proves as much as an answer would and counts against nobody's quota. Each step is tried
//! only if the one before it worked, so the first failure names the layer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};

use crate::client::{Api, WeChatClient};
use crate::outcome::{CallError, ConnectFailure};
use crate::transport;

/// Longest time for each of the first two steps.
const STEP: Duration = Duration::from_secs(5);

/// How far a request got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The host and port of the base URL.
    pub host: String,
    /// What its name leads to; none if it could not be resolved.
    pub addresses: Vec<IpAddr>,
    /// How long a connection took to be made; none if none could be.
    pub connected_in: Option<Duration>,
    /// What came back.
    pub answer: Result<Answered, ReachFailure>,
}

/// An answer of whatever kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// WeChat's code, if the body has one: without it the answer is somebody else's, such as a proxy's.
    pub code: Option<i64>,
    /// The answer's `Date`, microseconds since the Unix epoch, cut to seconds.
    pub date_micros: Option<i64>,
    /// From the start of connecting to the end of the answer.
    pub took: Duration,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReachFailure {
    /// The name does not resolve.
    #[error("the host name could not be resolved")]
    Dns,
    /// No connection to any of the addresses.
    #[error("no connection could be made")]
    Tcp,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls,
    /// A connection, but no complete answer in time.
    #[error("no answer came")]
    NoAnswer,
}

impl WeChatClient {
    /// Tries to reach WeChat.
    pub async fn reach(&self) -> Reach {
        let (name, port) = self.host_and_port();
        let host = format!("{name}:{port}");
        // An IPv6 host stands in brackets in a URL and without them for the resolver.
        let bare = name.trim_matches(['[', ']']).to_owned();
        let resolved = tokio::time::timeout(STEP, lookup_host((bare.as_str(), port))).await;
        let found: Vec<_> = resolved.ok().and_then(Result::ok).into_iter().flatten().collect();
        let addresses: Vec<IpAddr> = found.iter().map(|address| address.ip()).collect();
        if found.is_empty() {
            return Reach { host, addresses, connected_in: None, answer: Err(ReachFailure::Dns) };
        }
        let started = Instant::now();
        let connected = tokio::time::timeout(STEP, TcpStream::connect(found.as_slice())).await;
        if !matches!(connected, Ok(Ok(_))) {
            return Reach { host, addresses, connected_in: None, answer: Err(ReachFailure::Tcp) };
        }
        let connected_in = Some(started.elapsed());
        Reach { host, addresses, connected_in, answer: self.ask().await }
    }

    async fn ask(&self) -> Result<Answered, ReachFailure> {
        let started = Instant::now();
        let request = self.get(Api::CallbackAddresses, &[]);
        let reply =
            transport::exchange(request, crate::client::BODY_CAP).await.map_err(|error| match error {
                CallError::NotReached(ConnectFailure::Dns) => ReachFailure::Dns,
                // A connection could be made a moment ago: what is missing since is the handshake, whatever it ended with.
                CallError::NotReached(_) if self.is_tls() => ReachFailure::Tls,
                CallError::NotReached(_) => ReachFailure::Tcp,
                _ => ReachFailure::NoAnswer,
            })?;
        let body: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
        let code = body.as_ref().and_then(|body| body.get("errcode")).and_then(crate::answer::whole_number);
        let date_micros = reply.date.as_deref().and_then(http_date);
        Ok(Answered { status: reply.status, code, date_micros, took: started.elapsed() })
    }
}

/// Reads an HTTP date in the one form that is still sent (RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`).
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: i64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':');
    let mut unit = |below: i64| clock.next()?.parse::<i64>().ok().filter(|it| (0..below).contains(it));
    let (hours, minutes, seconds) = (unit(24)?, unit(60)?, unit(61)?);
    if parts.next()? != "GMT" || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    // Days since the epoch by counting years from March, so that a leap day ends its year.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 1
        - 719_468;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000_000));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199_000_000));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
