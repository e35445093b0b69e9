//! Master keys, and data keys wrapped under them.

use chacha20poly1305::{Key, XChaCha20Poly1305, aead::KeyInit};

use super::{CANARY, CANARY_TEXT, DataKeyId, NONCE_BYTES, open, seal};
use crate::{MasterKey, StoreError};

/// How the root was wrapped before master keys had ids: under the master key itself.
const LEGACY: &[&[u8]] = &[b"deployment", b"secret"];

/// A data key, wrapped under a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedKey {
    /// The id of the master key.
    pub(crate) master: String,
    /// The number of the data key.
    pub(crate) key: DataKeyId,
    /// `nonce (24) ‖ XChaCha20-Poly1305 of the 32 bytes`.
    pub(crate) sealed: Vec<u8>,
}

/// The rows that unlock a deployment.
pub(crate) struct KeyRows {
    /// A known text sealed under key 0: tells damage from a wrong master key.
    pub(crate) canary: Vec<u8>,
    /// Every data key under every master key.
    pub(crate) wrapped: Vec<WrappedKey>,
}

/// The rows of a new deployment: the root and the first data key.
pub(crate) struct Fresh(pub(crate) KeyRows);

/// The root as it stood before master keys had ids.
pub(crate) struct Legacy(pub(crate) Vec<u8>);

impl Fresh {
    /// A new deployment: a root, and a first data key.
    pub(crate) fn create(master: &MasterKey) -> Result<Self, StoreError> {
        let root: [u8; 32] = rand::random();
        let first: [u8; 32] = rand::random();
        let sealing = blake3::derive_key("subledger 2026 vault sealing key", &root);
        let mut nonce: [u8; NONCE_BYTES] = rand::random();
        nonce[..2].fill(0);
        let canary = seal(&XChaCha20Poly1305::new(&Key::from(sealing)), nonce, CANARY, CANARY_TEXT)?;
        let wrapped = vec![wrap(master, 0, &root)?, wrap(master, 1, &first)?];
        Ok(Self(KeyRows { canary, wrapped }))
    }
}

/// Eight hexadecimal digits that stand for a master key. Nothing about the key can be computed from them: the key has 256
/// random bits.
pub(crate) fn key_id(master: &MasterKey) -> String {
    let hash = blake3::derive_key("subledger 2026 master key id", master.as_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A new data key, wrapped under a master key.
pub(crate) fn new_data_key(master: &MasterKey, key: DataKeyId) -> Result<WrappedKey, StoreError> {
    wrap(master, key, &rand::random())
}

/// A data key wrapped under a master key.
fn wrap(master: &MasterKey, key: DataKeyId, secret: &[u8; 32]) -> Result<WrappedKey, StoreError> {
    let id = key_id(master);
    let place: [&[u8]; 3] = [b"data_key", &key.to_be_bytes(), id.as_bytes()];
    let sealed = seal(&cipher(master), rand::random(), &place, secret)?;
    Ok(WrappedKey { master: id, key, sealed })
}

/// The data key, if the master key is the one it is wrapped under.
pub(super) fn unwrap(master: &MasterKey, row: &WrappedKey) -> Option<[u8; 32]> {
    let place: [&[u8]; 3] = [b"data_key", &row.key.to_be_bytes(), row.master.as_bytes()];
    open(&cipher(master), &place, &row.sealed)?.try_into().ok()
}

/// What is wrapped under one master key, wrapped under another.
pub(crate) fn wrap_all(
    rows: &[WrappedKey],
    master: &MasterKey,
    other: &MasterKey,
) -> Result<Vec<WrappedKey>, StoreError> {
    let id = key_id(master);
    rows.iter()
        .filter(|row| row.master == id)
        .map(|row| {
            let secret = unwrap(master, row)
                .ok_or_else(|| StoreError::Corrupt(format!("data key {} does not unwrap", row.key)))?;
            wrap(other, row.key, &secret)
        })
        .collect()
}

/// The root of a deployment from before master keys had ids, wrapped as it is today. `None`: it is another master key's.
pub(crate) fn unwrap_legacy(
    master: &MasterKey,
    Legacy(sealed): &Legacy,
) -> Result<Option<WrappedKey>, StoreError> {
    let direct = XChaCha20Poly1305::new(&Key::from(*master.as_bytes()));
    let Some(root) = open(&direct, LEGACY, sealed) else { return Ok(None) };
    Ok(Some(wrap(master, 0, &crate::rows::bytes(root)?)?))
}

fn cipher(master: &MasterKey) -> XChaCha20Poly1305 {
    let key = blake3::derive_key("subledger 2026 master key: wrapping data keys", master.as_bytes());
    XChaCha20Poly1305::new(&Key::from(key))
}
