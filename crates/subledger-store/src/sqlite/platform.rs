//! Third-party platforms: tickets, authorizations under way, codes, refresh tokens. Nothing here sees what is sealed.

use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    rows::platform::{
        AuthorizationColumns, AuthorizationWrite, AuthorizerColumns, AuthorizerWrite, CodeColumns, CodeWrite,
        PlatformColumns,
    },
};

/// Has a platform's tickets watched.
pub(crate) async fn watch(connection: &mut SqliteConnection, component: &str) -> Result<(), StoreError> {
    sqlx::query(
        "insert into platform (component_appid) values (?1) on conflict (component_appid) do nothing",
    )
    .bind(component)
    .execute(connection)
    .await
    .map_err(while_doing("watching a platform"))?;
    Ok(())
}

/// Every platform that is watched.
pub(crate) async fn watched(connection: &mut SqliteConnection) -> Result<Vec<PlatformColumns>, StoreError> {
    sqlx::query_as("select component_appid, ticket, received_at, tickets, asked_at from platform order by 1")
        .fetch_all(connection)
        .await
        .map_err(while_doing("reading platforms"))
}

/// One platform.
pub(crate) async fn ticket(
    connection: &mut SqliteConnection,
    component: &str,
) -> Result<Option<PlatformColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, ticket, received_at, tickets, asked_at from platform where component_appid = ?1",
    )
    .bind(component)
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading a ticket"))
}

/// Keeps a ticket, unless a newer one is kept.
pub(crate) async fn keep_ticket(
    connection: &mut SqliteConnection,
    component: &str,
    sealed: &[u8],
    dated: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let kept = sqlx::query(
        "insert into platform as p (component_appid, ticket, ticket_dated, received_at, tickets)
         values (?1, ?2, ?3, ?4, 1)
         on conflict (component_appid) do update set
             ticket = excluded.ticket, ticket_dated = excluded.ticket_dated,
             received_at = excluded.received_at, tickets = p.tickets + 1
             where p.ticket_dated <= excluded.ticket_dated",
    )
    .bind(component)
    .bind(sealed)
    .bind(dated)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("keeping a ticket"))?;
    Ok(kept.rows_affected() == 1)
}

/// Notes that WeChat is asked for tickets now, unless it was asked after `before`.
pub(crate) async fn ask_tickets(
    connection: &mut SqliteConnection,
    component: &str,
    before: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let noted = sqlx::query(
        "update platform set asked_at = ?3
         where component_appid = ?1 and (asked_at is null or asked_at <= ?2)",
    )
    .bind(component)
    .bind(before)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("noting that tickets were asked for"))?;
    Ok(noted.rows_affected() == 1)
}

/// Begins an authorization. One whose request is known changes nothing.
pub(crate) async fn begin(
    connection: &mut SqliteConnection,
    begun: &AuthorizationWrite<'_>,
    now: i64,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "insert into platform_authorization
             (id, component_appid, channel, state_hash, preauth_hash, request_hash, sealed, created_at, expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         on conflict (request_hash) do nothing",
    )
    .bind(&begun.id[..])
    .bind(begun.component)
    .bind(begun.channel)
    .bind(&begun.state[..])
    .bind(&begun.preauth[..])
    .bind(begun.request.map(|hash| hash.to_vec()))
    .bind(begun.sealed)
    .bind(now)
    .bind(begun.expires_at)
    .execute(connection)
    .await
    .map_err(while_doing("beginning an authorization"))?;
    Ok(written.rows_affected() == 1)
}

/// The authorization whose id, state, pre-auth code or request has this hash.
pub(crate) async fn begun(
    connection: &mut SqliteConnection,
    hash: &[u8; 16],
) -> Result<Option<AuthorizationColumns>, StoreError> {
    sqlx::query_as(
        "select id, component_appid, channel, sealed, created_at, expires_at, status, outcome, ended_at
         from platform_authorization
         where id = ?1 or state_hash = ?1 or preauth_hash = ?1 or request_hash = ?1",
    )
    .bind(&hash[..])
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading an authorization"))
}

/// Ends an authorization that waits.
pub(crate) async fn end(
    connection: &mut SqliteConnection,
    id: &[u8; 16],
    status: i64,
    outcome: &str,
    now: i64,
) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "update platform_authorization set status = ?2, outcome = ?3, ended_at = ?4, sealed = null
         where id = ?1 and status = 0",
    )
    .bind(&id[..])
    .bind(status)
    .bind(outcome)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("ending an authorization"))?;
    Ok(ended.rows_affected() == 1)
}

/// Keeps a code. Of one that is known already, only what was not known of it is added.
pub(crate) async fn keep_code(
    connection: &mut SqliteConnection,
    code: &CodeWrite<'_>,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into platform_code as c
             (component_appid, code, sealed, begun, appid, dated, received_at, expires_at, due_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?7)
         on conflict (component_appid, code) do update set
             begun = coalesce(c.begun, excluded.begun), appid = coalesce(c.appid, excluded.appid)",
    )
    .bind(code.component)
    .bind(&code.code[..])
    .bind(code.sealed)
    .bind(code.begun.map(|id| id.to_vec()))
    .bind(code.appid)
    .bind(code.dated)
    .bind(now)
    .bind(code.expires_at)
    .execute(connection)
    .await
    .map_err(while_doing("keeping an authorization code"))?;
    Ok(())
}

/// One code.
pub(crate) async fn code(
    connection: &mut SqliteConnection,
    component: &str,
    code: &[u8; 16],
) -> Result<Option<CodeColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, code, sealed, begun, appid, dated, expires_at, status, outcome, tries, due_at
         from platform_code where component_appid = ?1 and code = ?2",
    )
    .bind(component)
    .bind(&code[..])
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading an authorization code"))
}

/// Codes that are due, the oldest first.
pub(crate) async fn due_codes(
    connection: &mut SqliteConnection,
    now: i64,
    limit: i64,
) -> Result<Vec<CodeColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, code, sealed, begun, appid, dated, expires_at, status, outcome, tries, due_at
         from platform_code where status = 0 and due_at <= ?1 order by due_at limit ?2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading authorization codes"))
}

/// Has a code that waits tried again later.
pub(crate) async fn postpone_code(
    connection: &mut SqliteConnection,
    component: &str,
    code: &[u8; 16],
    due_at: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update platform_code set tries = tries + 1, due_at = ?3
         where component_appid = ?1 and code = ?2 and status = 0",
    )
    .bind(component)
    .bind(&code[..])
    .bind(due_at)
    .execute(connection)
    .await
    .map_err(while_doing("putting an authorization code off"))?;
    Ok(())
}

/// Says what became of a code that waits.
pub(crate) async fn settle_code(
    connection: &mut SqliteConnection,
    component: &str,
    code: &[u8; 16],
    status: i64,
    outcome: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update platform_code set status = ?3, outcome = ?4, sealed = null
         where component_appid = ?1 and code = ?2 and status = 0",
    )
    .bind(component)
    .bind(&code[..])
    .bind(status)
    .bind(outcome)
    .execute(connection)
    .await
    .map_err(while_doing("settling an authorization code"))?;
    Ok(())
}

/// Deletes authorizations and codes that were over before `before`.
pub(crate) async fn forget_old(connection: &mut SqliteConnection, before: i64) -> Result<u64, StoreError> {
    let failed = while_doing("deleting old authorizations");
    let begun = sqlx::query("delete from platform_authorization where expires_at < ?1")
        .bind(before)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let codes = sqlx::query("delete from platform_code where expires_at < ?1")
        .bind(before)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(begun.rows_affected() + codes.rows_affected())
}

/// One authorizer.
pub(crate) async fn authorizer(
    connection: &mut SqliteConnection,
    component: &str,
    appid: &str,
) -> Result<Option<AuthorizerColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, appid, channel, refresh_token, version, obtained_at, dated
         from authorizer where component_appid = ?1 and appid = ?2",
    )
    .bind(component)
    .bind(appid)
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading an authorizer"))
}

/// The authorizer by which a Mini Program is called: of its channel, if it has one; else the newest.
pub(crate) async fn authorizer_in_use(
    connection: &mut SqliteConnection,
    appid: &str,
) -> Result<Option<AuthorizerColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, appid, channel, refresh_token, version, obtained_at, dated
         from authorizer where appid = ?1
         order by case when channel is null then 1 else 0 end, obtained_at desc limit 1",
    )
    .bind(appid)
    .fetch_optional(connection)
    .await
    .map_err(while_doing("reading an authorizer"))
}

/// Gives an authorizer its channel; the channel's authorizer at another platform has none any more.
pub(crate) async fn link(
    connection: &mut SqliteConnection,
    component: &str,
    appid: &str,
    channel: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update authorizer set channel = case when component_appid = ?1 and appid = ?2 then ?3 end
         where channel = ?3 or (component_appid = ?1 and appid = ?2)",
    )
    .bind(component)
    .bind(appid)
    .bind(channel)
    .execute(connection)
    .await
    .map_err(while_doing("giving an authorizer its channel"))?;
    Ok(())
}

/// The authorizers of a platform, by appid.
pub(crate) async fn authorizers(
    connection: &mut SqliteConnection,
    component: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<AuthorizerColumns>, StoreError> {
    sqlx::query_as(
        "select component_appid, appid, channel, refresh_token, version, obtained_at, dated
         from authorizer where component_appid = ?1 and appid > ?2 order by appid limit ?3",
    )
    .bind(component)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading authorizers"))
}

/// Writes what a new authorization brought, whatever was there. Answers with its version.
pub(crate) async fn supersede(
    connection: &mut SqliteConnection,
    write: &AuthorizerWrite<'_>,
    dated: i64,
    now: i64,
) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "insert into authorizer as a (component_appid, appid, refresh_token, version, obtained_at, dated)
         values (?1, ?2, ?3, 1, ?4, ?5)
         on conflict (component_appid, appid) do update set
             refresh_token = excluded.refresh_token, version = a.version + 1, obtained_at = excluded.obtained_at,
             dated = case when a.dated > excluded.dated then a.dated else excluded.dated end
         returning version",
    )
    .bind(write.component)
    .bind(write.appid)
    .bind(write.refresh_token)
    .bind(now)
    .bind(dated)
    .fetch_one(connection)
    .await
    .map_err(while_doing("keeping a refresh token"))
}

/// Replaces the refresh token of a version; not if another was written since.
pub(crate) async fn replace(
    connection: &mut SqliteConnection,
    write: &AuthorizerWrite<'_>,
    version: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "update authorizer set refresh_token = ?3, version = version + 1, obtained_at = ?5
         where component_appid = ?1 and appid = ?2 and version = ?4",
    )
    .bind(write.component)
    .bind(write.appid)
    .bind(write.refresh_token)
    .bind(version)
    .bind(now)
    .execute(connection)
    .await
    .map_err(while_doing("replacing a refresh token"))?;
    Ok(written.rows_affected() == 1)
}

/// Deletes the refresh token of a lost authorization. Answers whether the loss is the newest word on it.
pub(crate) async fn lose(
    connection: &mut SqliteConnection,
    component: &str,
    appid: &str,
    dated: i64,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "update authorizer set refresh_token = null, version = version + 1
         where component_appid = ?1 and appid = ?2 and dated <= ?3",
    )
    .bind(component)
    .bind(appid)
    .bind(dated)
    .execute(connection)
    .await
    .map_err(while_doing("deleting a refresh token"))?;
    Ok(written.rows_affected() == 1)
}
