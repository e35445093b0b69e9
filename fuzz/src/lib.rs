//! What each fuzz target does with its input.
//!
//! The tests of `subledger-wechat` include this file and run the committed inputs through the same functions. A finding is a
//! panic, a hang, memory out of bounds, or one of the assertions here.

pub mod seal;

use seal::{APPID, KEY, PREVIOUS_KEY, TOKEN};
use subledger_wechat::push::{
    self, ContentKey, Decoded, EncodingAesKey, Inbound, MAX_BODY_BYTES, PushEvent, PushKeys, PushMode,
    PushQuery, PushSettings, PushToken,
};

/// The time that requests are judged at.
pub const NOW: i64 = 1_790_000_000;

/// Settings of the demo channel in a mode.
pub fn settings(mode: PushMode) -> PushSettings {
    let token = PushToken::parse(TOKEN).expect("a token");
    PushSettings::new(APPID, token, mode, Some(keys())).expect("settings")
}

/// Current and previous key.
pub fn keys() -> PushKeys {
    let key = |text| EncodingAesKey::parse(text).expect("a key");
    PushKeys { current: key(KEY), previous: Some(key(PREVIOUS_KEY)) }
}

/// Decodes any bytes.
pub fn push_decode(data: &[u8]) {
    match push::decode(data) {
        Ok(Decoded::Push(push)) => {
            let filled = match &push.what {
                PushEvent::Popup(items) => !items.is_empty(),
                PushEvent::Change(items) => !items.is_empty(),
                PushEvent::Sent(items) => !items.is_empty(),
                PushEvent::Other { msg_type, .. } => !msg_type.is_empty(),
            };
            assert!(filled && !push.from_user.is_empty() && !push.to_user.is_empty());
            let key = ContentKey::of_push(APPID, &push, data);
            assert_eq!(key, ContentKey::of_push(APPID, &push, data));
        }
        Ok(Decoded::ContainerCheck) => {}
        Err(reason) => assert!(!reason.class().is_empty() && reason.to_string().len() < 100),
    }
    match push::component::decode(data) {
        Ok(push) => assert!(push.what.appid().is_none_or(|appid| !appid.is_empty())),
        Err(reason) => assert!(!reason.class().is_empty() && reason.to_string().len() < 100),
    }
}

/// Opens any text, any cipher text, and any clear text however wrong inside; seals and opens any message.
pub fn push_decrypt(data: &[u8]) {
    let keys = keys();
    let _ = push::unseal(&keys, APPID, &String::from_utf8_lossy(data));

    let mut plain = data.to_vec();
    plain.resize(data.len().div_ceil(32) * 32, data.last().copied().unwrap_or_default());
    if let Ok((content, _)) = push::unseal(&keys, APPID, &seal::seal_plain(KEY, &plain)) {
        assert!(plain.windows(content.len() + 4).any(|window| window[4..] == content));
    }

    if data.len() < MAX_BODY_BYTES / 2 {
        let sealed = seal::seal(KEY, APPID, b"demo0000rand0000", data);
        let opened = push::unseal(&keys, APPID, &sealed).expect("a sealed message opens");
        assert_eq!(opened, (data.to_vec(), push::OpenedWith::CurrentKey));
    }
}

/// Takes in any query and body, split at the first line break, in every mode; then the body again, properly sealed and signed.
pub fn push_request(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let _ = PushQuery::parse(query);
    for mode in [PushMode::Plaintext, PushMode::Compatible, PushMode::Secure] {
        let settings = settings(mode);
        let _ = push::answer_url_check(&settings, query, NOW);
        let _ = push::receive(&settings, query, body, NOW);
    }

    let sealed = seal::seal(KEY, APPID, b"demo0000rand0000", body);
    let (timestamp, nonce) = ("1790000001", "200300400");
    let signature = seal::sign(&[TOKEN, timestamp, nonce, &sealed]);
    let query = format!("timestamp={timestamp}&nonce={nonce}&encrypt_type=aes&msg_signature={signature}");
    for envelope in [
        format!(r#"{{"ToUserName":"gh_demo00000001","Encrypt":"{sealed}"}}"#),
        format!("<xml><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"),
    ] {
        let received = push::receive(&settings(PushMode::Secure), query.as_bytes(), envelope.as_bytes(), NOW);
        match received {
            Ok(Inbound::Push(received)) => assert_eq!(received.content, body),
            Ok(Inbound::ContainerCheck) => assert!(body.len() < MAX_BODY_BYTES),
            Err(error) => assert!(MAX_BODY_BYTES < envelope.len(), "{error}"),
        }
    }
}
