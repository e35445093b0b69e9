//! One refresh: a process asks the shelf, and fetches if it is its turn.
//!
//! Runs in a task of its own, with no lock held, and lands exactly once, even if the task is dropped half-way.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::watch;

use super::fetcher::TokenSource;
use super::shelf::{ShelfAnswer, ShelfAsk, ShelfClaim, ShelfTurn, ShelfUnreachable, ShelfWish, ShelvedToken};
use super::slot::Landed;
use super::{IssuedToken, Shared, Slot, TokenError, TokenKey, TokenSuspicion, lock, micros};
use crate::metric_definitions::{TOKEN_BUDGET_SPENT, TOKEN_CONFLICTS, TOKEN_REFRESHES};

/// WeChat lets an old and a new token overlap this long; a token refused earlier was replaced by someone else (§1.4).
const OVERLAP: Duration = Duration::from_secs(300);
/// First and longest wait before the shelf is asked again while another process fetches.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How often a fetched token is tried to be kept while the shelf cannot be reached.
const KEEP_TRIES: u32 = 5;

/// One refresh of one key.
pub(super) struct Refresh {
    pub(super) shared: Arc<Shared>,
    pub(super) key: TokenKey,
    pub(super) slot: Slot,
    pub(super) epoch: u64,
    pub(super) wish: ShelfWish,
    /// The newest token that this process will not use any more, and WeChat's code if it refused it. 0: none.
    pub(super) newer_than: u64,
    pub(super) refused: Option<i64>,
    pub(super) sender: watch::Sender<Option<Landed>>,
    pub(super) landed: bool,
}

impl Refresh {
    /// Runs in a task of its own: a caller that goes away does not end it.
    pub(super) fn take_off(self, source: &TokenSource) {
        tokio::spawn(self.run(source.clone()));
    }

    async fn run(mut self, source: TokenSource) {
        let landed = self.refresh(&source).await;
        self.land(landed);
    }

    async fn refresh(&self, source: &TokenSource) -> Landed {
        let settings = &self.shared.settings;
        let ask = ShelfAsk {
            holder: self.shared.holder,
            newer_than: self.newer_than,
            refused: self.refused.is_some(),
            wish: self.wish,
            turn: settings.turn,
            per_hour: settings.refreshes_per_hour,
        };
        let mut look = FIRST_LOOK;
        loop {
            // Before the shelf is asked: a token never lives longer than believed.
            let asked_at = self.shared.clock.now_micros();
            let answer = self.shared.shelf.claim(&self.key, &ask).await;
            let ShelfAnswer { claim, first_refused } = answer.map_err(TokenError::Shelf)?;
            if let (Some((age, life)), Some(code)) = (first_refused, self.refused) {
                self.suspect(source, age, life, code);
            }
            match claim {
                ShelfClaim::Kept(token) => {
                    counter!(TOKEN_REFRESHES, "mode" => self.key.mode.as_str(), "outcome" => "shared")
                        .increment(1);
                    return Ok(issued(token, asked_at));
                }
                ShelfClaim::Turn(turn) => {
                    if let Some(landed) = self.fetch(source, turn, asked_at).await {
                        return landed;
                    }
                    // Somebody else has fetched since: what he has is the newer one.
                }
                ShelfClaim::Elsewhere(ends_in) => {
                    tokio::time::sleep(look.min(ends_in)).await;
                    look = (look * 2).min(LONGEST_LOOK);
                }
                ShelfClaim::Spent(frees_in) => {
                    counter!(TOKEN_BUDGET_SPENT, "mode" => self.key.mode.as_str()).increment(1);
                    tracing::error!(
                        wechat.appid = self.key.appid,
                        token.mode = self.key.mode.as_str(),
                        token.refreshes_per_hour = settings.refreshes_per_hour,
                        token.frees_in_s = frees_in.as_secs(),
                        "the budget of token refreshes is spent: something keeps killing the token"
                    );
                    let until_micros = asked_at.saturating_add(micros(frees_in));
                    return Err(TokenError::BudgetSpent { until_micros });
                }
                ShelfClaim::TooSoon { frees_in, of_day } => {
                    let until_micros = asked_at.saturating_add(micros(frees_in));
                    return Err(TokenError::ForcedTooSoon { until_micros, of_day });
                }
            }
        }
    }

    /// Fetches in a turn. `None`: the turn was lost on the way.
    async fn fetch(&self, source: &TokenSource, turn: ShelfTurn, asked_at: i64) -> Option<Landed> {
        let forced = matches!(self.wish, ShelfWish::Forced { .. });
        let call = if forced { source.fetcher.fetch_forced() } else { source.fetcher.fetch() };
        // Beyond its turn a fetch would meet that of another process.
        let fetched = match tokio::time::timeout(self.shared.settings.turn.mul_f32(0.9), call).await {
            Ok(fetched) => fetched,
            Err(_) => Err(TokenError::Interrupted),
        };
        let grant = match fetched {
            Ok(grant) => grant,
            Err(error) => {
                self.count(&error);
                // Lost with the shelf, the turn ends by itself.
                let _runs_out = self.shared.shelf.give_up(&self.key, turn).await;
                return Some(Err(error));
            }
        };
        let mut kept = Err(ShelfUnreachable);
        for again in 0..KEEP_TRIES {
            kept = self.shared.shelf.keep(&self.key, turn, &grant).await;
            if kept.is_ok() {
                break;
            }
            tokio::time::sleep(FIRST_LOOK * (1 << again)).await;
        }
        match kept {
            Ok(true) => {
                counter!(TOKEN_REFRESHES, "mode" => self.key.mode.as_str(), "outcome" => "ok").increment(1);
                let life = grant.expires_in.saturating_mul(1_000_000);
                Some(Ok(IssuedToken {
                    token: grant.token,
                    version: u64::try_from(turn.next).unwrap_or_default(),
                    issued_at_micros: asked_at,
                    expires_at_micros: asked_at.saturating_add(life),
                }))
            }
            Ok(false) => None,
            Err(error) => Some(Err(TokenError::Shelf(error))),
        }
    }

    fn count(&self, error: &TokenError) {
        let outcome = match error {
            TokenError::Call(error) => error.label(),
            TokenError::Secret(_) => "no_secret",
            TokenError::Source(_) => "source",
            TokenError::Shelf(_) => "shelf",
            TokenError::BudgetSpent { .. } | TokenError::ForcedTooSoon { .. } | TokenError::Interrupted => {
                "interrupted"
            }
        };
        counter!(TOKEN_REFRESHES, "mode" => self.key.mode.as_str(), "outcome" => outcome).increment(1);
    }

    /// A token that should have lived was refused, and it was still the newest of all processes: if it was not near its end,
    /// somebody else has replaced it. "Expired" (42001) tells of a clock, not of somebody else.
    fn suspect(&self, source: &TokenSource, age: Duration, life: Duration, code: i64) {
        if life.saturating_sub(OVERLAP) <= age || code == 42001 {
            return;
        }
        counter!(TOKEN_CONFLICTS, "mode" => self.key.mode.as_str()).increment(1);
        tracing::warn!(
            wechat.appid = self.key.appid,
            wechat.errcode = code,
            token.mode = self.key.mode.as_str(),
            token.age_s = age.as_secs(),
            "WeChat refused an access token before its time; another system may be replacing it"
        );
        if let Some(observer) = &source.observer {
            let suspicion = TokenSuspicion { key: self.key.clone(), age, life, code };
            observer.suspected(&suspicion);
        }
    }

    fn land(&mut self, landed: Landed) {
        self.landed = true;
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

/// A token from the shelf, on this process's clock.
fn issued(token: ShelvedToken, asked_at: i64) -> IssuedToken {
    IssuedToken {
        token: token.grant.token,
        version: token.version,
        issued_at_micros: asked_at.saturating_sub(micros(token.age)),
        expires_at_micros: asked_at.saturating_add(micros(token.remains)),
    }
}
