//! Access tokens, shared by all nodes.
//!
//! One row per Mini Program and source holds the newest token, sealed, with a number that grows with each. Who needs a newer
//! one than it has asks ([`Store::token_claim`]): it gets the one that is kept, or the turn to fetch, or hears that another
//! node has the turn. A turn ends when a token is kept, is given up, or runs out; it carries a fencing number, and what is
//! fetched in it is kept only if nobody has had a turn since and nothing newer is kept. So of all nodes one fetches at a time,
//! and an older token never takes the place of a newer one.
//!
//! Time is the database's on PostgreSQL and the store's [`crate::Clock`] on SQLite; answers carry ages rather than moments, so
//! that nodes' clocks need not agree. Nothing here may be logged.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{Store, place};
use crate::{
    Database, StoreError, postgres,
    rows::{
        token::{Asked, Got, TokenStateColumns, counts},
        unsigned,
    },
    sqlite,
};

/// What a node wants of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAsk {
    /// Who asks; unique per process.
    pub holder: String,
    /// How long a turn lasts at most. Longer than fetching ever takes.
    pub lease: Duration,
    /// How many fetches may begin in an hour, over all nodes.
    pub budget: u32,
    /// Only a token with a greater number serves. 0: any that lives.
    pub newer_than: u64,
    /// WeChat refused the token with the number [`Self::newer_than`].
    pub refused: bool,
    /// Whether what is kept serves.
    pub wish: TokenWish,
}

/// How much a token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenWish {
    /// One that is kept will do.
    Any,
    /// A new one, whatever is kept and however many were fetched: it tries credentials.
    Fetched,
    /// A new one, asked for by an operator. Such fetches are at least `apart` and at most `per_day` in any 24 hours.
    Forced {
        /// The shortest time between two.
        apart: Duration,
        /// The most in any 24 hours.
        per_day: u32,
    },
}

/// A token that is kept. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct KeptToken {
    /// The access token.
    pub token: SecretString,
    /// Its number.
    pub version: u64,
    /// How long ago its fetch began.
    pub age: Duration,
    /// How long it lives at the most.
    pub remains: Duration,
}

/// The turn to fetch a token. Its numbers are for [`Store::token_keep`] and mean nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTurn {
    /// The fencing number.
    pub fence: i64,
    /// The number of the token that is kept now.
    pub version: i64,
    /// The number that the fetched one will have.
    pub next: i64,
    /// When the turn began, on the database's clock, in microseconds since the Unix epoch.
    pub began_at: i64,
}

impl TokenTurn {
    /// The number that the token fetched in this turn will have.
    pub fn version(&self) -> u64 {
        u64::try_from(self.next).unwrap_or_default()
    }
}

/// What an asker gets.
#[derive(Debug)]
pub enum TokenClaim {
    /// A token that serves.
    Kept(KeptToken),
    /// It is the asker's turn to fetch one.
    Turn(TokenTurn),
    /// Another node has the turn.
    Elsewhere {
        /// The turn ends by itself after this long.
        ends_in: Duration,
    },
    /// Too many fetches began within an hour.
    Spent {
        /// When there may be another.
        frees_in: Duration,
    },
    /// The last forced fetch was a moment ago, or there were too many in a day.
    TooSoon {
        /// When there may be another.
        frees_in: Duration,
        /// Whether the bound of the day is the one.
        of_day: bool,
    },
}

/// What asking came to.
#[derive(Debug)]
pub struct TokenClaimed {
    /// What the asker gets.
    pub claim: TokenClaim,
    /// The kept token was refused by WeChat before its end, and this ask is the first to say so: its age, and how long it
    /// should have lived.
    pub first_refused: Option<(Duration, Duration)>,
}

/// What is shown of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Whose.
    pub appid: String,
    /// From where.
    pub mode: String,
    /// Its number; 0 if none was ever kept.
    pub version: u64,
    /// How long ago its fetch began.
    pub age: Duration,
    /// How long it lives at the most; zero if it is over.
    pub remains: Duration,
    /// Whether WeChat is known to refuse it.
    pub refused: bool,
    /// Whether a node is fetching the next one.
    pub being_fetched: bool,
    /// How many fetches began in the last hour.
    pub fetches_last_hour: u32,
    /// How many were forced in the last 24 hours.
    pub forced_last_day: u32,
    /// How long ago a fetch was last refused because too many had begun.
    pub spent_ago: Option<Duration>,
}

impl fmt::Display for TokenWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Fetched => "fetched",
            Self::Forced { .. } => "forced",
        })
    }
}

impl Store {
    /// Asks for a token of an app from a source (`mode` is its name).
    pub async fn token_claim(
        &self,
        appid: &str,
        mode: &str,
        ask: &TokenAsk,
    ) -> Result<TokenClaimed, StoreError> {
        let forced = match ask.wish {
            TokenWish::Forced { apart, per_day } => {
                Some((micros(apart), usize::try_from(per_day).unwrap_or(usize::MAX)))
            }
            TokenWish::Any | TokenWish::Fetched => None,
        };
        let mut newer_than = i64::try_from(ask.newer_than).unwrap_or(i64::MAX - 1);
        loop {
            let asked = Asked {
                holder: &ask.holder,
                lease: micros(ask.lease),
                budget: usize::try_from(ask.budget).unwrap_or(usize::MAX),
                newer_than,
                refused: ask.refused,
                anyway: ask.wish == TokenWish::Fetched,
                forced,
            };
            let now = self.inner.clock.now().micros();
            let key = (appid, mode);
            let (row, got, first) = match &self.inner.database {
                Database::Sqlite(database) => {
                    sqlite::token::claim(&mut *database.unclaimed().await, key, &asked, now).await?
                }
                Database::Postgres(pool) => {
                    let mut connection = pool
                        .acquire()
                        .await
                        .map_err(crate::error::while_doing("waiting for a connection"))?;
                    postgres::token::claim(&mut connection, key, &asked, now).await?
                }
            };
            let (version, sealed) = (row.0, row.1);
            let claim = match got {
                Got::Kept { age, remains } => {
                    let sealed = sealed.unwrap_or_default();
                    match self.unseal(&place::token(appid, mode), &sealed).await.ok().and_then(text) {
                        Some(token) => TokenClaim::Kept(KeptToken {
                            token,
                            version: unsigned(version)?,
                            age: duration(age),
                            remains: duration(remains),
                        }),
                        // It serves nobody, and a fetch mends it.
                        None => {
                            newer_than = version;
                            continue;
                        }
                    }
                }
                Got::Turn { fence, version, began_at } => {
                    let next = version.max(newer_than).saturating_add(1);
                    TokenClaim::Turn(TokenTurn { fence, version, next, began_at })
                }
                Got::Elsewhere { ends_in } => TokenClaim::Elsewhere { ends_in: duration(ends_in) },
                Got::Spent { frees_in } => TokenClaim::Spent { frees_in: duration(frees_in) },
                Got::TooSoon { frees_in, of_day } => {
                    TokenClaim::TooSoon { frees_in: duration(frees_in), of_day }
                }
            };
            let first_refused = first.map(|(age, life)| (duration(age), duration(life)));
            return Ok(TokenClaimed { claim, first_refused });
        }
    }

    /// Keeps what was fetched in a turn; it lives for `life`, counted from the beginning of the turn. `false`: somebody else
    /// has had a turn since, and what he fetched is the newer one; nothing is changed.
    pub async fn token_keep(
        &self,
        appid: &str,
        mode: &str,
        turn: &TokenTurn,
        token: &SecretString,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let sealed = self.inner.vault.seal(&place::token(appid, mode), token.expose_secret().as_bytes())?;
        let life = (turn.began_at, turn.began_at.saturating_add(micros(life)));
        let mut writer = self.inner.database.unclaimed().await?;
        let turn_of = (turn.fence, turn.version);
        writer.session().keep((appid, mode), turn_of, turn.next, &sealed, life).await
    }

    /// Ends a turn in which nothing was fetched, so that another node need not wait until it runs out.
    pub async fn token_give_up(&self, appid: &str, mode: &str, turn: &TokenTurn) -> Result<(), StoreError> {
        self.inner.database.unclaimed().await?.session().give_up((appid, mode), turn.fence).await
    }

    /// What is known of some tokens, given as (appid, mode); those that nobody has asked for are left out.
    pub async fn token_states(&self, keys: &[(&str, &str)]) -> Result<Vec<TokenState>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.inner.clock.now().micros();
        let rows = self.inner.database.reader().await?.session().states(keys, now).await?;
        rows.into_iter().map(state).collect()
    }
}

fn state(row: TokenStateColumns) -> Result<TokenState, StoreError> {
    let (appid, mode, version, issued_at, expires_at, refused_at, lease_until, begun, forced, spent_at, now) =
        row;
    let (begun, forced) = counts(&begun, &forced, now)?;
    Ok(TokenState {
        appid,
        mode,
        version: unsigned(version)?,
        age: duration(now.saturating_sub(issued_at)),
        remains: duration(expires_at.saturating_sub(now)),
        refused: refused_at.is_some(),
        being_fetched: now < lease_until,
        fetches_last_hour: u32::try_from(begun).unwrap_or(u32::MAX),
        forced_last_day: u32::try_from(forced).unwrap_or(u32::MAX),
        spent_ago: spent_at.map(|at| duration(now.saturating_sub(at))),
    })
}

fn text(opened: Vec<u8>) -> Option<SecretString> {
    String::from_utf8(opened).ok().map(SecretString::from)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
