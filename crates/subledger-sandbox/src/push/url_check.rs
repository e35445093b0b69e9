//! The check of a push URL: WeChat sends an `echostr` and wants exactly it back (wechat-api §7.1).

use std::time::Instant;

use reqwest::Client;
use serde::Serialize;

use super::worker::{exchange, took};
use super::{DeliveryVerdict, Target, crypt};

/// Characters of a wrong answer that are shown.
const SHOWN: usize = 200;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UrlCheck {
    /// The `echostr` came back, alone, with HTTP 200.
    pub ok: bool,
    /// The `echostr` that was sent.
    pub echostr: String,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: String,
    /// What is wrong, in words.
    pub reason: Option<String>,
    /// How long it took, in milliseconds of real time.
    pub took_ms: u64,
}

/// What is drawn for a check.
pub(super) struct Challenge {
    pub(super) timestamp: String,
    pub(super) nonce: String,
    pub(super) echostr: String,
}

/// Calls the receiver.
pub(super) async fn check(client: &Client, target: &Target, challenge: Challenge) -> UrlCheck {
    let Challenge { timestamp, nonce, echostr } = challenge;
    let mut url = target.url.clone();
    url.query_pairs_mut()
        .append_pair("signature", &crypt::sign(&[&target.view.token, &timestamp, &nonce]))
        .append_pair("timestamp", &timestamp)
        .append_pair("nonce", &nonce)
        .append_pair("echostr", &echostr);
    let begun = Instant::now();
    let answered = exchange(client.get(url), target.timeout()).await;
    let took_ms = took(begun);
    let (status, answer, reason) = match answered {
        Ok((200, answer)) if answer == echostr => (Some(200), answer, None),
        Ok((200, answer)) => {
            let reason = if answer.trim() == echostr || answer.trim_matches('"') == echostr {
                "the answer holds more than the echostr: no quotes, no blank, no line end"
            } else {
                "the answer is not the echostr"
            };
            (Some(200), answer, Some(reason))
        }
        Ok((status, answer)) => (Some(status), answer, Some("the status is not 200")),
        Err(DeliveryVerdict::TimedOut) => (None, String::new(), Some("no answer in time")),
        Err(_) => (None, String::new(), Some("no connection, or one that broke")),
    };
    UrlCheck {
        ok: reason.is_none(),
        echostr,
        status,
        answer: answer.chars().take(SHOWN).collect(),
        reason: reason.map(str::to_owned),
        took_ms,
    }
}
