//! Access tokens. Time is what the caller says: there is one process.

use sqlx::{Connection, SqliteConnection};

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::token::{Asked, FirstRefused, Got, TokenColumns, TokenStateColumns, decide},
};

/// Decides on an ask with the row locked. Answers with what the asker gets and what is kept.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    (appid, mode): (&str, &str),
    asked: &Asked<'_>,
    now: i64,
) -> Result<(TokenColumns, Got, FirstRefused), StoreError> {
    let failed = while_doing("asking for a token");
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    sqlx::query("insert into token (appid, mode) values (?1, ?2) on conflict do nothing")
        .bind(appid)
        .bind(mode)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let row: TokenColumns = sqlx::query_as(
        "select version, sealed, issued_at, expires_at, refused_at, holder, fence, lease_until, begun, forced,
                spent_at, ?3
         from token where appid = ?1 and mode = ?2",
    )
    .bind(appid)
    .bind(mode)
    .bind(now)
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    let (write, got, first) = decide(&row, asked)?;
    if let Some(write) = write {
        sqlx::query(
            "update token set refused_at = ?3, holder = ?4, fence = ?5, lease_until = ?6, begun = ?7,
                 forced = ?8, spent_at = ?9
             where appid = ?1 and mode = ?2",
        )
        .bind(appid)
        .bind(mode)
        .bind(write.refused_at)
        .bind(write.holder)
        .bind(write.fence)
        .bind(write.lease_until)
        .bind(write.begun)
        .bind(write.forced)
        .bind(write.spent_at)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok((row, got, first))
}

/// Keeps a token that was fetched in a turn, unless somebody else has had a turn since or another version is kept.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    (appid, mode): (&str, &str),
    (fence, version): (i64, i64),
    next: i64,
    sealed: &[u8],
    (issued_at, expires_at): (i64, i64),
) -> Result<bool, StoreError> {
    let kept = sqlx::query(
        "update token set version = ?5, sealed = ?6, issued_at = ?7, expires_at = ?8, refused_at = null,
             holder = '', lease_until = 0
         where appid = ?1 and mode = ?2 and fence = ?3 and version = ?4 and version < ?5",
    )
    .bind(appid)
    .bind(mode)
    .bind(fence)
    .bind(version)
    .bind(next)
    .bind(sealed)
    .bind(issued_at)
    .bind(expires_at)
    .execute(connection)
    .await
    .map_err(while_doing("keeping a token"))?;
    Ok(kept.rows_affected() == 1)
}

/// Ends a turn that came to nothing, if it still is the last one.
pub(crate) async fn give_up(
    connection: &mut SqliteConnection,
    (appid, mode): (&str, &str),
    fence: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update token set holder = '', lease_until = 0 where appid = ?1 and mode = ?2 and fence = ?3",
    )
    .bind(appid)
    .bind(mode)
    .bind(fence)
    .execute(connection)
    .await
    .map_err(while_doing("giving up a token's turn"))?;
    Ok(())
}

/// What is known of some tokens.
pub(crate) async fn states(
    connection: &mut SqliteConnection,
    keys: &[(&str, &str)],
    now: i64,
) -> Result<Vec<TokenStateColumns>, StoreError> {
    sqlx::query_as(
        "select t.appid, t.mode, t.version, t.issued_at, t.expires_at, t.refused_at, t.lease_until, t.begun,
                t.forced, t.spent_at, ?2
         from (select distinct value ->> 0 as appid, value ->> 1 as mode from json_each(?1)) w
         cross join token t on t.appid = w.appid and t.mode = w.mode",
    )
    .bind(JsonRows::of(keys, |row, (appid, mode)| row.text(appid).text(mode)).into_text())
    .bind(now)
    .fetch_all(connection)
    .await
    .map_err(while_doing("looking at tokens"))
}
