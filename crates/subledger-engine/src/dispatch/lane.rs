//! One channel's lane: when to claim, how much, and when to hold back.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use subledger_domain::{
    DeliveryId, LogName, MessageId, Openid, StreamName, SubjectId, Timestamp, channel::Channel,
};
use subledger_store::{Claimable, Claimed, QueueRow, StoreError};
use subledger_wechat::{ChannelClient, TokenError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Signal,
    attempt::{self, Parcel},
    outcome::no_token,
    pace::Pace,
};
use crate::{
    Engine, EngineError,
    contents::{OwnContents, SharedContents},
    metric_definitions,
    quota::reserve::{Allowance, Reserve},
};

/// Rows claimed in one round at most: what one lease must outlive stays small.
const CLAIM_BATCH: usize = 64;
/// How long a lane waits after the database failed it.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What the lane and its attempts share.
pub(super) struct Lane {
    pub(super) engine: Engine,
    pub(super) log: LogName,
    pub(super) stop: CancellationToken,
    pub(super) signal: Arc<Signal>,
}

impl Lane {
    /// Holds the whole lane until `until`: the answer was about the channel, not about one delivery.
    pub(super) fn hold(&self, until: Timestamp, why: &str) {
        let before = self.signal.hold_until.fetch_max(until.micros(), Ordering::Relaxed);
        if before < until.micros() {
            let seconds = (until.micros() - self.engine.now().micros()).max(0) / Timestamp::MICROS_PER_SECOND;
            tracing::warn!(log.name = %self.log, hold.seconds = seconds, hold.reason = why, "sending is held back");
        }
    }

    fn held_for(&self) -> Duration {
        let micros = self.signal.hold_until.load(Ordering::Relaxed) - self.engine.now().micros();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Runs the lane until `stop`, then waits for its attempts.
pub(super) async fn run(engine: Engine, log: LogName, stop: CancellationToken) {
    let settings = engine.settings().dispatch.clone();
    let signal = engine.signals().of(&log);
    let lane = Arc::new(Lane { engine, log, stop: stop.clone(), signal });
    let room = Arc::new(Semaphore::new(settings.in_flight));
    let attempts = TaskTracker::new();
    let mut pace = Pace::new(settings.sends_per_second, lane.engine.now());
    let mut reserve = Reserve::default();
    while !stop.is_cancelled() {
        let pause = match round(&lane, &room, &mut pace, &mut reserve, &attempts).await {
            Ok(Round::More) => continue,
            Ok(Round::Idle(next)) => next.min(settings.poll),
            Err(error) => {
                tracing::warn!(log.name = %lane.log, error = %error, cause = ?error.cause, "the lane could not look for work");
                DATABASE_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = lane.signal.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    attempts.close();
    attempts.wait().await;
}

enum Round {
    /// Something was claimed; there may be more.
    More,
    /// Nothing to do for so long.
    Idle(Duration),
}

async fn round(
    lane: &Arc<Lane>,
    room: &Arc<Semaphore>,
    pace: &mut Pace,
    reserve: &mut Reserve,
    attempts: &TaskTracker,
) -> Result<Round, EngineError> {
    let held = lane.held_for();
    let free = pace.allowed(room.available_permits().min(CLAIM_BATCH), lane.engine.now());
    if held > Duration::ZERO || free == 0 {
        return Ok(Round::Idle(held.max(Duration::from_millis(50))));
    }
    let store = lane.engine.store();
    let (channel, _) = store.load::<Channel>(&lane.log, &StreamName::channel()).await?;
    let Some(registered) = channel.registered().filter(|_| channel.hold().is_none()) else {
        return Ok(Round::Idle(Duration::MAX));
    };
    let in_flight = lane.engine.settings().dispatch.in_flight.saturating_sub(room.available_permits());
    let allowed = reserve.allow(&lane.engine, &lane.log, &channel, free, in_flight).await?;
    let Some(Allowance { of, limit }) = allowed else { return Ok(Round::More) };
    let limit = u32::try_from(limit).unwrap_or(1);
    let lease = lane.engine.settings().dispatch.lease;
    let claimed = store.claim(&lane.log, lane.engine.node(), limit, lease, of).await?;
    if claimed.is_empty() {
        return Ok(Round::Idle(until_due(lane, of).await?));
    }
    pace.spend(claimed.len());
    let client = lane.engine.client(&lane.log, registered);
    let rows: Vec<QueueRow> = claimed.into_iter().map(|Claimed { row, .. }| row).collect();
    // Nothing is started yet: rows are given back rather than left until their leases run out.
    let give_back = async || {
        let ids: Vec<DeliveryId> = rows.iter().map(|row| row.delivery).collect();
        let _ = store.unclaim(&lane.log, &ids, lane.engine.now()).await;
    };
    // Without a token there is nothing to start: nobody's attempts are counted for it.
    let token = tokio::time::timeout(lease / 2, client.token()).await;
    if let Err(error) = token.unwrap_or(Err(TokenError::Interrupted)) {
        give_back().await;
        let (word, until) = no_token(&error, lane.engine.now());
        lane.hold(until, word);
        return Ok(Round::Idle(Duration::from_millis(50)));
    }
    let parcels = match pack(lane, &rows).await {
        Ok(parcels) => parcels,
        Err(error) => {
            give_back().await;
            return Err(error.into());
        }
    };
    reserve.spend(parcels.len());
    for parcel in parcels {
        let permit = Arc::clone(room).acquire_owned().await;
        let Ok(permit) = permit else { break };
        attempts.spawn(one(Arc::clone(lane), client.clone(), parcel, permit));
    }
    Ok(Round::More)
}

async fn one(lane: Arc<Lane>, client: ChannelClient, parcel: Parcel, permit: OwnedSemaphorePermit) {
    let gauge = metrics::gauge!(metric_definitions::IN_FLIGHT, "channel" => lane.log.to_string());
    gauge.increment(1.0);
    attempt::run(&lane, &client, parcel).await;
    gauge.decrement(1.0);
    drop(permit);
    lane.signal.wake.notify_one();
}

async fn until_due(lane: &Lane, of: Claimable) -> Result<Duration, StoreError> {
    let next = lane.engine.store().next_due(&lane.log, of).await?;
    let micros = next.map_or(i64::MAX, |due| due.micros().saturating_sub(lane.engine.now().micros()));
    // A row that is due but not claimable waits for its neighbour; the neighbour's end wakes the lane.
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)).max(Duration::from_millis(20)))
}

/// Puts openids and contents to the rows, in three reads for all of them.
async fn pack(lane: &Lane, rows: &[QueueRow]) -> Result<Vec<Parcel>, StoreError> {
    let store = lane.engine.store();
    let subjects: Vec<SubjectId> = rows.iter().map(|row| row.subject).collect();
    let mut messages: Vec<MessageId> = rows.iter().map(|row| row.delivery.message).collect();
    messages.sort_unstable();
    messages.dedup();
    let deliveries: Vec<DeliveryId> = rows.iter().map(|row| row.delivery).collect();
    let openids: HashMap<SubjectId, Openid> = store.openids(&lane.log, &subjects).await?;
    let shared = store.shared_contents(&lane.log, &messages).await?;
    let own = store.own_contents(&lane.log, &deliveries).await?;
    let shared: HashMap<MessageId, Option<Arc<SharedContents>>> =
        shared.iter().map(|(id, bytes)| (*id, serde_json::from_slice(bytes).ok().map(Arc::new))).collect();
    let parcel = |row: &QueueRow| {
        let own_bytes = own.get(&row.delivery);
        let own: Option<OwnContents> = own_bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let readable = own_bytes.is_some() == own.is_some();
        let shared = shared.get(&row.delivery.message).cloned().flatten().filter(|_| readable);
        let request = openids
            .get(&row.subject)
            .zip(shared)
            .map(|(openid, shared)| shared.request(own.as_ref(), openid.as_str(), row.template.as_str()));
        Parcel { row: row.clone(), request }
    };
    Ok(rows.iter().map(parcel).collect())
}
