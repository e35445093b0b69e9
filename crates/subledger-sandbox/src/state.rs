//! Everything WeChat knows, behind one lock, and the two operations that touch several parts of it at once: judging a
//! send and issuing a token. Holds no lock itself and never waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::App;
use crate::check::{self, SendCall, SendCheck};
use crate::clock::{Clock, Millis};
use crate::config::{Reality, SandboxConfig};
use crate::errcode::WxError;
use crate::error::ControlError;
use crate::fault::{FaultBook, FaultKind};
use crate::ids::IdSource;
use crate::journal::{Journal, JournalEntry};
use crate::stats::Stats;
use crate::token::TokenBook;

/// The first msgid; above 2^53, so that a client that reads it as a double is found out.
const FIRST_MSGID: u64 = 4_000_000_000_000_000_017;

pub(crate) struct State {
    clock: Arc<dyn Clock>,
    /// How far the control API has moved the clock forward.
    pub(crate) advanced: Millis,
    pub(crate) reality: Reality,
    pub(crate) check_order: Vec<SendCheck>,
    pub(crate) apps: BTreeMap<String, App>,
    pub(crate) tokens: TokenBook,
    pub(crate) faults: FaultBook,
    pub(crate) journal: Journal,
    pub(crate) stats: Stats,
    pub(crate) ids: IdSource,
    /// (appid, openid) of sends in flight.
    pub(crate) lanes: HashSet<(String, String)>,
    next_msgid: u64,
}

impl State {
    pub(crate) fn new(config: &SandboxConfig) -> Self {
        let complete = check::is_complete(&config.check_order);
        let check_order =
            if complete { config.check_order.clone() } else { check::DEFAULT_CHECK_ORDER.to_vec() };
        Self {
            clock: Arc::clone(&config.clock),
            advanced: 0,
            reality: config.reality.clone(),
            check_order,
            apps: BTreeMap::new(),
            tokens: TokenBook::default(),
            faults: FaultBook::default(),
            journal: Journal::new(config.journal_limit, 0),
            stats: Stats::default(),
            ids: IdSource::new(config.seed),
            lanes: HashSet::new(),
            next_msgid: FIRST_MSGID,
        }
    }

    /// As new, but `seq` and `msgid` go on: a number that was once given out never comes back with another meaning.
    pub(crate) fn reset(&mut self, config: &SandboxConfig) {
        let fresh = Self::new(config);
        let journal = Journal::new(config.journal_limit, self.journal.last_seq());
        let next_msgid = self.next_msgid;
        // Calls still in flight hold lanes and will give them back.
        let lanes = std::mem::take(&mut self.lanes);
        *self = Self { journal, next_msgid, lanes, ..fresh };
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now().as_millisecond().saturating_add(self.advanced)
    }

    pub(crate) fn app(&self, appid: &str) -> Result<&App, ControlError> {
        self.apps.get(appid).ok_or(ControlError::NotFound { what: "app" })
    }

    pub(crate) fn app_mut(&mut self, appid: &str) -> Result<&mut App, ControlError> {
        self.apps.get_mut(appid).ok_or(ControlError::NotFound { what: "app" })
    }

    /// A refusal as WeChat words it.
    pub(crate) fn refusal(&mut self, error: &WxError) -> Value {
        let rid = self.ids.rid();
        error.body(&rid)
    }

    /// Appid and secret, as the token and login calls check them.
    pub(crate) fn credentials(&self, appid: &str, secret: &str) -> Result<&App, WxError> {
        if appid.is_empty() {
            return Err(WxError::new(41002));
        }
        if secret.is_empty() {
            return Err(WxError::new(41004));
        }
        let app = self.apps.get(appid).ok_or_else(|| WxError::new(40013))?;
        if app.secret != secret {
            return Err(WxError::new(40125));
        }
        if app.settings.frozen {
            return Err(WxError::new(40243));
        }
        Ok(app)
    }

    /// Judges a send, books it if accepted, and writes the journal. Gives the answer and the journal's `seq`.
    pub(crate) fn send(&mut self, call: &SendCall, fault: Option<FaultKind>) -> (Value, u64) {
        let verdict = self.judge(call);
        let seq = self.write(call, Some(&verdict), fault);
        let code = verdict.as_ref().map_or_else(|e| e.code, |_| 0);
        *self.stats.sends.entry(code).or_default() += 1;
        let answer = match verdict {
            Ok(msgid) if self.reality.answer_msgid => json!({ "errcode": 0, "errmsg": "ok", "msgid": msgid }),
            Ok(_) => json!({ "errcode": 0, "errmsg": "ok" }),
            Err(error) => self.refusal(&error),
        };
        (answer, seq)
    }

    /// Journals a send that a fault answered instead (`refused`) or swallowed.
    pub(crate) fn pass_over(
        &mut self,
        call: &SendCall,
        refused: Option<WxError>,
        fault: Option<FaultKind>,
    ) -> u64 {
        match &refused {
            Some(error) => *self.stats.sends.entry(error.code).or_default() += 1,
            None => self.stats.sends_not_judged += 1,
        }
        self.write(call, refused.map(Err).as_ref(), fault)
    }

    fn judge(&mut self, call: &SendCall) -> Result<u64, WxError> {
        let now = self.now();
        let token = self.tokens.judge(call.token.as_deref(), now);
        let mut app = token.as_ref().ok().and_then(|appid| self.apps.get_mut(appid));
        for &check in &self.check_order {
            let checked = check::run(check, call, &token, app.as_deref_mut(), now);
            if let Err(error) = checked {
                let takes = self.reality.refusal_takes_count && [47003, 45168, 41030].contains(&error.code);
                if let (true, Some(app), Ok(body)) = (takes, app, &call.body)
                    && let Some(user) = app.users.get_mut(&body.touser)
                {
                    user.forfeit(&body.template_id);
                }
                return Err(error);
            }
        }
        // Every check passed, so all of these exist; anything else would be a fault of ours, which -1 says honestly.
        let (Some(app), Ok(body)) = (app, &call.body) else { return Err(WxError::new(-1)) };
        let Some(template) = app.template(&body.template_id).cloned() else { return Err(WxError::new(-1)) };
        let Some(user) = app.users.get_mut(&body.touser) else { return Err(WxError::new(-1)) };
        user.take(&template);
        let msgid = self.next_msgid;
        self.next_msgid += 1;
        Ok(msgid)
    }

    fn write(
        &mut self,
        call: &SendCall,
        verdict: Option<&Result<u64, WxError>>,
        fault: Option<FaultKind>,
    ) -> u64 {
        let body = call.body.as_ref().ok();
        let msgid = verdict.and_then(|v| v.as_ref().ok().copied());
        let owner = call.token.as_deref().and_then(|t| self.tokens.owner(t));
        let entry = JournalEntry {
            seq: 0,
            time: self.timestamp(),
            appid: owner.map(str::to_owned),
            openid: body.map(|b| b.touser.clone()),
            template_id: body.map(|b| b.template_id.clone()),
            page: body.and_then(|b| b.page.clone()),
            state: body.map(|b| b.state.clone()),
            lang: body.map(|b| b.lang.clone()),
            data: body.map_or(Value::Null, |b| Value::Object(b.data.clone())),
            errcode: verdict.map(|v| v.as_ref().map_or_else(|e| e.code, |_| 0)),
            msgid,
            committed: msgid.is_some(),
            answered: false,
            fault,
        };
        self.journal.append(entry)
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now()).unwrap_or_default()
    }
}
