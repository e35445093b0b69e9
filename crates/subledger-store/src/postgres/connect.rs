//! Connections to PostgreSQL, and how nodes wake each other.
//!
//! A commit is announced after it, from a task of its own and at most once per commit: `notify` inside the batch's
//! transaction would take a lock that every other committing transaction waits for. If the announcement is lost, the
//! slow poll of [`crate::tail`] finds the commit.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use crate::{Database, OpenError, StoreError, error::while_doing, tail::Tails};

/// The oldest version that is tested.
const OLDEST_VERSION: i32 = 150_000;
/// The channel on which nodes announce commits. Carries no payload: who hears it reads the heads.
const CHANNEL: &str = "subledger_head";
/// How long to wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Milliseconds after which the server ends a transaction whose node says nothing more. Between two statements of a batch lies
/// a little computing and never a wait. Snapshots, which lock nothing, give themselves more.
const IDLE_IN_TRANSACTION_MS: &str = "5000";
/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Opens a pool and checks the server's version.
pub(crate) async fn connect(url: &str, max_connections: u32) -> Result<PgPool, OpenError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| {
            OpenError::Url(
                "the database URL is not of the form postgres://user:password@host/database".to_owned(),
            )
        })?
        .application_name("subledger")
        // A node that stands still in the middle of a batch must not hold a log's head for long: every other node waits
        // for it. Statements are short: what a compiler gains on them it loses in compiling.
        .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS), ("jit", "off")])
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(while_doing("connecting to the database"))?;
    let (number, name): (i32, String) = sqlx::query_as(
        "select current_setting('server_version_num')::integer, current_setting('server_version')",
    )
    .fetch_one(&pool)
    .await
    .map_err(while_doing("asking for the server's version"))?;
    if number < OLDEST_VERSION {
        return Err(OpenError::Unsupported(format!("PostgreSQL 15 or newer is needed; found {name}")));
    }
    Ok(pool)
}

/// Answers if the server does; its own tools check pages and indexes.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select 1").execute(connection).await.map_err(while_doing("checking the database"))?;
    Ok(())
}

/// Announces commits for ever.
pub(crate) async fn notify(tails: Arc<Tails>, pool: PgPool) {
    loop {
        tails.committed.notified().await;
        if let Err(error) = sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(&pool).await {
            tracing::debug!(error = %error, "a commit could not be announced; others find it by polling");
        }
    }
}

/// Hears of commits for ever.
pub(crate) async fn listen(tails: Arc<Tails>, pool: PgPool) {
    let database = Database::Postgres(pool.clone());
    loop {
        if let Err(error) = hear(&tails, &pool, &database).await {
            tracing::debug!(error = %error, "not listening; commits of other nodes are found by polling");
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

async fn hear(tails: &Tails, pool: &PgPool, database: &Database) -> Result<(), StoreError> {
    let failed = while_doing("listening for commits");
    let mut listener = PgListener::connect_with(pool).await.map_err(failed)?;
    listener.listen(CHANNEL).await.map_err(failed)?;
    loop {
        listener.recv().await.map_err(failed)?;
        // Announcements that piled up are all answered by one look.
        while listener.next_buffered().is_some() {}
        tails.refresh(database).await?;
    }
}
