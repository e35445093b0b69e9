//! The secrets of a push URL: its token and its EncodingAESKeys. Wiped when dropped, never printed.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::settings::SettingsFault;

/// Reads keys as WeChat makes them: 43 random letters and digits are 258 bits, so the last of them nearly always carries two
/// bits beyond the 256 of the key. A strict decoder refuses three keys of four.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Characters of an EncodingAESKey.
const KEY_CHARS: usize = 43;

/// Bytes of an AES-256 key.
pub(super) const KEY_BYTES: usize = 32;

/// The key that seals pushes.
#[derive(Clone)]
pub struct EncodingAesKey(Zeroizing<[u8; KEY_BYTES]>);

impl EncodingAesKey {
    /// Reads the 43 letters and digits that WeChat's console shows.
    ///
    /// # Errors
    /// [`SettingsFault::Key`]
    pub fn parse(text: &str) -> Result<Self, SettingsFault> {
        if text.len() != KEY_CHARS || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(SettingsFault::Key);
        }
        // One byte more than a key: the decoder asks for room by a rounded estimate.
        let mut room = Zeroizing::new([0_u8; KEY_BYTES + 1]);
        let decoded = LAX.decode_slice(text, room.as_mut_slice()).map_err(|_| SettingsFault::Key)?;
        match room.first_chunk() {
            Some(key) if decoded == KEY_BYTES => Ok(Self(Zeroizing::new(*key))),
            _ => Err(SettingsFault::Key),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for EncodingAesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodingAesKey([redacted])")
    }
}

/// The key in force and, after a change, the one before it: WeChat may go on using that for a while (§8).
#[derive(Debug, Clone)]
pub struct PushKeys {
    /// In force.
    pub current: EncodingAesKey,
    /// In force before.
    pub previous: Option<EncodingAesKey>,
}

/// The token that signatures rest on.
#[derive(Clone)]
pub struct PushToken(SecretString);

impl PushToken {
    /// Reads a token: 3 to 32 ASCII letters and digits, as WeChat's console asks for.
    ///
    /// # Errors
    /// [`SettingsFault::Token`]
    pub fn parse(text: &str) -> Result<Self, SettingsFault> {
        let fits = (3..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.into())) } else { Err(SettingsFault::Token) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_with_spare_bits_is_read() {
        for text in [
            "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc",
            "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
            &"A".repeat(43),
            &"9".repeat(43),
        ] {
            assert!(EncodingAesKey::parse(text).is_ok(), "{text}");
        }
        let strict = base64::engine::general_purpose::STANDARD_NO_PAD;
        let spare = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
        assert!(strict.decode(spare).is_err(), "the case would not show anything otherwise");
        let even = EncodingAesKey::parse("Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc").unwrap();
        assert_eq!(even.bytes(), b"BootstrapDemoKeyForLocalSandbox7");
    }

    #[test]
    fn other_shapes_are_no_keys_and_no_tokens() {
        let padded = format!("{}=", "A".repeat(43));
        for text in ["", &"A".repeat(42), &"A".repeat(44), &padded, &format!("{}+", "A".repeat(42))] {
            assert_eq!(EncodingAesKey::parse(text).unwrap_err(), SettingsFault::Key, "{text}");
        }
        assert_eq!(EncodingAesKey::parse(&format!("{}中", "A".repeat(40))).unwrap_err(), SettingsFault::Key);
        for text in ["", "ab", "a-b", "令牌令", &"a".repeat(33)] {
            assert_eq!(PushToken::parse(text).unwrap_err(), SettingsFault::Token, "{text}");
        }
        assert!(PushToken::parse("abc").is_ok() && PushToken::parse(&"a1".repeat(16)).is_ok());
    }
}
