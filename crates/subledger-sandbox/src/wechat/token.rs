//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token` (wechat-api §1).

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::conduct::{Outcome, Step, conduct};
use super::{BODY_LIMIT, Parameters, parameters};
use crate::errcode::WxError;
use crate::fault::{CallFacts, CallPath};
use crate::sandbox::Sandbox;
use crate::serve::{Caller, read_body};
use crate::state;
use crate::token::Granted;

/// A token call of either kind.
#[derive(Debug, Default)]
struct TokenCall {
    grant_type: String,
    appid: String,
    secret: String,
    ip: String,
    mode: Mode,
    /// The body could not be read at all.
    broken: Option<WxError>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Normal,
    Stable,
    Forced,
}

pub(super) async fn token(State(sandbox): State<Sandbox>, caller: Caller, query: Parameters) -> Response {
    let mut given = parameters(query);
    let mut take = |name: &str| given.remove(name).unwrap_or_default();
    let call = TokenCall {
        grant_type: take("grant_type"),
        appid: take("appid"),
        secret: take("secret"),
        ip: caller.ip.clone(),
        ..TokenCall::default()
    };
    run(sandbox, caller, CallPath::Token, call).await
}

pub(super) async fn stable_token(
    State(sandbox): State<Sandbox>,
    caller: Caller,
    request: Request,
) -> Response {
    let mut call = match read_body(request, BODY_LIMIT).await {
        Some(bytes) => parse(&bytes),
        None => TokenCall { broken: Some(WxError::new(47001)), ..TokenCall::default() },
    };
    call.ip.clone_from(&caller.ip);
    run(sandbox, caller, CallPath::StableToken, call).await
}

fn parse(bytes: &[u8]) -> TokenCall {
    let broken = |code| TokenCall { broken: Some(WxError::new(code)), ..TokenCall::default() };
    if bytes.is_empty() {
        return broken(44002);
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(bytes) else { return broken(47001) };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let forced = match body.get("force_refresh") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(forced)) => *forced,
        Some(_) => return broken(47001),
    };
    TokenCall {
        grant_type: text("grant_type"),
        appid: text("appid"),
        secret: text("secret"),
        mode: if forced { Mode::Forced } else { Mode::Stable },
        ..TokenCall::default()
    }
}

async fn run(sandbox: Sandbox, caller: Caller, path: CallPath, call: TokenCall) -> Response {
    let appid = Some(call.appid.clone()).filter(|a| !a.is_empty());
    let facts = CallFacts { path, appid, openid: None, template_id: None };
    conduct(sandbox, caller, facts, None, move |state, step, _| {
        let verdict = match step {
            Step::Judge => judge(state, &call),
            Step::Refuse(error) => Err(error),
            Step::PassOver => return Outcome { body: None, noted: None },
        };
        count(state, &call, verdict.as_ref().ok());
        let body = match verdict {
            Ok(granted) => json!({ "access_token": granted.token, "expires_in": granted.expires_in }),
            Err(error) => state.refusal(&error),
        };
        Outcome { body: Some(body), noted: None }
    })
    .await
}

fn judge(state: &mut state::State, call: &TokenCall) -> Result<Granted, WxError> {
    if let Some(broken) = &call.broken {
        return Err(broken.clone());
    }
    if call.grant_type != "client_credential" {
        return Err(WxError::new(40002));
    }
    let now = state.now();
    let settings = state.credentials(&call.appid, &call.secret)?.settings.clone();
    if state
        .platform_of(&call.appid)
        .is_some_and(|(id, _)| state.platform_ruling(id).reality.platform_ends_own_tokens)
    {
        return Err(WxError::new(61024));
    }
    if settings.ip_allowlist_on && !settings.ip_allowlist.contains(&call.ip) {
        let ip = &call.ip;
        let message = format!("invalid ip {ip} ipv6 ::ffff:{ip}, not in whitelist");
        return Err(WxError::with(40164, message));
    }
    let (tokens, ids) = (&mut state.tokens, &mut state.ids);
    match call.mode {
        Mode::Normal => tokens.fresh(&call.appid, &settings, ids, now),
        mode => tokens.stable(&call.appid, mode == Mode::Forced, &settings, ids, now),
    }
}

fn count(state: &mut state::State, call: &TokenCall, granted: Option<&Granted>) {
    // Names nobody made share one entry, so that a stray client cannot grow the table.
    let name = if state.apps.contains_key(&call.appid) { call.appid.as_str() } else { "" };
    let calls = state.stats.token_calls.entry(name.to_owned()).or_default();
    calls.issued += u64::from(granted.is_some_and(|g| g.fresh));
    let counter = match call.mode {
        _ if granted.is_none() => &mut calls.refused,
        Mode::Normal => &mut calls.token,
        Mode::Stable => &mut calls.stable,
        Mode::Forced => &mut calls.stable_forced,
    };
    *counter += 1;
}
