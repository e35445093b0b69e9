//! WeChat's daily quota of sending: what is known of it, how long it lasts, and a reserve for single sends.
//!
//! WeChat says how many sends an account has made and may make today; its figures may be about one per cent off, and other
//! systems may send for the same account. One node at a time asks per channel ([`poll`]), rarely, and between two answers we
//! subtract what we sent ourselves ([`figures`]). When what is left falls to the channel's reserve, the dispatcher holds
//! bulk deliveries and goes on with single ones ([`reserve`]); the quota begins anew at midnight in China, and so do they.

mod clear;
pub(crate) mod figures;
pub(crate) mod poll;
pub(crate) mod reserve;

use std::time::Duration;

use subledger_domain::{
    ChannelCode, LogName, StreamName, Timestamp,
    channel::{BulkHeld, Channel, reserved},
};
use subledger_projection::Queries;
use subledger_store::{Claimable, QuotaFailure, QuotaRate, QuotaSample, Store};

pub(crate) use clear::QuotaTimes;
pub use figures::{Figures, Forecast};

use crate::{Engine, EngineError};

/// How often WeChat is asked.
#[derive(Debug, Clone)]
pub struct QuotaSettings {
    /// About a channel that sends.
    pub busy: Duration,
    /// About one that does not.
    pub idle: Duration,
    /// After a failure; doubled with each further one, up to `idle`.
    pub retry: Duration,
    /// How often a node looks whether anything is due.
    pub tick: Duration,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(300),
            idle: Duration::from_secs(6 * 3_600),
            retry: Duration::from_secs(60),
            tick: Duration::from_secs(10),
        }
    }
}

/// What is known of a channel's quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    /// WeChat's newest answer; none if it never gave one, or not within three days.
    pub sample: Option<QuotaSample>,
    /// The figures of this moment.
    pub figures: Option<Figures>,
    /// When the quota begins anew.
    pub resets_at: Timestamp,
    /// How long it lasts.
    pub forecast: Forecast,
    /// The channel's reserve, in per cent.
    pub reserve_percent: u8,
    /// The reserve in sends.
    pub reserve: Option<u64>,
    /// The hold of bulk deliveries, if there is one.
    pub held: Option<BulkHeld>,
    /// Bulk deliveries that wait, held or not.
    pub bulk_waiting: u64,
    /// Sends we have begun today.
    pub ours_today: u64,
    /// When WeChat was last asked.
    pub polled_at: Option<Timestamp>,
    /// Why it did not tell then.
    pub failure: Option<QuotaFailure>,
}

impl Quota {
    /// WeChat's bound within a short time, if it names one.
    pub fn rate(&self) -> Option<QuotaRate> {
        self.sample.and_then(|sample| sample.rate)
    }
}

/// What is known of a channel's quota. Only reads, so it works beside the process that writes a SQLite file.
pub async fn quota(store: &Store, queries: &Queries, code: &ChannelCode) -> Result<Quota, EngineError> {
    let log = LogName::channel(code);
    let now = store.clock().now();
    let (channel, _) = store.load::<Channel>(&log, &StreamName::channel()).await?;
    if channel.registered().is_none() {
        return Err(EngineError::unknown_channel());
    }
    let today = figures::day_start(now);
    let ours = queries.attempts_since(Some(code), today).await?.get(&log).copied().unwrap_or(0);
    let samples = store.quota_samples(&log, figures::day_start(today.plus_seconds(-2 * 86_400))).await?;
    let sample = samples.last().copied();
    let figures = sample.map(|sample| Figures::of(&sample, ours, now));
    let poll = store.quota_polls(Some(&log)).await?.pop();
    let percent = channel.policy().bulk_reserve;
    Ok(Quota {
        forecast: figures.map_or(Forecast::Unknown, |figures| figures::forecast(&samples, &figures, now)),
        resets_at: figures::next_day(now),
        reserve_percent: percent,
        reserve: figures.map(|figures| reserved(figures.limit, percent)),
        held: channel.bulk_held(now).copied(),
        bulk_waiting: store.queue_stats(&log, Claimable::All).await?.bulk,
        ours_today: ours,
        polled_at: poll.as_ref().map(|poll| poll.polled_at),
        failure: poll.and_then(|poll| poll.failure),
        sample,
        figures,
    })
}

/// The channel of a log.
fn code_of(log: &LogName) -> Option<ChannelCode> {
    log.as_str().parse().ok()
}

impl Engine {
    /// What is known of a channel's quota.
    pub async fn quota(&self, code: &ChannelCode) -> Result<Quota, EngineError> {
        quota(self.store(), self.queries(), code).await
    }

    /// The hold of a channel's bulk deliveries, if there is one at this moment.
    pub async fn bulk_held(&self, code: &ChannelCode) -> Result<Option<BulkHeld>, EngineError> {
        let channel = self.channel(code).await?.0;
        Ok(channel.bulk_held(self.now()).copied())
    }

    /// Asks WeChat now, unless it was asked a moment ago, and tells what is known then.
    pub async fn refresh_quota(&self, code: &ChannelCode) -> Result<Quota, EngineError> {
        self.registered(code).await?;
        self.quota_slot(code)?;
        poll::ask(self, &LogName::channel(code)).await?;
        self.quota(code).await
    }
}
