//! How WeChat pushes to a channel: what is entered in its console.

use axum::extract::State;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subledger_domain::LogName;
use subledger_engine::{
    Engine, EngineError,
    callback::{Callback, CallbackRequest, SecretChange},
};
use utoipa::ToSchema;

use super::paths::ChannelPath;
use crate::{
    extract::{Json, Manage, Query, Read, ReadQuery, Scope, position},
    moment::Moment,
    problem::ApiError,
    reply::{At, Written},
    views::{CallbackFormatWord, CallbackModeWord},
};

/// How WeChat is to push. What is left out stays; a token or key that was never set is made up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackBody {
    /// The way of encryption, the same as in WeChat's console.
    #[serde(default)]
    mode: CallbackModeWord,
    /// The format, the same as in WeChat's console; what comes is read in either.
    #[serde(default)]
    format: CallbackFormatWord,
    /// The token: 3 to 32 letters and digits. Kept encrypted, never shown again.
    #[schema(value_type = Option<String>, format = Password, write_only, pattern = "^[A-Za-z0-9]{3,32}$")]
    token: Option<SecretString>,
    /// The EncodingAESKey: 43 letters and digits. Kept encrypted, never shown again. The one before it goes on opening what
    /// comes late.
    #[schema(value_type = Option<String>, format = Password, write_only, pattern = "^[A-Za-z0-9]{43}$")]
    encoding_aes_key: Option<SecretString>,
    /// Make up another token. Not together with `token`.
    #[serde(default)]
    new_token: bool,
    /// Make up another EncodingAESKey. Not together with `encoding_aes_key`.
    #[serde(default)]
    new_key: bool,
    /// The Mini Program's original id; learned from the first push if it is never given.
    #[schema(example = "gh_0123456789ab")]
    original_id: Option<String>,
}

/// How WeChat pushes to a channel. Its secrets are known by a few digits of a keyed hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallbackView {
    /// The path to enter in WeChat's console, after the address under which this service is reached from the Internet.
    #[schema(example = "/callbacks/wechat/wechatmp123")]
    path: String,
    /// The way of encryption.
    mode: CallbackModeWord,
    /// The format.
    format: CallbackFormatWord,
    /// The token's fingerprint.
    token_fingerprint: String,
    /// When the token was handed in or made up.
    token_set_at: Moment,
    /// The EncodingAESKey's fingerprint.
    key_fingerprint: Option<String>,
    /// When the EncodingAESKey was handed in or made up.
    key_set_at: Option<Moment>,
    /// The fingerprint of the key before it, which still opens what comes late.
    previous_key_fingerprint: Option<String>,
    /// When the key before it was handed in or made up.
    previous_key_set_at: Option<Moment>,
    /// The Mini Program's original id, once it is known.
    original_id: Option<String>,
    /// When it was last set.
    configured_at: Option<Moment>,
    /// What is wrong with it: plaintext mode.
    warning: Option<String>,
}

/// What was set. Token and key are there if they were made up, this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallbackSetView {
    #[serde(flatten)]
    callback: CallbackView,
    /// The token that was made up. Shown this once.
    generated_token: Option<String>,
    /// The EncodingAESKey that was made up. Shown this once.
    generated_key: Option<String>,
}

impl CallbackView {
    pub(crate) fn of(code: &subledger_domain::ChannelCode, callback: Callback) -> Self {
        Self {
            path: format!("/callbacks/wechat/{code}"),
            warning: callback.warning().map(str::to_owned),
            mode: callback.mode.into(),
            format: callback.format.into(),
            token_set_at: Moment(callback.token.set_at),
            token_fingerprint: callback.token.fingerprint,
            key_set_at: callback.key.as_ref().map(|key| Moment(key.set_at)),
            key_fingerprint: callback.key.map(|key| key.fingerprint),
            previous_key_set_at: callback.previous_key.as_ref().map(|key| Moment(key.set_at)),
            previous_key_fingerprint: callback.previous_key.map(|key| key.fingerprint),
            original_id: callback.original_id,
            configured_at: callback.configured_at.map(Moment),
        }
    }
}

fn change(given: Option<SecretString>, made_up: bool, pointer: &str) -> Result<SecretChange, ApiError> {
    match (given, made_up) {
        (Some(_), true) => {
            let detail = "a secret is given or made up, not both";
            Err(EngineError::field("bad_callback", pointer, "contradiction", detail).into())
        }
        (Some(secret), false) => Ok(SecretChange::Given(secret)),
        (None, true) => Ok(SecretChange::Generate),
        (None, false) => Ok(SecretChange::Keep),
    }
}

/// Set how WeChat pushes to a channel.
///
/// Enter the same in WeChat's console afterwards: URL, token, EncodingAESKey, mode and format. Repeating the request changes
/// nothing.
#[utoipa::path(put, path = "/channels/{code}/callback", tag = "pushes", params(ChannelPath), request_body = CallbackBody,
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<CallbackSetView>)))]
pub(crate) async fn configure_callback(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<CallbackBody>,
) -> Result<Written<CallbackSetView>, ApiError> {
    let request = CallbackRequest {
        mode: body.mode.into(),
        format: body.format.into(),
        token: change(body.token, body.new_token, "/new_token")?,
        key: change(body.encoding_aes_key, body.new_key, "/new_key")?,
        original_id: body.original_id,
    };
    let done = engine.configure_callback(&scope.caller, &scope.code, request).await?;
    let shown = |secret: Option<SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
    Ok(Written::of(done, |set| CallbackSetView {
        callback: CallbackView::of(&scope.code, set.callback),
        generated_token: shown(set.token),
        generated_key: shown(set.key),
    }))
}

/// Show how WeChat pushes to a channel.
#[utoipa::path(get, path = "/channels/{code}/callback", tag = "pushes", params(ChannelPath, ReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = At<CallbackView>)))]
pub(crate) async fn show_callback(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<CallbackView>, ApiError> {
    scope.ready(&engine, position(query.min_position)).await?;
    let head = engine.store().head(&LogName::channel(&scope.code)).await?;
    let callback = engine
        .callback(&scope.code)
        .await?
        .ok_or_else(|| EngineError::not_found("no_callback", "pushes are not configured for this channel"))?;
    Ok(At::new(head.position, CallbackView::of(&scope.code, callback)))
}
