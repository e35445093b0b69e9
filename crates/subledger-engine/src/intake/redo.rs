//! Reading and acting on kept pushes once more: by itself what failed for want of the database, on request what needed another
//! key, a newer version or a person.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};
use subledger_domain::{ChannelCode, LogName, Openid};
use subledger_store::{KeptPush, OpenPush, PushFilter, PushKey, PushPage, PushState};
use subledger_wechat::push::{self, Inbound, Opened, OpenedWith, Received};
use tokio_util::sync::CancellationToken;

use super::{
    At,
    act::{self, Act, items},
    failure,
};
use crate::{Caller, Engine, EngineError};

/// How often what waits is tried again, unless configured otherwise.
pub const REDO_EVERY: Duration = Duration::from_secs(15);
/// Pushes tried in one round.
const ROUND: u32 = 200;
/// The longest pause between two tries of one push.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// Pushes of one request to try again.
const MAX_REDONE: usize = 1_000;
/// Rows read at once.
const PAGE: u32 = 200;

/// What trying again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Redone {
    /// Pushes that were tried.
    pub tried: u64,
    /// Those that were acted on now.
    pub acted: u64,
    /// Those that can be read now and have nothing to act on.
    pub ignored: u64,
    /// Those that still cannot be acted on.
    pub failed: u64,
    /// Those that still cannot be read.
    pub undecodable: u64,
    /// Whether there are more than one request tries.
    pub more: bool,
}

impl Redone {
    fn count(&mut self, state: PushState) {
        self.tried += 1;
        match state {
            PushState::Acted => self.acted += 1,
            PushState::Ignored => self.ignored += 1,
            PushState::Failed | PushState::Pending => self.failed += 1,
            PushState::Undecodable => self.undecodable += 1,
        }
    }
}

impl Engine {
    /// Reads and acts on kept pushes anew that could not be read or acted on: one of them, or all of the channel, the newest
    /// first and up to a thousand. Whoever has entered another key or has upgraded asks for it.
    pub async fn redo_pushes(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        key: Option<PushKey>,
    ) -> Result<Redone, EngineError> {
        self.registered(code).await?;
        let log = LogName::channel(code);
        let mut redone = Redone::default();
        if let Some(key) = key {
            let kept = self.store().push(&log, key).await?.ok_or_else(unknown_push)?;
            match kept.push.state {
                PushState::Acted | PushState::Ignored => {
                    let detail = "this push was read and acted on; acting on it twice would count it twice";
                    return Err(EngineError::conflict("push_settled", detail));
                }
                PushState::Pending | PushState::Failed | PushState::Undecodable => {}
            }
            redone.count(self.redo(code, kept, caller.request.as_deref()).await?);
            return Ok(redone);
        }
        for key in self.unsettled(&log, &mut redone.more).await? {
            // It may be gone since, or settled by a repetition.
            let Some(kept) = self.store().push(&log, key).await? else { continue };
            redone.count(self.redo(code, kept, caller.request.as_deref()).await?);
        }
        tracing::info!(
            channel.code = %code, pushes.tried = redone.tried, pushes.acted = redone.acted, pushes.failed = redone.failed,
            pushes.undecodable = redone.undecodable, "kept pushes were tried again"
        );
        Ok(redone)
    }

    async fn unsettled(&self, log: &LogName, more: &mut bool) -> Result<Vec<PushKey>, EngineError> {
        let mut keys = Vec::new();
        for state in [PushState::Pending, PushState::Failed, PushState::Undecodable] {
            let filter = PushFilter { state: Some(state), ..PushFilter::default() };
            let mut page = PushPage::Newest;
            loop {
                let rows: Vec<KeptPush> = self.store().pushes(log, &filter, page, PAGE).await?;
                let Some(last) = rows.last() else { break };
                page = PushPage::Before(last.id);
                keys.extend(rows.iter().map(|row| row.key));
                if keys.len() > MAX_REDONE {
                    keys.truncate(MAX_REDONE);
                    *more = true;
                    return Ok(keys);
                }
            }
        }
        // What came first is tried first.
        keys.reverse();
        Ok(keys)
    }

    /// Tries one push again. Answers the state it is in now.
    async fn redo(
        &self,
        code: &ChannelCode,
        kept: OpenPush,
        request: Option<&str>,
    ) -> Result<PushState, EngineError> {
        let Some(setup) = self.push_setup(code, Some(Duration::ZERO)).await? else {
            return Ok(kept.push.state);
        };
        let at = At { code, setup: &setup, request };
        let (key, before) = (kept.push.key, kept.push.state);
        let received = match read_again(&at, &kept) {
            Ok(received) => received,
            Err(effect) => {
                if before != PushState::Undecodable
                    || kept.push.effect.as_deref() != Some(&*effect.to_string())
                {
                    self.settle_push(&at, key, PushState::Undecodable, effect).await?;
                }
                return Ok(PushState::Undecodable);
            }
        };
        let Ok(what) = &received.decoded else { return Ok(PushState::Undecodable) };
        let Ok(openid) = what.from_user.parse::<Openid>() else { return Ok(PushState::Failed) };
        let mut row = self.row(&at, &received);
        row.received_at = kept.push.received_at;
        let renamed = row.key != key;
        let act = Act {
            key: row.key,
            row: renamed.then_some(row),
            was: renamed.then_some(key),
            subject: self.store().subject_of(code, &openid),
            openid,
            to_user: what.to_user.clone(),
            sealed: received.opened_with != OpenedWith::Nothing,
            previous_key: received.opened_with == OpenedWith::PreviousKey,
            at: act::moment(what.created_at),
            began: None,
            items: items(what),
        };
        match self.act_on(&at, act, &received.key).await {
            Ok(state) => Ok(state),
            Err(error) => {
                let (state, effect) = failure(&error);
                if state == PushState::Pending {
                    return Err(error);
                }
                self.settle_push(&at, key, state, effect).await?;
                Ok(state)
            }
        }
    }
}

/// Opens and decodes what was kept; else what there is to say about it.
fn read_again(at: &At<'_>, kept: &OpenPush) -> Result<Received, Value> {
    let effect: Value =
        kept.push.effect.as_deref().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
    let settings = &at.setup.settings;
    let opened = if effect["sealed"] == true {
        push::reopen(settings, &kept.body).map_err(
            |error| json!({ "reason": error.class(), "detail": error.to_string(), "sealed": true }),
        )?
    } else {
        // It was vouched for when it came, by the mode it is kept with.
        let with = match kept.push.mode {
            subledger_store::PushMode::Plaintext => OpenedWith::Nothing,
            subledger_store::PushMode::Compatible | subledger_store::PushMode::Secure => {
                OpenedWith::CurrentKey
            }
        };
        Opened { content: kept.body.clone(), with }
    };
    match push::understood(settings, opened) {
        Inbound::Push(received) => match &received.decoded {
            Ok(_) => Ok(received),
            Err(reason) => Err(json!({ "reason": reason.class(), "detail": reason.to_string() })),
        },
        Inbound::ContainerCheck => Err(json!({ "reason": "container_check" })),
    }
}

/// There is no such push, or it was kept long enough.
pub(crate) fn unknown_push() -> EngineError {
    EngineError::not_found("unknown_push", "there is no push with this key; old ones are deleted")
}

/// Tries what waits again until `stop`, ever more rarely.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let every = engine.settings().redo_every;
    let mut tries: HashMap<(LogName, PushKey), (u32, Instant)> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let pending = match engine.store().pending_pushes(ROUND).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::debug!(error = %error, "pending pushes could not be read");
                continue;
            }
        };
        tries.retain(|(log, key), _| pending.iter().any(|it| it.push.log == *log && it.push.key == *key));
        for kept in pending {
            if stop.is_cancelled() {
                return;
            }
            let of = (kept.push.log.clone(), kept.push.key);
            let (times, due) = tries.get(&of).copied().unwrap_or((0, Instant::now()));
            let Ok(code) = kept.push.log.as_str().parse::<ChannelCode>() else { continue };
            if due > Instant::now() {
                continue;
            }
            match engine.redo(&code, kept, None).await {
                Ok(state) if state != PushState::Pending => {
                    tries.remove(&of);
                }
                outcome => {
                    let pause = every.saturating_mul(2_u32.saturating_pow(times.min(16))).min(LONGEST_PAUSE);
                    tries.insert(of.clone(), (times + 1, Instant::now() + pause));
                    let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
                    tracing::warn!(channel.code = %code, push.key = %of.1, error, "a push still waits to be acted on");
                }
            }
        }
    }
}
