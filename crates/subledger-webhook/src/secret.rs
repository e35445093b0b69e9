//! Signing secrets, in the serialization of Standard Webhooks: `whsec_` and the key in base64.
//!
//! A secret is wiped when it is dropped and does not print itself; to show it to the person it belongs to is a visible call.
//! What HMAC derives from it lives for the length of one signature and is not wiped.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Bytes a key may have: the specification says 192 to 512 bits.
pub const KEY_BYTES: RangeInclusive<usize> = 24..=64;
/// Bytes of a key that is generated here: as many as the hash puts out, beyond which HMAC gains nothing.
pub const GENERATED_KEY_BYTES: usize = 32;

/// A block of SHA-256, in bytes; also the longest key.
const BLOCK: usize = 64;
/// Characters of the longest key in base64.
const MAX_ENCODED: usize = 88;

/// Why a text is no signing secret. Nothing of the text is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not begin with [`SECRET_PREFIX`].
    #[error("a signing secret begins with {SECRET_PREFIX}")]
    Prefix,
    /// What follows the prefix is not base64 of the standard alphabet, with its padding.
    #[error("what follows {SECRET_PREFIX} in a signing secret must be standard base64 with padding")]
    Encoding,
    /// The key is shorter or longer than [`KEY_BYTES`].
    #[error("the key of a signing secret must have {} to {} bytes", KEY_BYTES.start(), KEY_BYTES.end())]
    Length,
}

/// A key for HMAC-SHA256. Clones share the one copy in memory, which is wiped with the last of them.
#[derive(Clone)]
pub struct SigningSecret {
    /// The key, filled up with zeros. HMAC itself fills a key up to a block, so this signs as the bare key does.
    block: Arc<SecretBox<[u8; BLOCK]>>,
    /// How much of the block is the key.
    length: usize,
}

impl SigningSecret {
    /// Reads a secret as it is shown and stored. Strict, because the receiver's library must come to the same key.
    ///
    /// # Errors
    /// [`SecretError`] if it is none.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
        if encoded.len() > MAX_ENCODED {
            return Err(SecretError::Length);
        }
        // Two bytes more than the longest key: 88 characters without padding decode to 66.
        let mut key = Zeroizing::new([0; BLOCK + 2]);
        let length = STANDARD.decode_slice(encoded, key.as_mut_slice()).map_err(|_| SecretError::Encoding)?;
        if !KEY_BYTES.contains(&length) {
            return Err(SecretError::Length);
        }
        let mut block = Box::new([0; BLOCK]);
        block.iter_mut().zip(key.iter()).take(length).for_each(|(to, from)| *to = *from);
        Ok(Self { block: Arc::new(SecretBox::new(block)), length })
    }

    /// Makes a new secret of [`GENERATED_KEY_BYTES`] from a generator fit for keys, such as `rand::rng()`.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut block = Box::new([0; BLOCK]);
        let (key, _filling) = block.split_at_mut(GENERATED_KEY_BYTES);
        rng.fill_bytes(key);
        Self { block: Arc::new(SecretBox::new(block)), length: GENERATED_KEY_BYTES }
    }

    /// The secret as text, to be shown once to its owner or to be sealed.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        let key = self.block.expose_secret().get(..self.length).unwrap_or_default();
        let mut text = String::with_capacity(SECRET_PREFIX.len() + MAX_ENCODED);
        text.push_str(SECRET_PREFIX);
        STANDARD.encode_string(key, &mut text);
        SecretString::from(text)
    }

    pub(crate) fn block(&self) -> &[u8; BLOCK] {
        self.block.expose_secret()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([REDACTED])")
    }
}

/// What an endpoint's requests are signed with. During a rotation both sign, so that a receiver may change its own copy at
/// any moment in between.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    /// The secret that holds.
    pub current: SigningSecret,
    /// The one before it, while receivers may still verify with it.
    pub previous: Option<SigningSecret>,
}

impl From<SigningSecret> for SigningSecrets {
    fn from(current: SigningSecret) -> Self {
        Self { current, previous: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn encoded(bytes: usize) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(vec![0xa5; bytes]))
    }

    #[test]
    fn a_secret_survives_being_shown_and_read_for_every_length() {
        for bytes in KEY_BYTES {
            let text = encoded(bytes);
            assert_eq!(SigningSecret::parse(&text).unwrap().reveal().expose_secret(), text);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let cases = [
            ("", SecretError::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsec_", SecretError::Length),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", SecretError::Encoding),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa_-", SecretError::Encoding),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", SecretError::Encoding),
        ];
        for (text, expected) in cases {
            assert_eq!(SigningSecret::parse(text).unwrap_err(), expected, "{text:?}");
        }
        for bytes in [0, 1, 16, 23, 65, 66, 67, 4096] {
            assert_eq!(SigningSecret::parse(&encoded(bytes)).unwrap_err(), SecretError::Length, "{bytes}");
        }
    }

    #[test]
    fn generated_secrets_are_well_formed_and_differ() {
        let (one, two) =
            (SigningSecret::generate(&mut rand::rng()), SigningSecret::generate(&mut rand::rng()));
        let (one, two) = (one.reveal(), two.reveal());
        assert_ne!(one.expose_secret(), two.expose_secret());
        let parsed = SigningSecret::parse(one.expose_secret()).unwrap();
        assert_eq!(parsed.length, GENERATED_KEY_BYTES);
        assert_eq!(parsed.reveal().expose_secret(), one.expose_secret());
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = SigningSecret::parse(&encoded(32)).unwrap();
        let secrets = SigningSecrets { previous: Some(secret.clone()), current: secret };
        let printed = format!("{secrets:?} {:?}", secrets.current);
        assert!(!printed.contains("paWl") && !printed.contains("165"), "{printed}");
    }
}
