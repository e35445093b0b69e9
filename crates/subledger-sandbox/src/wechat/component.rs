//! The calls of third-party platforms (wechat-api §5.2, §9.3). The platform's token is taken under its old and its new name.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;

use super::conduct::{Noted, Outcome, Step, conduct};
use super::{BODY_LIMIT, Parameters, parameters};
use crate::errcode::WxError;
use crate::fault::CallFacts;
use crate::platform::{self, ComponentCall};
use crate::sandbox::Sandbox;
use crate::serve::{Caller, read_body};

/// The name of the platform's token in older documents and in most SDKs, and in the newest (wechat-api §9.3).
const TOKEN_NAMES: [&str; 2] = ["component_access_token", "access_token"];

/// A call by POST.
pub(super) async fn post(
    call: ComponentCall,
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
    request: Request,
) -> Response {
    let mut given = parameters(query);
    let token = TOKEN_NAMES.iter().find_map(|name| given.remove(*name));
    let body = read_body(request, BODY_LIMIT).await;
    let body =
        body.map_or_else(|| Err(WxError::new(47001)), |bytes: Bytes| platform::Request::fields(&bytes));
    run(sandbox, platform::Request { call, token, ip: caller.ip.clone(), body }, caller).await
}

/// `GET /sns/component/jscode2session`.
pub(super) async fn jscode2session(
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
) -> Response {
    let mut given = parameters(query);
    let token = TOKEN_NAMES.iter().find_map(|name| given.remove(*name));
    let body = given.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let (call, ip) = (ComponentCall::ComponentJscode2session, caller.ip.clone());
    run(sandbox, platform::Request { call, token, ip, body: Ok(body) }, caller).await
}

async fn run(sandbox: Sandbox, request: platform::Request, caller: Caller) -> Response {
    let facts = sandbox.with(|state| {
        let account = request.account(state);
        let app = account.and_then(|appid| state.apps.get(appid));
        let openid = app.and_then(|app| app.code_owner(request.js_code())).map(str::to_owned);
        let appid = account.or(request.component()).map(str::to_owned);
        CallFacts { path: request.call.path(), appid, openid, template_id: None }
    });
    conduct(sandbox, caller, facts, None, move |state, step, fault| {
        let (body, seq) = match step {
            Step::Judge => {
                let (body, seq) = state.component_call(&request, fault);
                (Some(body), seq)
            }
            Step::Refuse(error) => {
                let seq = state.pass_over_component(&request, Some(&error), fault);
                (Some(state.refusal(&error)), seq)
            }
            Step::PassOver => (None, state.pass_over_component(&request, None, fault)),
        };
        Outcome { body, noted: Some(Noted::Component(seq)) }
    })
    .await
}
