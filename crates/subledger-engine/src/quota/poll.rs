//! Asking WeChat for quotas: one node at a time per channel, rarely, and never all channels at once.
//!
//! When a channel is due is read from the database, so it does not matter which node asked last or whether it still lives; a
//! lease keeps two nodes from asking at the same moment. A channel that sends is asked about every few minutes; one that does
//! not, rarely, and not at all if it fetches tokens in the mode in which each fetch retires the token of others.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream};
use subledger_domain::{
    LogName, StreamName, Timestamp,
    channel::{BulkRelease, Channel, ChannelCommand, TokenMode, reserved},
};
use subledger_store::{Cause, QuotaPoll, QuotaRate, QuotaSample};
use subledger_wechat::{ApiQuota, CallError, ChannelError, TokenError};
use tokio_util::sync::CancellationToken;

use super::{
    QuotaSettings, code_of,
    figures::{Figures, day_start},
};
use crate::{Engine, EngineError, gateway, metric_definitions};

/// Channels asked about at the same time, per node.
const AT_ONCE: usize = 4;
/// How long a node has for one round of asking; longer than every time-out of a call together.
const LEASE: Duration = Duration::from_secs(60);
/// The name that all nodes hold leases under begins with this.
const LEASE_PREFIX: &str = "quota/";

/// Asks until `stop`.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let tick = engine.settings().quota.tick;
    loop {
        let round = async {
            if let Err(error) = round(&engine).await {
                tracing::warn!(error = %error, cause = ?error.cause, "quotas could not be looked after");
            }
            tokio::time::sleep(tick).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

async fn round(engine: &Engine) -> Result<(), EngineError> {
    let due = due(engine).await?;
    if due.is_empty() {
        return Ok(());
    }
    let store = engine.store();
    let names: Vec<String> = due.iter().map(|log| format!("{LEASE_PREFIX}{log}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let leases = store.lease_acquire_all(&names, engine.node(), LEASE).await?;
    // Another node may have asked between the first look and the lease.
    let still = self::due(engine).await?;
    let mine = still
        .into_iter()
        .filter(|log| leases.iter().any(|lease| lease.name.strip_prefix(LEASE_PREFIX) == Some(log.as_str())));
    stream::iter(mine)
        .for_each_concurrent(AT_ONCE, |log| async move {
            if let Err(error) = ask(engine, &log).await {
                tracing::debug!(log.name = %log, error = %error, "WeChat did not tell the quota");
            }
        })
        .await;
    Ok(store.lease_release(&leases).await?)
}

/// Channels that WeChat should be asked about now.
async fn due(engine: &Engine) -> Result<Vec<LogName>, EngineError> {
    let (store, now) = (engine.store(), engine.now());
    let polls: BTreeMap<LogName, QuotaPoll> =
        store.quota_polls(None).await?.into_iter().map(|poll| (poll.log.clone(), poll)).collect();
    let settings = &engine.settings().quota;
    // Whether a channel sends matters only once it could be due.
    let ripe = |log: &LogName| polls.get(log).is_none_or(|poll| soonest(poll, settings) <= now);
    let logs: Vec<LogName> = store
        .logs()
        .borrow()
        .iter()
        .filter(|log| log.as_str() != LogName::MAIN && ripe(log))
        .cloned()
        .collect();
    if logs.is_empty() {
        return Ok(logs);
    }
    let ours = engine.queries().attempts_since(None, day_start(now)).await?;
    let is_due = |log: &LogName| {
        let Some(poll) = polls.get(log) else { return true };
        let sends = ours.get(log).copied().unwrap_or(0);
        poll.failure.is_some() || sends_since(poll, sends, now) || latest(poll, settings) <= now
    };
    Ok(logs.into_iter().filter(is_due).collect())
}

/// Whether anything was sent since the newest sample.
fn sends_since(poll: &QuotaPoll, ours_today: u64, now: Timestamp) -> bool {
    match poll.newest {
        Some((at, ours)) if day_start(at) == day_start(now) => ours_today > ours,
        _ => ours_today > 0,
    }
}

/// When a channel may be asked about again at the earliest.
fn soonest(poll: &QuotaPoll, settings: &QuotaSettings) -> Timestamp {
    let wait = match &poll.failure {
        None => settings.busy,
        Some(failure) => {
            let doubled = u32::try_from(failure.failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
            settings.retry.saturating_mul(1 << doubled).min(settings.idle)
        }
    };
    after(poll.polled_at, wait)
}

/// When it is asked about although it does not send.
fn latest(poll: &QuotaPoll, settings: &QuotaSettings) -> Timestamp {
    after(poll.polled_at, settings.idle)
}

/// `wait` later, and up to a tenth more: the last digits of the time spread channels that were once asked about together, and
/// every node comes to the same moment.
fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 4);
    at.plus_micros(wait + at.micros().rem_euclid((wait / 10).max(1)))
}

/// Asks WeChat about one channel and keeps what it says, or that it did not.
pub(crate) async fn ask(engine: &Engine, log: &LogName) -> Result<(), EngineError> {
    let store = engine.store();
    let (channel, _) = store.load::<Channel>(log, &StreamName::channel()).await?;
    let Some(registered) = channel.registered() else { return Ok(()) };
    // Counted before WeChat is asked: what is sent meanwhile is then counted twice rather than never.
    let today = day_start(engine.now());
    let code = code_of(log);
    let ours = engine.queries().attempts_since(code.as_ref(), today).await?.get(log).copied().unwrap_or(0);
    if registered.token_mode == TokenMode::Normal && ours == 0 {
        // A fetch would retire the token that another system may hold, for a figure nobody needs.
        return Ok(store.note_quota_failure(log, engine.now(), None, "not_asked").await?);
    }
    let answer = engine.client(log, registered).send_quota().await;
    let result = if answer.is_ok() { "ok" } else { "failed" };
    metrics::counter!(metric_definitions::QUOTA_POLLS, "channel" => log.to_string(), "result" => result)
        .increment(1);
    match answer {
        Ok(quota) => {
            let sample = sample(quota, ours, engine.now());
            store.keep_quota(log, &sample).await?;
            engine.signals().of(log).recount.store(true, Ordering::Relaxed);
            show(log, &sample);
            Ok(release(engine, log, &sample, ours).await?)
        }
        Err(error) => {
            let (errcode, word) = failure(&error);
            store.note_quota_failure(log, engine.now(), errcode, word).await?;
            Err(gateway::channel_error(&error))
        }
    }
}

fn sample(quota: ApiQuota, ours: u64, read_at: Timestamp) -> QuotaSample {
    let ApiQuota { daily_limit: limit, used, remain, rate } = quota;
    let rate = rate.map(|rate| QuotaRate { calls: rate.calls, seconds: rate.seconds });
    QuotaSample { read_at, limit, used, remain, ours, rate }
}

/// Lets held bulk go on if WeChat says that clearly more is left than was thought: by two per cent of the limit, since its
/// figures are one off and holds must not flutter.
async fn release(engine: &Engine, log: &LogName, sample: &QuotaSample, ours: u64) -> Result<(), EngineError> {
    let now = engine.now();
    let Some(code) = code_of(log) else { return Ok(()) };
    let (channel, _) = engine.store().load::<Channel>(log, &StreamName::channel()).await?;
    if channel.bulk_held(now).is_none() {
        return Ok(());
    }
    let figures = Figures::of(sample, ours, now);
    let enough = reserved(figures.limit, channel.policy().bulk_reserve) + figures.limit / 50;
    if figures.remaining <= enough {
        return Ok(());
    }
    let cause = Cause { by: "quota".to_owned(), command: "release_bulk".to_owned(), request: None };
    let command = ChannelCommand::ReleaseBulk { cause: BulkRelease::Quota, remaining: figures.remaining };
    engine.change_channel(cause, &code, command).await?;
    engine.signals().of(log).wake.notify_one();
    Ok(())
}

fn failure(error: &ChannelError) -> (Option<i64>, &'static str) {
    match error {
        ChannelError::NoToken(TokenError::Call(call)) | ChannelError::Call(call) => (call.code(), word(call)),
        ChannelError::NoToken(_) => (None, "no_token"),
        ChannelError::TokenConflict(conflict) => (Some(conflict.code), "token_conflict"),
    }
}

const fn word(error: &CallError) -> &'static str {
    match error {
        CallError::Refused { .. } => "refused",
        CallError::TryAgain { .. } => "try_again",
        CallError::StaleToken { .. } => "stale_token",
        CallError::NotReached(_) => "not_reached",
        CallError::Unknown(_) => "no_answer",
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn show(log: &LogName, sample: &QuotaSample) {
    let gauges = [
        (metric_definitions::QUOTA_LIMIT, sample.limit as f64),
        (metric_definitions::QUOTA_USED, sample.used as f64),
        (metric_definitions::QUOTA_REMAINING, sample.remain as f64),
        (metric_definitions::QUOTA_READ, sample.read_at.micros() as f64 / 1e6),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name, "channel" => log.to_string()).set(value);
    }
}
