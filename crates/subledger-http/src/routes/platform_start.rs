//! The page from which an administrator goes to WeChat's authorization page.
//!
//! WeChat's page for computers opens only for browsers that come from the platform's registered domain: it looks at the
//! Referer (§9.4). A link in a mail or a terminal brings none. So this page stands on that domain, is what operators hand
//! out, and leads on. For phones it shows the code to scan.
//!
//! Whoever has the id may see it: it is random, and known to those whom the operator gave the link.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use subledger_domain::ChannelCode;
use subledger_engine::{EngineError, ErrorKind, platform::AuthorizationStatus};
use utoipa::IntoParams;

use crate::{context::Context, problem::ApiError, views::qr_svg};

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct StartPath {
    /// The platform's appid.
    #[param(example = "wx00000000comp0001", pattern = "^[A-Za-z0-9]{4,64}$")]
    component_appid: String,
    /// The channel that is to be authorized.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// The authorization's id.
    #[param(pattern = "^[0-9a-f-]{36}$")]
    id: String,
}

/// The page from which an administrator goes to WeChat's authorization page.
///
/// WeChat's page for computers opens only for browsers that come from the platform's domain. Hand this one out.
#[utoipa::path(get, path = "/callbacks/wechat-open/{component_appid}/start/{code}/{id}", tag = "wechat", params(StartPath),
    responses(
        (status = 200, body = String, content_type = "text/html", description = "Leads on to WeChat"),
        (status = 404, description = "No such authorization was begun here"),
        (status = 410, description = "It has ended, or is too old"),
))]
pub(crate) async fn start(
    path: Result<Path<(String, String, String)>, PathRejection>,
    State(context): State<Context>,
) -> Response {
    let unknown = || page(StatusCode::NOT_FOUND, UNKNOWN);
    let Ok(Path((component, code, id))) = path else { return unknown() };
    let (Ok(code), Ok(id)) = (code.parse::<ChannelCode>(), id.parse()) else { return unknown() };
    let found = {
        let _slot = context.push_slots().acquire().await;
        context.engine().authorization(&code, id).await
    };
    match found {
        Err(EngineError { kind: ErrorKind::NotFound, .. }) => unknown(),
        Err(error) => ApiError::from(error).into_response(),
        Ok(begun) if begun.component_appid != component => unknown(),
        Ok(begun) => match begun.links {
            Some((pc, h5)) => page(StatusCode::OK, &leading_on(code.as_str(), &pc, &h5)),
            None if begun.status == AuthorizationStatus::Authorized => page(StatusCode::GONE, DONE),
            None => page(StatusCode::GONE, OVER),
        },
    }
}

const UNKNOWN: &str = "<p>没有对应的授权请求，请向发起方索取新的链接。</p><p lang=\"en\">No authorization was begun with this link. Ask for a new one.</p>";
const DONE: &str = "<p>已完成授权，可以关闭此页面。</p><p lang=\"en\">The authorization is given. You may close this page.</p>";
const OVER: &str = "<p>链接已失效，请向发起方索取新的链接。</p><p lang=\"en\">The link is good no longer. Ask for a new one.</p>";

fn leading_on(channel: &str, pc: &str, h5: &str) -> String {
    let (channel, pc) = (escaped(channel), escaped(pc));
    // Our own drawing of our own link: nothing in it is text of somebody else.
    let code =
        qr_svg(h5).map(|svg| svg.find("<svg").map_or(String::new(), |at| svg.split_at(at).1.to_owned()));
    format!(
        "<h1>小程序授权 <small>{channel}</small></h1>\
         <p>需要勾选权限集“开发管理与数据分析”（18）。该权限集同一时间只能授权给一个第三方平台；授权期间，小程序不能再通过微信后台发布版本。</p>\
         <p lang=\"en\">Permission set 18 (development and data analysis) is needed. Only one platform can hold it at a time, and \
         while one does, the Mini Program cannot be published through WeChat's own console.</p>\
         <p><a href=\"{pc}\">在电脑上授权 · Authorize on this computer</a></p>\
         <p>或用管理员的微信扫码 · or scan with the administrator's WeChat</p>{}",
        code.unwrap_or_default()
    )
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>subledger</title></head><body>{body}</body></html>"
    );
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    // The domain is what WeChat looks for; the path names the authorization and is nobody else's business.
    let referrer = HeaderValue::from_static("origin");
    let headers = [(header::CONTENT_TYPE, kind), (header::REFERRER_POLICY, referrer)];
    (status, headers, html).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_a_link_and_becomes_no_markup() {
        let page = leading_on("mp", "https://a/?x=\"><script>&y=1", "https://b/");
        assert!(page.contains("href=\"https://a/?x=&quot;&gt;&lt;script&gt;&amp;y=1\""), "{page}");
        assert!(page.contains("<svg") && !page.contains("<?xml"), "{page}");
    }
}
