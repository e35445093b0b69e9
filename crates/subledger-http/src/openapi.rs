//! What every operation of the OpenAPI document has in common, added once instead of thirty times.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::problem::{PROBLEM_JSON, Problem};

/// Where the native API stands.
pub(crate) const PREFIX: &str = "/api/v1";

/// The frame of the document; paths come from the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "subledger",
        description = "Sends WeChat Mini Program subscription messages and keeps the books for them.\n\n\
            微信小程序订阅消息发送与授权账本服务。\n\n\
            * Every answer of a channel says the `position` of the channel's log. Hand the position of a write to the next \
            read as `min_position` to read your own write, on any node.\n\
            * Templates, users, ledgers, messages and deliveries take `at`: what was known then, at a position of the log or a \
            time. The answer has the same shape and names the point it stands at; `known` is false where nothing had been \
            recorded yet.\n\
            * Refusals are problem documents (RFC 9457) with a stable `code`, the field and the rule. Nothing is recorded \
            when a request is refused.\n\
            * Times are RFC 3339 with microseconds in UTC; any offset is accepted.\n\
            * Lists are cut by `cursor` and `limit`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "channels", description = "Channels: Mini Programs set up for sending. 通道：已配置的小程序。"),
        (name = "platforms", description = "Third-party platforms and authorizations. 第三方平台与授权。"),
        (name = "tokens", description = "Access tokens: where they come from, lend one, replace one. 访问令牌：来源、借用与强制刷新。"),
        (name = "templates", description = "Templates as WeChat lists them. 模板：微信侧的订阅消息模板。"),
        (name = "users", description = "Bindings of userids to openids. 绑定：userid 与 openid 的对应关系。"),
        (name = "client-reports", description = "Grant intake: what users tapped. 授权上报：用户在弹窗中的选择。"),
        (name = "ledgers", description = "Subscription quotas, grants and entries. 授权账本：额度、批次与流水。"),
        (name = "messages", description = "Send requests. 消息：发送请求。"),
        (name = "deliveries", description = "What became of each recipient; doubts. 投递：每个接收人的结果与待定处理。"),
        (name = "events", description = "The event log, to follow. 事件日志：供下游系统订阅。"),
        (name = "pushes", description = "WeChat's pushes: set up, look, try again. 消息推送：配置、查看与重试。"),
        (name = "wechat", description = "What WeChat calls. 微信调用的接口。"),
        (name = "reports", description = "Sums for analysts, as JSON or CSV. 报表：统计与库存，支持 JSON 与 CSV。"),
        (name = "keys", description = "API keys. 密钥。"),
        (name = "service", description = "Health and metrics. 服务健康与指标。"),
    ),
    components(schemas(Problem)),
    modifiers(&Credentials)
)]
pub(crate) struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("slk_…").description(Some(
            "An API key of a sender app: `Authorization: Bearer slk_…`. The roles named by an operation are the rights the \
             key needs.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme.build()));
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
            "A short-lived token for one user of one channel, from `POST /api/v1/channels/{code}/user-tokens`. It is for the \
             user's own device and good for reporting that user's taps, nothing else.",
        ));
        components.add_security_scheme("UserToken", SecurityScheme::Http(scheme.build()));
    }
}

/// Refusals that any operation of the API may answer.
const COMMON: &[(&str, &str)] = &[
    ("401", "No key, or one that is not known: `missing_key`, `bad_key`."),
    (
        "429",
        "This key is used more often than allowed: `rate_limited`, with `Retry-After`. For event streams also `too_many_streams`.",
    ),
    ("500", "A defect of ours: `internal`."),
    (
        "503",
        "Try again, with `Retry-After`: `overloaded`, `timed_out`, `database_unavailable`, `shutting_down`; `newer_version`: this \
         node is older than what wrote an event that the answer rests on, so it must be upgraded (another node may answer).",
    ),
];
const WITH_CHANNEL: (&str, &str) =
    ("404", "Something the path names does not exist: `unknown_channel` and the like.");
const WITH_RIGHT: (&str, &str) =
    ("403", "The key lacks the right, or may not use this channel: `missing_right`.");
const WITH_INPUT: (&str, &str) = ("422", "The request breaks a rule; `errors` names the fields.");
const WITH_BODY: &[(&str, &str)] = &[
    ("400", "The body is not JSON: `malformed_json`, with line and column."),
    ("413", "The body is larger than allowed: `body_too_large`."),
    ("415", "The body is not declared as JSON: `unsupported_media_type`."),
];
const WITH_WRITE: (&str, &str) = ("409", "The request does not fit the present state.");
const WITH_WECHAT: (&str, &str) = ("502", "WeChat was not reached or gave no usable answer.");
/// Operations that ask WeChat while the caller waits.
const ASK_WECHAT: &[&str] = &[
    "create_channel",
    "replace_credentials",
    "refresh_templates",
    "bind_user",
    "begin_authorization",
    "start_ticket_push",
    "lease_token",
    "refresh_token",
    "set_token_source",
];

/// Operations whose answer rests on no position of a channel's log.
const WITHOUT_POSITION: &[&str] = &[
    "whoami",
    "list_channels",
    "issue_user_token",
    "list_platforms",
    "show_platform",
    "begin_authorization",
    "show_authorization",
    "follow_authorization",
    OWN_REPORT,
];
/// Operations with a body that change nothing that a repetition could change again.
const NEVER_REPLAYED: &[&str] = &["lint_values", "issue_user_token"];
/// The one operation for user tokens: it says itself what it answers without a good one.
const OWN_REPORT: &str = "report_own_tap";

/// Adds the refusals and headers that follow from what an operation is.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with(PREFIX) {
            continue;
        }
        // A report names its channel by a parameter.
        let has_channel = path.contains("{code}") || path.starts_with(&format!("{PREFIX}/reports/"));
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [get].into_iter().flatten() {
            refusals(operation, has_channel, false);
        }
        for operation in [put, post, delete, patch].into_iter().flatten() {
            refusals(operation, has_channel, true);
        }
    }
}

fn refusals(operation: &mut Operation, has_channel: bool, write: bool) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let mut list = COMMON.to_vec();
    if id != "whoami" {
        list.push(WITH_INPUT);
    }
    if id != "whoami" && id != OWN_REPORT {
        list.push(WITH_RIGHT);
    }
    // A person to be erased may be unknown, or looked for in a channel that does not exist.
    let has_platform = matches!(id.as_str(), "show_platform" | "start_ticket_push");
    if has_channel || has_platform || matches!(id.as_str(), "read_events" | "erase_user") {
        list.push(WITH_CHANNEL);
    }
    if write {
        list.push(WITH_WRITE);
    }
    if operation.request_body.is_some() {
        list.extend_from_slice(WITH_BODY);
    }
    if ASK_WECHAT.contains(&id.as_str()) {
        list.push(WITH_WECHAT);
    }
    if !WITHOUT_POSITION.contains(&id.as_str()) {
        let position = (Type::Integer, "The position of the channel's log that the answer rests on");
        header(operation, "Subledger-Position", position);
    }
    if write && !NEVER_REPLAYED.contains(&id.as_str()) {
        let replayed =
            (Type::Boolean, "`true` if this is the stored answer of an earlier, identical request");
        header(operation, "Idempotent-Replayed", replayed);
    }
    for (status, description) in list {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content.build());
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
    }
}

/// Describes a header of the answers written down so far: those that are no refusals.
fn header(operation: &mut Operation, name: &str, (kind, description): (Type, &str)) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let schema = ObjectBuilder::new().schema_type(kind.clone());
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description));
            response.headers.insert(name.to_owned(), RefOr::T(header.build()));
        }
    }
}
