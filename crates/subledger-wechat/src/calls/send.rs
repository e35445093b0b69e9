//! Sending one subscription message.
//!
//! Owns the request's shape. Values always go out as `{"value": "<string>"}`: numbers are tolerated by WeChat in practice
//! but documented nowhere. The JSON is raw UTF-8, as WeChat demands (40033, 47002); control characters would be escaped
//! and must be kept out by whoever fills the values. Nothing here retries: see `transport` for why.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::answer::exact_text;
use crate::client::{Api, WeChatClient};
use crate::outcome::CallError;

/// Which version of the Mini Program the card opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MiniprogramState {
    /// The developers' version.
    Developer,
    /// The trial version.
    Trial,
    /// The released version; WeChat's default.
    #[default]
    Formal,
}

/// The language of the card's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub enum Lang {
    /// Simplified Chinese; WeChat's default.
    #[default]
    #[serde(rename = "zh_CN")]
    ZhCn,
    /// English.
    #[serde(rename = "en_US")]
    EnUs,
    /// Traditional Chinese, Hong Kong.
    #[serde(rename = "zh_HK")]
    ZhHk,
    /// Traditional Chinese, Taiwan.
    #[serde(rename = "zh_TW")]
    ZhTw,
}

/// The values of a message: key → text, in the order given, each key once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SendData(Vec<(String, String)>);

impl SendData {
    /// Sets a key; a key that is there already keeps its place and gets the new value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for SendData {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut data = Self::default();
        for (key, value) in pairs {
            data.insert(key, value);
        }
        data
    }
}

/// `Debug` shows the keys only: the values are the message.
impl fmt::Debug for SendData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

#[derive(serde::Serialize)]
struct Cell<'a> {
    value: &'a str,
}

impl Serialize for SendData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, &Cell { value })?;
        }
        map.end()
    }
}

/// One message to one user. `Debug` shows neither the openid nor the values.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct SendRequest {
    /// The user's openid in this Mini Program.
    pub touser: String,
    /// The template's `priTmplId`.
    pub template_id: String,
    /// Page to open, query allowed; without it the card does not jump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Version of the Mini Program to open; always sent, the current page calls it required.
    pub miniprogram_state: MiniprogramState,
    /// Language of the card; always sent, the current page calls it required.
    pub lang: Lang,
    /// The values; every keyword of the template must be there and not empty (else 47003).
    pub data: SendData,
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRequest")
            .field("template_id", &self.template_id)
            .field("page", &self.page)
            .field("miniprogram_state", &self.miniprogram_state)
            .field("lang", &self.lang)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// WeChat's yes to a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// WeChat's message id as text; see [`crate::SendOutcome::Accepted`].
    pub msgid: Option<String>,
}

impl WeChatClient {
    /// `POST /cgi-bin/message/subscribe/send`, once, with a given token. Most callers want [`crate::ChannelClient::send`],
    /// which handles stale tokens.
    ///
    /// # Errors
    /// [`CallError`]; of these only `NotReached` proves that nothing reached WeChat, and `Unknown` must not be re-sent.
    pub async fn send(&self, token: &SecretString, request: &SendRequest) -> Result<Accepted, CallError> {
        let query = [("access_token", token.expose_secret())];
        let http = self.post(Api::Send, &query, request);
        self.call(Api::Send, http, &[token], |body| Some(read_accepted(body))).await
    }
}

fn read_accepted(body: &Value) -> Accepted {
    Accepted { msgid: body.get("msgid").and_then(exact_text) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request() -> SendRequest {
        SendRequest {
            touser: "oDEMO_user_000000000000000_A".to_owned(),
            template_id: "TPL_demo".to_owned(),
            page: Some("pages/order/show?id=42".to_owned()),
            miniprogram_state: MiniprogramState::default(),
            lang: Lang::default(),
            data: [("thing1", "示例面包😀"), ("date2", "2030-01-02 09:30"), ("phrase3", "待自取")]
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn the_body_is_raw_utf8_in_the_order_given() {
        let body = serde_json::to_string(&request()).unwrap();
        assert_eq!(
            body,
            "{\"touser\":\"oDEMO_user_000000000000000_A\",\"template_id\":\"TPL_demo\",\
             \"page\":\"pages/order/show?id=42\",\"miniprogram_state\":\"formal\",\"lang\":\"zh_CN\",\
             \"data\":{\"thing1\":{\"value\":\"示例面包😀\"},\"date2\":{\"value\":\"2030-01-02 09:30\"},\
             \"phrase3\":{\"value\":\"待自取\"}}}"
        );
    }

    #[test]
    fn a_page_may_be_left_out_and_a_key_set_twice_counts_once() {
        let mut request = request();
        request.page = None;
        request.lang = Lang::ZhTw;
        request.miniprogram_state = MiniprogramState::Trial;
        request.data.insert("thing1", "12");
        let body: Value = serde_json::to_value(&request).unwrap();
        assert_eq!(body.get("page"), None);
        assert_eq!(body["lang"], "zh_TW");
        assert_eq!(body["miniprogram_state"], "trial");
        assert_eq!(body["data"]["thing1"]["value"], "12");
        assert_eq!(request.data.iter().count(), 3);
    }

    #[test]
    fn debug_shows_neither_the_user_nor_the_values() {
        let text = format!("{:?}", request());
        assert!(text.contains("thing1") && text.contains("TPL_demo"));
        assert!(!text.contains("oDEMO") && !text.contains("示例"), "{text}");
    }
}
