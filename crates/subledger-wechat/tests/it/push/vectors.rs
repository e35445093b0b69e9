//! Published and self-made vectors, as they are.

use serde::Deserialize;
use subledger_wechat::push::{
    Decoded, EncodingAesKey, Opened, OpenedWith, PushError, PushEvent, PushKeys, PushMode, PushSettings,
    PushToken, Undecodable, answer_url_check, component, decode, open, unseal,
};

use super::harness::seal::{KEY, PREVIOUS_KEY, seal, sign};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Vector {
    id: String,
    token: String,
    key: String,
    appid: String,
    component_appid: String,
    tail: String,
    timestamp: String,
    nonce: String,
    echostr: Option<String>,
    signature: String,
    msg_signature: String,
    random: String,
    msg: Option<String>,
    msg_bytes: Option<usize>,
    msg_len: Option<usize>,
    full_len: Option<usize>,
    ct_len: Option<usize>,
    pad: Option<usize>,
    event: Option<String>,
    encrypt: String,
}

impl Vector {
    fn key(&self) -> String {
        match self.key.as_str() {
            "current" => KEY.to_owned(),
            "previous" => PREVIOUS_KEY.to_owned(),
            "A*43" => "A".repeat(43),
            other => other.to_owned(),
        }
    }

    fn tail(&self) -> &str {
        [&self.tail, &self.component_appid, &self.appid].into_iter().find(|tail| !tail.is_empty()).unwrap()
    }

    /// Settings under which the vector must open: the demo ones with both keys, or its own key alone.
    fn settings(&self, mode: PushMode) -> PushSettings {
        let parse = |text: &str| EncodingAesKey::parse(text).unwrap();
        let keys = match self.key.as_str() {
            "current" | "previous" => PushKeys { current: parse(KEY), previous: Some(parse(PREVIOUS_KEY)) },
            _ => PushKeys { current: parse(&self.key()), previous: None },
        };
        let token = PushToken::parse(&self.token).unwrap();
        let settings = PushSettings::new("wx00000000demo0001", token, mode, Some(keys)).unwrap();
        settings.with_tail(self.tail())
    }

    fn query(&self) -> String {
        let echo = self.echostr.as_ref().map(|text| format!("&echostr={text}")).unwrap_or_default();
        format!(
            "signature={}&timestamp={}&nonce={}&openid=o&encrypt_type=aes&msg_signature={}{echo}",
            self.signature, self.timestamp, self.nonce, self.msg_signature
        )
    }

    fn at(&self) -> i64 {
        self.timestamp.parse().unwrap()
    }

    fn envelopes(&self) -> [String; 3] {
        let encrypt = &self.encrypt;
        [
            format!(r#"{{"ToUserName":"gh_demo00000001","Encrypt":"{encrypt}"}}"#),
            format!(
                "<xml><ToUserName><![CDATA[gh_demo00000001]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
            ),
            format!(
                "<xml><AppId><![CDATA[wx00000000comp0001]]></AppId><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
            ),
        ]
    }
}

fn all() -> Vec<Vector> {
    let vectors: Vec<Vector> =
        include_str!("vectors.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 12);
    vectors
}

fn vector(id: &str) -> Vector {
    all().into_iter().find(|vector| vector.id == id).unwrap()
}

#[test]
fn url_checks_are_answered_with_the_raw_text() {
    let mut seen = 0;
    for vector in all().into_iter().filter(|vector| vector.echostr.is_some()) {
        let token = PushToken::parse(&vector.token).unwrap();
        let settings = PushSettings::new("wx1", token, PushMode::Plaintext, None).unwrap();
        let answer = answer_url_check(&settings, vector.query().as_bytes(), vector.at());
        assert_eq!(answer.unwrap(), vector.echostr.clone().unwrap(), "{}", vector.id);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_plain_post_is_verified() {
    let vector = vector("V2");
    let token = PushToken::parse(&vector.token).unwrap();
    let settings = PushSettings::new("wx1", token, PushMode::Plaintext, None).unwrap();
    let opened = open(&settings, vector.query().as_bytes(), b"{}", vector.at()).unwrap();
    assert_eq!(opened, Opened { content: b"{}".to_vec(), with: OpenedWith::Nothing });
    let wrong = vector.query().replace("signature=8", "signature=9");
    let refused = open(&settings, wrong.as_bytes(), b"{}", vector.at());
    assert_eq!(refused, Err(PushError::WrongSignature("signature")));
}

#[test]
fn every_sealed_vector_opens_in_every_envelope_and_seals_to_the_same_text() {
    let mut seen = 0;
    for vector in all().into_iter().filter(|vector| !vector.encrypt.is_empty()) {
        let id = &vector.id;
        let (content, with) = if vector.msg_signature.is_empty() {
            let keys = PushKeys { current: EncodingAesKey::parse(&vector.key()).unwrap(), previous: None };
            unseal(&keys, vector.tail(), &vector.encrypt).unwrap()
        } else {
            let settings = vector.settings(PushMode::Secure);
            let opened = vector.envelopes().map(|envelope| {
                open(&settings, vector.query().as_bytes(), envelope.as_bytes(), vector.at()).unwrap()
            });
            assert!(opened[0] == opened[1] && opened[1] == opened[2], "{id}");
            let [opened, ..] = opened;
            (opened.content, opened.with)
        };
        let expected =
            if vector.key == "previous" { OpenedWith::PreviousKey } else { OpenedWith::CurrentKey };
        assert_eq!(with, expected, "{id}");
        if let Some(message) = &vector.msg {
            assert_eq!(content, message.as_bytes(), "{id}");
        }
        for length in [vector.msg_bytes, vector.msg_len].into_iter().flatten() {
            assert_eq!(content.len(), length, "{id}");
        }
        let full = 16 + 4 + content.len() + vector.tail().len();
        assert_eq!(vector.full_len.unwrap_or(full), full, "{id}");
        let pad = 32 - full % 32;
        assert_eq!(vector.pad.unwrap_or(pad), pad, "{id}");
        assert_eq!(vector.ct_len.unwrap_or(full + pad), full + pad, "{id}");

        let random = vector.random.as_bytes().try_into().unwrap();
        assert_eq!(seal(&vector.key(), vector.tail(), random, &content), vector.encrypt, "{id}");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_signatures_are_those_of_the_vectors() {
    for vector in all() {
        let parts = [vector.token.as_str(), &vector.timestamp, &vector.nonce];
        if !vector.signature.is_empty() {
            assert_eq!(sign(&parts), vector.signature, "{}", vector.id);
        }
        if !vector.msg_signature.is_empty() {
            let whole = [&parts[..], &[&vector.encrypt]].concat();
            assert_eq!(sign(&whole), vector.msg_signature, "{}", vector.id);
        }
    }
}

#[test]
fn the_vectors_of_platforms_pass_through_its_own_door() {
    let take = |id: &str| {
        let vector = vector(id);
        let [_, _, envelope] = vector.envelopes();
        let settings = vector.settings(PushMode::Secure);
        component::receive(&settings, vector.query().as_bytes(), envelope.as_bytes(), vector.at()).unwrap()
    };
    assert_eq!(take("S2").decoded.unwrap().what.kind(), "ticket");
    let debug = take("V5");
    assert_eq!(debug.content.len(), 292);
    assert_eq!(debug.decoded.unwrap_err(), Undecodable::Missing("InfoType"), "it is a user's event");
    let reply = vector("V6");
    let keys = PushKeys { current: EncodingAesKey::parse(&reply.key()).unwrap(), previous: None };
    let (content, _) = unseal(&keys, reply.tail(), &reply.encrypt).unwrap();
    assert_eq!(component::decode(&content).unwrap_err(), Undecodable::Missing("InfoType"));
}

#[test]
fn what_the_vectors_say_is_understood_as_far_as_it_is_ours() {
    let content = |id: &str| {
        let vector = vector(id);
        let envelope = &vector.envelopes()[0];
        let settings = vector.settings(PushMode::Secure);
        open(&settings, vector.query().as_bytes(), envelope.as_bytes(), vector.at()).unwrap().content
    };
    let what = |id| match decode(&content(id)) {
        Ok(Decoded::Push(push)) => push.what,
        other => panic!("{id}: {other:?}"),
    };
    assert!(matches!(what("S1"), PushEvent::Popup(_)));
    let debug = PushEvent::Other { msg_type: "event".to_owned(), event: vector("V3").event };
    assert_eq!((what("V3"), what("V5")), (debug.clone(), debug));
    assert_eq!(
        decode(&content("S2")),
        Err(Undecodable::Missing("ToUserName")),
        "a ticket is no push about a user"
    );
    assert_eq!(decode(&content("S3")), Err(Undecodable::UnknownFormat));
    assert_eq!(decode(&content("S4")), Err(Undecodable::UnknownFormat));
}
