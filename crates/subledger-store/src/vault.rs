//! Sealing, and the keyed hashes that stand for people in the log.
//!
//! One secret of 32 random bytes is made when a database is first opened and kept in it, sealed under the master key.
//! Everything else is derived from that secret, so a master key can be replaced by sealing 32 bytes anew. A sealed
//! value is `nonce (24 bytes) ‖ XChaCha20-Poly1305 ciphertext`; what it belongs to (table and row key) is bound in as
//! associated data. Nothing in this module may be logged.

use chacha20poly1305::{
    Key, XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use ring::{hmac, signature::Ed25519KeyPair};
use subledger_domain::{ChannelCode, Openid, SubjectId, UserId, UserRef};

use crate::{MasterKey, PushKey, StoreError};

const NONCE_BYTES: usize = 24;
const DEPLOYMENT: &[&[u8]] = &[b"deployment", b"secret"];
const CANARY: &[&[u8]] = &[b"deployment", b"canary"];
const CANARY_TEXT: &[u8] = b"the vault of a subledger";

/// The keys of a deployment.
pub(crate) struct Vault {
    seal: XChaCha20Poly1305,
    hash: [u8; 32],
    sign: [u8; 32],
    user_tokens: hmac::Key,
}

/// A deployment's secret as it is stored.
pub(crate) struct SealedDeployment {
    pub(crate) secret: Vec<u8>,
    pub(crate) canary: Vec<u8>,
}

/// The master key is not the one the deployment was set up with.
pub(crate) struct WrongKey;

impl Vault {
    /// A new deployment's secret, sealed.
    pub(crate) fn create(master: &MasterKey) -> Result<SealedDeployment, StoreError> {
        let secret: [u8; 32] = rand::random();
        let master = XChaCha20Poly1305::new(&Key::from(*master.as_bytes()));
        let vault = Self::derive(&secret);
        Ok(SealedDeployment {
            secret: seal(&master, DEPLOYMENT, &secret)?,
            canary: vault.seal(CANARY, CANARY_TEXT)?,
        })
    }

    /// Unlocks a deployment's secret.
    pub(crate) fn unlock(
        master: &MasterKey,
        stored: &SealedDeployment,
    ) -> Result<Result<Self, WrongKey>, StoreError> {
        let master = XChaCha20Poly1305::new(&Key::from(*master.as_bytes()));
        let Some(secret) = open(&master, DEPLOYMENT, &stored.secret) else { return Ok(Err(WrongKey)) };
        let secret: [u8; 32] = crate::rows::bytes(secret)?;
        let vault = Self::derive(&secret);
        if vault.open(CANARY, &stored.canary)? != CANARY_TEXT {
            return Err(StoreError::Corrupt("the deployment's canary".to_owned()));
        }
        Ok(Ok(vault))
    }

    fn derive(secret: &[u8; 32]) -> Self {
        let seal = blake3::derive_key("subledger 2026 vault sealing key", secret);
        let hash = blake3::derive_key("subledger 2026 identity hash key", secret);
        let sign = blake3::derive_key("subledger 2026 head signing seed", secret);
        let tokens = blake3::derive_key("subledger 2026 user token key", secret);
        let user_tokens = hmac::Key::new(hmac::HMAC_SHA256, &tokens);
        Self { seal: XChaCha20Poly1305::new(&Key::from(seal)), hash, sign, user_tokens }
    }

    /// Seals a value for the row that `place` names: the table, then the parts of the key.
    pub(crate) fn seal(&self, place: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal(&self.seal, place, value)
    }

    /// Opens a sealed value of the row that `place` names.
    pub(crate) fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        open(&self.seal, place, sealed).ok_or_else(|| {
            let table = place.first().map_or("?", |table| std::str::from_utf8(table).unwrap_or("?"));
            StoreError::Corrupt(format!("a sealed value of {table} does not open"))
        })
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

fn seal(cipher: &XChaCha20Poly1305, place: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn vault(master: &MasterKey, stored: &SealedDeployment) -> Option<Vault> {
        Vault::unlock(master, stored).unwrap().ok()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let master = MasterKey::from_bytes([7; 32]);
        let stored = Vault::create(&master).unwrap();
        let vault = vault(&master, &stored).unwrap();
        let sealed = vault.seal(&[b"identity", b"mp", b"1"], b"openid").unwrap();
        assert_eq!(vault.open(&[b"identity", b"mp", b"1"], &sealed).unwrap(), b"openid");
        for place in
            [&[&b"identity"[..], b"mp1", b""], &[b"identity", b"mp", b"2"], &[b"content", b"mp", b"1"]]
        {
            assert!(matches!(vault.open(place, &sealed), Err(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn another_master_key_does_not_unlock() {
        let stored = Vault::create(&MasterKey::from_bytes([7; 32])).unwrap();
        assert!(vault(&MasterKey::from_bytes([8; 32]), &stored).is_none());
    }

    #[test]
    fn user_tokens_hold_over_restarts_and_in_no_other_deployment() {
        let master = MasterKey::from_bytes([7; 32]);
        let stored = Vault::create(&master).unwrap();
        let (one, again) = (vault(&master, &stored).unwrap(), vault(&master, &stored).unwrap());
        let other = vault(&master, &Vault::create(&master).unwrap()).unwrap();
        let signature = hmac::sign(one.user_tokens(), b"a token");
        let holds = |vault: &Vault, token: &[u8], signature: &[u8]| {
            hmac::verify(vault.user_tokens(), token, signature).is_ok()
        };
        assert!(holds(&again, b"a token", signature.as_ref()));
        assert!(!holds(&other, b"a token", signature.as_ref()));
        assert!(!holds(&one, b"another token", signature.as_ref()));
        assert!(!holds(&one, b"a token", &signature.as_ref()[..31]));
    }

    #[test]
    fn hashes_hold_over_restarts_and_differ_between_deployments_and_channels() {
        let master = MasterKey::from_bytes([7; 32]);
        let stored = Vault::create(&master).unwrap();
        let (one, again) = (vault(&master, &stored).unwrap(), vault(&master, &stored).unwrap());
        let other = vault(&master, &Vault::create(&master).unwrap()).unwrap();
        let (mp, mp2): (ChannelCode, ChannelCode) = ("mp".parse().unwrap(), "mp2".parse().unwrap());
        let openid: Openid = "oABCDEFGHIJKLMNOPQ".parse().unwrap();
        assert_eq!(one.subject_of(&mp, &openid), again.subject_of(&mp, &openid));
        assert_ne!(one.subject_of(&mp, &openid), one.subject_of(&mp2, &openid));
        assert_ne!(one.subject_of(&mp, &openid), other.subject_of(&mp, &openid));
    }
}
