//! Pushes in secure mode as WeChat sends them, made by the thousand for load: nothing is sent and no journal knows of them.

use super::crypt::{self, AesKey};

/// Makes requests to a push URL.
#[derive(Debug, Clone)]
pub struct PushSealer {
    appid: String,
    token: String,
    key: AesKey,
}

/// One request, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPush {
    /// What stands behind the URL's question mark.
    pub query: String,
    /// The body, JSON.
    pub body: String,
}

impl PushSealer {
    /// For a Mini Program with this token and `EncodingAESKey`; none if that is no key.
    pub fn new(appid: &str, token: &str, encoding_aes_key: &str) -> Option<Self> {
        let key = AesKey::parse(encoding_aes_key)?;
        Some(Self { appid: appid.to_owned(), token: token.to_owned(), key })
    }

    /// Seals a message and signs it for this second since the epoch. Equal numbers have equal random bytes and nonces.
    pub fn seal(&self, number: u64, timestamp: i64, message: &str) -> SealedPush {
        let mut random = [b'0'; 16];
        for (byte, digit) in random.iter_mut().rev().zip(format!("{number:x}").bytes().rev()) {
            *byte = digit;
        }
        let encrypt = crypt::seal(&self.key, random, message.as_bytes(), &self.appid);
        let (timestamp, nonce) = (timestamp.to_string(), (number % 1_000_000_000).to_string());
        let signature = crypt::sign(&[&self.token, &timestamp, &nonce]);
        let sealed = crypt::sign(&[&self.token, &timestamp, &nonce, &encrypt]);
        let query = format!(
            "signature={signature}&timestamp={timestamp}&nonce={nonce}&encrypt_type=aes&msg_signature={sealed}"
        );
        SealedPush { query, body: format!(r#"{{"ToUserName":"gh_000000000001","Encrypt":"{encrypt}"}}"#) }
    }
}
