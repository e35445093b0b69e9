//! What WeChat said of daily quotas.

use sqlx::SqliteConnection;
use subledger_domain::LogName;

use crate::{
    QuotaSample, StoreError,
    error::while_doing,
    rows::{PollColumns, QuotaColumns},
};

/// A count in the form of the database; WeChat's figures are far below its bound.
fn count(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// Keeps a sample, and deletes those of the log from before a moment.
pub(crate) async fn keep_quota(
    connection: &mut SqliteConnection,
    log: &LogName,
    sample: &QuotaSample,
    before: i64,
) -> Result<(), StoreError> {
    let failed = while_doing("keeping a quota");
    sqlx::query(
        "delete from quota_sample where log = (select id from head where name = ?1) and read_at < ?2",
    )
    .bind(log.as_str())
    .bind(before)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    sqlx::query(
        "insert into quota_sample (log, read_at, day_limit, used, remain, ours, rate_calls, rate_seconds)
         select id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 from head where name = ?1
         on conflict (log, read_at) do nothing",
    )
    .bind(log.as_str())
    .bind(sample.read_at.micros())
    .bind(count(sample.limit))
    .bind(count(sample.used))
    .bind(count(sample.remain))
    .bind(count(sample.ours))
    .bind(sample.rate.map(|rate| count(rate.calls)))
    .bind(sample.rate.map(|rate| count(rate.seconds)))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Notes how the newest try went: `failure` is WeChat's code and a word.
pub(crate) async fn note_poll(
    connection: &mut SqliteConnection,
    log: &LogName,
    polled_at: i64,
    failure: Option<(Option<i64>, &str)>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into quota_poll (log, polled_at, failures, errcode, failure)
         select id, ?2, ?3, ?4, ?5 from head where name = ?1
         on conflict (log) do update set
             polled_at = excluded.polled_at, errcode = excluded.errcode, failure = excluded.failure,
             failures = case when excluded.failures = 0 then 0 else quota_poll.failures + 1 end",
    )
    .bind(log.as_str())
    .bind(polled_at)
    .bind(i64::from(failure.is_some()))
    .bind(failure.and_then(|(errcode, _)| errcode))
    .bind(failure.map(|(_, word)| word))
    .execute(connection)
    .await
    .map_err(while_doing("noting how asking for a quota went"))?;
    Ok(())
}

/// The samples of a log since a moment, the oldest first.
pub(crate) async fn samples(
    connection: &mut SqliteConnection,
    log: &LogName,
    since: i64,
) -> Result<Vec<QuotaColumns>, StoreError> {
    sqlx::query_as(
        "select read_at, day_limit, used, remain, ours, rate_calls, rate_seconds from quota_sample
         where log = (select id from head where name = ?1) and read_at >= ?2 order by read_at",
    )
    .bind(log.as_str())
    .bind(since)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading quotas"))
}

/// How asking goes, of a log or by log, with time and own count of the newest sample.
pub(crate) async fn polls(
    connection: &mut SqliteConnection,
    log: Option<&LogName>,
) -> Result<Vec<PollColumns>, StoreError> {
    sqlx::query_as(
        "select h.name, p.polled_at, p.failures, p.errcode, p.failure, s.read_at, s.ours
         from quota_poll p join head h on h.id = p.log
         left join quota_sample s on s.log = p.log
             and s.read_at = (select max(read_at) from quota_sample where log = p.log)
         where ?1 is null or h.name = ?1",
    )
    .bind(log.map(LogName::as_str))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading how asking for quotas goes"))
}
