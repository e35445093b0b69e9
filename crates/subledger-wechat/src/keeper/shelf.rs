//! Where the newest token lies, and who may fetch the next one.
//!
//! Several processes may share a shelf; then they share one token, and one of them fetches at a time. The keeper asks the shelf
//! whenever it has no token that serves, and before any fetch. What it is told about time is durations, so the clocks of the
//! processes need not agree.
//!
//! [`InMemoryShelf`] is the shelf of a single process. One that is shared lives with whoever owns a database.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{IssuedToken, TokenKey, lock, micros};
use crate::calls::token::TokenGrant;
use crate::clock::Clock;

const HOUR_MICROS: i64 = 3600 * 1_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// What is wanted of a shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfAsk {
    /// Who asks: tells the keepers of one process apart. A turn that the asker has already is his.
    pub holder: u64,
    /// Only a token with a greater number serves. 0: any that lives.
    pub newer_than: u64,
    /// WeChat refused the token with the number [`Self::newer_than`].
    pub refused: bool,
    /// Whether what lies there serves.
    pub wish: ShelfWish,
    /// How long a turn to fetch lasts at most.
    pub turn: Duration,
    /// Fetches that may begin in any hour.
    pub per_hour: u32,
}

/// How much a token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShelfWish {
    /// One that lies there will do.
    Any,
    /// A new one, whatever lies there and however many were fetched: it tries credentials.
    Fetched,
    /// A new one, asked for by an operator; at least `apart`, and at most `per_day` in any 24 hours.
    Forced {
        /// The shortest time between two.
        apart: Duration,
        /// The most in any 24 hours.
        per_day: u32,
    },
}

/// A token from a shelf.
#[derive(Debug, Clone)]
pub struct ShelvedToken {
    /// The token.
    pub grant: TokenGrant,
    /// Its number.
    pub version: u64,
    /// How long ago its fetch began.
    pub age: Duration,
    /// How long it lives at the most.
    pub remains: Duration,
}

/// The turn to fetch. Its numbers mean something to the shelf that gave it and to nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfTurn {
    /// Tells turns apart; grows.
    pub fence: i64,
    /// The number of the token that lies there now.
    pub version: i64,
    /// The number that the fetched one will have.
    pub next: i64,
    /// When the turn began, on the shelf's clock.
    pub began_at: i64,
}

/// What an asker gets.
#[derive(Debug, Clone)]
pub enum ShelfClaim {
    /// A token that serves.
    Kept(ShelvedToken),
    /// It is the asker's turn to fetch one.
    Turn(ShelfTurn),
    /// Somebody else has the turn, for this long at most.
    Elsewhere(Duration),
    /// Too many fetches began within an hour; there may be another after this.
    Spent(Duration),
    /// Forced too soon, or too often in a day; there may be another after this.
    TooSoon {
        /// When.
        frees_in: Duration,
        /// Whether the bound of the day is the one.
        of_day: bool,
    },
}

/// What asking came to.
#[derive(Debug, Clone)]
pub struct ShelfAnswer {
    /// What the asker gets.
    pub claim: ShelfClaim,
    /// The token that lies there was refused by WeChat before its end, and this ask was the first to say so: its age, and
    /// the life it should have had.
    pub first_refused: Option<(Duration, Duration)>,
}

/// The shelf cannot be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared tokens cannot be reached now")]
pub struct ShelfUnreachable;

/// A future that yields what a shelf says.
pub type ShelfFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ShelfUnreachable>> + Send + 'a>>;

/// Keeps the newest token of each key, and gives turns to fetch the next.
pub trait TokenShelf: Send + Sync {
    /// Asks for a token.
    fn claim<'a>(&'a self, key: &'a TokenKey, ask: &'a ShelfAsk) -> ShelfFuture<'a, ShelfAnswer>;

    /// Keeps what was fetched in a turn. `false`: somebody else has had a turn since; nothing is changed.
    fn keep<'a>(&'a self, key: &'a TokenKey, turn: ShelfTurn, grant: &'a TokenGrant)
    -> ShelfFuture<'a, bool>;

    /// Ends a turn in which nothing was fetched.
    fn give_up<'a>(&'a self, key: &'a TokenKey, turn: ShelfTurn) -> ShelfFuture<'a, ()>;
}

#[derive(Default)]
struct Row {
    token: Option<IssuedToken>,
    refused: bool,
    last_version: i64,
    fence: i64,
    holder: u64,
    turn_ends: i64,
    begun: VecDeque<i64>,
    forced: VecDeque<i64>,
}

/// The shelf of one process.
pub struct InMemoryShelf {
    clock: Arc<dyn Clock>,
    rows: Mutex<HashMap<TokenKey, Row>>,
}

impl InMemoryShelf {
    /// An empty shelf.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, rows: Mutex::new(HashMap::new()) }
    }

    fn ask(&self, key: &TokenKey, ask: &ShelfAsk) -> ShelfAnswer {
        let now = self.clock.now_micros();
        let mut rows = lock(&self.rows);
        let row = rows.entry(key.clone()).or_default();
        let mut first_refused = None;
        if let Some(token) = &row.token
            && ask.refused
            && token.version == ask.newer_than
            && !row.refused
        {
            row.refused = true;
            if now < token.expires_at_micros {
                let life = token.expires_at_micros.saturating_sub(token.issued_at_micros);
                first_refused = Some((span(now.saturating_sub(token.issued_at_micros)), span(life)));
            }
        }
        ShelfAnswer { claim: row.claim(ask, now), first_refused }
    }

    fn put(&self, key: &TokenKey, turn: ShelfTurn, grant: &TokenGrant) -> bool {
        let mut rows = lock(&self.rows);
        let row = rows.entry(key.clone()).or_default();
        if row.fence != turn.fence || row.last_version != turn.version {
            return false;
        }
        let life = grant.expires_in.saturating_mul(1_000_000);
        row.token = Some(IssuedToken {
            token: grant.token.clone(),
            version: u64::try_from(turn.next).unwrap_or_default(),
            issued_at_micros: turn.began_at,
            expires_at_micros: turn.began_at.saturating_add(life),
        });
        row.refused = false;
        row.last_version = turn.next;
        row.turn_ends = 0;
        true
    }
}

impl Row {
    fn claim(&mut self, ask: &ShelfAsk, now: i64) -> ShelfClaim {
        if let Some(token) = &self.token
            && ask.wish == ShelfWish::Any
            && !self.refused
            && ask.newer_than < token.version
            && now < token.expires_at_micros
        {
            let remains = token.expires_at_micros.saturating_sub(now);
            return ShelfClaim::Kept(ShelvedToken {
                grant: TokenGrant { token: token.token.clone(), expires_in: remains / 1_000_000 },
                version: token.version,
                age: span(now.saturating_sub(token.issued_at_micros)),
                remains: span(remains),
            });
        }
        if now < self.turn_ends && self.holder != ask.holder {
            return ShelfClaim::Elsewhere(span(self.turn_ends.saturating_sub(now)));
        }
        // Entries from the future are left-overs of a clock that went back; they must not block for ever.
        self.begun.retain(|begun| *begun <= now && now.saturating_sub(*begun) < HOUR_MICROS);
        self.forced.retain(|forced| *forced <= now && now.saturating_sub(*forced) < DAY_MICROS);
        let free_after = |moment: i64, wait: i64| span(moment.saturating_add(wait).saturating_sub(now));
        match ask.wish {
            ShelfWish::Forced { apart, per_day } => {
                if let Some(last) = self.forced.back().filter(|last| now < last.saturating_add(micros(apart)))
                {
                    return ShelfClaim::TooSoon { frees_in: free_after(*last, micros(apart)), of_day: false };
                }
                if let Some(first) = self.forced.front().filter(|_| is_full(&self.forced, per_day)) {
                    return ShelfClaim::TooSoon { frees_in: free_after(*first, DAY_MICROS), of_day: true };
                }
                self.forced.push_back(now);
            }
            ShelfWish::Any if is_full(&self.begun, ask.per_hour) => {
                let oldest = self.begun.front().copied().unwrap_or(now);
                return ShelfClaim::Spent(free_after(oldest, HOUR_MICROS));
            }
            ShelfWish::Any | ShelfWish::Fetched => {}
        }
        self.begun.push_back(now);
        self.fence += 1;
        self.holder = ask.holder;
        self.turn_ends = now.saturating_add(micros(ask.turn));
        let newest = self.last_version.max(i64::try_from(ask.newer_than).unwrap_or(i64::MAX - 1));
        ShelfClaim::Turn(ShelfTurn {
            fence: self.fence,
            version: self.last_version,
            next: newest.saturating_add(1),
            began_at: now,
        })
    }
}

fn is_full(moments: &VecDeque<i64>, most: u32) -> bool {
    moments.len() >= usize::try_from(most).unwrap_or(usize::MAX)
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

impl TokenShelf for InMemoryShelf {
    fn claim<'a>(&'a self, key: &'a TokenKey, ask: &'a ShelfAsk) -> ShelfFuture<'a, ShelfAnswer> {
        Box::pin(std::future::ready(Ok(self.ask(key, ask))))
    }

    fn keep<'a>(
        &'a self,
        key: &'a TokenKey,
        turn: ShelfTurn,
        grant: &'a TokenGrant,
    ) -> ShelfFuture<'a, bool> {
        Box::pin(std::future::ready(Ok(self.put(key, turn, grant))))
    }

    fn give_up<'a>(&'a self, key: &'a TokenKey, turn: ShelfTurn) -> ShelfFuture<'a, ()> {
        let mut rows = lock(&self.rows);
        if let Some(row) = rows.get_mut(key).filter(|row| row.fence == turn.fence) {
            row.turn_ends = 0;
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
