//! Connections to PostgreSQL, and how nodes wake each other.
//!
//! A commit is announced after it, from a task of its own and at most once per commit: `notify` inside the batch's
//! transaction would take a lock that every other committing transaction waits for. If the announcement is lost, the
//! slow poll of [`crate::tail`] finds the commit.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use crate::{Database, OpenError, StoreError, error::while_doing, tail::Tails};

/// The oldest version that is tested.
const OLDEST_VERSION: i32 = 150_000;
/// The channel on which nodes announce commits. Carries no payload: who hears it reads the heads.
const CHANNEL: &str = "subledger_head";
/// The channel on which it is announced that a data key was made.
pub(crate) const KEYS: &str = "subledger_keys";
/// How long a server may take to answer the first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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
    let pool = pool(options, max_connections).await?;
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

/// A pool with one connection in it. A pool tries again and again and at last says only that it did so in vain; so first one
/// connection is made that says why there is none.
pub(crate) async fn pool(options: PgConnectOptions, max_connections: u32) -> Result<PgPool, OpenError> {
    let refused = |cause: String| OpenError::Connect { place: place(&options), cause };
    let mut passing = None;
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => {
            // Said farewell to or not, it has answered.
            let _ = connection.close().await;
        }
        Ok(Err(error)) if will_pass(&error) => passing = Some(said(&error)),
        Ok(Err(error)) => return Err(refused(said(&error))),
        Err(_) => return Err(refused(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
    let made = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await;
    made.map_err(|error| match (error, passing) {
        (sqlx::Error::PoolTimedOut, Some(cause)) => refused(cause),
        (error, _) => refused(said(&error)),
    })
}

/// Whether a server that is there will take us in a moment: it starts, stops or has no connection free.
fn will_pass(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
}

/// Where we connect to and as whom. Without the password.
fn place(options: &PgConnectOptions) -> String {
    let (user, database) = (options.get_username(), options.get_database());
    let host = options.get_socket().map(|socket| socket.display().to_string());
    let host = host.unwrap_or_else(|| options.get_host().to_owned());
    format!(
        "PostgreSQL at {host}, port {}, database {}, user {user}",
        options.get_port(),
        database.unwrap_or(user)
    )
}

fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
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
    listener.listen_all([CHANNEL, KEYS]).await.map_err(failed)?;
    loop {
        // Announcements that piled up are all answered by one look.
        let mut heard = Some(listener.recv().await.map_err(failed)?);
        let mut commits = false;
        while let Some(notification) = heard {
            if notification.channel() == KEYS {
                tails.keys.notify_one()
            } else {
                commits = true
            }
            heard = listener.next_buffered();
        }
        if commits {
            tails.refresh(database).await?;
        }
    }
}
