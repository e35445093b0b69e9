//! A receiver of pushes with a script, and the tests' own reading of what it got: signatures, decryption, JSON, XML.
//! Written for the tests alone, so that it can disagree with the code under test.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, KeyInit};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// What the receiver does with a call.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Answers this.
    Say(u16, &'static str),
    /// Answers after so long.
    Late(Duration),
    /// To a check: the echostr between these.
    Echo(&'static str, &'static str),
}

/// One POST.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) content_type: String,
}

#[derive(Default)]
struct Script {
    got: Vec<Got>,
    checks: Vec<BTreeMap<String, String>>,
    /// Answers to come; afterwards everything is taken.
    replies: VecDeque<Reply>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/push/here", listener.local_addr().unwrap());
        let receiver = Self { url, script: Arc::default() };
        let router = Router::new().route("/{*path}", get(check).post(push)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().replies.extend(replies);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.script.lock().unwrap().got.clone()
    }

    pub(crate) fn checks(&self) -> Vec<BTreeMap<String, String>> {
        self.script.lock().unwrap().checks.clone()
    }

    fn next(&self) -> Reply {
        self.script.lock().unwrap().replies.pop_front().unwrap_or(Reply::Echo("", ""))
    }
}

async fn check(State(receiver): State<Receiver>, Query(query): Query<HashMap<String, String>>) -> Response {
    let query: BTreeMap<_, _> = query.into_iter().collect();
    let echostr = query["echostr"].clone();
    receiver.script.lock().unwrap().checks.push(query);
    match receiver.next() {
        Reply::Echo(before, after) => format!("{before}{echostr}{after}").into_response(),
        other => answer(other).await,
    }
}

async fn push(
    State(receiver): State<Receiver>,
    Path(path): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers["content-type"].to_str().unwrap().to_owned();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let got = Got { path, query: query.into_iter().collect(), body, content_type };
    receiver.script.lock().unwrap().got.push(got);
    answer(receiver.next()).await
}

async fn answer(reply: Reply) -> Response {
    match reply {
        Reply::Say(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Reply::Late(pause) => {
            tokio::time::sleep(pause).await;
            "success".into_response()
        }
        Reply::Echo(..) => "success".into_response(),
    }
}

/// The signature over these parts.
pub(crate) fn signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    hex::encode(Sha1::digest(parts.join("")))
}

/// `EncodingAESKey` to key, bit by bit: the last two bits are not part of it.
fn key_of(text: &str) -> [u8; 32] {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        other => panic!("{other} is not a letter or a digit"),
    };
    let bits: Vec<u8> = text.bytes().flat_map(|c| (0..6).rev().map(move |i| digit(c) >> i & 1)).collect();
    std::array::from_fn(|i| bits[i * 8..i * 8 + 8].iter().fold(0, |byte, bit| byte << 1 | bit))
}

/// What is in an `Encrypt`: the message and the tail. CBC is undone by hand.
pub(crate) fn open(key: &str, encrypt: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let key = key_of(key);
    let sealed = base64::engine::general_purpose::STANDARD.decode(encrypt).unwrap();
    assert_eq!(sealed.len() % 32, 0, "padding goes to blocks of 32");
    let cipher = Aes256::new(&key.into());
    let mut plain = Vec::new();
    let mut before: Vec<u8> = key[..16].to_vec();
    for chunk in sealed.chunks(16) {
        let mut block: aes::Block = <[u8; 16]>::try_from(chunk).unwrap().into();
        cipher.decrypt_block(&mut block);
        plain.extend(block.iter().zip(&before).map(|(a, b)| a ^ b));
        before = chunk.to_vec();
    }
    let pad = usize::from(*plain.last().unwrap());
    if !(1..=32).contains(&pad) || plain.len() < pad + 20 {
        return None;
    }
    let padding = plain.split_off(plain.len() - pad);
    if padding.iter().any(|b| usize::from(*b) != pad) {
        return None;
    }
    let length = u32::from_be_bytes(plain[16..20].try_into().unwrap()) as usize;
    let message = plain.get(20..20 + length)?.to_vec();
    let tail = plain[20 + length..].to_vec();
    Some((String::from_utf8(message).ok()?, String::from_utf8(tail).ok()?))
}

/// Reads the XML of pushes: elements, CDATA and bare text. Repeated elements become an array.
pub(crate) fn xml(text: &str) -> Value {
    let (name, value, rest) = element(text.trim());
    assert_eq!((name, rest.trim()), ("xml", ""));
    value
}

fn element(text: &str) -> (&str, Value, &str) {
    let (name, mut rest) = text.strip_prefix('<').unwrap().split_once('>').unwrap();
    let (mut fields, mut words) = (Map::new(), String::new());
    loop {
        if let Some(after) = rest.strip_prefix("</") {
            let (closed, rest) = after.split_once('>').unwrap();
            assert_eq!(closed, name);
            let value = if fields.is_empty() { json!(words) } else { Value::Object(fields) };
            return (name, value, rest);
        }
        if let Some(after) = rest.strip_prefix("<![CDATA[") {
            let (inside, after) = after.split_once("]]>").unwrap();
            words.push_str(inside);
            rest = after;
        } else if rest.starts_with('<') {
            let (child, value, after) = element(rest);
            match fields.get_mut(child) {
                Some(Value::Array(items)) => items.push(value),
                Some(one) => *one = json!([one.clone(), value]),
                None => drop(fields.insert(child.to_owned(), value)),
            }
            rest = after;
        } else {
            let end = rest.find('<').unwrap();
            words.push_str(rest[..end].trim());
            rest = &rest[end..];
        }
    }
}

/// The fields of a push as plain text, whatever shape it came in; `items` are those of its list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) items: Vec<BTreeMap<String, String>>,
}

pub(crate) fn read(body: &str) -> Read {
    let root = if body.starts_with('{') { serde_json::from_str(body).unwrap() } else { xml(body) };
    let root = root.as_object().unwrap().clone();
    let mut items = Vec::new();
    for (name, value) in &root {
        if name == "List" || name.starts_with("SubscribeMsg") {
            let inner = if value.get("List").is_some() { &value["List"] } else { value };
            let list = inner.as_array().cloned().unwrap_or_else(|| vec![inner.clone()]);
            items.extend(list.iter().map(|item| texts(item.as_object().unwrap())));
        }
    }
    Read { fields: texts(&root), items }
}

fn texts(fields: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    fields.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// Checks every signature of a push, opens it if it is sealed, and reads it. `keys` are tried in turn.
pub(crate) fn verified(got: &Got, token: &str, keys: &[&str], appid: &str) -> (Read, usize) {
    let part = |name: &str| got.query[name].as_str();
    let (timestamp, nonce) = (part("timestamp"), part("nonce"));
    assert_eq!(part("signature"), signature(&[token, timestamp, nonce]));
    let outer = read(&got.body);
    assert!(outer.fields["ToUserName"].starts_with("gh_"), "{}", got.body);
    if keys.is_empty() {
        assert!(!got.query.contains_key("encrypt_type") && !got.query.contains_key("msg_signature"));
        return (outer, 0);
    }
    let encrypt = &outer.fields["Encrypt"];
    assert_eq!(part("encrypt_type"), "aes");
    assert_eq!(part("msg_signature"), signature(&[token, timestamp, nonce, encrypt]));
    let opened = keys.iter().enumerate().find_map(|(index, key)| Some((open(key, encrypt)?, index)));
    let ((message, tail), index) = opened.unwrap();
    assert_eq!(tail, appid);
    (read(&message), index)
}

/// Published vectors of the other direction (wechat-api §12, V3): this decoder is right, too.
#[test]
fn the_decoder_opens_a_published_vector() {
    let encrypt = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=";
    let (message, tail) = open(&"A".repeat(43), encrypt).unwrap();
    assert_eq!((message.len(), tail.as_str()), (167, "wxba5fad812f8e6fb9"));
    assert!(read(&message).fields["Event"] == "debug_demo");
    let signed = signature(&["AAAAA", "1714112445", "415670741", encrypt]);
    assert_eq!(signed, "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3");
    assert!(open("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", encrypt).is_none());
}
