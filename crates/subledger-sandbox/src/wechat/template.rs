//! `GET /wxaapi/newtmpl/gettemplate` (wechat-api §4, §11.3).

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::conduct::{Outcome, Step, conduct};
use super::{Parameters, parameters};
use crate::errcode::WxError;
use crate::fault::{CallFacts, CallPath};
use crate::sandbox::Sandbox;
use crate::serve::Caller;
use crate::state;

pub(super) async fn gettemplate(
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
) -> Response {
    let token = parameters(query).remove("access_token");
    let appid = sandbox.with(|s| token.as_deref().and_then(|t| s.tokens.owner(t)).map(str::to_owned));
    let facts = CallFacts { path: CallPath::Gettemplate, appid, openid: None, template_id: None };
    let ip = caller.ip.clone();
    conduct(sandbox, caller, facts, None, move |state, step, _| {
        let verdict = match step {
            Step::Judge => list(state, token.as_deref(), &ip),
            Step::Refuse(error) => Err(error),
            Step::PassOver => return Outcome { body: None, noted: None },
        };
        let code = verdict.as_ref().map_or_else(|e| e.code, |_| 0);
        *state.stats.gettemplate.entry(code).or_default() += 1;
        let body = verdict.unwrap_or_else(|error| state.refusal(&error));
        Outcome { body: Some(body), noted: None }
    })
    .await
}

fn list(state: &mut state::State, token: Option<&str>, ip: &str) -> Result<Value, WxError> {
    let appid = state.entitled(token, ip)?;
    let now = state.now();
    let app = state.apps.get_mut(&appid).ok_or_else(|| WxError::new(40013))?;
    if !app.settings.permissions.templates {
        return Err(WxError::new(48001));
    }
    if !app.template_day.admit_day(now, app.settings.template_daily_limit) {
        return Err(WxError::new(45009));
    }
    Ok(json!({ "errcode": 0, "errmsg": "ok", "data": app.templates }))
}
