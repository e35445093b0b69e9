//! Pushes: what WeChat sends, what a stranger could send, and what comes of it.

// A crate of its own for the fuzzer, a module here.
#[allow(unreachable_pub)]
#[path = "../../../../fuzz/src/lib.rs"]
mod harness;

mod component;
mod content_keys;
mod flips;
mod hostile;
mod modes;
mod quiet;
mod random;
mod replay;
mod shapes;
mod vectors;

use std::path::PathBuf;

use harness::seal::{APPID, KEY, TOKEN, seal, sign};
use subledger_wechat::push::{self, Inbound, PushError, PushMode, Received};

/// When the samples were signed.
const AT: i64 = 1_790_000_001;

/// Where the committed inputs of a fuzz target are.
fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// One of the shapes in which WeChat sends a content.
fn shape(name: &str) -> Vec<u8> {
    std::fs::read(corpus("push_decode").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A query and a body.
struct Request {
    query: String,
    body: String,
}

impl Request {
    fn receive(&self, mode: PushMode) -> Result<Received, PushError> {
        let settings = harness::settings(mode);
        match push::receive(&settings, self.query.as_bytes(), self.body.as_bytes(), AT)? {
            Inbound::Push(received) => Ok(received),
            Inbound::ContainerCheck => panic!("no check was sent"),
        }
    }

    fn with(&self, from: &str, to: &str) -> Self {
        let change = |text: &str| text.replace(from, to);
        let changed = Self { query: change(&self.query), body: change(&self.body) };
        assert!(changed.query != self.query || changed.body != self.body, "{from} is not there");
        changed
    }
}

/// A content as secure mode sends it in JSON.
fn sealed(content: &[u8]) -> Request {
    sealed_with(KEY, APPID, content)
}

fn sealed_with(key: &str, tail: &str, content: &[u8]) -> Request {
    let encrypt = seal(key, tail, b"demo0000rand0001", content);
    let query = signed_query(&encrypt);
    Request { query, body: format!(r#"{{"ToUserName":"gh_demo00000001","Encrypt":"{encrypt}"}}"#) }
}

/// The query for a sealed part, both signatures in it.
fn signed_query(encrypt: &str) -> String {
    let (timestamp, nonce) = (AT.to_string(), "200300400");
    let plain = sign(&[TOKEN, &timestamp, nonce]);
    let whole = sign(&[TOKEN, &timestamp, nonce, encrypt]);
    format!(
        "signature={plain}&timestamp={timestamp}&nonce={nonce}&openid=oDEMO_user_000000000000000_A\
         &encrypt_type=aes&msg_signature={whole}"
    )
}

/// A content as plaintext mode sends it.
fn clear(content: &str) -> Request {
    let signature = sign(&[TOKEN, &AT.to_string(), "200300400"]);
    Request {
        query: format!("signature={signature}&timestamp={AT}&nonce=200300400"),
        body: content.to_owned(),
    }
}
