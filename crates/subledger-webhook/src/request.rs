//! What is to be delivered, and the headers it is given.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::secret::SigningSecrets;
use crate::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, WebhookId};

/// Headers that a caller may not set: they are this crate's, the HTTP client's, or would change how the message is framed.
const OURS: &[&str] = &[
    HEADER_ID,
    HEADER_TIMESTAMP,
    HEADER_SIGNATURE,
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One attempt to deliver one message.
pub struct Request {
    /// The id of the message at this endpoint; the same in every attempt.
    pub id: WebhookId,
    /// Where to, as it was configured.
    pub url: String,
    /// The time of the attempt, in seconds since the Unix epoch.
    pub timestamp: i64,
    /// The media type of the body.
    pub content_type: String,
    /// Further headers, by name and value.
    pub headers: Vec<(String, String)>,
    /// The body as it is sent and signed.
    pub body: Vec<u8>,
    /// What to sign with.
    pub secrets: SigningSecrets,
}

/// Prints what may be logged: neither the URL nor a header nor the body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why no request can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// The media type has characters that a header cannot have.
    #[error("the media type is not a header value")]
    ContentType,
    /// A further header has a name or value that no header can have.
    #[error("a further header is not well formed")]
    Header,
    /// A further header is one that is set here.
    #[error("the header {0} cannot be set")]
    Reserved(String),
}

impl Request {
    /// All headers, the signature included.
    pub(crate) fn signed_headers(&self) -> Result<HeaderMap, RequestFault> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestFault::Header)?;
            if OURS.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
                return Err(RequestFault::Reserved(name.as_str().to_owned()));
            }
            let mut value = HeaderValue::from_str(value).map_err(|_| RequestFault::Header)?;
            value.set_sensitive(name == AUTHORIZATION);
            headers.append(name, value);
        }
        let signature = self.secrets.sign(&self.id, self.timestamp, &self.body);
        let content_type =
            HeaderValue::from_str(&self.content_type).map_err(|_| RequestFault::ContentType)?;
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(HEADER_TIMESTAMP, HeaderValue::from(self.timestamp));
        for (name, value) in [(HEADER_ID, self.id.as_str()), (HEADER_SIGNATURE, signature.as_str())] {
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| RequestFault::Header)?);
        }
        Ok(headers)
    }
}

/// The wait that an answer asks for: seconds or an HTTP date, which is taken relative to the time of the attempt. `None` if the
/// header is missing or unreadable.
pub(crate) fn retry_after(headers: &HeaderMap, attempt_timestamp: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let attempt = u64::try_from(attempt_timestamp).ok()?;
    let attempt = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(attempt))?;
    // A date that has passed asks for no wait.
    Some(until.duration_since(attempt).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::secret::SigningSecret;

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            id: WebhookId::parse("msg_1").unwrap(),
            url: "https://hooks.example.com/?key=query-secret".to_owned(),
            timestamp: 1_700_000_000,
            content_type: "application/json".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: b"body-secret".to_vec(),
            secrets: SigningSecret::generate(&mut rand::rng()).into(),
        }
    }

    #[test]
    fn headers_that_are_ours_or_malformed_are_refused() {
        for name in ["Host", "CONTENT-LENGTH", "Webhook-Signature", "webhook-id", "Proxy-Connection", "TE"] {
            let fault = request(&[(name, "x")]).signed_headers().unwrap_err();
            assert_eq!(fault, RequestFault::Reserved(name.to_ascii_lowercase()));
        }
        for (name, value) in [("", "x"), ("a b", "x"), ("x-a", "b\r\nhost: c"), ("x-a", "\0"), ("消息", "x")]
        {
            assert_eq!(request(&[(name, value)]).signed_headers().unwrap_err(), RequestFault::Header);
        }
        let mut odd = request(&[]);
        odd.content_type = "text/plain\nx: y".to_owned();
        assert_eq!(odd.signed_headers().unwrap_err(), RequestFault::ContentType);
    }

    #[test]
    fn further_headers_are_kept_and_authorization_does_not_print() {
        let headers =
            request(&[("X-A", "1"), ("x-a", "2"), ("Authorization", "Basic abc")]).signed_headers().unwrap();
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert!(!format!("{headers:?}").contains("abc"));
    }

    #[test]
    fn a_request_prints_nothing_private() {
        let printed = format!("{:?}", request(&[("X-Key", "header-secret")]));
        assert!(!printed.contains("secret") && !printed.contains("hooks"), "{printed}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            retry_after(&headers, 1_700_000_000).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("0"), Some(0));
        assert_eq!(asked(" 120 "), Some(120));
        assert_eq!(asked("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60));
        assert_eq!(asked("Tue, 14 Nov 2023 22:13:00 GMT"), Some(0));
        for value in ["", "-1", "1.5", "soon", "99999999999999999999999", "\u{e9}"] {
            assert_eq!(asked(value), None, "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), 0), None);
    }
}
