//! The relay's queue: pushes on their way to the integrator's back end.
//!
//! A push waits from the moment it is kept (if it is to be relayed), is leased by a node, and ends as done or given up.
//! Pushes of one sender go in the order in which they came, one at a time; those that name nobody are one sender per log.
//! Only the first of a sender has a time at which it is due; a claim that comes upon another one takes its time away, and
//! the end of the first gives the next its time. So a back end that does not answer for days costs each waiting push one
//! look, and not one per claim.
//!
//! A lease saves work and decides nothing: a node that was slow may have relayed what another node relays again. The back end
//! tells by the push's key.

use std::{collections::HashMap, time::Duration};

use subledger_domain::{LogName, Timestamp};

use super::Store;
use crate::{
    Database, KeptPush, PushFilter, RelayState, StoreError, postgres,
    rows::{
        push::{PushColumns, RelayBounds, RelayWrite, kept_push},
        signed,
    },
    sqlite,
};

/// Rows looked at in one round of a claim, unless more are asked for.
const LOOK: u32 = 256;
/// Rounds of one claim: it may come upon many pushes that wait behind others of their sender.
const ROUNDS: u32 = 8;
/// Pushes that wait again after one statement.
const REDRIVEN: i64 = 1_000;

/// What a node has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRoom {
    /// Pushes that one claim takes at most.
    pub limit: u32,
    /// Pushes of one log that the node has leased at once at most, so that one back end cannot take all its places.
    pub per_log: u32,
    /// How many of each log it has leased already.
    pub busy: HashMap<LogName, u32>,
}

impl RelayRoom {
    /// For so many pushes of any log.
    pub fn of(limit: u32) -> Self {
        Self { limit, per_log: u32::MAX, busy: HashMap::new() }
    }

    fn bounds(&self) -> RelayBounds {
        let busy = self.busy.iter().map(|(log, busy)| (log.as_str().to_owned(), *busy as usize)).collect();
        RelayBounds { left: self.limit as usize, per_log: self.per_log as usize, busy }
    }
}

/// A push that this node has leased to relay it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedRelay {
    /// The push; [`KeptPush::relay_attempts`] counts this attempt, too.
    pub push: KeptPush,
    /// The body as it came. Names people.
    pub body: Vec<u8>,
    /// Until when the lease holds, on database time.
    pub lease_until: Timestamp,
}

impl std::fmt::Debug for ClaimedRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimedRelay")
            .field("push", &self.push)
            .field("body_bytes", &self.body.len())
            .field("lease_until", &self.lease_until)
            .finish_non_exhaustive()
    }
}

/// How an attempt to relay a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEnd {
    /// The back end has it.
    Done,
    /// It waits again.
    Again {
        /// Not before this moment.
        due_at: Timestamp,
        /// What the attempt came to: an HTTP status or the class of an error.
        status: String,
    },
    /// It was not tried after all, and waits again. The attempt does not count.
    Held {
        /// Not before this moment.
        due_at: Timestamp,
    },
    /// It is not tried any more. The next push of the sender goes on.
    GivenUp {
        /// What the attempt came to: an HTTP status or the class of an error.
        status: String,
    },
}

impl From<RelayEnd> for RelayWrite {
    fn from(end: RelayEnd) -> Self {
        match end {
            RelayEnd::Done => {
                Self { relay: RelayState::Done, due_at: None, status: Some("ok".to_owned()), attempts: 0 }
            }
            RelayEnd::Again { due_at, status } => {
                let due_at = Some(due_at.micros());
                Self { relay: RelayState::Waiting, due_at, status: Some(status), attempts: 0 }
            }
            RelayEnd::Held { due_at } => {
                let due_at = Some(due_at.micros());
                Self { relay: RelayState::Waiting, due_at, status: None, attempts: -1 }
            }
            RelayEnd::GivenUp { status } => {
                Self { relay: RelayState::GivenUp, due_at: None, status: Some(status), attempts: 0 }
            }
        }
    }
}

impl Store {
    /// Leases pushes of any log that are due, as far as there is room, for `lease`: of each sender only the first one that has
    /// not ended. Leases that ran out are taken over. Time is the database's.
    ///
    /// A push whose body does not open is given up, loudly, with the status `sealed`.
    pub async fn claim_relays(
        &self,
        node: &str,
        lease: Duration,
        room: &RelayRoom,
    ) -> Result<Vec<ClaimedRelay>, StoreError> {
        let lease = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let look = room.limit.max(LOOK);
        let mut bounds = room.bounds();
        let mut claimed = Vec::new();
        for _ in 0..ROUNDS {
            if bounds.left == 0 {
                break;
            }
            let (rows, looked) = self.claim_round(node, i64::from(look), &mut bounds, lease).await?;
            for row in rows {
                claimed.extend(self.open_claimed(node, row).await?);
            }
            if looked < look as usize {
                break;
            }
        }
        claimed.sort_by(|a, b| (&a.push.log, a.push.id).cmp(&(&b.push.log, b.push.id)));
        Ok(claimed)
    }

    /// Says how a leased push fared. `false`: the lease was lost, another node has the push or has ended it; nothing is
    /// changed.
    pub async fn settle_relay(
        &self,
        log: &LogName,
        id: u64,
        node: &str,
        end: RelayEnd,
    ) -> Result<bool, StoreError> {
        let end = RelayWrite::from(end);
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.writer().await?;
        let mut session = writer.session();
        let Some(number) = session.log_id(log).await? else { return Ok(false) };
        session.settle((number, signed(id)), node, &end, now).await
    }

    /// Has pushes of a log wait again that were given up, as far as the filter lets them; their attempts are counted anew.
    /// Answers how many. Done in pieces: what fails in between stays given up, and asking again goes on.
    pub async fn redrive_relays(&self, log: &LogName, filter: &PushFilter) -> Result<u64, StoreError> {
        if filter.relay.is_some_and(|relay| relay != RelayState::GivenUp) {
            return Ok(0);
        }
        let (mut after, mut redriven) = (0, 0);
        loop {
            let now = self.inner.clock.now().micros();
            let mut writer = self.inner.database.writer().await?;
            let ids = writer.session().redrive(log, filter, after, REDRIVEN, now).await?;
            redriven += ids.len() as u64;
            let Some(last) = ids.iter().max() else { return Ok(redriven) };
            after = *last;
        }
    }

    /// Has all pushes of a log that wait, wait until this moment at least: their back end does not take them at present.
    /// Answers how many.
    pub async fn hold_relays(&self, log: &LogName, until: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.inner.database.writer().await?;
        writer.session().hold(log, until.micros()).await
    }

    /// When the oldest push of a log came that its back end is still to get.
    pub async fn oldest_relay(&self, log: &LogName) -> Result<Option<Timestamp>, StoreError> {
        let edges = self.inner.database.reader().await?.session().relay_edges(log).await?;
        let waits = |state: i64| state <= i64::from(RelayState::Leased.number());
        let oldest = edges.iter().filter(|(state, ..)| waits(*state)).map(|(_, at, _)| *at).min();
        Ok(oldest.map(Timestamp::from_micros))
    }

    /// When the next push of any log of which there is room may be taken for relaying; this may turn out to wait behind another
    /// one.
    pub async fn next_relay_due(&self, room: &RelayRoom) -> Result<Option<Timestamp>, StoreError> {
        let bounds = room.bounds();
        let next = self.inner.database.reader().await?.session().next(&bounds.full()).await?;
        Ok(next.map(Timestamp::from_micros))
    }

    async fn claim_round(
        &self,
        node: &str,
        look: i64,
        bounds: &mut RelayBounds,
        lease: i64,
    ) -> Result<(Vec<PushColumns>, usize), StoreError> {
        let now = self.inner.clock.now().micros();
        match &self.inner.database {
            Database::Sqlite(database) => {
                let mut writer = database.writer().await?;
                sqlite::relay::claim(&mut writer, node, look, bounds, lease, now).await
            }
            Database::Postgres(pool) => postgres::relay::claim(pool, node, look, bounds, lease, now).await,
        }
    }

    async fn open_claimed(&self, node: &str, row: PushColumns) -> Result<Option<ClaimedRelay>, StoreError> {
        let (push, sealed) = kept_push(row)?;
        let lease_until = push
            .relay_due_at
            .ok_or_else(|| StoreError::Corrupt("a push that is leased without an end".to_owned()))?;
        match self.open_push(&push, &sealed).await {
            // It is sound, and another node can open it: the lease runs out.
            Err(error @ StoreError::Unavailable { .. }) => Err(error),
            Ok(body) => Ok(Some(ClaimedRelay { push, body, lease_until })),
            Err(error) => {
                tracing::error!(log.name = push.log.as_str(), push.key = %push.key, error = %error, "a push does not open");
                let end = RelayEnd::GivenUp { status: "sealed".to_owned() };
                self.settle_relay(&push.log, push.id, node, end).await?;
                Ok(None)
            }
        }
    }
}
