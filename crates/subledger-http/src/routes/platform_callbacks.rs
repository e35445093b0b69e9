//! What WeChat calls for a third-party platform: its two push URLs, and the page that browsers come back to.
//!
//! The rules are those of [`super::callbacks`]: strangers can call these, so a request costs little before its proof was checked.

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use subledger_engine::{intake::PushAnswer, platform::RedirectAnswer};
use subledger_store::MAX_PUSH_BYTES;
use utoipa::IntoParams;

use super::callbacks::{answer, in_time};
use crate::{context::Context, middleware::request::RequestId, problem::ApiError};

/// How long somebody waits for the page; what is not done by then is done by itself.
const PAGE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct ComponentPath {
    /// The platform's appid.
    #[param(example = "wx00000000comp0001", pattern = "^[A-Za-z0-9]{4,64}$")]
    component_appid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the OpenAPI generator only")]
pub(crate) struct ComponentUserPath {
    /// The platform's appid.
    #[param(example = "wx00000000comp0001", pattern = "^[A-Za-z0-9]{4,64}$")]
    component_appid: String,
    /// The Mini Program's appid; WeChat puts it in place of `$APPID$`.
    #[param(example = "wx00000000demo0001", pattern = "^[A-Za-z0-9]{4,64}$")]
    appid: String,
}

/// Take in what WeChat pushes about a platform itself.
///
/// Tickets, and who authorized the platform or withdrew. Signed by the platform's token and sealed with its EncodingAESKey. The
/// answer is `success` once it is on disk; a repetition changes nothing.
#[utoipa::path(post, path = "/callbacks/wechat-open/{component_appid}", tag = "wechat", params(ComponentPath), responses(
    (status = 200, body = String, content_type = "text/plain", description = "`success`"),
    (status = 400, description = "It is no push, or no key opens it"),
    (status = 403, description = "The signature does not fit, or the time is too far from ours"),
    (status = 404, description = "No platform of this appid takes pushes"),
    (status = 413, description = "Larger than any push"),
    (status = 503, description = "Not recorded in time; WeChat tries again"),
))]
pub(crate) async fn take_platform_push(
    component: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    State(context): State<Context>,
    body: Body,
) -> Response {
    let Ok(Path(component)) = component else { return answer(PushAnswer::Unknown) };
    let query = query.unwrap_or_default();
    let taking = async {
        let Ok(body) = to_bytes(body, MAX_PUSH_BYTES).await else { return Ok(PushAnswer::TooLarge) };
        Ok(context.engine().take_platform_push(&component, query.as_bytes(), &body).await?)
    };
    in_time(&context, taking).await
}

/// Take in what WeChat pushes about a user of an authorized Mini Program.
///
/// Does what a push of the channel itself does. A push about a Mini Program that is no channel is answered and counted.
#[utoipa::path(post, path = "/callbacks/wechat-open/{component_appid}/{appid}", tag = "wechat", params(ComponentUserPath),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "`success`"),
        (status = 400, description = "It is no push"),
        (status = 403, description = "The signature does not fit, or the time is too far from ours"),
        (status = 404, description = "No platform of this appid takes pushes"),
        (status = 413, description = "Larger than any push"),
        (status = 503, description = "Not recorded in time; WeChat tries again"),
))]
pub(crate) async fn take_platform_user_push(
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    State(context): State<Context>,
    Extension(id): Extension<RequestId>,
    body: Body,
) -> Response {
    let Ok(Path((component, appid))) = path else { return answer(PushAnswer::Unknown) };
    let query = query.unwrap_or_default();
    let taking = async {
        let Ok(body) = to_bytes(body, MAX_PUSH_BYTES).await else { return Ok(PushAnswer::TooLarge) };
        let request = Some(id.as_str());
        let engine = context.engine();
        Ok(engine.take_platform_user_push(&component, &appid, query.as_bytes(), &body, request).await?)
    };
    in_time(&context, taking).await
}

/// The page that a browser comes back to from WeChat's authorization page.
///
/// WeChat adds `auth_code` and `expires_in` to the URL that the link named, which carries our `state`.
#[utoipa::path(get, path = "/callbacks/wechat-open/{component_appid}/authorized", tag = "wechat", params(ComponentPath),
    responses(
        (status = 200, body = String, content_type = "text/html", description = "Authorized, or soon"),
        (status = 404, description = "It belongs to no authorization that was begun here"),
        (status = 409, description = "Refused, and why"),
))]
pub(crate) async fn authorized(
    component: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    State(context): State<Context>,
) -> Response {
    let unknown = || page(StatusCode::NOT_FOUND, &RedirectAnswer::Unknown);
    let Ok(Path(component)) = component else { return unknown() };
    let query = query.unwrap_or_default();
    let value = |name: &str| {
        let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.into_owned())
    };
    let (Some(state), Some(code)) = (value("state"), value("auth_code")) else { return unknown() };
    let expires_in = value("expires_in").and_then(|text| text.parse().ok());
    let taking = async {
        let _slot = context.push_slots().acquire().await;
        let (state, code) = (SecretString::from(state), SecretString::from(code));
        context.engine().take_redirect(&component, state, code, expires_in).await
    };
    match tokio::time::timeout(PAGE_DEADLINE, taking).await {
        Ok(Ok(RedirectAnswer::Unknown)) => unknown(),
        Ok(Ok(refused @ RedirectAnswer::Refused { .. })) => page(StatusCode::CONFLICT, &refused),
        Ok(Ok(shown)) => page(StatusCode::OK, &shown),
        Ok(Err(error)) => ApiError::from(error).into_response(),
        Err(_) => page(StatusCode::OK, &RedirectAnswer::Later { channel: String::new() }),
    }
}

/// A page in both languages: who reads it is the customer's administrator, and no client of ours.
fn page(status: StatusCode, shown: &RedirectAnswer) -> Response {
    let (zh, en) = words(shown);
    let (zh, en) = (escaped(&zh), escaped(&en));
    let html = format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>subledger</title></head><body><p>{zh}</p>\
         <p lang=\"en\">{en}</p></body></html>"
    );
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    // The URL held a code: nobody should get it with the next click.
    let referrer = HeaderValue::from_static("no-referrer");
    (status, [(header::CONTENT_TYPE, kind), (header::REFERRER_POLICY, referrer)], html).into_response()
}

fn words(shown: &RedirectAnswer) -> (String, String) {
    match shown {
        RedirectAnswer::Authorized { channel, missing } if missing.is_empty() => (
            format!("授权成功：通道 {channel} 已连接。可以关闭此页面。"),
            format!("Authorized: channel {channel} is connected. You may close this page."),
        ),
        RedirectAnswer::Authorized { channel, missing } => {
            let sets = missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            (
                format!(
                    "已授权通道 {channel}，但缺少权限集 {sets}：请重新扫码并勾选，在此之前消息不会发送。"
                ),
                format!(
                    "Channel {channel} is authorized, but permission set {sets} is missing: scan again and tick it; nothing is \
                     sent until then."
                ),
            )
        }
        RedirectAnswer::Refused { detail } => {
            (format!("授权未被接受：{detail}"), format!("The authorization was not accepted: {detail}"))
        }
        RedirectAnswer::Later { .. } => (
            "已收到授权，正在处理，稍后自动完成。可以关闭此页面。".to_owned(),
            "The authorization was received and will be completed by itself. You may close this page."
                .to_owned(),
        ),
        RedirectAnswer::Unknown => (
            "没有对应的授权请求，或链接已过期，请向发起方索取新的链接。".to_owned(),
            "No authorization was begun with this link, or it is too old. Ask for a new one.".to_owned(),
        ),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_page_is_markup_that_somebody_else_wrote() {
        let refused = RedirectAnswer::Refused { detail: "<script>\"&".to_owned() };
        let (zh, en) = words(&refused);
        assert!(zh.contains("<script>"), "the case would not show anything otherwise");
        assert!(!escaped(&en).contains('<') && !escaped(&en).contains('"'));
    }
}
