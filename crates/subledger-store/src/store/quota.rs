//! What WeChat said of a channel's daily quota. Not in the log: it decides nothing that is not decided anew, and WeChat can
//! be asked again.

use std::time::Duration;

use subledger_domain::{LogName, Timestamp};

use super::Store;
use crate::{
    StoreError,
    rows::{QuotaColumns, unsigned},
};

/// Samples are kept this long: today and yesterday in any time zone, with a day to spare.
const KEEP: Duration = Duration::from_secs(3 * 24 * 3_600);

/// What WeChat said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaSample {
    /// When it was asked.
    pub read_at: Timestamp,
    /// Sends a day.
    pub limit: u64,
    /// Sends made today, by everybody who sends for the account.
    pub used: u64,
    /// Sends left today.
    pub remain: u64,
    /// Sends we had begun today at that moment.
    pub ours: u64,
    /// The short-term bound, if WeChat names one.
    pub rate: Option<QuotaRate>,
}

/// Calls allowed within a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRate {
    /// Calls.
    pub calls: u64,
    /// Within so many seconds.
    pub seconds: u64,
}

/// How asking for a channel's quota goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaPoll {
    /// The channel's log.
    pub log: LogName,
    /// When it was last tried.
    pub polled_at: Timestamp,
    /// The last failure, if the last try failed.
    pub failure: Option<QuotaFailure>,
    /// When the newest sample was taken, and what we had sent that day by then.
    pub newest: Option<(Timestamp, u64)>,
}

/// Why WeChat did not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaFailure {
    /// Tries in a row that failed.
    pub failures: u64,
    /// WeChat's code, if it gave one.
    pub errcode: Option<i64>,
    /// What kind of failure, as a stable word.
    pub word: String,
}

impl Store {
    /// Keeps a sample, and deletes those of the channel that are too old.
    pub async fn keep_quota(&self, log: &LogName, sample: &QuotaSample) -> Result<(), StoreError> {
        let keep = i64::try_from(KEEP.as_micros()).unwrap_or(i64::MAX);
        let before = sample.read_at.plus_micros(-keep).micros();
        let mut writer = self.inner.database.writer().await?;
        let mut session = writer.session();
        session.keep_quota(log, sample, before).await?;
        session.note_poll(log, sample.read_at.micros(), None).await
    }

    /// Notes that WeChat could not be asked, or did not tell. `word` is a short stable word.
    pub async fn note_quota_failure(
        &self,
        log: &LogName,
        at: Timestamp,
        errcode: Option<i64>,
        word: &str,
    ) -> Result<(), StoreError> {
        let mut writer = self.inner.database.writer().await?;
        writer.session().note_poll(log, at.micros(), Some((errcode, word))).await
    }

    /// The samples of a channel since a moment, the oldest first.
    pub async fn quota_samples(
        &self,
        log: &LogName,
        since: Timestamp,
    ) -> Result<Vec<QuotaSample>, StoreError> {
        let rows = self.inner.database.reader().await?.session().samples(log, since.micros()).await?;
        rows.into_iter().map(sample).collect()
    }

    /// How asking goes, for a channel or for every one that was ever asked about.
    pub async fn quota_polls(&self, log: Option<&LogName>) -> Result<Vec<QuotaPoll>, StoreError> {
        let rows = self.inner.database.reader().await?.session().polls(log).await?;
        rows.into_iter()
            .map(|(log, polled_at, failures, errcode, failure, newest, ours)| {
                let failures = unsigned(failures)?;
                let failure = failure.map(|word| QuotaFailure { failures, errcode, word });
                let newest = match (newest, ours) {
                    (Some(at), Some(ours)) => Some((Timestamp::from_micros(at), unsigned(ours)?)),
                    _ => None,
                };
                let polled_at = Timestamp::from_micros(polled_at);
                Ok(QuotaPoll { log: LogName::new(log), polled_at, failure, newest })
            })
            .collect()
    }
}

fn sample(row: QuotaColumns) -> Result<QuotaSample, StoreError> {
    let (read_at, limit, used, remain, ours, calls, seconds) = row;
    let rate = match (calls, seconds) {
        (Some(calls), Some(seconds)) => {
            Some(QuotaRate { calls: unsigned(calls)?, seconds: unsigned(seconds)? })
        }
        _ => None,
    };
    Ok(QuotaSample {
        read_at: Timestamp::from_micros(read_at),
        limit: unsigned(limit)?,
        used: unsigned(used)?,
        remain: unsigned(remain)?,
        ours: unsigned(ours)?,
        rate,
    })
}
