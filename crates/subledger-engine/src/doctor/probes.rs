//! Calls to WeChat that the doctor makes, rationed: within a while the answer of before is given.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use subledger_domain::{LogName, Timestamp};
use subledger_store::{Clock, SystemClock};
use subledger_wechat::{ApiQuota, ChannelError, Reach};

use crate::Engine;

/// How long an answer is given again.
const FRESH_SECONDS: i64 = 30;

/// What one call with a channel's token came to.
pub(super) type Called = Result<ApiQuota, ChannelError>;
/// The address that WeChat named, if it did.
pub(super) type Seen = Result<Option<String>, ChannelError>;

/// How far WeChat is reached from here, and its clock.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) reach: Reach,
    /// WeChat's clock less this machine's, microseconds, if it answered with a time.
    pub(super) ahead: Option<i64>,
}

impl Reached {
    /// `now`: this machine's clock when the answer came.
    pub(super) fn at(reach: Reach, now: Timestamp) -> Self {
        let ahead = reach.answer.ok().and_then(|answered| {
            let half = i64::try_from(answered.took.as_micros()).unwrap_or(0) / 2;
            // The header is cut to seconds: on the average half a second is missing.
            Some(answered.date_micros? + Timestamp::MICROS_PER_SECOND / 2 - (now.micros() - half))
        });
        Self { reach, ahead }
    }
}

/// The newest answers.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// Std mutexes: held for a look, never across an await. Two askers at once may both call; that is harmless.
    reach: Mutex<Option<(Timestamp, Reached)>>,
    called: Mutex<HashMap<LogName, (Timestamp, Called)>>,
    seen: Mutex<HashMap<LogName, (Timestamp, Seen)>>,
}

fn fresh<T: Clone>(held: Option<&(Timestamp, T)>, now: Timestamp) -> Option<T> {
    let (at, value) = held?;
    (now < at.plus_seconds(FRESH_SECONDS) && *at <= now).then(|| value.clone())
}

/// Whether WeChat is reached from here.
pub(super) async fn reach(engine: &Engine) -> Reached {
    let held = &engine.probes().reach;
    let before = fresh(held.lock().unwrap_or_else(PoisonError::into_inner).as_ref(), engine.now());
    if let Some(before) = before {
        return before;
    }
    let reach = engine.gateway().reach().await;
    let reached = Reached::at(reach, SystemClock.now());
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some((engine.now(), reached.clone()));
    reached
}

/// What becomes of a call with a channel's token: asking for its quota, which changes nothing.
pub(super) async fn call(engine: &Engine, log: &LogName, call: impl AsyncFnOnce() -> Called) -> Called {
    held(&engine.probes().called, engine, log, call).await
}

/// Which address WeChat sees the channel's calls come from.
pub(super) async fn seen(engine: &Engine, log: &LogName, call: impl AsyncFnOnce() -> Seen) -> Seen {
    held(&engine.probes().seen, engine, log, call).await
}

async fn held<T: Clone>(
    held: &Mutex<HashMap<LogName, (Timestamp, T)>>,
    engine: &Engine,
    log: &LogName,
    call: impl AsyncFnOnce() -> T,
) -> T {
    let lock = || held.lock().unwrap_or_else(PoisonError::into_inner);
    let before = fresh(lock().get(log), engine.now());
    if let Some(before) = before {
        return before;
    }
    let made = call().await;
    lock().insert(log.clone(), (engine.now(), made.clone()));
    made
}
