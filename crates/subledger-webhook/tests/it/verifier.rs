//! A receiver's verification, written from the specification on another implementation of HMAC than the crate's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::receiver::Seen;

/// Whether a request was signed with the secret, at a time near `now`.
pub(crate) fn verifies(seen: &Seen, secret: &str, now: i64) -> bool {
    let header = |name: &str| seen.headers.get(name).cloned().unwrap_or_default();
    let timestamp = header("webhook-timestamp");
    if timestamp.parse::<i64>().is_ok_and(|at| (at - now).abs() > 300) {
        return false;
    }
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [header("webhook-id").as_bytes(), timestamp.as_bytes(), &seen.body].join(&b'.');
    header("webhook-signature")
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .any(|tag| hmac::verify(&key, &signed, &STANDARD.decode(tag).unwrap()).is_ok())
}
