//! Reading WeChat's envelope.
//!
//! Every answer is JSON with an optional `errcode` and `errmsg`, whatever its content type and usually with HTTP 200. The
//! message is kept as it is, up to a cap, for people to read; code must never branch on it. Values that we sent as secrets
//! are cut out of it, in case a server echoes the request.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::patterns;

/// Longest `errmsg` that is kept, in characters.
pub const MESSAGE_CAP_CHARS: usize = 512;

/// Stands where a secret was cut out of a message.
pub const REDACTED: &str = "[redacted]";

/// The envelope of an answer that carries an `errcode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) rid: Option<String>,
}

impl Answer {
    /// Reads the envelope; `None` if there is no `errcode`, or one that is not a whole number.
    pub(crate) fn read(body: &Value, secrets: &[&SecretString]) -> Option<Self> {
        let code = whole_number(body.get("errcode")?)?;
        let text = body.get("errmsg").and_then(Value::as_str).unwrap_or_default();
        let mut clean = text.to_owned();
        for secret in secrets {
            let secret = secret.expose_secret();
            if !secret.is_empty() && clean.contains(secret) {
                clean = clean.replace(secret, REDACTED);
            }
        }
        let rid = patterns::rid(&clean).map(str::to_owned);
        let message = clean.chars().take(MESSAGE_CAP_CHARS).collect();
        Some(Self { code, message, rid })
    }
}

/// A whole number given as a JSON number or as text; WeChat and its imitators use both.
pub(crate) fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Text given as a JSON string or as a whole number, exactly. A number that went through a float is not exact and
/// therefore no text at all: a wrong id is worse than none.
pub(crate) fn exact_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_message_is_verbatim_and_the_request_id_is_found() {
        let message = "argument invalid! data.phrase3.value is emtpy rid: 00000010-00000020-00000032";
        let body = json!({"errcode": 47003, "errmsg": message});
        let answer = Answer::read(&body, &[]).unwrap();
        assert_eq!(answer.code, 47003);
        assert_eq!(answer.message, message);
        assert_eq!(answer.rid.as_deref(), Some("00000010-00000020-00000032"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character_and_keeps_its_request_id() {
        let message = format!("{} rid: 1-2-3", "错".repeat(2000));
        let answer = Answer::read(&json!({"errcode": 1, "errmsg": message}), &[]).unwrap();
        assert_eq!(answer.message.chars().count(), MESSAGE_CAP_CHARS);
        assert_eq!(answer.rid.as_deref(), Some("1-2-3"));
    }

    #[test]
    fn an_echoed_secret_is_cut_out() {
        let secret = SecretString::from("sekrit");
        let body = json!({"errcode": 40125, "errmsg": "bad secret sekrit"});
        let answer = Answer::read(&body, &[&secret]).unwrap();
        assert_eq!(answer.message, format!("bad secret {REDACTED}"));
    }

    #[test]
    fn a_code_may_be_text_but_must_be_whole() {
        let code = |value| Answer::read(&json!({"errcode": value}), &[]).map(|answer| answer.code);
        assert_eq!(code(json!("43101")), Some(43101));
        assert_eq!(code(json!(-1)), Some(-1));
        for bad in [json!(1.5), json!(null), json!("x"), json!([]), json!(u64::MAX)] {
            assert_eq!(code(bad), None);
        }
        assert_eq!(Answer::read(&json!({"errmsg": "ok"}), &[]), None);
        assert_eq!(Answer::read(&json!([1]), &[]), None);
    }

    #[test]
    fn ids_are_exact_or_absent() {
        let read = |text: &str| exact_text(&serde_json::from_str(text).unwrap());
        assert_eq!(read("4000000000000000017").as_deref(), Some("4000000000000000017"));
        assert_eq!(read("18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(read("\"4000000000000000017\"").as_deref(), Some("4000000000000000017"));
        assert_eq!(read("99999999999999999999"), None, "beyond 64 bits a float would invent digits");
        assert_eq!(read("null"), None);
    }
}
