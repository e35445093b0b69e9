//! Users: bind a userid to an openid, show it with its balances, take the binding away.

use axum::extract::State;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subledger_domain::{StreamName, SubjectId, UserId};
use subledger_engine::{Engine, EngineError, users::BindBy};
use subledger_projection::{Answer, BindingRow, LedgerRow, ProjectionName};
use utoipa::ToSchema;

use super::{
    paths::{ChannelPath, Idempotent, UserPath},
    shown::shown,
};
use crate::{
    cursor,
    extract::{
        Bind, IdempotencyKey, Json, NoBody, PageQuery, PastPageQuery, PastReadQuery, Query, Read, Scope,
        Then, limit, page, parse_id, position, refused,
    },
    people::People,
    problem::ApiError,
    reply::{Acknowledged, At, Page, Past, Written, acknowledged},
    views::{BindResultWord, LedgerView, UserDetailView, UserView},
};

/// A user to bind: with an openid, or with the code of `wx.login`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindBody {
    /// The user's id in your system.
    #[schema(example = "zhangsan", max_length = 128)]
    userid: String,
    /// The openid. Not together with `login_code`.
    #[schema(pattern = "^[A-Za-z0-9_-]{16,64}$")]
    openid: Option<String>,
    /// The code of `wx.login`, exchanged at WeChat. Works once, for five minutes. Not together with `openid`.
    #[schema(value_type = Option<String>)]
    login_code: Option<SecretString>,
}

/// What binding changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct BindAnswer {
    /// `bound`: the user had no openid here. `moved`: another one. `unchanged`: this one.
    result: BindResultWord,
}

/// List the users of a channel, unbound ones included.
#[utoipa::path(get, path = "/channels/{code}/users", tag = "users", params(ChannelPath, PageQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Page<UserView>)))]
pub(crate) async fn list_users(
    scope: Scope<Read>,
    Query(query): Query<PageQuery>,
    State(engine): State<Engine>,
) -> Result<Page<UserView>, ApiError> {
    let request = page(query.cursor, query.limit)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Bindings]).await?;
    let rows = engine.queries().bindings(&scope.code, &request).await?;
    let subjects = rows.items.iter().filter_map(|row| row.subject);
    let users = rows.items.iter().map(|row| row.user_ref);
    let people = People::behind(&engine, &scope.log, subjects, users).await?;
    Ok(Page::of(rows, |row| UserView::new(&row, &people)))
}

/// Bind a user.
///
/// A user has one openid per channel; another one moves the user. The ledgers stay with the openid.
#[utoipa::path(post, path = "/channels/{code}/users", tag = "users", params(ChannelPath, Idempotent),
    request_body = BindBody, security(("api_key" = ["bind"])),
    responses((status = 200, body = Written<BindAnswer>)))]
pub(crate) async fn bind_user(
    scope: Scope<Bind>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<BindBody>,
) -> Result<Written<BindAnswer>, ApiError> {
    let userid: UserId = parse_id("bad_userid", "/userid", &body.userid)?;
    let by = match (body.openid, body.login_code) {
        (Some(openid), None) => BindBy::Openid(parse_id("bad_openid", "/openid", &openid)?),
        (None, Some(code)) => BindBy::LoginCode(login_code(code)?),
        _ => {
            let rule = "give either an openid or a login_code";
            return Err(EngineError::field("invalid_body", "/openid", "one_of", rule).into());
        }
    };
    let done = engine.bind_user(&scope.caller, &scope.code, userid, by, idempotency_key.as_deref()).await?;
    Ok(Written::of(done, |result| BindAnswer { result: result.into() }))
}

/// A login code that WeChat could have made; anything else would only cost a call.
fn login_code(code: SecretString) -> Result<SecretString, ApiError> {
    use secrecy::ExposeSecret;
    let text = code.expose_secret();
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(code);
    }
    let rule = "must be 1 to 128 printable ASCII characters, as wx.login returned them";
    Err(EngineError::field("bad_login_code", "/login_code", "bad_login_code", rule).into())
}

/// Show a user with the balances of its ledgers.
#[utoipa::path(get, path = "/channels/{code}/users/{userid}", tag = "users", params(UserPath, PastReadQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Past<At<UserDetailView>>)))]
pub(crate) async fn show_user(
    scope: Scope<Read>,
    Query(query): Query<PastReadQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<UserDetailView>>, ApiError> {
    let userid: UserId = scope.id("userid", "bad_userid")?;
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Bindings, ProjectionName::Ledgers]).await?;
    let (binding, ledgers) = match &then {
        Some(then) => match user_then(&scope, &engine, then, &userid).await? {
            Some(found) => found,
            None => return Ok(Past::not_yet(then.point)),
        },
        None => {
            let Answer { value, position } = binding(&scope, &engine, &userid).await?;
            let ledgers = ledgers_of(&scope, &engine, value.subject).await?;
            let position = ledgers.as_ref().map_or(position, |ledgers| ledgers.position.min(position));
            (Answer { value, position }, ledgers.map(|ledgers| ledgers.value).unwrap_or_default())
        }
    };
    let people = People::behind(&engine, &scope.log, binding.value.subject, [binding.value.user_ref]).await?;
    let detail = UserDetailView {
        user: UserView::new(&binding.value, &people),
        ledgers: ledgers.into_iter().map(|row| LedgerView::new(row, &people)).collect(),
    };
    let answer = At::new(binding.position, detail);
    Ok(match then {
        Some(then) => Past::then(then.point, answer),
        None => Past::Now(answer),
    })
}

/// Take the binding of a user away.
///
/// The ledgers stay: grants belong to the openid, and come back when it is bound again.
#[utoipa::path(delete, path = "/channels/{code}/users/{userid}", tag = "users", params(UserPath),
    security(("api_key" = ["bind"])), responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn unbind_user(
    scope: Scope<Bind>,
    State(engine): State<Engine>,
    _: NoBody,
) -> Result<Written<Acknowledged>, ApiError> {
    let userid: UserId = scope.id("userid", "bad_userid")?;
    Ok(acknowledged(engine.unbind_user(&scope.caller, &scope.code, &userid).await?))
}

/// List the ledgers of a user's openid.
#[utoipa::path(get, path = "/channels/{code}/users/{userid}/ledgers", tag = "users", params(UserPath, PastPageQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Past<Page<LedgerView>>)))]
pub(crate) async fn list_user_ledgers(
    scope: Scope<Read>,
    Query(query): Query<PastPageQuery>,
    State(engine): State<Engine>,
) -> Result<Past<Page<LedgerView>>, ApiError> {
    let userid: UserId = scope.id("userid", "bad_userid")?;
    let limit = limit(query.limit)?;
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Bindings, ProjectionName::Ledgers]).await?;
    let (binding, rows) = match &then {
        Some(then) => match user_then(&scope, &engine, then, &userid).await? {
            Some(found) => found,
            None => return Ok(Past::not_yet(then.point)),
        },
        None => {
            let Answer { value, position } = binding(&scope, &engine, &userid).await?;
            let rows = ledgers_of(&scope, &engine, value.subject).await?;
            let position = rows.as_ref().map_or(position, |rows| rows.position.min(position));
            (Answer { value, position }, rows.map(|rows| rows.value).unwrap_or_default())
        }
    };
    let template = |row: &LedgerRow| row.template.clone();
    let (rows, next_cursor) =
        cursor::cut("user_ledgers", rows, template, query.cursor.as_deref(), limit as usize)?;
    let people = People::behind(&engine, &scope.log, binding.value.subject, []).await?;
    let items = rows.into_iter().map(|row| LedgerView::new(row, &people)).collect();
    let page = Page { items, next_cursor, position: binding.position.0 };
    Ok(match then {
        Some(then) => Past::then(then.point, page),
        None => Past::Now(page),
    })
}

/// A user and the ledgers of the openid that the user had then; none for a user who was bound only later.
async fn user_then(
    scope: &Scope<Read>,
    engine: &Engine,
    then: &Then,
    userid: &UserId,
) -> Result<Option<(Answer<BindingRow>, Vec<LedgerRow>)>, ApiError> {
    let (user, position) = (engine.store().user_ref_of(userid), then.point.position);
    let Some(value) = then.history.binding(&scope.log, user, position).await.map_err(refused)? else {
        scope.not_yet(then, &StreamName::binding(user), unknown_user()).await?;
        return Ok(None);
    };
    let ledgers = match value.subject {
        Some(subject) => then.history.ledgers_of(&scope.log, subject, position).await.map_err(refused)?,
        None => Vec::new(),
    };
    Ok(Some((Answer { value, position }, ledgers)))
}

fn unknown_user() -> EngineError {
    EngineError::not_found("unknown_user", "no user with this userid was ever bound in this channel")
}

/// The binding of a user who was ever bound here.
pub(super) async fn binding(
    scope: &Scope<Read>,
    engine: &Engine,
    userid: &UserId,
) -> Result<Answer<BindingRow>, ApiError> {
    let user = engine.store().user_ref_of(userid);
    let Answer { value, position } = engine.queries().binding(&scope.code, user).await?;
    let value = value.ok_or_else(unknown_user)?;
    Ok(Answer { value, position })
}

/// The ledgers of an openid, by template; none while the user has no openid.
pub(super) async fn ledgers_of(
    scope: &Scope<Read>,
    engine: &Engine,
    subject: Option<SubjectId>,
) -> Result<Option<Answer<Vec<LedgerRow>>>, ApiError> {
    let Some(subject) = subject else { return Ok(None) };
    let mut rows = engine.queries().ledgers_of(&scope.code, subject).await?;
    rows.value.sort_by(|a, b| a.template.cmp(&b.template));
    Ok(Some(rows))
}
