//! Path parameters, as the OpenAPI document describes them. They are parsed by [`crate::extract::Scope`].

#![allow(dead_code, reason = "read by the OpenAPI generator only")]

use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ChannelPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PushKeyPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// What the push is known by.
    #[param(pattern = "^[0-9a-f]{32}$")]
    push: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TemplatePath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// WeChat's template id (`priTmplId`).
    #[param(pattern = "^[A-Za-z0-9_-]{8,64}$")]
    template_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct UserPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// The user's id in your system, percent-encoded.
    #[param(example = "zhangsan", max_length = 128)]
    userid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct LedgerPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// What stands for the openid in the log, as other answers show it.
    #[param(pattern = "^[0-9a-f]{32}$")]
    subject: String,
    /// WeChat's template id (`priTmplId`).
    #[param(pattern = "^[A-Za-z0-9_-]{8,64}$")]
    template_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MessagePath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// The message's id.
    #[param(pattern = "^[0-9a-f]{32}$")]
    msgid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DeliveryPath {
    /// The channel's code.
    #[param(example = "wechatmp123", pattern = "^[A-Za-z0-9]{1,32}$")]
    code: String,
    /// The message's id.
    #[param(pattern = "^[0-9a-f]{32}$")]
    msgid: String,
    /// The recipient's place in the request, from 0.
    index: u32,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Idempotent {
    /// Makes a repetition harmless: the same key and body give the stored answer, another body is refused. 1 to 128
    /// printable ASCII characters, kept for at least 30 days.
    #[param(rename = "Idempotency-Key", max_length = 128)]
    idempotency_key: Option<String>,
}
