//! Pushes from WeChat that are kept, as they are looked at. They come in through [`crate::Effect`]s; their relay is
//! [`super::relay`].

use std::collections::BTreeMap;

use subledger_domain::{LogName, SubjectId, Timestamp};

use super::{Store, place};
use crate::{
    KeptPush, OpenPush, PushFilter, PushKey, PushKind, PushPage, PushState, RelayState, StoreError,
    rows::{push::kept_push, unsigned},
};

/// How the pushes of a log fare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushHealth {
    /// By kind, those of which any is kept.
    pub kinds: BTreeMap<PushKind, KindHealth>,
    /// How many are kept in each state; states without any are left out.
    pub states: BTreeMap<PushState, u64>,
    /// Their relay.
    pub relay: RelayHealth,
}

/// How the pushes of a kind fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindHealth {
    /// How many are kept.
    pub kept: u64,
    /// When the newest came.
    pub last_at: Timestamp,
}

/// How the relay of a log's pushes goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayHealth {
    /// Pushes that the back end is still to get, those under way included.
    pub waiting: u64,
    /// Pushes that were given up.
    pub given_up: u64,
    /// When the oldest came that the back end is still to get.
    pub oldest_waiting_at: Option<Timestamp>,
    /// What the newest attempt came to for the oldest push that waits; if none waits or it was not tried yet, for the newest
    /// push whose relay has ended. `ok`, an HTTP status, or the class of an error.
    pub last_status: Option<String>,
}

impl Store {
    /// A push with its body, if it is kept.
    pub async fn push(&self, log: &LogName, key: PushKey) -> Result<Option<OpenPush>, StoreError> {
        let row = self.inner.database.reader().await?.session().one(log, key.as_bytes()).await?;
        let Some(row) = row else { return Ok(None) };
        let (push, sealed) = kept_push(row)?;
        let body = self.open_push(&push, &sealed).await?;
        Ok(Some(OpenPush { push, body }))
    }

    /// Up to `limit` pushes of a log, the newest first, without their bodies.
    pub async fn pushes(
        &self,
        log: &LogName,
        filter: &PushFilter,
        page: PushPage,
        limit: u32,
    ) -> Result<Vec<KeptPush>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let rows = reader.session().list(log, filter, page, i64::from(limit)).await?;
        rows.into_iter().map(|row| Ok(kept_push(row)?.0)).collect()
    }

    /// How the pushes of a log fare. Counts by reading an index, so it takes the longer the more are kept: about a second for
    /// a few millions.
    pub async fn push_health(&self, log: &LogName) -> Result<PushHealth, StoreError> {
        let mut health = PushHealth::default();
        let mut reader = self.inner.database.reader().await?;
        for (kind, state, pushes, newest) in reader.session().counts(log).await? {
            let pushes = unsigned(pushes)?;
            let last_at = Timestamp::from_micros(newest.unwrap_or_default());
            let kind = health.kinds.entry(PushKind::of(kind)?).or_insert(KindHealth { kept: 0, last_at });
            kind.kept += pushes;
            *health.states.entry(PushState::of(state)?).or_default() += pushes;
        }
        let relay = &mut health.relay;
        for (state, pushes) in reader.session().relay_counts(log).await? {
            match RelayState::of(state)? {
                RelayState::GivenUp => relay.given_up += unsigned(pushes)?,
                _ => relay.waiting += unsigned(pushes)?,
            }
        }
        let edges = reader.session().relay_edges(log).await?;
        let waits = |state: i64| state <= i64::from(RelayState::Leased.number());
        let oldest = edges.iter().filter(|(state, ..)| waits(*state)).min_by_key(|(_, at, _)| *at);
        let ended = edges.iter().filter(|(state, ..)| !waits(*state)).max_by_key(|(_, at, _)| *at);
        relay.oldest_waiting_at = oldest.map(|(_, at, _)| Timestamp::from_micros(*at));
        relay.last_status = [oldest, ended].into_iter().flatten().find_map(|(.., status)| status.clone());
        Ok(health)
    }

    /// Up to `limit` pushes of any log that were kept and not acted on, the oldest first. One whose body does not open is left
    /// out, loudly.
    pub async fn pending_pushes(&self, limit: u32) -> Result<Vec<OpenPush>, StoreError> {
        let rows = self.inner.database.reader().await?.session().pending(i64::from(limit)).await?;
        let mut pending = Vec::with_capacity(rows.len());
        for row in rows {
            let (push, sealed) = kept_push(row)?;
            match self.open_push(&push, &sealed).await {
                Ok(body) => pending.push(OpenPush { push, body }),
                Err(error) => {
                    tracing::error!(log.name = push.log.as_str(), push.key = %push.key, error = %error, "a push does not open");
                }
            }
        }
        Ok(pending)
    }

    /// Notes that a push came once more. Answers whether it is kept.
    pub async fn note_push_again(&self, log: &LogName, key: PushKey) -> Result<bool, StoreError> {
        let now = self.inner.clock.now().micros();
        self.inner.database.writer().await?.session().note_again(log, key.as_bytes(), now).await
    }

    /// How many pushes are kept that these subjects of a log sent.
    pub async fn count_pushes_of(&self, log: &LogName, subjects: &[SubjectId]) -> Result<u64, StoreError> {
        let keys: Vec<[u8; 16]> = subjects.iter().map(|subject| *subject.as_bytes()).collect();
        unsigned(self.inner.database.reader().await?.session().count_of(log, &keys).await?)
    }

    pub(super) async fn open_push(&self, push: &KeptPush, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.unseal(&place::push(push.log.as_str(), push.key.as_bytes()), sealed).await
    }
}
