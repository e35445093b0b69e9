//! The pages behind a platform's authorization links (wechat-api §9.4): a person picks the account they administer and ticks
//! permission sets. WeChat shows a QR code on the PC and the same choice on the phone; here both are one form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use axum::body::Bytes;
use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use reqwest::Url;

use super::BODY_LIMIT;
use crate::error::ControlError;
use crate::platform::{DEVELOPMENT_SET, Scan, candidates};
use crate::sandbox::Sandbox;
use crate::serve::read_body;
use crate::state;

/// The page.
pub(super) async fn show(
    State(sandbox): State<Sandbox>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let given: BTreeMap<String, String> = pairs(uri.query().unwrap_or_default()).into_iter().collect();
    let scan = Scan::read(&given);
    let referer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    match sandbox.with(|state| form(state, &scan, &given, referer)) {
        Ok(page) => page.into_response(),
        Err(error) => refused(&error),
    }
}

/// What the person sends: the parameters of the link, `appid`, and a `permission_set` for each that is ticked.
pub(super) async fn submit(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let body = read_body(request, BODY_LIMIT).await.unwrap_or_else(Bytes::new);
    let fields = pairs(&String::from_utf8_lossy(&body));
    let ticked: BTreeSet<u32> = fields
        .iter()
        .filter(|(name, _)| name == "permission_set")
        .filter_map(|(_, id)| id.parse().ok())
        .collect();
    let given: BTreeMap<String, String> = fields.into_iter().collect();
    let appid = given.get("appid").cloned().unwrap_or_default();
    let scan = Scan::read(&given);
    let done = sandbox.with(|state| {
        has_code(&scan)?;
        state.scanned(&scan, &appid, Some(&ticked))
    });
    match done.map(|authorized| authorized.redirect) {
        Ok(Some(redirect)) => Redirect::to(&redirect).into_response(),
        Ok(None) => page("授权成功", "<p>授权成功。链接没有 redirect_uri,可以关闭此页。</p>").into_response(),
        Err(error) => refused(&error),
    }
}

/// The pairs of a query or of a form.
fn pairs(text: &str) -> Vec<(String, String)> {
    let url = Url::parse(&format!("http://sandbox.invalid/?{text}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// A person cannot come here without a code, as the control API can.
fn has_code(scan: &Scan) -> Result<(), ControlError> {
    match scan.pre_auth_code {
        Some(_) => Ok(()),
        None => Err(ControlError::refused(None, "the link holds no pre_auth_code")),
    }
}

/// Errors: what WeChat's page refuses before it asks anything.
fn form(
    state: &state::State,
    scan: &Scan,
    given: &BTreeMap<String, String>,
    referer: Option<&str>,
) -> Result<Html<String>, ControlError> {
    let platform = state.platform(&scan.component)?;
    if let Some(domain) = &platform.settings.login_domain {
        let from = referer.and_then(|from| Url::parse(from).ok());
        if from.as_ref().and_then(Url::host_str) != Some(domain.as_str()) {
            let reason = "the page was not opened from the platform's login domain (Referer)";
            return Err(ControlError::refused(None, reason));
        }
    }
    has_code(scan)?;
    if let Some(code) = &scan.pre_auth_code {
        platform.check_pre_auth_code(code, state.now())?;
    }
    let mut body = format!(
        "<p>第三方平台 <b>{}</b> 请求管理你的帐号。</p><form method=\"post\">",
        escaped(&scan.component)
    );
    for (name, value) in
        given.iter().filter(|(name, _)| !["appid", "permission_set"].contains(&name.as_str()))
    {
        let (name, value) = (escaped(name), escaped(value));
        let _ = write!(body, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    }
    body.push_str("<fieldset><legend>以哪个帐号的管理员身份扫码</legend>");
    for (index, appid) in candidates(state, scan).iter().enumerate() {
        let name = state.app(appid)?.settings.account.nick_name.as_str();
        let (appid, name, checked) =
            (escaped(appid), escaped(name), if index == 0 { " checked" } else { "" });
        let _ = write!(
            body,
            "<label><input type=\"radio\" name=\"appid\" value=\"{appid}\" required{checked}> {name} ({appid})</label>"
        );
    }
    body.push_str("</fieldset><fieldset><legend>权限集</legend>");
    for id in scan.offered_by(platform) {
        let note = if id == DEVELOPMENT_SET {
            "小程序开发与数据分析(互斥:只能授权给一个平台)"
        } else {
            ""
        };
        let _ = write!(
            body,
            "<label><input type=\"checkbox\" name=\"permission_set\" value=\"{id}\" checked> {id} {note}</label>"
        );
    }
    body.push_str("</fieldset><button>授权</button></form>");
    Ok(page("平台授权", &body))
}

fn refused(error: &ControlError) -> Response {
    let status = match error {
        ControlError::NotFound { .. } => StatusCode::NOT_FOUND,
        ControlError::Invalid { .. } => StatusCode::BAD_REQUEST,
        ControlError::Conflict { .. } | ControlError::Refused { .. } => StatusCode::FORBIDDEN,
    };
    let text = escaped(&error.to_string());
    (status, page("授权失败", &format!("<p class=\"error\">授权失败:{text}</p>"))).into_response()
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>\
         body{{font:16px/1.5 sans-serif;max-width:34rem;margin:2rem auto;padding:0 1rem}}\
         label{{display:block}}fieldset{{margin:1rem 0}}.error{{color:#b00}}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    ))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
