//! The state of one app's token, and every decision about it.
//!
//! Plain data and arithmetic: the current time is handed in, nothing is awaited, so each rule can be tested by itself. The
//! keeper holds this behind a lock that is never held across a call.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::{IssuedToken, KeeperSettings, TokenError, TokenFailure, micros};
use crate::keeper::secret::SecretUnavailable;
use crate::outcome::CallError;

const HOUR_MICROS: i64 = 3600 * 1_000_000;
/// Wait after a failure that tells nothing about the next attempt.
const TRANSIENT_HOLD_MICROS: i64 = 1_000_000;
/// Longest wait after a failure. A quota may be cleared by hand, and clocks jump: look again now and then.
const LONGEST_HOLD_MICROS: i64 = 600 * 1_000_000;

/// What a refresh ended with.
pub(super) type Landed = Result<IssuedToken, TokenError>;
/// How waiters learn it; `None` while it is under way.
pub(super) type Flight = watch::Receiver<Option<Landed>>;

/// What to do for a caller that wants a token.
pub(super) enum Step {
    /// Hand it out.
    Use(IssuedToken),
    /// Hand it out, and start a refresh nobody waits for.
    UseAndRefresh(IssuedToken),
    /// Wait for the refresh under way.
    Wait(Flight),
    /// Start a refresh and wait for it.
    Refresh,
    /// No token, and no refresh now.
    Fail(TokenError),
}

#[derive(Default)]
pub(super) struct SlotState {
    current: Option<IssuedToken>,
    last_version: u64,
    pub(super) flight: Option<Flight>,
    /// Bumped when the slot is emptied from outside; a refresh of an older epoch may not touch the slot.
    pub(super) epoch: u64,
    background_not_before: i64,
    hold: Option<(i64, TokenError)>,
    /// When the refreshes of the last hour began.
    begun: VecDeque<i64>,
}

impl SlotState {
    /// The step for a caller at `now`.
    pub(super) fn step(&mut self, now: i64, settings: &KeeperSettings) -> Step {
        if let Some(current) = self.current.clone().filter(|token| now < token.expires_at_micros) {
            let due = now >= current.expires_at_micros.saturating_sub(micros(settings.refresh_ahead));
            let may = self.flight.is_none() && now >= self.background_not_before;
            return match due && may && self.budget_frees_at(now, settings).is_none() {
                true => Step::UseAndRefresh(current),
                false => Step::Use(current),
            };
        }
        if let Some(flight) = &self.flight {
            return Step::Wait(flight.clone());
        }
        if let Some((until, error)) = &self.hold
            && now < *until
            && until.saturating_sub(now) <= LONGEST_HOLD_MICROS
        {
            return Step::Fail(error.clone());
        }
        match self.budget_frees_at(now, settings) {
            Some(until_micros) => Step::Fail(TokenError::BudgetSpent { until_micros }),
            None => Step::Refresh,
        }
    }

    /// When a spent budget frees again; `None` if there is some left.
    fn budget_frees_at(&mut self, now: i64, settings: &KeeperSettings) -> Option<i64> {
        // Entries from the future are left-overs of a clock that went back; they must not block for ever.
        self.begun.retain(|begun| *begun <= now && now.saturating_sub(*begun) < HOUR_MICROS);
        let allowed = usize::try_from(settings.refreshes_per_hour).unwrap_or(usize::MAX);
        if self.begun.len() < allowed {
            return None;
        }
        let oldest = self.begun.front().copied().unwrap_or(now);
        Some(oldest.saturating_add(HOUR_MICROS))
    }

    /// Notes that a refresh begins.
    pub(super) fn begin(&mut self, now: i64, settings: &KeeperSettings, flight: Flight) {
        self.begun.push_back(now);
        self.background_not_before = now.saturating_add(micros(settings.background_gap));
        self.flight = Some(flight);
    }

    /// The version the next token will have.
    pub(super) fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }

    /// Takes in what a refresh ended with.
    pub(super) fn land(&mut self, landed: &Landed, now: i64, settings: &KeeperSettings) {
        self.flight = None;
        match landed {
            Ok(token) => {
                self.current = Some(token.clone());
                self.hold = None;
            }
            Err(error) => {
                let until = hold_until(error, now, settings);
                self.background_not_before = self.background_not_before.max(until);
                self.hold = Some((until, error.clone()));
            }
        }
    }

    /// Drops the current token if it is the one of `version`; returns it then.
    pub(super) fn invalidate_if(&mut self, version: u64) -> Option<IssuedToken> {
        self.current.take_if(|token| token.version == version)
    }

    /// Empties the slot; versions and the budget go on.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.hold = None;
        self.flight = None;
        self.background_not_before = 0;
        self.epoch += 1;
    }
}

/// Until when a failed refresh is not repeated. Sends would otherwise ask WeChat once each, and a wrong secret or an
/// unconfirmed address only gets worse by asking.
fn hold_until(error: &TokenError, now: i64, settings: &KeeperSettings) -> i64 {
    let refusal = micros(settings.refusal_hold);
    let wait = match error {
        TokenError::Call(CallError::Refused { .. }) | TokenError::Secret(SecretUnavailable::NotSet) => {
            refusal
        }
        TokenError::Call(CallError::TryAgain { when, .. }) => when.not_before(1, now, 0).saturating_sub(now),
        TokenError::Source(source) => match source.failure {
            TokenFailure::Configuration => refusal,
            TokenFailure::Transient => TRANSIENT_HOLD_MICROS.min(refusal),
        },
        TokenError::Interrupted | TokenError::BudgetSpent { .. } => 0,
        TokenError::Call(_) | TokenError::Secret(SecretUnavailable::Temporary) => {
            TRANSIENT_HOLD_MICROS.min(refusal)
        }
    };
    now.saturating_add(wait.min(LONGEST_HOLD_MICROS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::retry_times::RetryHint;
    use secrecy::SecretString;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000;

    fn settings() -> KeeperSettings {
        KeeperSettings { refreshes_per_hour: 3, ..KeeperSettings::default() }
    }

    fn token(version: u64, issued_at_micros: i64) -> IssuedToken {
        let expires_at_micros = issued_at_micros + 7200 * SECOND;
        IssuedToken { token: SecretString::from("T"), version, issued_at_micros, expires_at_micros }
    }

    fn flight() -> Flight {
        watch::channel(None).1
    }

    fn refused() -> Landed {
        let (code, message, rid) = (40125, String::new(), None);
        let class = crate::codes::RefusalClass::ChannelConfig;
        Err(TokenError::Call(CallError::Refused { code, message, rid, class }))
    }

    #[test]
    fn the_token_is_refreshed_ahead_once_and_nobody_waits_while_it_lives() {
        let mut slot = SlotState::default();
        slot.land(&Ok(token(1, 0)), 0, &settings());
        assert!(matches!(slot.step(6899 * SECOND, &settings()), Step::Use(_)));
        assert!(matches!(slot.step(6900 * SECOND, &settings()), Step::UseAndRefresh(_)));
        slot.begin(6900 * SECOND, &settings(), flight());
        assert!(matches!(slot.step(6901 * SECOND, &settings()), Step::Use(_)));
        assert!(matches!(slot.step(7200 * SECOND, &settings()), Step::Wait(_)));
    }

    #[test]
    fn a_failed_refresh_ahead_is_repeated_with_gaps_while_the_token_lives() {
        let mut slot = SlotState::default();
        slot.land(&Ok(token(1, 0)), 0, &settings());
        slot.begin(6900 * SECOND, &settings(), flight());
        slot.land(&Err(TokenError::Interrupted), 6900 * SECOND, &settings());
        assert!(matches!(slot.step(6919 * SECOND, &settings()), Step::Use(_)));
        assert!(matches!(slot.step(6920 * SECOND, &settings()), Step::UseAndRefresh(_)));
    }

    #[test]
    fn a_refused_refresh_is_held_and_then_tried_again() {
        let mut slot = SlotState::default();
        slot.land(&refused(), 0, &settings());
        assert!(matches!(slot.step(29 * SECOND, &settings()), Step::Fail(TokenError::Call(_))));
        assert!(matches!(slot.step(30 * SECOND, &settings()), Step::Refresh));
    }

    #[test]
    fn a_hold_is_bounded_even_for_a_daily_quota_or_a_clock_that_went_back() {
        let quota = TokenError::Call(CallError::TryAgain {
            code: 45009,
            message: String::new(),
            rid: None,
            when: RetryHint::NextDay,
        });
        let mut slot = SlotState::default();
        slot.land(&Err(quota), 0, &settings());
        assert!(matches!(slot.step(599 * SECOND, &settings()), Step::Fail(_)));
        assert!(matches!(slot.step(600 * SECOND, &settings()), Step::Refresh));
        assert!(matches!(slot.step(-3600 * SECOND, &settings()), Step::Refresh));
    }

    #[test]
    fn the_budget_holds_back_refreshes_but_not_a_living_token() {
        let mut slot = SlotState::default();
        for at in [0, 10, 20] {
            slot.begin(at * SECOND, &settings(), flight());
            slot.land(&Ok(token(1, 0)), at * SECOND, &settings());
        }
        slot.invalidate_if(1).unwrap();
        let until_micros = 3600 * SECOND;
        let spent = slot.step(100 * SECOND, &settings());
        assert!(
            matches!(spent, Step::Fail(TokenError::BudgetSpent { until_micros: at }) if at == until_micros)
        );

        let eager = KeeperSettings { refresh_ahead: Duration::from_secs(7200), ..settings() };
        slot.land(&Ok(token(2, 0)), 100 * SECOND, &eager);
        assert!(matches!(slot.step(1000 * SECOND, &eager), Step::Use(_)));
        assert!(matches!(slot.step(until_micros, &eager), Step::UseAndRefresh(_)));

        slot.invalidate_if(2).unwrap();
        assert!(matches!(slot.step(until_micros, &settings()), Step::Refresh));
    }

    #[test]
    fn only_the_failing_version_is_invalidated() {
        let mut slot = SlotState::default();
        slot.land(&Ok(token(2, 0)), 0, &settings());
        assert!(slot.invalidate_if(1).is_none());
        assert!(matches!(slot.step(1, &settings()), Step::Use(_)));
        assert_eq!(slot.invalidate_if(2).unwrap().version, 2);
        assert!(slot.invalidate_if(2).is_none());
        assert!(matches!(slot.step(1, &settings()), Step::Refresh));
    }
}
