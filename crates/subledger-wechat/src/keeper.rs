//! Keeps access tokens: one per app and mode, one refresh at a time.
//!
//! Field reports are full of token wars: refreshes on every failure, each killing the token of the other, until the daily
//! quota is gone. Hence the rules. Readers never wait while the old token lives. Callers without a token share one refresh.
//! A stale answer refreshes only if the token it was about is still the current one. A failed refresh is not repeated at
//! once, and an hourly budget ends every loop nobody thought of. A refresh runs in a task of its own: a caller that goes
//! away does not take the others' token with it.
//!
//! Processes share tokens through a [`TokenShelf`]: whoever needs a newer token than it has asks there, gets the newer one
//! that another process has fetched, or gets the turn to fetch. So a token that went stale costs one refresh, however many
//! processes hold it. A conflict is suspected only of a token that was the newest of all of them.
//!
//! The keeper must never log a token or a secret, and use the force mode of WeChat for an operator only.

pub(crate) mod fetcher;
mod refresh;
pub(crate) mod secret;
pub(crate) mod shelf;
mod slot;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::outcome::CallError;
pub(crate) use fetcher::{TokenSource, TokenSuspicion};
use refresh::Refresh;
use secret::SecretUnavailable;
use shelf::{InMemoryShelf, ShelfUnreachable, ShelfWish, TokenShelf};
use slot::{Flight, Landed, SlotState, Step};

/// Where tokens come from. The tokens of different modes do not invalidate each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TokenMode {
    /// `stable_token` in normal mode: every asker gets the same token. The default, and the one that coexists.
    #[default]
    Stable,
    /// `token`: every fetch retires the previous token.
    Normal,
    /// The company's own token server.
    External,
    /// The third-party platform that was authorized for the app (`authorizer_access_token`).
    Platform,
}

impl TokenMode {
    /// The stable snake_case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Normal => "normal",
            Self::External => "external",
            Self::Platform => "platform",
        }
    }
}

/// Whose token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The Mini Program's AppID.
    pub appid: String,
    /// Where its tokens come from.
    pub mode: TokenMode,
}

/// A token with its life. `Debug` hides the token.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The access token.
    pub token: SecretString,
    /// Its number, from 1; grows with each fetch of any process. The fence for [`TokenKeeper::invalidate_if`].
    pub version: u64,
    /// When its fetch began, microseconds since the Unix epoch.
    pub issued_at_micros: i64,
    /// When it ends at the latest, microseconds since the Unix epoch.
    pub expires_at_micros: i64,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token call failed.
    #[error("the access token could not be fetched")]
    Call(#[source] CallError),
    /// The app's secret could not be had.
    #[error("the app's secret could not be had")]
    Secret(#[source] SecretUnavailable),
    /// The source of the tokens gave none: the company's token server, or what a platform needs for one.
    #[error("{}", .0.reason)]
    Source(SourceFailure),
    /// The hourly budget of refreshes is spent: something keeps killing the token.
    #[error("the hourly budget of token refreshes is spent")]
    BudgetSpent {
        /// When a refresh is allowed again, microseconds since the Unix epoch.
        until_micros: i64,
    },
    /// An operator asked for a new token too soon after the last time, or too often in a day.
    #[error("a forced refresh was asked for {}", if *of_day { "too often in 24 hours" } else { "too soon after the last" })]
    ForcedTooSoon {
        /// When one is allowed again, microseconds since the Unix epoch.
        until_micros: i64,
        /// Whether the bound of the day is the one.
        of_day: bool,
    },
    /// The shelf that processes share cannot be reached.
    #[error("the tokens that all nodes share cannot be reached")]
    Shelf(#[source] ShelfUnreachable),
    /// The refresh was cut short: a shutdown, or it took longer than its turn.
    #[error("the token refresh was cut short")]
    Interrupted,
}

/// Why a source other than WeChat's token calls gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFailure {
    /// What was wrong and what to do, for an operator. Never a token, a credential or a body.
    pub reason: String,
    /// Who has to act.
    pub failure: TokenFailure,
}

/// Who has to act on a [`TokenError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenFailure {
    /// An operator: waiting does not help.
    Configuration,
    /// Nobody: it may pass by itself.
    Transient,
}

impl TokenError {
    /// Who has to act. A code nobody knows counts as configuration: it is a definite no.
    #[must_use]
    pub fn failure(&self) -> TokenFailure {
        match self {
            Self::Call(CallError::Refused { .. }) | Self::Secret(SecretUnavailable::NotSet) => {
                TokenFailure::Configuration
            }
            Self::Source(failure) => failure.failure,
            _ => TokenFailure::Transient,
        }
    }
}

/// How eagerly tokens are refreshed.
#[derive(Debug, Clone)]
pub struct KeeperSettings {
    /// How long before its end a token is refreshed in the background. WeChat advises the last five minutes; asked
    /// earlier, the stable call returns the same token.
    pub refresh_ahead: Duration,
    /// Shortest time between two background refreshes.
    pub background_gap: Duration,
    /// How long a refused refresh is not repeated. Failures that may pass are held for at most a second of it.
    pub refusal_hold: Duration,
    /// Refreshes allowed in any hour, per app and mode, over all processes that share a shelf. The older token call allows
    /// 2000 a day.
    pub refreshes_per_hour: u32,
    /// How long a process may take for one refresh. If it dies meanwhile, another goes on after this.
    pub turn: Duration,
}

/// WeChat changes nothing on a forced refresh within this time of the last, and allows this many a day (§1.2).
pub const FORCED_APART: Duration = Duration::from_secs(30);
/// Forced refreshes that WeChat allows a day.
pub const FORCED_PER_DAY: u32 = 20;

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            refresh_ahead: Duration::from_secs(300),
            background_gap: Duration::from_secs(20),
            refusal_hold: Duration::from_secs(30),
            refreshes_per_hour: 60,
            turn: Duration::from_secs(20),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

type Slot = Arc<Mutex<SlotState>>;

/// What a caller leaves the lock with.
enum Boarding {
    Done(Landed),
    Wait(Flight),
}

struct Shared {
    settings: KeeperSettings,
    clock: Arc<dyn Clock>,
    shelf: Arc<dyn TokenShelf>,
    holder: u64,
    slots: Mutex<HashMap<TokenKey, Slot>>,
}

/// Keeps tokens; cheap to clone, clones share them.
#[derive(Clone)]
pub struct TokenKeeper {
    shared: Arc<Shared>,
}

impl fmt::Debug for TokenKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeeper").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// Nothing is left half-done under these locks, so a poisoned one is as good as new.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TokenKeeper {
    /// A keeper of a process that shares its tokens with no other.
    #[must_use]
    pub fn new(settings: KeeperSettings, clock: Arc<dyn Clock>) -> Self {
        let shelf = Arc::new(InMemoryShelf::new(Arc::clone(&clock)));
        Self::with_shelf(settings, clock, shelf)
    }

    /// A keeper that shares the tokens of a shelf.
    #[must_use]
    pub fn with_shelf(settings: KeeperSettings, clock: Arc<dyn Clock>, shelf: Arc<dyn TokenShelf>) -> Self {
        static KEEPERS: AtomicU64 = AtomicU64::new(1);
        let holder = KEEPERS.fetch_add(1, Ordering::Relaxed);
        let slots = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { settings, clock, shelf, holder, slots }) }
    }

    /// The current time of the keeper's clock, microseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.shared.clock.now_micros()
    }

    fn slot(&self, key: &TokenKey) -> Slot {
        let mut slots = lock(&self.shared.slots);
        match slots.get(key) {
            Some(slot) => Arc::clone(slot),
            None => Arc::clone(slots.entry(key.clone()).or_default()),
        }
    }

    /// A token that was good when last heard of. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`TokenError`] if there is none and none can be fetched now.
    pub async fn token(&self, key: &TokenKey, source: &TokenSource) -> Result<IssuedToken, TokenError> {
        let (boarding, refresh) = self.board(key);
        if let Some(refresh) = refresh {
            refresh.take_off(source);
        }
        match boarding {
            Boarding::Done(result) => result,
            Boarding::Wait(flight) => landing(flight).await,
        }
    }

    /// The part of [`Self::token`] under the lock: what the caller gets, and a refresh to start, if any.
    fn board(&self, key: &TokenKey) -> (Boarding, Option<Refresh>) {
        let slot = self.slot(key);
        let now = self.now();
        let mut state = lock(&slot);
        match state.step(now, &self.shared.settings) {
            Step::Use(token) => (Boarding::Done(Ok(token)), None),
            Step::UseAndRefresh(token) => {
                let (_nobody_waits, refresh) = self.prepare(key, &slot, &mut state, ShelfWish::Any);
                (Boarding::Done(Ok(token)), Some(refresh))
            }
            Step::Wait(flight) => (Boarding::Wait(flight), None),
            Step::Refresh => {
                let (flight, refresh) = self.prepare(key, &slot, &mut state, ShelfWish::Any);
                (Boarding::Wait(flight), Some(refresh))
            }
            Step::Fail(error) => (Boarding::Done(Err(error)), None),
        }
    }

    /// Fetches a token with what `source` has at this moment, whatever is kept or held back, and keeps it. For probing new
    /// credentials; counts against the budget but is not stopped by it.
    ///
    /// # Errors
    /// [`TokenError`] as the source gave it.
    pub async fn fetch_now(&self, key: &TokenKey, source: &TokenSource) -> Result<IssuedToken, TokenError> {
        self.fetch_by(key, source, ShelfWish::Fetched).await
    }

    /// Has a new token made although the present one lives. For an operator: it kills the token of every other system that
    /// shares it. At most [`FORCED_PER_DAY`] in 24 hours, [`FORCED_APART`] apart, over all processes.
    ///
    /// # Errors
    /// [`TokenError::ForcedTooSoon`], or as the source gave it.
    pub async fn force(&self, key: &TokenKey, source: &TokenSource) -> Result<IssuedToken, TokenError> {
        self.fetch_by(key, source, ShelfWish::Forced { apart: FORCED_APART, per_day: FORCED_PER_DAY }).await
    }

    async fn fetch_by(
        &self,
        key: &TokenKey,
        source: &TokenSource,
        wish: ShelfWish,
    ) -> Result<IssuedToken, TokenError> {
        let slot = self.slot(key);
        loop {
            // A refresh under way may be of another wish, or have begun with an older secret: let it end first.
            let (under_way, refresh) = {
                let mut state = lock(&slot);
                match state.flight.clone() {
                    Some(flight) => (flight, None),
                    None => {
                        let (flight, refresh) = self.prepare(key, &slot, &mut state, wish);
                        (flight, Some(refresh))
                    }
                }
            };
            match refresh {
                Some(refresh) => {
                    refresh.take_off(source);
                    return landing(under_way).await;
                }
                None => {
                    let _of_another = landing(under_way).await;
                }
            }
        }
    }

    /// Drops the current token if it is still the one of `version`, i.e. the one that WeChat refused with `code`. Of many
    /// callers with the same stale token only the first one has an effect. Returns whether it had.
    pub fn invalidate_if(&self, key: &TokenKey, version: u64, code: i64) -> bool {
        lock(&self.slot(key)).invalidate_if(version, code)
    }

    /// The same on the word of somebody else, who had the token from another process: nothing older is handed out any more.
    pub fn refuse(&self, key: &TokenKey, version: u64, code: i64) {
        lock(&self.slot(key)).refuse(version, code);
    }

    /// Forgets what this process knows of a key: for replaced or removed credentials. What the shelf has stays.
    pub fn forget(&self, key: &TokenKey) {
        lock(&self.slot(key)).forget();
    }

    /// Announces a refresh in the slot, whose lock the caller holds, so there is only one. It must take off after the lock
    /// is released: a runtime that is shutting down drops the task inside `spawn`, and dropping it takes the lock.
    fn prepare(
        &self,
        key: &TokenKey,
        slot: &Slot,
        state: &mut SlotState,
        wish: ShelfWish,
    ) -> (Flight, Refresh) {
        let (sender, flight) = watch::channel(None);
        state.begin(self.now(), &self.shared.settings, flight.clone());
        let (newer_than, refused) = state.unwanted();
        let refresh = Refresh {
            shared: Arc::clone(&self.shared),
            key: key.clone(),
            slot: Arc::clone(slot),
            epoch: state.epoch,
            wish,
            newer_than,
            refused,
            sender,
            landed: false,
        };
        (flight, refresh)
    }
}

/// Waits for a refresh to end.
async fn landing(mut flight: Flight) -> Landed {
    match flight.wait_for(Option::is_some).await {
        Ok(landed) => landed.clone().unwrap_or(Err(TokenError::Interrupted)),
        Err(_) => Err(TokenError::Interrupted),
    }
}
