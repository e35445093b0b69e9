//! Clearing the day's counts at WeChat, and keeping requests to WeChat apart.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use subledger_domain::{ChannelCode, LogName, Timestamp, channel::ChannelCommand};
use subledger_store::Done;

use super::poll;
use crate::{Caller, Engine, EngineError, ErrorKind, gateway, limits, text::check_text};

/// When an operator last had WeChat asked about each channel's quota.
#[derive(Debug, Default)]
pub(crate) struct QuotaTimes(Mutex<HashMap<ChannelCode, Timestamp>>);

impl Engine {
    /// Asks WeChat to set the day's counts of all calls of the channel's account back to nothing, and puts on the books that it
    /// did. WeChat allows ten a month for an account, whoever asks; its refusal (48006) comes back as it is.
    ///
    /// Held bulk goes on. Deliveries that WeChat refused for the quota (45009) keep waiting for the next day.
    pub async fn clear_quota(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        reason: String,
    ) -> Result<Done<()>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        let registered = self.registered(code).await?;
        self.quota_slot(code)?;
        let cleared = self.client(&LogName::channel(code), &registered).clear_quota().await;
        cleared.map_err(|error| gateway::channel_error(&error))?;
        tracing::warn!(channel.code = %code, "WeChat set the day's counts back, as an operator asked");
        let log = LogName::channel(code);
        // Before the hold ends: a lane that looked at the old figures would put it back.
        if let Err(error) = poll::ask(self, &log).await {
            tracing::warn!(channel.code = %code, error = %error, "the quota could not be read after it was cleared");
        }
        let done = self.change(caller, code, "clear_quota", ChannelCommand::ClearQuota { reason }).await?;
        let signal = self.signals().of(&log);
        signal.hold_until.store(0, Ordering::Relaxed);
        signal.wake.notify_one();
        Ok(done)
    }

    pub(super) fn quota_slot(&self, code: &ChannelCode) -> Result<(), EngineError> {
        let now = self.now();
        let mut times = self.quota_times().0.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = i64::try_from(limits::MIN_QUOTA_INTERVAL.as_micros()).unwrap_or(i64::MAX);
        if times.get(code).is_some_and(|last| now < last.plus_micros(apart)) {
            return Err(EngineError {
                retry_after: Some(limits::MIN_QUOTA_INTERVAL),
                ..EngineError::new(
                    ErrorKind::TooOften,
                    "quota_too_soon",
                    "WeChat was asked about the quota of this channel a moment ago",
                )
            });
        }
        times.insert(code.clone(), now);
        Ok(())
    }
}
