//! How to reach and unlock a database.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use secrecy::SecretString;
use thiserror::Error;

/// Where the database is and how to unlock it.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `sqlite://path/to/file.db` (created if missing) or `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The key that seals secrets, identities and contents.
    pub master_key: MasterKey,
    /// The most connections to PostgreSQL, or readers of SQLite, from 2 to 100.
    pub max_connections: u32,
}

/// `SUBLEDGER_MASTER_KEY`: 32 bytes, base64 or hexadecimal.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// Why a text is not a master key. Says what was found, never the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MasterKeyError {
    /// Neither base64 nor hexadecimal.
    #[error(
        "the master key must be 32 bytes as base64 or as 64 hexadecimal digits; found {0} characters that are neither"
    )]
    Alphabet(usize),
    /// Not 32 bytes.
    #[error("the master key must be 32 bytes as base64 or as 64 hexadecimal digits; found {0} bytes")]
    Length(usize),
}

/// Accepts padding and its absence, and bits left over at the end.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// From the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From text: 64 hexadecimal digits, or base64 in either alphabet, padded or not. Surrounding white space is ignored.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        if text.len() == 64
            && let Ok(bytes) = hex::decode(text)
        {
            return Self::from_slice(&bytes);
        }
        let alphabet =
            if text.contains(['-', '_']) { base64::alphabet::URL_SAFE } else { base64::alphabet::STANDARD };
        match GeneralPurpose::new(&alphabet, LENIENT).decode(text) {
            Ok(bytes) => Self::from_slice(&bytes),
            Err(_) => Err(MasterKeyError::Alphabet(text.chars().count())),
        }
    }

    /// A new key from the operating system's randomness.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The key as padded base64, the form [`Self::parse`] documents first.
    pub fn encode(&self) -> SecretString {
        STANDARD.encode(self.0).into()
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_slice(bytes: &[u8]) -> Result<Self, MasterKeyError> {
        bytes.try_into().map(Self).map_err(|_| MasterKeyError::Length(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn every_spelling_of_a_key_is_the_same_key() {
        let bytes: [u8; 32] = std::array::from_fn(|i| 0xff - i as u8);
        let spellings = [
            hex::encode(bytes),
            hex::encode_upper(bytes),
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            URL_SAFE.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            format!("  {}\n", STANDARD.encode(bytes)),
        ];
        for spelling in spellings {
            assert_eq!(MasterKey::parse(&spelling).unwrap().as_bytes(), &bytes, "{spelling}");
        }
    }

    #[test]
    fn a_generated_key_survives_its_encoding() {
        let key = MasterKey::generate();
        assert_eq!(MasterKey::parse(key.encode().expose_secret()).unwrap().as_bytes(), key.as_bytes());
        assert_ne!(key.as_bytes(), MasterKey::generate().as_bytes());
    }

    #[test]
    fn errors_say_what_was_found_and_not_the_key() {
        let short = MasterKey::parse("c2VjcmV0").unwrap_err();
        assert_eq!(short, MasterKeyError::Length(6));
        let odd = MasterKey::parse("pass phrase!").unwrap_err();
        assert_eq!(odd, MasterKeyError::Alphabet(12));
        assert!(!odd.to_string().contains("pass"));
        assert_eq!(format!("{:?}", MasterKey::generate()), "MasterKey(…)");
    }
}
