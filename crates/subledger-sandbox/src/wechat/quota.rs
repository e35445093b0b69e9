//! `POST /cgi-bin/openapi/quota/get`, `…/clear`, `/cgi-bin/clear_quota` and `/cgi-bin/clear_quota/v2` (wechat-api §10).

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value};

use super::conduct::{Outcome, Step, conduct};
use super::{BODY_LIMIT, Parameters, parameters};
use crate::errcode::WxError;
use crate::fault::{CallFacts, CallPath};
use crate::platform;
use crate::sandbox::Sandbox;
use crate::serve::{Caller, read_body};
use crate::state;

/// A call about quotas.
#[derive(Debug, Clone, Copy)]
pub(super) enum QuotaCall {
    Get,
    ClearAll,
    ClearBySecret,
    ClearOne,
}

pub(super) async fn post(
    call: QuotaCall,
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
    request: Request,
) -> Response {
    let token = parameters(query).remove("access_token");
    let body = read_body(request, BODY_LIMIT).await;
    let body = body.map_or_else(|| Err(WxError::new(47001)), |bytes| platform::Request::fields(&bytes));
    let named = text(body.as_ref().ok(), "appid").to_owned();
    let owner = sandbox.with(|s| token.as_deref().and_then(|t| s.tokens.owner(t)).map(str::to_owned));
    let path = if matches!(call, QuotaCall::Get) { CallPath::QuotaGet } else { CallPath::ClearQuota };
    let appid = owner.or(Some(named).filter(|appid| !appid.is_empty()));
    let facts = CallFacts { path, appid, openid: None, template_id: None };
    let ip = caller.ip.clone();
    conduct(sandbox, caller, facts, None, move |state, step, _| {
        let verdict = match step {
            Step::Judge => judge(state, call, token.as_deref(), &ip, &body),
            Step::Refuse(error) => Err(error),
            Step::PassOver => return Outcome { body: None, noted: None },
        };
        let code = verdict.as_ref().map_or_else(|e| e.code, |_| 0);
        let sums = match call {
            QuotaCall::Get => &mut state.stats.quota_get,
            _ => &mut state.stats.clear_quota,
        };
        *sums.entry(code).or_default() += 1;
        let body = verdict.unwrap_or_else(|error| state.refusal(&error));
        Outcome { body: Some(body), noted: None }
    })
    .await
}

fn judge(
    state: &mut state::State,
    call: QuotaCall,
    token: Option<&str>,
    ip: &str,
    body: &Result<Map<String, Value>, WxError>,
) -> Result<Value, WxError> {
    let body = Some(body.as_ref().map_err(Clone::clone)?);
    match call {
        QuotaCall::Get => state.quota(token, ip, text(body, "cgi_path")),
        QuotaCall::ClearAll => state.clear_quota(token, ip, Some(text(body, "appid")), None),
        QuotaCall::ClearBySecret => state.clear_quota_by_secret(text(body, "appid"), text(body, "appsecret")),
        QuotaCall::ClearOne => state.clear_quota(token, ip, None, Some(text(body, "cgi_path"))),
    }
}

fn text<'a>(body: Option<&'a Map<String, Value>>, field: &str) -> &'a str {
    body.and_then(|body| body.get(field)).and_then(Value::as_str).unwrap_or_default()
}
