//! Signing the tokens of users with the deployment's key. The key is derived, so every node has it and nothing is stored; it
//! never leaves the vault. What a token says is the engine's business.

use ring::hmac;

use super::Store;

impl Store {
    /// HMAC-SHA256 (RFC 2104) over a user token, 32 bytes.
    pub fn sign_user_token(&self, token: &[u8]) -> Vec<u8> {
        hmac::sign(self.inner.vault.user_tokens(), token).as_ref().to_vec()
    }

    /// Whether this deployment signed the token. Takes the same time wherever a forged signature differs.
    pub fn signed_user_token(&self, token: &[u8], signature: &[u8]) -> bool {
        hmac::verify(self.inner.vault.user_tokens(), token, signature).is_ok()
    }
}
