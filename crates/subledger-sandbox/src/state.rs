//! Everything WeChat knows, behind one lock, and the two operations that touch several parts of it at once: judging a
//! send and issuing a token. Holds no lock itself and never waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::act::ActEntry;
use crate::app::App;
use crate::check::{self, SendCall, SendCheck};
use crate::clock::{Clock, Millis};
use crate::config::SandboxConfig;
use crate::errcode::WxError;
use crate::error::ControlError;
use crate::fault::{FaultBook, FaultKind};
use crate::ids::IdSource;
use crate::journal::{Journal, JournalEntry};
use crate::platform::{ComponentCheck, DEFAULT_COMPONENT_ORDER, DEVELOPMENT_SET, Platform, PlatformEntry};
use crate::push::{Event, Origin, PushBook};
use crate::reality::{Reality, Ruling};
use crate::stats::Stats;
use crate::token::{Bearer, TokenBook, TokenKind};

/// The first msgid; above 2^53, so that a client that reads it as a double is found out.
const FIRST_MSGID: u64 = 4_000_000_000_000_000_017;
/// The first `MsgId` of a chat message; another range, so that the two are told apart.
const FIRST_CHAT_MSGID: u64 = 7_000_000_000_000_000_029;
/// What a message that fails later ends with. Invented: WeChat publishes no codes (§14.18).
const LATE_FAILURES: [(i64, &str); 3] =
    [(-1, "system error"), (20_001, "failed:system failed"), (45_015, "response out of time limit")];

pub(crate) struct State {
    clock: Arc<dyn Clock>,
    /// How far the control API has moved the clock forward.
    pub(crate) advanced: Millis,
    /// For apps that have none of their own.
    pub(crate) ruling: Arc<Ruling>,
    pub(crate) check_order: Vec<SendCheck>,
    pub(crate) component_order: Vec<ComponentCheck>,
    pub(crate) apps: BTreeMap<String, App>,
    pub(crate) platforms: BTreeMap<String, Platform>,
    pub(crate) platform_journal: Journal<PlatformEntry>,
    pub(crate) tokens: TokenBook,
    pub(crate) faults: FaultBook,
    pub(crate) journal: Journal<JournalEntry>,
    pub(crate) acts: Journal<ActEntry>,
    pub(crate) pushes: PushBook,
    pub(crate) stats: Stats,
    pub(crate) ids: IdSource,
    /// (appid, openid) of sends in flight.
    pub(crate) lanes: HashSet<(String, String)>,
    next_msgid: u64,
    next_chat_msgid: u64,
}

/// What a platform's token may do, one verdict for each check.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) ip: Result<(), WxError>,
    pub(crate) authorization: Result<(), WxError>,
    pub(crate) set: Result<(), WxError>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { ip: Ok(()), authorization: Ok(()), set: Ok(()) }
    }
}

/// A message that WeChat took.
struct Accepted {
    msgid: u64,
    /// It is answered -1 all the same.
    denied: bool,
    /// How it ends: `ErrorCode` and `ErrorStatus` of its sent event.
    end: (i64, &'static str),
}

impl State {
    pub(crate) fn new(config: &SandboxConfig) -> Self {
        let complete = check::is_complete(&config.check_order);
        let check_order =
            if complete { config.check_order.clone() } else { check::DEFAULT_CHECK_ORDER.to_vec() };
        Self {
            clock: Arc::clone(&config.clock),
            advanced: 0,
            ruling: Ruling::new(config.reality.clone(), None),
            check_order,
            component_order: DEFAULT_COMPONENT_ORDER.to_vec(),
            apps: BTreeMap::new(),
            platforms: BTreeMap::new(),
            platform_journal: Journal::new(config.journal_limit, 0),
            tokens: TokenBook::default(),
            faults: FaultBook::default(),
            journal: Journal::new(config.journal_limit, 0),
            acts: Journal::new(config.journal_limit, 0),
            pushes: PushBook::new(config.journal_limit, 0, 0),
            stats: Stats::default(),
            ids: IdSource::new(config.seed),
            lanes: HashSet::new(),
            next_msgid: FIRST_MSGID,
            next_chat_msgid: FIRST_CHAT_MSGID,
        }
    }

    /// As new, but every `seq` and `msgid` goes on: a number that was once given out never comes back with another meaning.
    pub(crate) fn reset(&mut self, config: &SandboxConfig) {
        let fresh = Self::new(config);
        let journal = Journal::new(config.journal_limit, self.journal.last_seq());
        let acts = Journal::new(config.journal_limit, self.acts.last_seq());
        let platform_journal = Journal::new(config.journal_limit, self.platform_journal.last_seq());
        let pushes = self.pushes.emptied(config.journal_limit);
        let (next_msgid, next_chat_msgid) = (self.next_msgid, self.next_chat_msgid);
        // Calls still in flight hold lanes and will give them back.
        let lanes = std::mem::take(&mut self.lanes);
        *self = Self { journal, acts, platform_journal, pushes, next_msgid, next_chat_msgid, lanes, ..fresh };
    }

    /// What an app lives under.
    pub(crate) fn ruling(&self, appid: &str) -> Result<Arc<Ruling>, ControlError> {
        Ok(Arc::clone(self.app(appid)?.ruling.as_ref().unwrap_or(&self.ruling)))
    }

    /// The same for an app that may not exist.
    fn ruling_of(&self, appid: Option<&str>) -> Arc<Ruling> {
        let own = appid.and_then(|id| self.apps.get(id)).and_then(|app| app.ruling.as_ref());
        Arc::clone(own.unwrap_or(&self.ruling))
    }

    /// A `MsgId` for a chat message.
    pub(crate) fn next_chat_msgid(&mut self) -> u64 {
        self.next_chat_msgid += 1;
        self.next_chat_msgid
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
        if self.platforms.contains_key(appid) {
            return Err(WxError::new(61024));
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

    /// What the holder of a token may do to the token's app, as far as the platform goes: from where it may call, whether it
    /// is authorized, and which sets were ticked. Nothing for an app's own token.
    pub(crate) fn standing(&self, bearer: &Bearer, ip: &str) -> Standing {
        let TokenKind::Authorizer { component } = &bearer.kind else { return Standing::default() };
        let Some(platform) = self.platforms.get(component) else {
            return Standing { authorization: Err(WxError::new(61003)), ..Standing::default() };
        };
        let refuse_if = |refused: bool, code: i64| if refused { Err(WxError::new(code)) } else { Ok(()) };
        let authorization = platform.authorization(&bearer.appid);
        let lacks = authorization.is_some_and(|a| !a.sets.contains(&DEVELOPMENT_SET));
        Standing {
            ip: platform.check_ip(ip),
            authorization: refuse_if(authorization.is_none(), 61003),
            set: refuse_if(lacks, 61007),
        }
    }

    /// The app that a token speaks for in a call that needs [`DEVELOPMENT_SET`].
    pub(crate) fn entitled(&self, token: Option<&str>, ip: &str) -> Result<String, WxError> {
        let bearer = self.tokens.judge(token, self.now())?;
        let standing = self.standing(&bearer, ip);
        standing.ip.and(standing.authorization).and(standing.set)?;
        Ok(bearer.appid)
    }

    /// Judges a send, books it if accepted, and writes the journal. Gives the answer and the journal's `seq`.
    pub(crate) fn send(&mut self, call: &SendCall, fault: Option<FaultKind>) -> (Value, u64) {
        let owner = self.owner(call);
        let ruling = self.ruling_of(owner.as_deref());
        // Drawn for every send, so that a refusal does not shift what the next ones draw.
        let mut dice = self.ids.nature();
        let verdict = self.judge(call, &ruling.reality, &mut dice);
        let push = match (&verdict, &owner, &call.body) {
            (Ok(accepted), Some(appid), Ok(body)) => {
                let (template_id, msgid) = (body.template_id.clone(), accepted.msgid);
                let (code, status) = accepted.end;
                let event = Event::Sent { template_id, msgid, code, status };
                self.push(appid, &body.touser, &ruling, event, Origin::Message(msgid))
            }
            _ => None,
        };
        let seq = self.write(call, Some(&verdict), fault, push, &ruling);
        *self.stats.sends.entry(errcode(&verdict)).or_default() += 1;
        let lost = dice.random::<f64>() < ruling.reality.lose_msgid;
        let answer = match verdict {
            Ok(Accepted { denied: true, .. }) => self.refusal(&WxError::new(-1)),
            Ok(Accepted { msgid, .. }) if ruling.reality.answer_msgid && !lost => {
                json!({ "errcode": 0, "errmsg": "ok", "msgid": msgid })
            }
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
        let ruling = self.ruling_of(self.owner(call).as_deref());
        self.write(call, refused.map(Err).as_ref(), fault, None, &ruling)
    }

    /// The app that the token of a send belongs to.
    fn owner(&self, call: &SendCall) -> Option<String> {
        call.token.as_deref().and_then(|t| self.tokens.owner(t)).map(str::to_owned)
    }

    fn judge(&mut self, call: &SendCall, reality: &Reality, dice: &mut StdRng) -> Result<Accepted, WxError> {
        let (error, sends, fails, end) =
            (dice.random::<f64>(), dice.random::<f64>(), dice.random::<f64>(), dice.random_range(0..3));
        let now = self.now();
        let token = self.tokens.judge(call.token.as_deref(), now);
        let standing = token.as_ref().map_or_else(|_| Standing::default(), |b| self.standing(b, &call.ip));
        let mut app = token.as_ref().ok().and_then(|bearer| self.apps.get_mut(&bearer.appid));
        for &check in &self.check_order {
            let verdicts = (&token, &standing);
            let checked = check::run(check, call, verdicts, app.as_deref_mut(), reality, now);
            if let Err(error) = checked {
                let takes = reality.refusal_takes_count && [47003, 45168, 41030].contains(&error.code);
                if let (true, Some(app), Ok(body)) = (takes, app, &call.body)
                    && let Some(user) = app.users.get_mut(&body.touser)
                {
                    user.forfeit(&body.template_id, body.is_apart(reality));
                }
                return Err(error);
            }
        }
        // Every check passed, so all of these exist; anything else would be a fault of ours, which -1 says honestly.
        let (Some(app), Ok(body)) = (app, &call.body) else { return Err(WxError::new(-1)) };
        let Some(template) = app.template(&body.template_id).cloned() else { return Err(WxError::new(-1)) };
        let Some(user) = app.users.get_mut(&body.touser) else { return Err(WxError::new(-1)) };
        let denied = error < reality.system_errors;
        if denied && sends >= reality.system_errors_send {
            return Err(WxError::new(-1));
        }
        let apart = body.is_apart(reality);
        user.take(&template, apart);
        let failed = fails < reality.failed_deliveries;
        if failed {
            user.fail_later(&template, reality, apart);
        }
        let msgid = self.next_msgid;
        self.next_msgid += 1;
        Ok(Accepted { msgid, denied, end: if failed { LATE_FAILURES[end] } else { (0, "success") } })
    }

    fn write(
        &mut self,
        call: &SendCall,
        verdict: Option<&Result<Accepted, WxError>>,
        fault: Option<FaultKind>,
        push: Option<u64>,
        ruling: &Ruling,
    ) -> u64 {
        let body = call.body.as_ref().ok();
        let accepted = verdict.and_then(|v| v.as_ref().ok());
        let entry = JournalEntry {
            seq: 0,
            time: self.timestamp(),
            appid: self.owner(call),
            platform: call.token.as_deref().and_then(|t| self.tokens.holder(t)).map(str::to_owned),
            openid: body.map(|b| b.touser.clone()),
            template_id: body.map(|b| b.template_id.clone()),
            page: body.and_then(|b| b.page.clone()),
            state: body.map(|b| b.state.clone()),
            lang: body.map(|b| b.lang.clone()),
            data: body.map_or(Value::Null, |b| Value::Object(b.data.clone())),
            errcode: verdict.map(errcode),
            msgid: accepted.map(|a| a.msgid),
            committed: accepted.is_some(),
            answered: false,
            fault,
            sent_code: accepted.map(|a| a.end.0),
            push,
            profile: ruling.name.clone(),
        };
        self.journal.append(entry)
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now()).unwrap_or_default()
    }
}

fn errcode(verdict: &Result<Accepted, WxError>) -> i64 {
    match verdict {
        Ok(accepted) if accepted.denied => -1,
        Ok(_) => 0,
        Err(error) => error.code,
    }
}
