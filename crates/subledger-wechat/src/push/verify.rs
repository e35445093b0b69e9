//! Signatures and the clock.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::error::PushError;
use super::query::PushQuery;
use super::settings::PushSettings;

/// Checks `signature`, which covers token, timestamp and nonce, and then the clock. For URL checks and plaintext mode.
pub(super) fn plain(settings: &PushSettings, query: &PushQuery, now_seconds: i64) -> Result<(), PushError> {
    let token = settings.token().bytes();
    let parts = [token, query.timestamp.as_bytes(), query.nonce.as_bytes()];
    check("signature", query.signature.as_deref(), parts)?;
    check_clock(settings, query, now_seconds)
}

/// Checks `msg_signature`, which covers the sealed part as well, and then the clock. `signature` is not looked at.
pub(super) fn sealed(
    settings: &PushSettings,
    query: &PushQuery,
    encrypt: &str,
    now_seconds: i64,
) -> Result<(), PushError> {
    let token = settings.token().bytes();
    let parts = [token, query.timestamp.as_bytes(), query.nonce.as_bytes(), encrypt.as_bytes()];
    check("msg_signature", query.msg_signature.as_deref(), parts)?;
    check_clock(settings, query, now_seconds)
}

/// WeChat's signature: the parts in order of their bytes, joined, SHA-1, in lower-case hexadecimal digits.
fn check<const N: usize>(
    name: &'static str,
    given: Option<&str>,
    mut parts: [&[u8]; N],
) -> Result<(), PushError> {
    let given = given.filter(|text| !text.is_empty()).ok_or(PushError::NoSignature(name))?;
    parts.sort_unstable();
    let digest = parts.iter().fold(Sha1::new(), |hash, part| hash.chain_update(part)).finalize();
    let expected = hex::encode(digest);
    if bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        Ok(())
    } else {
        Err(PushError::WrongSignature(name))
    }
}

fn check_clock(settings: &PushSettings, query: &PushQuery, now_seconds: i64) -> Result<(), PushError> {
    // The query has checked that these are digits, too few to overflow.
    let timestamp: i64 = query.timestamp.parse().unwrap_or_default();
    if timestamp.abs_diff(now_seconds) <= settings.clock_window().as_secs() {
        Ok(())
    } else {
        Err(PushError::Clock { ahead_seconds: timestamp.saturating_sub(now_seconds) })
    }
}
