//! Injected faults: what goes wrong between WeChat and its caller.
//!
//! A fault changes how a call is answered, never what the books say about it: whether a send was committed is decided first
//! and stands in the journal, however the answer was lost. Per call at most one fault of each sort applies, oldest first:
//! a delay, a token revocation, and one ending.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::errcode::WxError;
use crate::error::ControlError;
use crate::ids::IdSource;

/// Longest injected delay, in milliseconds.
pub const LONGEST_DELAY_MS: u64 = 600_000;

/// The calls that faults can be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPath {
    /// `POST /cgi-bin/message/subscribe/send`.
    Send,
    /// `GET /cgi-bin/token`.
    Token,
    /// `POST /cgi-bin/stable_token`.
    StableToken,
    /// `GET /wxaapi/newtmpl/gettemplate`.
    Gettemplate,
    /// `GET /sns/jscode2session`.
    Jscode2session,
    /// `POST /cgi-bin/component/api_component_token`. The app of this and of the next is the platform.
    ComponentToken,
    /// `POST /cgi-bin/component/api_create_preauthcode`.
    CreatePreauthcode,
    /// `POST /cgi-bin/component/api_query_auth`.
    QueryAuth,
    /// `POST /cgi-bin/component/api_authorizer_token`.
    AuthorizerToken,
    /// `POST /cgi-bin/component/api_get_authorizer_info`.
    GetAuthorizerInfo,
    /// `POST /cgi-bin/component/api_get_authorizer_list`. Its app is the platform.
    GetAuthorizerList,
    /// `POST /cgi-bin/component/api_start_push_ticket`. Its app is the platform.
    StartPushTicket,
    /// `GET /sns/component/jscode2session`.
    ComponentJscode2session,
    /// `POST /cgi-bin/openapi/quota/get`.
    QuotaGet,
    /// `POST /cgi-bin/clear_quota`, its `v2`, and `/cgi-bin/openapi/quota/clear`.
    ClearQuota,
}

/// What goes wrong. "Commit" is the moment at which WeChat has acted: message accepted, token issued, code used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Waits `ms` before acting; the call goes on even if the caller leaves.
    Latency,
    /// Closes the connection with no answer, nothing done.
    DropBeforeCommit,
    /// Closes the connection with no answer after acting.
    DropAfterCommit,
    /// Never answers, nothing done.
    HangBeforeCommit,
    /// Never answers after acting.
    HangAfterCommit,
    /// TCP reset with no answer. Behind a plain `axum::serve` it is an ordinary close.
    Reset,
    /// An HTML page with `status` (500..=599), as from a gateway.
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// HTTP 200 with a body that is not JSON.
    Garbage,
    /// `code`, with `errmsg` or the usual wording.
    Errcode,
    /// Ends every token of the app just before the call is judged.
    RevokeToken,
    /// Acts, sends the headers and half the body, and the rest after `ms`.
    SlowBody,
}

/// A fault to inject. It hits calls that match every filter given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only calls of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// Only calls of this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<CallPath>,
    /// Only sends to, and logins of, this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// Only sends of this template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// Milliseconds, for `latency` and `slow_body`; at most [`LONGEST_DELAY_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// HTTP status, for `http_5xx`. Default 502.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For `errcode`; not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// For `errcode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errmsg: Option<String>,
    /// For `reset`, `http_5xx`, `garbage` and `errcode`: act first, then answer so. Default false.
    #[serde(default)]
    pub commit: bool,
    /// How many calls it hits; 0 = until removed. Default 1.
    #[serde(default = "once")]
    pub times: u64,
    /// Chance of hitting a matching call, 0..=1. Default 1.
    #[serde(default = "always")]
    pub probability: f64,
}

const fn once() -> u64 {
    1
}

const fn always() -> f64 {
    1.0
}

impl FaultSpec {
    /// A fault of `kind` that hits the next call, whatever it is.
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            appid: None,
            path: None,
            openid: None,
            template_id: None,
            ms: None,
            status: None,
            code: None,
            errmsg: None,
            commit: false,
            times: once(),
            probability: always(),
        }
    }

    /// The same on `path` only.
    pub const fn on(kind: FaultKind, path: CallPath) -> Self {
        let mut spec = Self::new(kind);
        spec.path = Some(path);
        spec
    }

    fn validate(&self) -> Result<(), ControlError> {
        let needs_ms = matches!(self.kind, FaultKind::Latency | FaultKind::SlowBody);
        if needs_ms && self.ms.is_none_or(|ms| ms > LONGEST_DELAY_MS) {
            return Err(ControlError::invalid("ms", format!("is required, at most {LONGEST_DELAY_MS}")));
        }
        if self.status.is_some_and(|s| !(500..=599).contains(&s)) {
            return Err(ControlError::invalid("status", "must be 500..=599"));
        }
        if self.kind == FaultKind::Errcode && self.code.is_none_or(|c| c == 0) {
            return Err(ControlError::invalid("code", "is required and not 0"));
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(ControlError::invalid("probability", "must be 0..=1"));
        }
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or(0).min(LONGEST_DELAY_MS))
    }

    fn matches(&self, call: &CallFacts) -> bool {
        let same = |want: &Option<String>, have: &Option<String>| want.is_none() || want == have;
        self.path.is_none_or(|p| p == call.path)
            && same(&self.appid, &call.appid)
            && same(&self.openid, &call.openid)
            && same(&self.template_id, &call.template_id)
    }
}

/// A fault in force.
#[derive(Debug, Clone, Serialize)]
pub struct FaultView {
    /// Its id, for removal.
    pub id: u64,
    /// Calls hit so far.
    pub hits: u64,
    /// What it is.
    #[serde(flatten)]
    pub spec: FaultSpec,
}

/// What is known of a call before it is judged.
#[derive(Debug, Clone)]
pub(crate) struct CallFacts {
    pub(crate) path: CallPath,
    pub(crate) appid: Option<String>,
    pub(crate) openid: Option<String>,
    pub(crate) template_id: Option<String>,
}

/// How a call ends for its caller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    Answer,
    Close,
    Reset,
    Hang,
    Status(u16),
    Garbage,
    Errcode(WxError),
    SlowBody(Duration),
}

/// The faults that hit one call, put together.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    pub(crate) revoke: bool,
    pub(crate) ending: Ending,
    /// Whether the call is judged at all.
    pub(crate) commit: bool,
    /// For the journal: the ending's kind, else the delay's or revocation's.
    pub(crate) kind: Option<FaultKind>,
}

impl Plan {
    const fn untouched() -> Self {
        Self { latency: Duration::ZERO, revoke: false, ending: Ending::Answer, commit: true, kind: None }
    }

    fn apply(&mut self, spec: &FaultSpec) {
        let (ending, commit) = match spec.kind {
            FaultKind::Latency => {
                self.latency = spec.delay();
                self.kind = self.kind.or(Some(spec.kind));
                return;
            }
            FaultKind::RevokeToken => {
                self.revoke = true;
                self.kind = self.kind.or(Some(spec.kind));
                return;
            }
            FaultKind::DropBeforeCommit => (Ending::Close, false),
            FaultKind::DropAfterCommit => (Ending::Close, true),
            FaultKind::HangBeforeCommit => (Ending::Hang, false),
            FaultKind::HangAfterCommit => (Ending::Hang, true),
            FaultKind::Reset => (Ending::Reset, spec.commit),
            FaultKind::Http5xx => (Ending::Status(spec.status.unwrap_or(502)), spec.commit),
            FaultKind::Garbage => (Ending::Garbage, spec.commit),
            FaultKind::Errcode => (Ending::Errcode(injected(spec)), spec.commit),
            FaultKind::SlowBody => (Ending::SlowBody(spec.delay()), true),
        };
        (self.ending, self.commit, self.kind) = (ending, commit, Some(spec.kind));
    }
}

fn injected(spec: &FaultSpec) -> WxError {
    let usual = WxError::new(spec.code.unwrap_or(-1));
    match &spec.errmsg {
        Some(message) => WxError::with(usual.code, message),
        None => usual,
    }
}

/// The faults in force, oldest first.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    faults: BTreeMap<u64, FaultView>,
    last_id: u64,
}

impl FaultBook {
    pub(crate) fn add(&mut self, spec: FaultSpec) -> Result<u64, ControlError> {
        spec.validate()?;
        self.last_id += 1;
        let id = self.last_id;
        self.faults.insert(id, FaultView { id, hits: 0, spec });
        Ok(id)
    }

    pub(crate) fn list(&self) -> Vec<FaultView> {
        self.faults.values().cloned().collect()
    }

    pub(crate) fn remove(&mut self, id: u64) -> Result<(), ControlError> {
        self.faults.remove(&id).map(drop).ok_or(ControlError::NotFound { what: "fault" })
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Takes the faults that hit this call. A used-up fault is removed.
    pub(crate) fn plan(&mut self, call: &CallFacts, dice: &mut IdSource) -> Plan {
        let mut plan = Plan::untouched();
        let mut taken = [false; 3];
        for fault in self.faults.values_mut() {
            let sort = match fault.spec.kind {
                FaultKind::Latency => 0,
                FaultKind::RevokeToken => 1,
                _ => 2,
            };
            if taken[sort] || !fault.spec.matches(call) || !dice.chance(fault.spec.probability) {
                continue;
            }
            taken[sort] = true;
            fault.hits += 1;
            plan.apply(&fault.spec);
        }
        self.faults.retain(|_, f| f.spec.times == 0 || f.hits < f.spec.times);
        plan
    }
}
