//! Keeps access tokens: one per app and mode, one refresh at a time.
//!
//! Field reports are full of token wars: refreshes on every failure, each killing the token of the other, until the daily
//! quota is gone. Hence the rules. Readers never wait while the old token lives. Callers without a token share one refresh.
//! A stale answer refreshes only if the token it was about is still the current one. A failed refresh is not repeated at
//! once, and an hourly budget ends every loop nobody thought of. A refresh runs in a task of its own: a caller that goes
//! away does not take the others' token with it.
//!
//! The keeper is per process. Nodes share a token without fighting in [`TokenMode::Stable`]; in [`TokenMode::Normal`] only
//! one process may own the app. It must never log a token or a secret, and never use the force mode of WeChat.

pub(crate) mod fetcher;
pub(crate) mod secret;
mod slot;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::metric_definitions::{TOKEN_BUDGET_SPENT, TOKEN_CONFLICTS, TOKEN_REFRESHES};
use crate::outcome::CallError;
use fetcher::TokenFetcher;
use secret::SecretUnavailable;
use slot::{Flight, Landed, SlotState, Step};

/// WeChat lets an old and a new token overlap this long; a token refused earlier was replaced by someone else (§1.4).
const OVERLAP_MICROS: i64 = 300 * 1_000_000;

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
    /// Counts this process's fetches for the key, from 1; the fence for [`TokenKeeper::invalidate_if`].
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
    /// The refresh was cut short (shutdown).
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
    /// Refreshes allowed in any hour, per app and mode. The older token call allows 2000 a day.
    pub refreshes_per_hour: u32,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            refresh_ahead: Duration::from_secs(300),
            background_gap: Duration::from_secs(20),
            refusal_hold: Duration::from_secs(30),
            refreshes_per_hour: 60,
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
    /// Makes an empty keeper.
    #[must_use]
    pub fn new(settings: KeeperSettings, clock: Arc<dyn Clock>) -> Self {
        let slots = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { settings, clock, slots }) }
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
    pub async fn token(
        &self,
        key: &TokenKey,
        fetcher: &Arc<dyn TokenFetcher>,
    ) -> Result<IssuedToken, TokenError> {
        let (boarding, refresh) = self.board(key);
        if let Some(refresh) = refresh {
            refresh.take_off(fetcher);
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
                let (_nobody_waits, refresh) = self.prepare(key, &slot, &mut state);
                (Boarding::Done(Ok(token)), Some(refresh))
            }
            Step::Wait(flight) => (Boarding::Wait(flight), None),
            Step::Refresh => {
                let (flight, refresh) = self.prepare(key, &slot, &mut state);
                (Boarding::Wait(flight), Some(refresh))
            }
            Step::Fail(error) => {
                if matches!(error, TokenError::BudgetSpent { .. }) {
                    counter!(TOKEN_BUDGET_SPENT, "mode" => key.mode.as_str()).increment(1);
                }
                (Boarding::Done(Err(error)), None)
            }
        }
    }

    /// Fetches a token with what `fetcher` has at this moment, whatever is cached or held back, and keeps it. For probing new
    /// credentials; counts against the budget but is not stopped by it.
    ///
    /// # Errors
    /// [`TokenError`] as WeChat gave it.
    pub async fn fetch_now(
        &self,
        key: &TokenKey,
        fetcher: &Arc<dyn TokenFetcher>,
    ) -> Result<IssuedToken, TokenError> {
        let slot = self.slot(key);
        // A refresh under way may have begun with an older secret: let it end first. One that begins after it has read
        // the secret after this call began, and serves.
        let under_way = lock(&slot).flight.clone();
        if let Some(flight) = under_way {
            let _of_older_secret = landing(flight).await;
        }
        let (flight, refresh) = {
            let mut state = lock(&slot);
            match state.flight.clone() {
                Some(flight) => (flight, None),
                None => {
                    let (flight, refresh) = self.prepare(key, &slot, &mut state);
                    (flight, Some(refresh))
                }
            }
        };
        if let Some(refresh) = refresh {
            refresh.take_off(fetcher);
        }
        landing(flight).await
    }

    /// Drops the current token if it is still the one of `version`, i.e. the one WeChat refused. Of many callers with the
    /// same stale token only the first one has an effect. Returns whether it had.
    pub fn invalidate_if(&self, key: &TokenKey, version: u64) -> bool {
        let dropped = lock(&self.slot(key)).invalidate_if(version);
        let Some(token) = dropped else { return false };
        let now = self.now();
        if now < token.expires_at_micros.saturating_sub(OVERLAP_MICROS) {
            counter!(TOKEN_CONFLICTS, "mode" => key.mode.as_str()).increment(1);
            tracing::warn!(
                wechat.appid = key.appid,
                token.mode = key.mode.as_str(),
                token.age_s = now.saturating_sub(token.issued_at_micros) / 1_000_000,
                "WeChat refused an access token before its time; another system may be replacing it"
            );
        }
        true
    }

    /// Forgets everything about a key but its budget: for replaced or removed credentials.
    pub fn forget(&self, key: &TokenKey) {
        lock(&self.slot(key)).forget();
    }

    /// Announces a refresh in the slot, whose lock the caller holds, so there is only one. It must take off after the lock
    /// is released: a runtime that is shutting down drops the task inside `spawn`, and dropping it takes the lock.
    fn prepare(&self, key: &TokenKey, slot: &Slot, state: &mut SlotState) -> (Flight, Refresh) {
        let (sender, flight) = watch::channel(None);
        state.begin(self.now(), &self.shared.settings, flight.clone());
        let refresh = Refresh {
            shared: Arc::clone(&self.shared),
            key: key.clone(),
            slot: Arc::clone(slot),
            epoch: state.epoch,
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

/// One refresh. Lands exactly once, even if its task is dropped half-way.
struct Refresh {
    shared: Arc<Shared>,
    key: TokenKey,
    slot: Slot,
    epoch: u64,
    sender: watch::Sender<Option<Landed>>,
    landed: bool,
}

impl Refresh {
    /// Runs in a task of its own: a caller that goes away does not end it.
    fn take_off(self, fetcher: &Arc<dyn TokenFetcher>) {
        tokio::spawn(self.run(Arc::clone(fetcher)));
    }

    async fn run(mut self, fetcher: Arc<dyn TokenFetcher>) {
        let fetched = self.fetch(fetcher.as_ref()).await;
        self.land(fetched);
    }

    async fn fetch(&self, fetcher: &dyn TokenFetcher) -> Landed {
        // Counted from before the call: the token never lives longer than believed.
        let issued_at_micros = self.shared.clock.now_micros();
        let grant = fetcher.fetch().await?;
        let expires_at_micros = issued_at_micros.saturating_add(grant.expires_in.saturating_mul(1_000_000));
        let version = lock(&self.slot).next_version();
        Ok(IssuedToken { token: grant.token, version, issued_at_micros, expires_at_micros })
    }

    fn land(&mut self, landed: Landed) {
        self.landed = true;
        let outcome = match &landed {
            Ok(_) => "ok",
            Err(TokenError::Call(error)) => error.label(),
            Err(TokenError::Secret(_)) => "no_secret",
            Err(TokenError::Source(_)) => "source",
            Err(TokenError::BudgetSpent { .. } | TokenError::Interrupted) => "interrupted",
        };
        counter!(TOKEN_REFRESHES, "mode" => self.key.mode.as_str(), "outcome" => outcome).increment(1);
        let mut state = lock(&self.slot);
        if state.epoch == self.epoch {
            state.land(&landed, self.shared.clock.now_micros(), &self.shared.settings);
        }
        // Waiters wake with the slot already up to date.
        self.sender.send_replace(Some(landed));
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        if !self.landed {
            self.land(Err(TokenError::Interrupted));
        }
    }
}
