//! How to reach and unlock a database.

use secrecy::SecretString;

/// Where the database is and how to unlock it.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `sqlite://path/to/file.db` (created if missing) or `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The key that seals secrets, identities and contents.
    pub master_key: MasterKey,
    /// The most connections to PostgreSQL, or readers of SQLite, from 2 to 100.
    pub max_connections: u32,
}

/// `SUBLEDGER_MASTER_KEY`: 32 bytes, base64 or hexadecimal.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// From the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
