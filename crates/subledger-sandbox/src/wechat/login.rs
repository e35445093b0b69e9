//! `GET /sns/jscode2session` (wechat-api §5.1), and what a platform's login has in common with it (§5.2).

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::conduct::{Outcome, Step, conduct};
use super::{Parameters, parameters};
use crate::clock::Millis;
use crate::errcode::WxError;
use crate::fault::{CallFacts, CallPath};
use crate::sandbox::Sandbox;
use crate::serve::Caller;
use crate::state;

/// The parameters of a login call; a missing one is empty.
struct LoginCall {
    appid: String,
    secret: String,
    js_code: String,
    grant_type: String,
}

pub(super) async fn jscode2session(
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
) -> Response {
    let mut given = parameters(query);
    let mut take = |name: &str| given.remove(name).unwrap_or_default();
    let call = LoginCall {
        appid: take("appid"),
        secret: take("secret"),
        js_code: take("js_code"),
        grant_type: take("grant_type"),
    };
    let facts = sandbox.with(|state| facts(state, &call));
    conduct(sandbox, caller, facts, None, move |state, step, _| {
        let verdict = match step {
            Step::Judge => redeem(state, &call),
            Step::Refuse(error) => Err(error),
            Step::PassOver => return Outcome { body: None, noted: None },
        };
        let code = verdict.as_ref().map_or_else(|e| e.code, |_| 0);
        *state.stats.jscode2session.entry(code).or_default() += 1;
        let body = verdict.unwrap_or_else(|error| state.refusal(&error));
        Outcome { body: Some(body), noted: None }
    })
    .await
}

fn facts(state: &state::State, call: &LoginCall) -> CallFacts {
    let app = state.apps.get(&call.appid);
    let openid = app.and_then(|a| a.code_owner(&call.js_code)).map(str::to_owned);
    let appid = Some(call.appid.clone()).filter(|a| !a.is_empty());
    CallFacts { path: CallPath::Jscode2session, appid, openid, template_id: None }
}

fn redeem(state: &mut state::State, call: &LoginCall) -> Result<Value, WxError> {
    let now = state.now();
    state.credentials(&call.appid, &call.secret)?;
    state.session(&call.appid, &call.js_code, &call.grant_type, now)
}

impl state::State {
    /// Uses a login code up. A success carries no `errcode` (wechat-api §5.1, §14.22).
    pub(crate) fn session(
        &mut self,
        appid: &str,
        js_code: &str,
        grant_type: &str,
        now: Millis,
    ) -> Result<Value, WxError> {
        if js_code.is_empty() {
            return Err(WxError::new(41008));
        }
        if grant_type != "authorization_code" {
            return Err(WxError::new(40002));
        }
        let app = self.apps.get_mut(appid).ok_or_else(|| WxError::new(40013))?;
        if !app.settings.permissions.login {
            return Err(WxError::new(48001));
        }
        let login = app.redeem(js_code, now)?;
        let mut body = json!({ "openid": login.openid, "session_key": self.ids.session_key() });
        if let Some(unionid) = login.unionid {
            body["unionid"] = json!(unionid);
        }
        Ok(body)
    }
}
