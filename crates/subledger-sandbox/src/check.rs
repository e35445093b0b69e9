//! The checks a send goes through, and their order as data.
//!
//! WeChat does not publish the order (wechat-api §2.3), so it is a table: a suite can run under another one. A check whose
//! facts are missing (no readable body, no app behind the token) passes, because the check that owns the missing fact
//! refuses the call, sooner or later.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::clock::Millis;
use crate::errcode::WxError;
use crate::reality::Reality;
use crate::state::Standing;
use crate::template::Template;
use crate::token::Bearer;
use crate::values::{BadValue, check_value};

/// One named check and the codes it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendCheck {
    /// 44002 empty, 47001 not the right shape.
    Body,
    /// 41001, 40014, 40001, 42001; 61015 for a platform's own token.
    Token,
    /// 61004: a platform calls from an address that is not on its list.
    PlatformIp,
    /// 61003: the app took its authorization back.
    Authorization,
    /// 61007: the app did not tick the platform's set for it.
    PermissionSet,
    /// 48001.
    Permission,
    /// 40003.
    Touser,
    /// 40037.
    Template,
    /// 43107.
    Ban,
    /// 43108.
    Concurrency,
    /// 41030.
    Page,
    /// 47003.
    Data,
    /// 45168.
    Sensitive,
    /// 45011, 45009.
    Rate,
    /// 43101.
    Subscription,
}

/// The order suggested by wechat-api §2.3; a platform's checks come after that of its token.
pub const DEFAULT_CHECK_ORDER: [SendCheck; 15] = [
    SendCheck::Body,
    SendCheck::Token,
    SendCheck::PlatformIp,
    SendCheck::Authorization,
    SendCheck::PermissionSet,
    SendCheck::Permission,
    SendCheck::Touser,
    SendCheck::Template,
    SendCheck::Ban,
    SendCheck::Concurrency,
    SendCheck::Page,
    SendCheck::Data,
    SendCheck::Sensitive,
    SendCheck::Rate,
    SendCheck::Subscription,
];

/// True if every check is named exactly once; only such an order guards the books.
pub(crate) fn is_complete(order: &[SendCheck]) -> bool {
    let (mut given, mut all) = (order.to_vec(), DEFAULT_CHECK_ORDER.to_vec());
    given.sort_unstable();
    all.sort_unstable();
    given == all
}

/// The body of a send whose shape is right.
#[derive(Debug, Clone)]
pub(crate) struct SendBody {
    pub(crate) touser: String,
    pub(crate) template_id: String,
    pub(crate) page: Option<String>,
    pub(crate) state: String,
    pub(crate) lang: String,
    pub(crate) data: Map<String, Value>,
}

impl SendBody {
    /// Reads a body; `miniprogram_state` and `lang` have defaults (wechat-api §2.1).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WxError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(WxError::new(44002));
        }
        let Ok(Value::Object(mut body)) = serde_json::from_slice(bytes) else {
            return Err(WxError::new(47001));
        };
        let data = match body.remove("data") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(data)) => data,
            Some(_) => return Err(WxError::new(47001)),
        };
        let mut text = |name: &str| match body.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WxError::new(47001)),
        };
        Ok(Self {
            touser: text("touser")?.unwrap_or_default(),
            template_id: text("template_id")?.unwrap_or_default(),
            page: text("page")?.filter(|p| !p.is_empty()),
            state: text("miniprogram_state")?.unwrap_or_else(|| "formal".to_owned()),
            lang: text("lang")?.unwrap_or_else(|| "zh_CN".to_owned()),
            data,
        })
    }

    /// Whether it is paid for by the counts of the versions that are not formal ([`Reality::trial_shares_counts`]).
    pub(crate) fn is_apart(&self, reality: &Reality) -> bool {
        self.state != "formal" && !reality.trial_shares_counts
    }
}

/// A send as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct SendCall {
    pub(crate) token: Option<String>,
    pub(crate) ip: String,
    pub(crate) body: Result<SendBody, WxError>,
    /// Another call for the same openid was in flight when this one arrived.
    pub(crate) concurrent: bool,
}

/// Runs one check. `app` is the app that the token speaks for; the verdicts are those on the token itself, and on the
/// platform that holds it.
pub(crate) fn run(
    check: SendCheck,
    call: &SendCall,
    (token, standing): (&Result<Bearer, WxError>, &Standing),
    app: Option<&mut App>,
    reality: &Reality,
    now: Millis,
) -> Result<(), WxError> {
    match check {
        SendCheck::Body => return call.body.as_ref().map(drop).map_err(Clone::clone),
        SendCheck::Token => return token.as_ref().map(drop).map_err(Clone::clone),
        SendCheck::PlatformIp => return standing.ip.clone(),
        SendCheck::Authorization => return standing.authorization.clone(),
        SendCheck::PermissionSet => return standing.set.clone(),
        _ => {}
    }
    let Some(app) = app else { return Ok(()) };
    match check {
        SendCheck::Permission => refuse_if(!app.settings.permissions.send, 48001),
        SendCheck::Ban => refuse_if(app.settings.banned, 43107),
        SendCheck::Concurrency => refuse_if(call.concurrent, 43108),
        SendCheck::Rate => app.admit_send(now),
        _ => call.body.as_ref().map_or(Ok(()), |body| check_body(check, body, app, reality)),
    }
}

/// The checks that look into the body.
fn check_body(check: SendCheck, body: &SendBody, app: &App, reality: &Reality) -> Result<(), WxError> {
    let template = app.template(&body.template_id);
    match check {
        SendCheck::Touser => refuse_if(!app.users.contains_key(&body.touser), 40003),
        SendCheck::Template => refuse_if(template.is_none(), 40037),
        SendCheck::Page => refuse_if(!page_exists(body.page.as_deref(), &app.settings.pages), 41030),
        SendCheck::Data => template.map_or(Ok(()), |t| check_data(body, t, reality)),
        SendCheck::Sensitive => refuse_if(is_sensitive(&body.data, &app.settings.sensitive_words), 45168),
        SendCheck::Subscription => match (template, app.users.get(&body.touser)) {
            (Some(template), Some(user)) => {
                refuse_if(!user.may_receive(template, body.is_apart(reality)), 43101)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn refuse_if(refused: bool, code: i64) -> Result<(), WxError> {
    if refused { Err(WxError::new(code)) } else { Ok(()) }
}

fn page_exists(page: Option<&str>, pages: &[String]) -> bool {
    let Some(page) = page else { return true };
    let bare = |p: &str| p.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
    pages.is_empty() || pages.iter().any(|p| bare(p) == bare(page))
}

fn check_data(body: &SendBody, template: &Template, reality: &Reality) -> Result<(), WxError> {
    for key in template.keys() {
        let allowed = template.enum_values(key);
        let checked = match value_of(&body.data, key) {
            None => Err(BadValue::Empty),
            Some(Value::String(text)) => check_value(key, text, allowed),
            // A JSON number as value is accepted in practice (wechat-api §2.1).
            Some(Value::Number(number)) if reality.number_values => {
                check_value(key, &number.to_string(), allowed)
            }
            Some(_) => Err(BadValue::Invalid),
        };
        checked.map_err(|bad| WxError::with(47003, bad.message(key)))?;
    }
    if !["developer", "trial", "formal"].contains(&body.state.as_str()) {
        return Err(WxError::with(47003, "argument invalid! miniprogram_state invalid"));
    }
    if !["zh_CN", "en_US", "zh_HK", "zh_TW"].contains(&body.lang.as_str()) {
        return Err(WxError::with(47003, "argument invalid! lang invalid"));
    }
    Ok(())
}

fn value_of<'a>(data: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    data.get(key)?.as_object().map_or(Some(&Value::Bool(false)), |o| o.get("value")).filter(|v| !v.is_null())
}

fn is_sensitive(data: &Map<String, Value>, words: &[String]) -> bool {
    let texts = || data.keys().filter_map(|k| value_of(data, k)).filter_map(Value::as_str);
    words.iter().any(|w| !w.is_empty() && texts().any(|t| t.contains(w.as_str())))
}
