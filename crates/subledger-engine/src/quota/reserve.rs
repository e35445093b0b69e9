//! The lane's side of the reserve: how many deliveries may be claimed, and whether bulk is among them.
//!
//! Whether bulk is held is on the channel's books, so that all nodes hold alike. This is what leads there: each lane counts
//! down from what was left when it last looked, and looks again when that is gone or old. So on one node a hold comes to the
//! delivery; several nodes overshoot by what each claims between two looks. A reserve absorbs that.

use std::{sync::atomic::Ordering, time::Duration};

use subledger_domain::{
    LogName, Timestamp,
    channel::{BulkHeld, Channel, ChannelCommand, reserved},
};
use subledger_store::{Cause, Claimable};

use super::{
    code_of,
    figures::{Figures, day_start, next_day},
};
use crate::{Engine, EngineError};

/// How long a count is trusted while the lane sends; other nodes send, too.
const BUSY: Duration = Duration::from_secs(5);
/// How long while it does not.
const IDLE: Duration = Duration::from_secs(60);

/// What one lane knows of its channel's quota. Used by that lane alone, so it needs no lock.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    checked_at: Option<Timestamp>,
    /// Sends above the reserve when it was checked; none if the quota is not known.
    headroom: Option<u64>,
    /// Sends begun that day when it was checked.
    ours: u64,
    /// Claimed since.
    spent: u64,
}

/// What may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) of: Claimable,
    /// At most so many.
    pub(crate) limit: usize,
}

impl Reserve {
    /// What of `wanted` deliveries may be claimed while `in_flight` are under way here. `None`: what is left was counted anew,
    /// which takes a while, so the channel is to be looked at again first.
    pub(crate) async fn allow(
        &mut self,
        engine: &Engine,
        log: &LogName,
        channel: &Channel,
        wanted: usize,
        in_flight: usize,
    ) -> Result<Option<Allowance>, EngineError> {
        let (now, percent) = (engine.now(), channel.policy().bulk_reserve);
        if percent == 0 {
            return Ok(Some(Allowance { of: Claimable::All, limit: wanted }));
        }
        if channel.bulk_held(now).is_some() {
            // What is left is counted anew once they go on.
            *self = Self::default();
            return Ok(Some(Allowance { of: Claimable::Singles, limit: wanted }));
        }
        let told = engine.signals().of(log).recount.swap(false, Ordering::Relaxed);
        if told || self.is_old(now) {
            self.look(engine, log, percent, in_flight).await?;
            return Ok(None);
        }
        let Some(headroom) = self.headroom else {
            return Ok(Some(Allowance { of: Claimable::All, limit: wanted }));
        };
        let left = headroom.saturating_sub(self.spent);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        if limit == 0 {
            return Ok(Some(Allowance { of: Claimable::Singles, limit: wanted }));
        }
        Ok(Some(Allowance { of: Claimable::All, limit }))
    }

    /// So many were claimed.
    pub(crate) fn spend(&mut self, claimed: usize) {
        self.spent = self.spent.saturating_add(claimed as u64);
    }

    fn is_old(&self, now: Timestamp) -> bool {
        let Some(checked_at) = self.checked_at else { return true };
        let gone = self.spent > 0 && self.headroom.is_some_and(|headroom| headroom <= self.spent);
        let trusted = if self.spent > 0 { BUSY } else { IDLE };
        let age = Duration::from_micros(u64::try_from(now.micros() - checked_at.micros()).unwrap_or(0));
        gone || trusted <= age || day_start(checked_at) != day_start(now)
    }

    /// Counts what is left; if it is no more than the reserve, holds bulk.
    async fn look(
        &mut self,
        engine: &Engine,
        log: &LogName,
        percent: u8,
        in_flight: usize,
    ) -> Result<(), EngineError> {
        let (store, now) = (engine.store(), engine.now());
        let same_day = self.checked_at.is_some_and(|at| day_start(at) == day_start(now));
        // What this lane claimed is counted even where the read models do not show it yet.
        let least = if same_day && in_flight > 0 { self.ours.saturating_add(self.spent) } else { 0 };
        if in_flight == 0 {
            engine.caught_up(log, None).await;
        }
        *self = Self { checked_at: Some(now), ..Self::default() };
        let Some(code) = code_of(log) else { return Ok(()) };
        let samples = store.quota_samples(log, day_start(now).plus_seconds(-86_400)).await?;
        let Some(sample) = samples.last() else { return Ok(()) };
        let ours = engine.queries().attempts_since(Some(&code), day_start(now)).await?;
        self.ours = ours.get(log).copied().unwrap_or(0).max(least);
        let figures = Figures::of(sample, self.ours, now);
        let headroom = figures.remaining.saturating_sub(reserved(figures.limit, percent));
        self.headroom = Some(headroom);
        if headroom > 0 {
            return Ok(());
        }
        let held = BulkHeld {
            until: next_day(now),
            limit: figures.limit,
            remaining: figures.remaining,
            reserve: percent,
            read_at: figures.read_at,
        };
        let cause = Cause { by: "dispatcher".to_owned(), command: "hold_bulk".to_owned(), request: None };
        engine.change_channel(cause, &code, ChannelCommand::HoldBulk(held)).await?;
        tracing::warn!(
            log.name = %log,
            quota.remaining = figures.remaining,
            quota.limit = figures.limit,
            quota.reserve_percent = percent,
            "bulk deliveries are held: WeChat's daily quota runs short"
        );
        Ok(())
    }
}
