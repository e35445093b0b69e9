//! Sealing, and the keyed hashes that stand for people in the log. Every byte of it is in `docs/secrets.md`.
//!
//! What is sealed is sealed under a data key. Data keys are random, have numbers, and stand in the database wrapped under
//! the master key; key 0 is the exception: it is derived from the deployment's root, and so are the keys for hashing and
//! signing, which can never change. A sealed value is `nonce (24 bytes) ‖ XChaCha20-Poly1305 ciphertext`, and the first two
//! bytes of the nonce are the number of its key. What it belongs to (table and row key) is bound in as associated data.
//! Nothing in this module may be logged.

mod keyring;
mod wrap;

use std::sync::{Arc, PoisonError, RwLock};

use ::ring::{hmac, signature::Ed25519KeyPair};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use subledger_domain::{ChannelCode, Openid, SubjectId, UserId, UserRef};

pub(crate) use self::{
    keyring::{DataKeyId, Ring},
    wrap::{Fresh, KeyRows, Legacy, WrappedKey, key_id, new_data_key, unwrap_legacy, wrap_all},
};
use crate::{MasterKey, PushKey, StoreError};

const NONCE_BYTES: usize = 24;
const CANARY: &[&[u8]] = &[b"deployment", b"canary"];
const CANARY_TEXT: &[u8] = b"the vault of a subledger";

/// The keys of a deployment.
pub(crate) struct Vault {
    /// Replaced whole when a data key was added. Std lock: held for a clone of the pointer, never across an await.
    ring: RwLock<Arc<Ring>>,
    /// What new data keys are unwrapped with.
    master: MasterKey,
    hash: [u8; 32],
    sign: [u8; 32],
    user_tokens: hmac::Key,
}

/// Why a sealed value was not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// It names a data key that this process does not know. Another node may have made it a moment ago.
    UnknownKey(DataKeyId),
    /// It does not open under any key it can be of.
    Damaged,
}

impl Vault {
    /// The keys that these rows hold, if the master key opens them.
    pub(crate) fn unlock(master: &MasterKey, rows: &KeyRows) -> Result<Option<Self>, StoreError> {
        let Some(ring) = Ring::unwrap(master, &rows.wrapped)? else { return Ok(None) };
        if open(ring.root_cipher(), CANARY, &rows.canary).as_deref() != Some(CANARY_TEXT) {
            return Err(StoreError::Corrupt("the deployment's canary".to_owned()));
        }
        let root = ring.root();
        let hash = blake3::derive_key("subledger 2026 identity hash key", root);
        let sign = blake3::derive_key("subledger 2026 head signing seed", root);
        let tokens = blake3::derive_key("subledger 2026 user token key", root);
        let user_tokens = hmac::Key::new(hmac::HMAC_SHA256, &tokens);
        Ok(Some(Self { ring: RwLock::new(Arc::new(ring)), master: master.clone(), hash, sign, user_tokens }))
    }

    /// Takes up the data keys that were added since.
    ///
    /// Answers whether any was. Rows that this process's master key does not open change nothing: it was replaced, and what
    /// this process has goes on opening what it could open.
    pub(crate) fn refresh(&self, wrapped: &[WrappedKey]) -> Result<bool, StoreError> {
        let Some(ring) = Ring::unwrap(&self.master, wrapped)? else { return Ok(false) };
        let mut held = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let newer = held.current() < ring.current();
        if newer {
            *held = Arc::new(ring);
        }
        Ok(newer)
    }

    /// The data keys as they are now.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The master key this process was started with.
    pub(crate) const fn master(&self) -> &MasterKey {
        &self.master
    }

    /// Seals a value for the row that `place` names: the table, then the parts of the key.
    pub(crate) fn seal(&self, place: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.ring().seal(place, value)
    }

    /// Opens a sealed value of the row that `place` names, as [`crate::Store::unseal`] does that knows besides what to do about
    /// keys made a moment ago.
    #[cfg(test)]
    pub(crate) fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.ring().open(place, sealed).map(|(_, value)| value).map_err(|_| does_not_open(place))
    }

    /// The hash that stands for an openid of a channel.
    pub(crate) fn subject_of(&self, channel: &ChannelCode, openid: &Openid) -> SubjectId {
        SubjectId::from_bytes(self.hash(&[
            b"subject",
            channel.as_str().as_bytes(),
            openid.as_str().as_bytes(),
        ]))
    }

    /// The hash that stands for a userid.
    pub(crate) fn user_ref_of(&self, userid: &UserId) -> UserRef {
        UserRef::from_bytes(self.hash(&[b"user", userid.as_str().as_bytes()]))
    }

    /// What a push of a channel is known by.
    pub(crate) fn push_key_of(&self, channel: &ChannelCode, content_key: &[u8; 32]) -> PushKey {
        PushKey::from_bytes(self.hash(&[b"push", channel.as_str().as_bytes(), content_key]))
    }

    /// What a short-lived secret of a kind is found by: a state, a code, a request.
    pub(crate) fn handle_of(&self, kind: &str, secret: &[u8]) -> [u8; 16] {
        self.hash(&[b"handle", kind.as_bytes(), secret])
    }

    /// A few digits that stand for a secret.
    pub(crate) fn fingerprint_of(&self, secret: &[u8]) -> String {
        let hash = self.hash(&[b"fingerprint", secret]);
        hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key pair that signs the ends of logs. It is derived, so there is one per deployment and nothing to store.
    pub(crate) fn signer(&self) -> Result<Ed25519KeyPair, StoreError> {
        Ed25519KeyPair::from_seed_unchecked(&self.sign)
            .map_err(|_| StoreError::Corrupt("the signing seed is not one".to_owned()))
    }

    /// The key of user tokens: for HMAC-SHA256, and for nothing else.
    pub(crate) fn user_tokens(&self) -> &hmac::Key {
        &self.user_tokens
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.hash, &joined(parts));
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        short
    }
}

/// The error for a value that does not open, or whose key is not there.
pub(crate) fn does_not_open(place: &[&[u8]]) -> StoreError {
    let table = place.first().map_or("?", |table| std::str::from_utf8(table).unwrap_or("?"));
    StoreError::Corrupt(format!("a sealed value of {table} does not open"))
}

fn seal(
    cipher: &XChaCha20Poly1305,
    nonce: [u8; NONCE_BYTES],
    place: &[&[u8]],
    value: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &joined(place) })
        .map_err(|_| StoreError::Corrupt("a value too long to seal".to_owned()))?;
    Ok([&nonce[..], &sealed].concat())
}

fn open(cipher: &XChaCha20Poly1305, place: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &joined(place) }).ok()
}

/// Parts with their lengths, so that no two lists of parts look alike.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_le_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

#[cfg(test)]
mod tests;
