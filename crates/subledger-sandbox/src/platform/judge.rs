//! The calls that platforms make (wechat-api §9.3), and their checks in an order that is data, as the sends' is.
//!
//! One table serves all calls: a check that a call has no use for passes. So does one whose facts are missing, because the
//! check that owns the missing fact refuses the call.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::page;
use super::{Platform, PlatformDeed};
use crate::clock::{Millis, SECOND};
use crate::errcode::WxError;
use crate::fault::{CallPath, FaultKind};
use crate::state::State;

/// A call of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentCall {
    /// `api_component_token`.
    ComponentToken,
    /// `api_create_preauthcode`.
    CreatePreauthcode,
    /// `api_query_auth`.
    QueryAuth,
    /// `api_authorizer_token`.
    AuthorizerToken,
    /// `api_get_authorizer_info`.
    GetAuthorizerInfo,
    /// `api_get_authorizer_list`.
    GetAuthorizerList,
    /// `api_start_push_ticket`.
    StartPushTicket,
    /// `sns/component/jscode2session`.
    ComponentJscode2session,
}

impl ComponentCall {
    /// Where faults are aimed.
    pub(crate) const fn path(self) -> CallPath {
        match self {
            Self::ComponentToken => CallPath::ComponentToken,
            Self::CreatePreauthcode => CallPath::CreatePreauthcode,
            Self::QueryAuth => CallPath::QueryAuth,
            Self::AuthorizerToken => CallPath::AuthorizerToken,
            Self::GetAuthorizerInfo => CallPath::GetAuthorizerInfo,
            Self::GetAuthorizerList => CallPath::GetAuthorizerList,
            Self::StartPushTicket => CallPath::StartPushTicket,
            Self::ComponentJscode2session => CallPath::ComponentJscode2session,
        }
    }

    /// It needs the platform's token; the others show the platform's secret.
    const fn needs_token(self) -> bool {
        !matches!(self, Self::ComponentToken | Self::StartPushTicket)
    }

    /// The field that names the app it is about.
    const fn account_field(self) -> Option<&'static str> {
        match self {
            Self::AuthorizerToken | Self::GetAuthorizerInfo => Some("authorizer_appid"),
            Self::ComponentJscode2session => Some("appid"),
            _ => None,
        }
    }

    const fn secret_field(self) -> Option<&'static str> {
        match self {
            Self::ComponentToken => Some("component_appsecret"),
            Self::StartPushTicket => Some("component_secret"),
            _ => None,
        }
    }
}

/// One named check of a platform's call and the codes it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentCheck {
    /// 44002 empty, 47001 not the right shape.
    Body,
    /// 41001, 40014, 40001, 42001; 61014 for a token that is not a platform's.
    Token,
    /// 40013: no such platform, or not the token's.
    Component,
    /// 61011.
    Banned,
    /// 61004.
    Ip,
    /// 41004, 40125.
    Secret,
    /// 61006, 61005.
    Ticket,
    /// 40013: no such app.
    Account,
    /// 40097, 61009, 61010.
    Code,
    /// 61003.
    Authorization,
    /// 61023.
    RefreshToken,
    /// 61007.
    PermissionSet,
    /// 40170.
    Page,
}

/// The order they are checked in when nothing else is said. WeChat publishes none.
pub const DEFAULT_COMPONENT_ORDER: [ComponentCheck; 13] = [
    ComponentCheck::Body,
    ComponentCheck::Token,
    ComponentCheck::Component,
    ComponentCheck::Banned,
    ComponentCheck::Ip,
    ComponentCheck::Secret,
    ComponentCheck::Ticket,
    ComponentCheck::Account,
    ComponentCheck::Code,
    ComponentCheck::Authorization,
    ComponentCheck::RefreshToken,
    ComponentCheck::PermissionSet,
    ComponentCheck::Page,
];

/// True if every check is named exactly once.
pub(crate) fn is_complete(order: &[ComponentCheck]) -> bool {
    let (mut given, mut all) = (order.to_vec(), DEFAULT_COMPONENT_ORDER.to_vec());
    given.sort_unstable();
    all.sort_unstable();
    given == all
}

/// A platform's call as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) call: ComponentCall,
    pub(crate) token: Option<String>,
    pub(crate) ip: String,
    /// The fields of the body, or of the query for a login.
    pub(crate) body: Result<Map<String, Value>, WxError>,
}

impl Request {
    /// Reads a body.
    pub(crate) fn fields(bytes: &[u8]) -> Result<Map<String, Value>, WxError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(WxError::new(44002));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(fields),
            _ => Err(WxError::new(47001)),
        }
    }

    /// A text of the body; one that is missing or not text is empty.
    fn text(&self, field: &str) -> &str {
        let value = self.body.as_ref().ok().and_then(|body| body.get(field));
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The platform it names.
    pub(crate) fn component(&self) -> Option<&str> {
        Some(self.text("component_appid")).filter(|id| !id.is_empty())
    }

    /// The login code it uses up.
    pub(crate) fn js_code(&self) -> &str {
        self.text("js_code")
    }

    /// The app it is about, whether or not it exists.
    pub(crate) fn account<'a>(&'a self, state: &'a State) -> Option<&'a str> {
        if let Some(field) = self.call.account_field() {
            return Some(self.text(field)).filter(|id| !id.is_empty());
        }
        let platform = self.component().and_then(|id| state.platforms.get(id))?;
        let code = platform.codes.get(self.text("authorization_code"))?;
        (self.call == ComponentCall::QueryAuth).then_some(code.appid.as_str())
    }
}

impl State {
    /// Judges a platform's call and writes the journal. Gives the answer and the journal's `seq`.
    pub(crate) fn component_call(&mut self, request: &Request, fault: Option<FaultKind>) -> (Value, u64) {
        let account = request.account(self).map(str::to_owned);
        let refresh = |state: &Self| {
            let platform = request.component().and_then(|id| state.platforms.get(id));
            platform?.authorizers.get(account.as_deref()?).map(|a| a.refresh.clone())
        };
        let before = refresh(self);
        let verdict = self.judge_component(request);
        let rotated = request.call == ComponentCall::AuthorizerToken && before != refresh(self);
        let errcode = verdict.as_ref().map_or_else(|e| e.code, |_| 0);
        let seq = self.note_call(request, account.as_deref(), Some(errcode), fault, rotated);
        (verdict.unwrap_or_else(|error| self.refusal(&error)), seq)
    }

    /// Journals a call that a fault answered instead (`refused`) or swallowed.
    pub(crate) fn pass_over_component(
        &mut self,
        request: &Request,
        refused: Option<&WxError>,
        fault: Option<FaultKind>,
    ) -> u64 {
        let account = request.account(self).map(str::to_owned);
        self.note_call(request, account.as_deref(), refused.map(|e| e.code), fault, false)
    }

    fn note_call(
        &mut self,
        request: &Request,
        account: Option<&str>,
        errcode: Option<i64>,
        fault: Option<FaultKind>,
        rotated: bool,
    ) -> u64 {
        let named = request.component();
        if let Some(errcode) = errcode {
            // Names nobody made share one entry, so that a stray client cannot grow the table.
            let known = named.filter(|id| self.platforms.contains_key(*id)).unwrap_or_default();
            let calls = self.stats.component_calls.entry(known.to_owned()).or_default();
            *calls.entry(request.call).or_default().entry(errcode).or_default() += 1;
        }
        let deed = PlatformDeed::Call { call: request.call, errcode, answered: false, fault, rotated };
        self.note(named, account, deed, None)
    }

    fn judge_component(&mut self, request: &Request) -> Result<Value, WxError> {
        let now = self.now();
        for &check in &self.component_order {
            self.check(check, request, now)?;
        }
        let (call, component) = (request.call, request.text("component_appid").to_owned());
        let ruling = self.platform_ruling(&component);
        let overlap = ruling.reality.replaced_token_seconds * SECOND;
        match call {
            ComponentCall::ComponentToken => {
                let granted = self.tokens.component(&component, overlap, &mut self.ids, now);
                Ok(json!({ "component_access_token": granted.token, "expires_in": granted.expires_in }))
            }
            ComponentCall::CreatePreauthcode => {
                let (code, seconds) = (self.ids.pre_auth_code(), ruling.reality.pre_auth_code_seconds);
                self.known_platform(&component)?.add_pre_auth_code(code.clone(), seconds * SECOND, now);
                Ok(json!({ "pre_auth_code": code, "expires_in": seconds }))
            }
            ComponentCall::QueryAuth => self.query_auth(&component, request.text("authorization_code"), now),
            ComponentCall::AuthorizerToken => {
                self.authorizer_token(&component, request.text("authorizer_appid"), now)
            }
            ComponentCall::GetAuthorizerInfo => {
                self.authorizer_info(&component, request.text("authorizer_appid"))
            }
            ComponentCall::GetAuthorizerList => self.authorizer_list(&component, request),
            ComponentCall::StartPushTicket => {
                let fine = self.start_tickets(&component).map_err(|_| WxError::new(40013))?;
                Ok(json!({ "errcode": 0, "errmsg": if fine { "in a normal state" } else { "ok" } }))
            }
            ComponentCall::ComponentJscode2session => {
                self.session(request.text("appid"), request.js_code(), request.text("grant_type"), now)
            }
        }
    }

    pub(super) fn known_platform(&mut self, component: &str) -> Result<&mut Platform, WxError> {
        self.platforms.get_mut(component).ok_or_else(|| WxError::new(40013))
    }

    fn check(&self, check: ComponentCheck, request: &Request, now: Millis) -> Result<(), WxError> {
        let call = request.call;
        let refuse_if = |refused: bool, code: i64| if refused { Err(WxError::new(code)) } else { Ok(()) };
        let token = call.needs_token().then(|| self.tokens.judge_component(request.token.as_deref(), now));
        match check {
            ComponentCheck::Body => return request.body.as_ref().map(drop).map_err(Clone::clone),
            ComponentCheck::Token => return token.map_or(Ok(()), |judged| judged.map(drop)),
            _ if request.body.is_err() => return Ok(()),
            ComponentCheck::Page => return check_page(request),
            _ => {}
        }
        let named = request.text("component_appid");
        let Some(platform) = self.platforms.get(named) else {
            return refuse_if(check == ComponentCheck::Component, 40013);
        };
        let account = request.account(self);
        let authorization = account.and_then(|appid| platform.authorization(appid));
        match check {
            ComponentCheck::Component => {
                refuse_if(token.is_some_and(|judged| judged.is_ok_and(|owner| owner != named)), 40013)
            }
            ComponentCheck::Banned => refuse_if(platform.settings.banned, 61011),
            ComponentCheck::Ip => platform.check_ip(&request.ip),
            ComponentCheck::Secret => match call.secret_field().map(|field| request.text(field)) {
                Some("") => Err(WxError::new(41004)),
                Some(secret) => refuse_if(secret != platform.secret, 40125),
                None => Ok(()),
            },
            ComponentCheck::Ticket if call == ComponentCall::ComponentToken => {
                let ends = platform.tickets.get(request.text("component_verify_ticket"));
                ends.map_or_else(|| Err(WxError::new(61006)), |end| refuse_if(*end <= now, 61005))
            }
            ComponentCheck::Account => {
                let named = call.account_field().map(|field| request.text(field));
                refuse_if(named.is_some_and(|appid| !self.apps.contains_key(appid)), 40013)
            }
            ComponentCheck::Code if call == ComponentCall::QueryAuth => {
                let code = request.text("authorization_code");
                match platform.codes.get(code) {
                    _ if code.is_empty() => Err(WxError::new(40097)),
                    None => Err(WxError::new(61009)),
                    Some(code) => refuse_if(code.used || code.expires <= now, 61010),
                }
            }
            ComponentCheck::Authorization => {
                let known = account.is_some_and(|appid| self.apps.contains_key(appid));
                refuse_if(known && authorization.is_none(), 61003)
            }
            ComponentCheck::RefreshToken if call == ComponentCall::AuthorizerToken => {
                let given = request.text("authorizer_refresh_token");
                refuse_if(authorization.is_some_and(|a| !a.takes(given)), 61023)
            }
            ComponentCheck::PermissionSet if call == ComponentCall::ComponentJscode2session => {
                refuse_if(authorization.is_some_and(|a| !a.sets.contains(&super::DEVELOPMENT_SET)), 61007)
            }
            _ => Ok(()),
        }
    }
}

impl Platform {
    /// 61004, with the address as WeChat names it.
    pub(crate) fn check_ip(&self, ip: &str) -> Result<(), WxError> {
        if self.admits(ip) {
            return Ok(());
        }
        Err(WxError::with(61004, format!("access clientip is not registered requestIP: {ip}")))
    }
}

fn check_page(request: &Request) -> Result<(), WxError> {
    let list = request.call == ComponentCall::GetAuthorizerList;
    if list && page(request).is_none() { Err(WxError::new(40170)) } else { Ok(()) }
}
