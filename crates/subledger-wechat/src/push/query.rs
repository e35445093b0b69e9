//! The query string of a push.

use std::borrow::Cow;
use std::fmt;

use super::error::{PushError, QueryFault};

/// Longest query string that is looked at.
pub const MAX_QUERY_BYTES: usize = 4 * 1024;

/// Longest nonce. A signature joins its parts without separators, so the first characters of a sealed body could be passed
/// off as the last ones of the nonce. What is left is a whole number of 32-byte units in base64 only after 128 characters.
pub const MAX_NONCE_BYTES: usize = 64;

/// Longest text to echo.
pub const MAX_ECHO_BYTES: usize = 256;

/// Most digits of a timestamp in seconds; the clock window is stricter.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// The parameters that WeChat sends. Others are ignored: the URL in the console may have some of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct PushQuery {
    /// Covers token, timestamp and nonce; says nothing about a body.
    pub signature: Option<String>,
    /// Covers the sealed body, too.
    pub msg_signature: Option<String>,
    /// Seconds since the Unix epoch, as text, because the text is what was signed.
    pub timestamp: String,
    /// Random text.
    pub nonce: String,
    /// The user, who also stands in the body. Not signed: good for nothing but a trace in a capture.
    pub openid: Option<String>,
    /// `aes` when the body is sealed. Not signed: the body itself tells.
    pub encrypt_type: Option<String>,
    /// The text to answer in a URL check.
    pub echostr: Option<String>,
}

impl fmt::Debug for PushQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushQuery").field("timestamp", &self.timestamp).finish_non_exhaustive()
    }
}

impl PushQuery {
    /// Reads a raw query string, without its question mark.
    ///
    /// # Errors
    /// [`PushError::Query`]; [`PushError::NoSignature`] if there is no timestamp or nonce that could have been signed.
    pub fn parse(raw: &[u8]) -> Result<Self, PushError> {
        if raw.len() > MAX_QUERY_BYTES {
            return Err(PushError::Query(QueryFault::TooLong));
        }
        let [mut signature, mut msg_signature, mut timestamp, mut nonce] = [None, None, None, None];
        let [mut openid, mut encrypt_type, mut echostr] = [None, None, None];
        for (name, value) in form_urlencoded::parse(raw) {
            let (name, slot) = match name.as_ref() {
                "signature" => ("signature", &mut signature),
                "msg_signature" => ("msg_signature", &mut msg_signature),
                "timestamp" => ("timestamp", &mut timestamp),
                "nonce" => ("nonce", &mut nonce),
                "openid" => ("openid", &mut openid),
                "encrypt_type" => ("encrypt_type", &mut encrypt_type),
                "echostr" => ("echostr", &mut echostr),
                _ => continue,
            };
            if slot.replace(Cow::into_owned(value)).is_some() {
                return Err(PushError::Query(QueryFault::Repeated(name)));
            }
        }
        let timestamp: String = timestamp.ok_or(PushError::NoSignature("timestamp"))?;
        let nonce: String = nonce.ok_or(PushError::NoSignature("nonce"))?;
        if !is_timestamp(&timestamp) {
            return Err(PushError::Query(QueryFault::Timestamp));
        }
        if !is_visible(&nonce, MAX_NONCE_BYTES) {
            return Err(PushError::Query(QueryFault::Nonce));
        }
        if echostr.as_deref().is_some_and(|text| !is_echo(text)) {
            return Err(PushError::Query(QueryFault::Echo));
        }
        Ok(Self { signature, msg_signature, timestamp, nonce, openid, encrypt_type, echostr })
    }
}

fn is_timestamp(text: &str) -> bool {
    (1..=MAX_TIMESTAMP_DIGITS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
}

fn is_visible(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// WeChat sends digits. The text is echoed and not signed, so it must not be able to become a page.
fn is_echo(text: &str) -> bool {
    is_visible(text, MAX_ECHO_BYTES) && !text.contains(['<', '>', '&', '"', '\''])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(query: &str) -> PushError {
        PushQuery::parse(query.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_wechat_sends_is_read_and_the_rest_ignored() {
        let query = PushQuery::parse(
            b"mine=1&signature=s&timestamp=1790000001&nonce=2%2B1&openid=o&encrypt_type=aes&msg_signature=m",
        )
        .unwrap();
        assert_eq!((query.signature.as_deref(), query.msg_signature.as_deref()), (Some("s"), Some("m")));
        assert_eq!((query.timestamp.as_str(), query.nonce.as_str()), ("1790000001", "2+1"));
        assert_eq!((query.openid.as_deref(), query.encrypt_type.as_deref()), (Some("o"), Some("aes")));
        assert_eq!(query.echostr, None);
        assert!(!format!("{query:?}").contains("2+1"));
    }

    #[test]
    fn what_cannot_have_been_signed_is_refused() {
        use QueryFault::*;
        assert_eq!(fault(""), PushError::NoSignature("timestamp"));
        assert_eq!(fault("timestamp=1"), PushError::NoSignature("nonce"));
        assert_eq!(fault("timestamp=1&nonce=2&timestamp=1"), PushError::Query(Repeated("timestamp")));
        assert_eq!(
            fault("timestamp=1&nonce=2&signature=a&signature=a"),
            PushError::Query(Repeated("signature"))
        );
        for timestamp in ["", "x", "-1", "%2B1", "01", "1.5", "1234567890123", "%EF%BC%91"] {
            assert_eq!(fault(&format!("nonce=2&timestamp={timestamp}")), PushError::Query(Timestamp));
        }
        for nonce in ["", "%00", "a%20b", "%E4%B8%AD", &"9".repeat(MAX_NONCE_BYTES + 1)] {
            assert_eq!(fault(&format!("timestamp=1&nonce={nonce}")), PushError::Query(Nonce));
        }
        for echo in ["", "%3Cscript%3E", "a%0Ab", &"9".repeat(MAX_ECHO_BYTES + 1)] {
            assert_eq!(fault(&format!("timestamp=1&nonce=2&echostr={echo}")), PushError::Query(Echo));
        }
        assert_eq!(fault(&"a".repeat(MAX_QUERY_BYTES + 1)), PushError::Query(TooLong));
    }
}
