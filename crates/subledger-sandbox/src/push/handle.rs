//! The part of the handle that concerns pushes.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::body::{Event, Origin};
use super::url_check::{self, Challenge};
use super::{PushEntry, PushFaultSpec, PushFaultView, PushRequest, PushSpec, PushState, PushView};
use super::{Target, UrlCheck};
use crate::clock::SECOND;
use crate::error::ControlError;
use crate::journal::Page;
use crate::sandbox::{PAGE_DEFAULT, Sandbox, page_limit};

/// How long [`Sandbox::settle`] waits when it is not told, in milliseconds.
const SETTLE_MS: u64 = 30_000;
/// The longest it waits.
const LONGEST_SETTLE_MS: u64 = 600_000;

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushSetup {
    /// It is in force. A URL that did not pass its check is not saved, as in WeChat's console; what was in force stays.
    pub saved: bool,
    /// The check, if one was made.
    pub check: Option<UrlCheck>,
    /// What was asked for, completed.
    pub push: PushView,
}

/// Which pushes to read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushQuery {
    /// Only this app's.
    pub appid: Option<String>,
    /// Only this user's.
    pub openid: Option<String>,
    /// Only those that go to this platform.
    pub platform: Option<String>,
    /// Only this event.
    pub event: Option<String>,
    /// Only in this state.
    pub state: Option<PushState>,
    /// Only pushes with a greater `seq`.
    pub after: u64,
    /// Most to give, 1..=10,000. Default 1,000.
    pub limit: Option<usize>,
}

/// How to wait for pushes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettleSpec {
    /// Only this app's.
    pub appid: Option<String>,
    /// Leave those alone that faults hold back: late ones are waited for if they wait for real time, and not if they wait
    /// for the sandbox's. Default false: they go at once.
    pub hold: bool,
    /// How long to wait, in milliseconds, at most 600,000. Default 30,000.
    pub deadline_ms: Option<u64>,
}

/// How far waiting came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Every push was taken, given up or lost.
    pub settled: bool,
    /// Deliveries that are still to come.
    pub waiting: usize,
    /// Deliveries that wait for the sandbox's clock.
    pub held_back: usize,
}

impl Sandbox {
    /// Sets up where an app's pushes go, after checking the URL. Errors: no such app, an unusable value.
    pub async fn configure_push(&self, appid: &str, spec: &PushSpec) -> Result<PushSetup, ControlError> {
        let client = self.worker().client()?;
        let (target, challenge) = self.with(|state| {
            let before = state.app(appid)?.push.clone();
            let target = Target::new(spec, appid, before.as_deref(), &mut state.ids)?;
            Ok((target, self.challenge(state)))
        })?;
        let check = match spec.check {
            true => Some(url_check::check(&client, &target, challenge).await),
            false => None,
        };
        let (saved, push) = (check.as_ref().is_none_or(|c| c.ok), target.view());
        if saved {
            self.with(|state| {
                state.app_mut(appid)?.push = Some(Arc::new(target));
                Ok(())
            })?;
        }
        Ok(PushSetup { saved, check, push })
    }

    fn challenge(&self, state: &mut crate::state::State) -> Challenge {
        let mut dice = state.ids.nature();
        Challenge {
            timestamp: state.now().div_euclid(SECOND).to_string(),
            nonce: dice.random::<u32>().to_string(),
            // Looks like a number, and is beyond 64 bits now and then: it must not be parsed.
            echostr: format!("{}{:09}", dice.random::<u64>(), dice.random_range(0..1_000_000_000_u32)),
        }
    }

    /// Checks the URL in force once more. Errors: no such app, no pushes configured.
    pub async fn check_push(&self, appid: &str) -> Result<UrlCheck, ControlError> {
        let client = self.worker().client()?;
        let (target, challenge) = self.with(|state| {
            let target =
                state.app(appid)?.push.clone().ok_or(ControlError::NotFound { what: "push set-up" })?;
            Ok((target, self.challenge(state)))
        })?;
        Ok(url_check::check(&client, &target, challenge).await)
    }

    /// Where an app's pushes go; none if they go nowhere.
    pub fn push_setup(&self, appid: &str) -> Result<Option<PushView>, ControlError> {
        self.with(|state| Ok(state.app(appid)?.push.as_ref().map(|target| target.view())))
    }

    /// Ends an app's pushes; those under way are still delivered.
    pub fn remove_push(&self, appid: &str) -> Result<(), ControlError> {
        self.with(|state| {
            state.app_mut(appid)?.push = None;
            Ok(())
        })
    }

    /// Pushes a chat message, an event of another kind, or anything; gives its `seq`. Errors: no such app, no pushes
    /// configured, not exactly one of text, fields and raw.
    pub fn push_request(&self, appid: &str, request: &PushRequest) -> Result<u64, ControlError> {
        self.with(|state| {
            let ruling = state.ruling(appid)?;
            let event = Event::requested(request, state.next_chat_msgid())?;
            state
                .push(appid, &request.openid, &ruling, event, Origin::Request)
                .ok_or(ControlError::NotFound { what: "push set-up" })
        })
    }

    /// All pushes.
    pub fn pushes(&self) -> Vec<PushEntry> {
        self.with(|state| state.pushes.journal.all())
    }

    /// Part of the pushes. Errors: limit outside 1..=10,000.
    pub fn push_page(&self, query: &PushQuery) -> Result<Page<PushEntry>, ControlError> {
        let limit = page_limit(query.limit.unwrap_or(PAGE_DEFAULT))?;
        let wanted = |push: &PushEntry| {
            query.openid.as_ref().is_none_or(|o| *o == push.openid)
                && (query.platform.is_none() || query.platform == push.platform)
                && query.event.as_ref().is_none_or(|e| *e == push.event)
                && query.state.is_none_or(|s| s == push.state)
        };
        let appid = query.appid.as_deref();
        Ok(self.with(|state| state.pushes.journal.page(appid, query.after, limit, wanted)))
    }

    /// Waits until every push is settled, or for as long as it may. Errors: a deadline that is too long.
    pub async fn settle(&self, spec: &SettleSpec) -> Result<Settled, ControlError> {
        let deadline_ms = spec.deadline_ms.unwrap_or(SETTLE_MS);
        if deadline_ms > LONGEST_SETTLE_MS {
            let reason = format!("must be at most {LONGEST_SETTLE_MS}");
            return Err(ControlError::invalid("deadline_ms", reason));
        }
        let appid = spec.appid.as_deref();
        let deadline = tokio::time::Instant::now() + Duration::from_millis(deadline_ms);
        let changed = self.worker().changed();
        loop {
            let mut change = std::pin::pin!(changed.notified());
            change.as_mut().enable();
            let (waiting, held_back) = self.with(|state| {
                if !spec.hold {
                    state.pushes.release(appid);
                }
                state.pushes.unsettled(appid)
            });
            let settled = Settled { settled: waiting == 0, waiting, held_back };
            if settled.settled || tokio::time::timeout_at(deadline, change).await.is_err() {
                return Ok(settled);
            }
        }
    }

    /// Injects a fault of pushes and gives its id.
    pub fn inject_push_fault(&self, spec: PushFaultSpec) -> Result<u64, ControlError> {
        self.with(|state| state.pushes.faults.add(spec))
    }

    /// Faults of pushes in force, oldest first.
    pub fn push_faults(&self) -> Vec<PushFaultView> {
        self.with(|state| state.pushes.faults.list())
    }

    /// Removes one fault of pushes.
    pub fn remove_push_fault(&self, id: u64) -> Result<(), ControlError> {
        self.with(|state| state.pushes.faults.remove(id))
    }

    /// Removes all faults of pushes.
    pub fn clear_push_faults(&self) {
        self.with(|state| state.pushes.faults.clear());
    }
}
