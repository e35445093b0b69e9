//! The signature of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`.
//!
//! The id is the same in every attempt, so receivers can tell a repetition; the timestamp is that of the attempt, so they can
//! tell a replay. The body is signed as it is written to the network, byte for byte.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::{SigningSecret, SigningSecrets};

/// The header with the id of the message.
pub const HEADER_ID: &str = "webhook-id";
/// The header with the time of the attempt, in whole seconds since the Unix epoch.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const HEADER_SIGNATURE: &str = "webhook-signature";
/// Names the scheme of a signature: symmetric, HMAC-SHA256.
pub const SIGNATURE_VERSION: &str = "v1";
/// Longest id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// A text cannot be the id of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a webhook id has 1 to {MAX_ID_BYTES} letters, digits, - or _")]
pub struct IdError;

/// The id of one message to one endpoint, the same in every attempt.
///
/// Letters, digits, `-` and `_`: above all no full stop, because the specification warns that a signed text with one in the
/// id could be read in two ways.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookId(String);

impl WebhookId {
    /// Takes a text as an id.
    ///
    /// # Errors
    /// [`IdError`] if it is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let fits = (1..=MAX_ID_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if fits { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SigningSecrets {
    /// The value of [`HEADER_SIGNATURE`]: one signature per secret, the current first. `timestamp` is the time of the attempt
    /// in seconds since the Unix epoch.
    #[must_use]
    pub fn sign(&self, id: &WebhookId, timestamp: i64, body: &[u8]) -> String {
        let current = sign(&self.current, id, timestamp, body);
        match &self.previous {
            Some(previous) => format!("{current} {}", sign(previous, id, timestamp, body)),
            None => current,
        }
    }
}

fn sign(secret: &SigningSecret, id: &WebhookId, timestamp: i64, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new(secret.block().into())
        .chain_update(id.as_str())
        .chain_update(".")
        .chain_update(timestamp.to_string())
        .chain_update(".")
        .chain_update(body)
        .finalize();
    format!("{SIGNATURE_VERSION},{}", STANDARD.encode(mac.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The vector of the published libraries of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    #[test]
    fn the_published_vector_is_met() {
        let secrets = SigningSecrets::from(secret(SECRET));
        assert_eq!(secrets.sign(&WebhookId::parse(ID).unwrap(), TIMESTAMP, BODY), SIGNATURE);
    }

    /// Keys are kept filled up to a block; the longest one has no room for that. The value is from an independent
    /// implementation (Python's `hmac`), key bytes 0 to 63.
    #[test]
    fn a_key_of_a_whole_block_signs_as_it_is() {
        let key: Vec<u8> = (0..64).collect();
        let secrets = SigningSecrets::from(secret(&format!("whsec_{}", STANDARD.encode(key))));
        assert_eq!(
            secrets.sign(&WebhookId::parse("a").unwrap(), 1, b"x"),
            "v1,LXEGVq0SxILiwm/ZMi2++OlG5ayfJ1HDiz18fo86k6c="
        );
    }

    #[test]
    fn during_a_rotation_both_secrets_sign_the_current_first() {
        let id = WebhookId::parse(ID).unwrap();
        let current = SigningSecret::generate(&mut rand::rng());
        let alone = SigningSecrets::from(current.clone()).sign(&id, TIMESTAMP, BODY);
        let both = SigningSecrets { current, previous: Some(secret(SECRET)) }.sign(&id, TIMESTAMP, BODY);
        assert_eq!(both, format!("{alone} {SIGNATURE}"));
    }

    #[test]
    fn an_id_with_a_full_stop_or_a_line_end_is_refused() {
        let long = "x".repeat(MAX_ID_BYTES);
        for text in ["a", "msg_1-b", long.as_str()] {
            assert_eq!(WebhookId::parse(text).unwrap().as_str(), text);
        }
        let longer = "x".repeat(MAX_ID_BYTES + 1);
        for text in ["", "a.b", "a b", "a\n", "a:b", "消息", longer.as_str()] {
            assert_eq!(WebhookId::parse(text), Err(IdError), "{text:?}");
        }
    }
}
