//! The vaults: what stands behind the hashes and references of the log.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{
    ChannelCode, DeliveryId, LogName, MessageId, Openid, SubjectId, Timestamp, UserId, UserRef,
};

use super::Store;
use crate::{
    DriverError, PushKey, StoreError,
    vault::{NotOpened, does_not_open},
};

/// The index under which the contents shared by all recipients are kept.
pub(crate) const SHARED: i64 = -1;

/// The places of sealed values, as [`crate::vault::Vault::seal`] takes them.
pub(crate) mod place {
    pub(crate) fn identity<'a>(log: &'a str, subject: &'a [u8; 16]) -> [&'a [u8]; 3] {
        [b"identity", log.as_bytes(), subject]
    }

    pub(crate) fn user(user: &[u8; 16]) -> [&[u8]; 2] {
        [b"user_identity", user]
    }

    pub(crate) fn content<'a>(log: &'a str, message: &'a [u8; 16], index: &'a [u8; 8]) -> [&'a [u8]; 4] {
        [b"content", log.as_bytes(), message, index]
    }

    pub(crate) fn push<'a>(log: &'a str, key: &'a [u8; 16]) -> [&'a [u8]; 3] {
        [b"push", log.as_bytes(), key]
    }

    pub(crate) fn token<'a>(appid: &'a str, mode: &'a str) -> [&'a [u8]; 3] {
        [b"token", appid.as_bytes(), mode.as_bytes()]
    }

    pub(crate) fn secret(reference: &str) -> [&[u8]; 2] {
        [b"secret", reference.as_bytes()]
    }

    pub(crate) fn ticket(component: &str) -> [&[u8]; 2] {
        [b"platform", component.as_bytes()]
    }

    pub(crate) fn authorization(id: &[u8; 16]) -> [&[u8]; 2] {
        [b"platform_authorization", id]
    }

    pub(crate) fn code<'a>(component: &'a str, code: &'a [u8; 16]) -> [&'a [u8]; 3] {
        [b"platform_code", component.as_bytes(), code]
    }

    pub(crate) fn authorizer<'a>(component: &'a str, appid: &'a str) -> [&'a [u8]; 3] {
        [b"authorizer", component.as_bytes(), appid.as_bytes()]
    }
}

/// By what people know a secret that is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMark {
    /// A few digits by which two secrets are told apart; see [`Store::fingerprint_of`].
    pub fingerprint: String,
    /// When it was handed in or made up.
    pub set_at: Timestamp,
}

impl Store {
    /// The hash that stands for an openid of a channel in the log.
    pub fn subject_of(&self, channel: &ChannelCode, openid: &Openid) -> SubjectId {
        self.inner.vault.subject_of(channel, openid)
    }

    /// The hash that stands for a userid in the log.
    pub fn user_ref_of(&self, userid: &UserId) -> UserRef {
        self.inner.vault.user_ref_of(userid)
    }

    /// What a push is known by in a channel, by 32 bytes that are equal for each delivery of it. Those are made from an
    /// openid without a secret, so they are hashed under the deployment's before they stand anywhere.
    pub fn push_key_of(&self, channel: &ChannelCode, content_key: &[u8; 32]) -> PushKey {
        self.inner.vault.push_key_of(channel, content_key)
    }

    /// Eight hexadecimal digits by which people tell two secrets apart. They say nothing about the secret to anybody without
    /// the deployment's own.
    pub fn fingerprint_of(&self, secret: &SecretString) -> String {
        self.inner.vault.fingerprint_of(secret.expose_secret().as_bytes())
    }

    /// The openids behind subjects of a log; subjects that are unknown or erased are left out.
    pub async fn openids(
        &self,
        log: &LogName,
        subjects: &[SubjectId],
    ) -> Result<HashMap<SubjectId, Openid>, StoreError> {
        let keys: Vec<[u8; 16]> = subjects.iter().map(|subject| *subject.as_bytes()).collect();
        let rows = self.inner.database.reader().await?.session().identities(log, &keys).await?;
        let mut openids = HashMap::with_capacity(rows.len());
        for (key, sealed) in rows {
            let opened = self.unseal(&place::identity(log.as_str(), &key), &sealed).await?;
            openids.insert(SubjectId::from_bytes(key), text(opened, "an openid")?.parse().map_err(broken)?);
        }
        Ok(openids)
    }

    /// The userids behind references; unknown or erased ones are left out.
    pub async fn userids(&self, users: &[UserRef]) -> Result<HashMap<UserRef, UserId>, StoreError> {
        let keys: Vec<[u8; 16]> = users.iter().map(|user| *user.as_bytes()).collect();
        let rows = self.inner.database.reader().await?.session().users(&keys).await?;
        let mut userids = HashMap::with_capacity(rows.len());
        for (key, sealed) in rows {
            let opened = self.unseal(&place::user(&key), &sealed).await?;
            userids.insert(UserRef::from_bytes(key), text(opened, "a userid")?.parse().map_err(broken)?);
        }
        Ok(userids)
    }

    /// The shared contents of a message, if kept.
    pub async fn shared_contents(
        &self,
        log: &LogName,
        messages: &[MessageId],
    ) -> Result<HashMap<MessageId, Vec<u8>>, StoreError> {
        let keys: Vec<_> = messages.iter().map(|message| (*message.as_bytes(), SHARED)).collect();
        let contents = self.contents(log, &keys).await?;
        Ok(contents.into_iter().map(|(message, _, contents)| (message, contents)).collect())
    }

    /// The recipients' own contents, where they have any.
    pub async fn own_contents(
        &self,
        log: &LogName,
        deliveries: &[DeliveryId],
    ) -> Result<HashMap<DeliveryId, Vec<u8>>, StoreError> {
        let keys: Vec<_> = deliveries
            .iter()
            .map(|delivery| (*delivery.message.as_bytes(), i64::from(delivery.index)))
            .collect();
        let own = |(message, index, contents)| {
            let index = u32::try_from(index).map_err(|_| StoreError::Corrupt(format!("index {index}")))?;
            Ok((DeliveryId::new(message, index), contents))
        };
        self.contents(log, &keys).await?.into_iter().map(own).collect()
    }

    /// A secret by its reference.
    pub async fn secret(&self, reference: &str) -> Result<Option<SecretString>, StoreError> {
        let sealed = self.inner.database.reader().await?.session().secret(reference).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let opened = self.unseal(&place::secret(reference), &sealed).await?;
        Ok(Some(text(opened, "a secret")?.into()))
    }

    /// By what people know the secrets under these references. Those that are not kept are left out.
    pub async fn secret_marks(&self, references: &[&str]) -> Result<HashMap<String, SecretMark>, StoreError> {
        let rows = self.inner.database.reader().await?.session().secrets(references).await?;
        let mut marks = HashMap::with_capacity(rows.len());
        for (reference, sealed, kept_at) in rows {
            let secret = self.unseal(&place::secret(&reference), &sealed).await?;
            let fingerprint = self.inner.vault.fingerprint_of(&secret);
            marks.insert(reference, SecretMark { fingerprint, set_at: Timestamp::from_micros(kept_at) });
        }
        Ok(marks)
    }

    /// Opens a sealed value of the row that `place` names. One that names a data key this process does not know has the table
    /// of keys read anew: another node made that key a moment ago.
    pub(crate) async fn unseal(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = match self.inner.vault.ring().open(place, sealed) {
            Ok((_, value)) => return Ok(value),
            Err(NotOpened::Damaged) => return Err(does_not_open(place)),
            Err(NotOpened::UnknownKey(key)) => key,
        };
        self.reload_keys().await?;
        match self.inner.vault.ring().open(place, sealed) {
            Ok((_, value)) => Ok(value),
            Err(NotOpened::UnknownKey(_)) if self.data_key_exists(key).await? => {
                Err(StoreError::Unavailable {
                    doing: "opening a sealed value",
                    source: DriverError::Said(format!(
                        "data key {key} is not wrapped under the master key that this node was started with"
                    )),
                })
            }
            Err(_) => Err(does_not_open(place)),
        }
    }

    async fn contents(
        &self,
        log: &LogName,
        keys: &[([u8; 16], i64)],
    ) -> Result<Vec<(MessageId, i64, Vec<u8>)>, StoreError> {
        let rows = self.inner.database.reader().await?.session().contents(log, keys).await?;
        let mut contents = Vec::with_capacity(rows.len());
        for (key, index, sealed) in rows {
            let place = index.to_le_bytes();
            let opened = self.unseal(&place::content(log.as_str(), &key, &place), &sealed).await?;
            contents.push((MessageId::from_bytes(key), index, opened));
        }
        Ok(contents)
    }
}

pub(super) fn text(bytes: Vec<u8>, what: &str) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|_| StoreError::Corrupt(format!("{what} is not text")))
}

pub(super) fn broken(error: subledger_domain::IdError) -> StoreError {
    StoreError::Corrupt(format!("a sealed {} is malformed", error.what))
}
