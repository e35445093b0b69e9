//! The data keys of a deployment, opened, by number.

use std::collections::BTreeMap;

use chacha20poly1305::{Key, XChaCha20Poly1305, aead::KeyInit};

use super::{NONCE_BYTES, NotOpened, WrappedKey, open, seal, wrap};
use crate::{MasterKey, StoreError};

/// The number of a data key; the first two bytes of what is sealed under it, the higher first.
pub(crate) type DataKeyId = u16;

/// The root. As a data key it is what everything was sealed under before data keys had numbers: the first two bytes of such
/// a value are by chance.
const ROOT: DataKeyId = 0;

/// The data keys. The one with the highest number seals.
pub(crate) struct Ring {
    root: [u8; 32],
    root_cipher: XChaCha20Poly1305,
    keys: BTreeMap<DataKeyId, XChaCha20Poly1305>,
    current: DataKeyId,
}

impl Ring {
    /// The keys that are wrapped under this master key. `None`: none is, or not the root.
    pub(super) fn unwrap(master: &MasterKey, rows: &[WrappedKey]) -> Result<Option<Self>, StoreError> {
        let id = wrap::key_id(master);
        let mut root = None;
        let mut keys = BTreeMap::new();
        for row in rows.iter().filter(|row| row.master == id) {
            let key = wrap::unwrap(master, row)
                .ok_or_else(|| StoreError::Corrupt(format!("data key {} does not unwrap", row.key)))?;
            let cipher = if row.key == ROOT {
                root = Some(key);
                XChaCha20Poly1305::new(&Key::from(blake3::derive_key(
                    "subledger 2026 vault sealing key",
                    &key,
                )))
            } else {
                XChaCha20Poly1305::new(&Key::from(key))
            };
            keys.insert(row.key, cipher);
        }
        let (Some(root), Some(root_cipher)) = (root, keys.get(&ROOT).cloned()) else { return Ok(None) };
        let current = keys.keys().next_back().copied().unwrap_or(ROOT);
        Ok(Some(Self { root, root_cipher, keys, current }))
    }

    /// The secret that hashes and signatures are derived from.
    pub(crate) const fn root(&self) -> &[u8; 32] {
        &self.root
    }

    pub(super) const fn root_cipher(&self) -> &XChaCha20Poly1305 {
        &self.root_cipher
    }

    /// The key that seals.
    pub(crate) const fn current(&self) -> DataKeyId {
        self.current
    }

    /// Seals a value under the current key.
    pub(crate) fn seal(&self, place: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let cipher = self.keys.get(&self.current).unwrap_or(&self.root_cipher);
        let mut nonce: [u8; NONCE_BYTES] = rand::random();
        nonce[..2].copy_from_slice(&self.current.to_be_bytes());
        seal(cipher, nonce, place, value)
    }

    /// Opens a value; says under which key it was sealed.
    pub(crate) fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<(DataKeyId, Vec<u8>), NotOpened> {
        let named = sealed.first_chunk().map(|number| DataKeyId::from_be_bytes(*number));
        let named = named.ok_or(NotOpened::Damaged)?;
        let known = self.keys.get(&named);
        if let Some(value) = known.and_then(|cipher| open(cipher, place, sealed)) {
            return Ok((named, value));
        }
        // From before data keys had numbers.
        match open(&self.root_cipher, place, sealed) {
            Some(value) => Ok((ROOT, value)),
            None if self.current < named => Err(NotOpened::UnknownKey(named)),
            None => Err(NotOpened::Damaged),
        }
    }
}
