//! WeChat's own surface: exact paths, HTTP 200 whatever happens, JSON with `errcode` and `errmsg`.
//!
//! Handlers only take the request apart; [`conduct`](conduct::conduct) puts faults around the judgement, so that every path can suffer
//! every fault.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;

use self::quota::QuotaCall;
use crate::errcode::WxError;
use crate::platform::ComponentCall;
use crate::sandbox::Sandbox;

mod component;
mod conduct;
mod consent;
mod login;
mod quota;
mod send;
mod template;
mod token;

/// Largest request body read; a greater one answers 47001.
const BODY_LIMIT: usize = 256 * 1024;

pub(crate) fn router() -> Router<Sandbox> {
    let calls = [
        ("api_component_token", ComponentCall::ComponentToken),
        ("api_create_preauthcode", ComponentCall::CreatePreauthcode),
        ("api_query_auth", ComponentCall::QueryAuth),
        ("api_authorizer_token", ComponentCall::AuthorizerToken),
        ("api_get_authorizer_info", ComponentCall::GetAuthorizerInfo),
        ("api_get_authorizer_list", ComponentCall::GetAuthorizerList),
        ("api_start_push_ticket", ComponentCall::StartPushTicket),
    ];
    let router = calls.into_iter().fold(Router::new(), |router, (name, call)| {
        let handler =
            move |state, caller, query, request| component::post(call, state, caller, query, request);
        router.route(&format!("/cgi-bin/component/{name}"), post(handler).fallback(needs_post))
    });
    // The page for the PC, the one for phones, and that on the older host (wechat-api §9.4).
    let pages = ["/cgi-bin/componentloginpage", "/wxaopen/safe/bindcomponent", "/safe/bindcomponent"];
    let router = pages
        .into_iter()
        .fold(router, |router, path| router.route(path, get(consent::show).post(consent::submit)));
    let quotas = [
        ("/cgi-bin/openapi/quota/get", QuotaCall::Get),
        ("/cgi-bin/openapi/quota/clear", QuotaCall::ClearOne),
        ("/cgi-bin/clear_quota", QuotaCall::ClearAll),
        ("/cgi-bin/clear_quota/v2", QuotaCall::ClearBySecret),
    ];
    let router = quotas.into_iter().fold(router, |router, (path, call)| {
        let handler = move |state, caller, query, request| quota::post(call, state, caller, query, request);
        router.route(path, post(handler).fallback(needs_post))
    });
    router
        .route("/sns/component/jscode2session", get(component::jscode2session).fallback(needs_get))
        .route("/cgi-bin/token", get(token::token).fallback(needs_get))
        .route("/cgi-bin/stable_token", post(token::stable_token).fallback(needs_post))
        .route("/cgi-bin/message/subscribe/send", post(send::send).fallback(needs_post))
        .route("/wxaapi/newtmpl/gettemplate", get(template::gettemplate).fallback(wrong_method))
        .route("/sns/jscode2session", get(login::jscode2session).fallback(needs_get))
}

/// Any other path: WeChat answers 40066 rather than HTTP 404.
pub(crate) async fn unknown_path(State(sandbox): State<Sandbox>) -> Response {
    refuse(&sandbox, 40066)
}

async fn needs_get(State(sandbox): State<Sandbox>) -> Response {
    refuse(&sandbox, 43001)
}

async fn needs_post(State(sandbox): State<Sandbox>) -> Response {
    refuse(&sandbox, 43002)
}

/// Template management has a code of its own for the wrong method (wechat-api §4).
async fn wrong_method(State(sandbox): State<Sandbox>) -> Response {
    refuse(&sandbox, 404)
}

fn refuse(sandbox: &Sandbox, code: i64) -> Response {
    answer(&sandbox.with(|state| state.refusal(&WxError::new(code))))
}

/// An answer as WeChat sends it.
fn answer(body: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    ([(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
}

/// Query parameters; an unreadable query counts as empty.
type Parameters = Result<Query<HashMap<String, String>>, axum::extract::rejection::QueryRejection>;

fn parameters(query: Parameters) -> HashMap<String, String> {
    query.map(|Query(map)| map).unwrap_or_default()
}
