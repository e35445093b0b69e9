//! `POST /cgi-bin/message/subscribe/send` (wechat-api §2).

use axum::extract::{Request, State};
use axum::response::Response;

use super::conduct::{Lane, Noted, Outcome, Step, conduct};
use super::{BODY_LIMIT, Parameters, parameters};
use crate::check::{SendBody, SendCall};
use crate::errcode::WxError;
use crate::fault::{CallFacts, CallPath, FaultKind};
use crate::sandbox::Sandbox;
use crate::serve::{Caller, read_body};
use crate::state;

pub(super) async fn send(
    State(sandbox): State<Sandbox>,
    caller: Caller,
    query: Parameters,
    request: Request,
) -> Response {
    let token = parameters(query).remove("access_token");
    let body = match read_body(request, BODY_LIMIT).await {
        Some(bytes) => SendBody::parse(&bytes),
        None => Err(WxError::new(47001)),
    };
    let (facts, lane, concurrent) = sandbox.with(|state| {
        let appid = token.as_deref().and_then(|t| state.tokens.owner(t)).map(str::to_owned);
        let openid = body.as_ref().ok().map(|b| b.touser.clone());
        let template_id = body.as_ref().ok().map(|b| b.template_id.clone());
        let key = appid.clone().zip(openid.clone());
        let wanted = key.is_some();
        let lane = key.and_then(|key| Lane::take(&sandbox, state, key));
        let concurrent = wanted && lane.is_none();
        (CallFacts { path: CallPath::Send, appid, openid, template_id }, lane, concurrent)
    });
    let call = SendCall { token, ip: caller.ip.clone(), body, concurrent };
    conduct(sandbox, caller, facts, lane, move |state, step, fault| judge(state, &call, step, fault)).await
}

fn judge(state: &mut state::State, call: &SendCall, step: Step, fault: Option<FaultKind>) -> Outcome {
    let (body, seq) = match step {
        Step::Judge => {
            let (body, seq) = state.send(call, fault);
            (Some(body), seq)
        }
        Step::Refuse(error) => {
            let body = state.refusal(&error);
            (Some(body), state.pass_over(call, Some(error), fault))
        }
        Step::PassOver => (None, state.pass_over(call, None, fault)),
    };
    Outcome { body, noted: Some(Noted::Send(seq)) }
}
