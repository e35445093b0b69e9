//! Erasing a person. Not under a channel's path: a person may be known in several.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, app::Right};
use subledger_engine::{
    Engine, EngineError, ErrorKind,
    erasure::{Erasure, ErasureAnswer, Where, Whom},
};
use utoipa::ToSchema;

use super::{
    paths::Idempotent,
    person::{Person, wrong_person},
};
use crate::{
    extract::{Deployment, IdempotencyKey, Json, Manage, parse_id},
    moment::Moment,
    problem::ApiError,
    reply::Written,
};

/// Who is to be erased, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "userid": "zhangsan", "reason": "asked for it by letter of 2026-03-01" }))]
pub(crate) struct EraseBody {
    /// Only from this channel; from every channel if left out, which takes a key that may use every channel.
    #[schema(pattern = "^[A-Za-z0-9]{1,32}$")]
    channel: Option<String>,
    /// By your own id, with every openid it is or was bound to. Not together with `openid`.
    #[schema(max_length = 128)]
    userid: Option<String>,
    /// By openid. Users bound to it are unbound; their userids stay. Not together with `userid`.
    #[schema(pattern = "^[A-Za-z0-9_-]{16,64}$")]
    openid: Option<String>,
    /// Why; kept in the books for ever, so it must not name the person. 1 to 500 characters.
    #[schema(max_length = 500)]
    reason: String,
    /// Take deliveries back that wait. Without it they refuse the erasure.
    #[serde(default)]
    force: bool,
}

/// What an erasure came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasureView {
    /// Nothing was left: the person had been erased before, and the rest tells of that erasure.
    already: bool,
    /// The channels the person was erased from.
    channels: Vec<String>,
    /// Whether the userid went. It stays while the user is bound in a channel that was not asked for.
    userid_erased: bool,
    /// Openids that went.
    openids: u32,
    /// Openids that stay because another user is bound to them.
    shared_openids: u32,
    /// Contents of messages that went.
    contents: u32,
    /// Pushes of WeChat that went, which the person had caused.
    pushes: u32,
    /// Deliveries that waited and were taken back.
    retracted: u32,
    /// When.
    erased_at: Moment,
    /// At whose word.
    #[schema(example = "app:shop")]
    erased_by: String,
    /// Why.
    reason: String,
}

impl From<ErasureAnswer> for ErasureView {
    fn from(answer: ErasureAnswer) -> Self {
        Self {
            already: answer.already,
            channels: answer.channels.into_iter().map(String::from).collect(),
            userid_erased: answer.userid,
            openids: answer.openids,
            shared_openids: answer.shared_openids,
            contents: answer.contents,
            pushes: answer.pushes,
            retracted: answer.retracted,
            erased_at: Moment(answer.at),
            erased_by: answer.by,
            reason: answer.reason,
        }
    }
}

/// Erase a person.
///
/// Openids, userid, contents of messages to the person and pushes the person caused are deleted; events, counts and the hash chain stay and no
/// longer lead to a name. Refused while deliveries to the person wait (see `force`), are under way or are in doubt. Asking
/// again is harmless. `position` is that of the log `main`.
#[utoipa::path(post, path = "/users/erasures", tag = "users", params(Idempotent), request_body = EraseBody,
    security(("api_key" = ["manage"])), responses((status = 200, body = Written<ErasureView>)))]
pub(crate) async fn erase_user(
    scope: Deployment<Manage>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<EraseBody>,
) -> Result<Written<ErasureView>, ApiError> {
    let from = match &body.channel {
        Some(code) => {
            let code: ChannelCode = parse_id("bad_channel_code", "/channel", code)?;
            scope.rights.require(Right::Manage, Some(&code))?;
            Where::Channel(code)
        }
        None if scope.rights.channels.is_some() => {
            let detail = "this key may not use every channel; name one in `channel`";
            return Err(EngineError::new(ErrorKind::Forbidden, "missing_right", detail).into());
        }
        None => Where::Everywhere,
    };
    let person = Person::of(body.userid.as_deref(), body.openid.as_deref(), "").map_err(wrong_person)?;
    let whom = match person {
        Person::Userid(userid) => Whom::Userid(userid),
        Person::Openid(openid) => Whom::Openid(openid),
    };
    let erasure = Erasure {
        whom,
        from,
        reason: body.reason,
        force: body.force,
        vacuum: false,
        idempotency_key: idempotency_key.as_deref().map(str::to_owned),
    };
    let done = engine.erase_user(&scope.caller, erasure).await?;
    Ok(Written::of(done, ErasureView::from))
}
