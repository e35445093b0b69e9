//! Signing the ends of logs with the deployment's key. The seed never leaves the vault.

use ring::signature::KeyPair;
use subledger_domain::Timestamp;

use super::Store;
use crate::{Attestation, Head, SigningKey, StoreError, attest, rows::bytes};

impl Store {
    /// The public key of this deployment: what its exports are checked with.
    pub fn signing_key(&self) -> Result<SigningKey, StoreError> {
        let signer = self.inner.vault.signer()?;
        Ok(SigningKey(bytes(signer.public_key().as_ref().to_vec())?))
    }

    /// Signs that a log ended here. Whoever calls this has checked that the events up to there lead to this link: the
    /// signature says that it was so.
    pub fn sign_head(&self, head: &Head, exported_at: Timestamp) -> Result<Attestation, StoreError> {
        let signer = self.inner.vault.signer()?;
        let signed = signer.sign(&attest::statement(&head.log, head.position, &head.link, exported_at));
        Ok(Attestation {
            log: head.log.clone(),
            position: head.position,
            link: head.link,
            exported_at,
            key: SigningKey(bytes(signer.public_key().as_ref().to_vec())?),
            signature: bytes(signed.as_ref().to_vec())?,
        })
    }
}
