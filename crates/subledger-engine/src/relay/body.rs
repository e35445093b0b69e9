//! What a back end gets: WeChat's own body, or JSON of ours. The formats are described in docs/relay.md.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use subledger_domain::{ChannelCode, Timestamp, channel::RelayForm};
use subledger_store::{ClaimedRelay, PushFormat};
use subledger_wechat::push::{Decoded, Push, PushEvent, decode};

pub(super) const JSON: &str = "application/json; charset=utf-8";
const XML: &str = "text/xml; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// What is said about a push besides the push itself.
pub(super) struct About<'a> {
    pub(super) code: &'a ChannelCode,
    pub(super) appid: &'a str,
    pub(super) userid: Option<&'a str>,
}

/// A header of ours: `subledger-<name>`.
pub(super) fn header(name: &str, value: &str) -> (String, String) {
    (format!("subledger-{name}"), value.to_owned())
}

/// A moment as RFC 3339 writes it, with microseconds, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    jiff::fmt::temporal::DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&at)
}

pub(super) fn headers(claim: &ClaimedRelay, about: &About<'_>) -> Vec<(String, String)> {
    vec![
        header("channel", about.code.as_str()),
        header("appid", about.appid),
        header("kind", claim.push.kind.as_str()),
    ]
}

/// The media type and the bytes.
pub(super) fn body(form: RelayForm, claim: &ClaimedRelay, about: &About<'_>) -> (&'static str, Vec<u8>) {
    match form {
        RelayForm::Raw => (media(claim.push.format), claim.body.clone()),
        RelayForm::Decoded => (JSON, decoded(claim, about).to_string().into_bytes()),
    }
}

fn media(format: PushFormat) -> &'static str {
    match format {
        PushFormat::Xml => XML,
        PushFormat::Json => JSON,
        PushFormat::Unknown => BYTES,
    }
}

fn decoded(claim: &ClaimedRelay, about: &About<'_>) -> Value {
    let push = &claim.push;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("type", json!("wechat.push"));
    put("id", json!(push.key));
    put("channel", json!(about.code));
    put("appid", json!(about.appid));
    put("received_at", json!(moment(push.received_at)));
    put("kind", json!(push.kind));
    put("event", json!(push.event));
    let read = match decode(&claim.body) {
        Ok(Decoded::Push(push)) => Some(push),
        Ok(Decoded::ContainerCheck) | Err(_) => None,
    };
    if let Some(read) = &read {
        put("happened_at", json!(moment(Timestamp::from_seconds(read.created_at))));
        put("user", user(read, about));
    }
    match read.as_ref().and_then(items) {
        Some(items) => put("items", items),
        None => put("content", content(claim)),
    };
    Value::Object(fields)
}

fn user(push: &Push, about: &About<'_>) -> Value {
    match about.userid {
        Some(userid) => json!({ "userid": userid, "openid": push.from_user }),
        None => json!({ "openid": push.from_user }),
    }
}

/// The items of the events that a ledger acts on; other pushes are passed on as they are.
fn items(push: &Push) -> Option<Value> {
    let items: Vec<Value> = match &push.what {
        PushEvent::Popup(items) => items
            .iter()
            .map(
                |item| json!({ "template_id": item.template_id, "status": item.status, "scene": item.scene }),
            )
            .collect(),
        PushEvent::Change(items) => items
            .iter()
            .map(|item| json!({ "template_id": item.template_id, "status": item.status }))
            .collect(),
        PushEvent::Sent(items) => items
            .iter()
            .map(|item| {
                json!({
                    "template_id": item.template_id,
                    "msgid": item.msgid,
                    "error_code": item.error_code_text,
                    "error_status": item.error_status,
                })
            })
            .collect(),
        PushEvent::Other { .. } => return None,
    };
    Some(Value::Array(items))
}

/// WeChat's own words: text where it is text.
fn content(claim: &ClaimedRelay) -> Value {
    let media = media(claim.push.format);
    match std::str::from_utf8(&claim.body) {
        Ok(text) => json!({ "media_type": media, "text": text }),
        Err(_) => json!({ "media_type": media, "base64": STANDARD.encode(&claim.body) }),
    }
}
