//! The state of one app's token, and every decision about it.
//!
//! Plain data and arithmetic: the current time is handed in, nothing is awaited, so each rule can be tested by itself. The
//! keeper holds this behind a lock that is never held across a call.

use tokio::sync::watch;

use super::{IssuedToken, KeeperSettings, TokenError, TokenFailure, micros};
use crate::keeper::secret::SecretUnavailable;
use crate::outcome::CallError;

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
    /// The newest token that WeChat was seen to refuse, and its code; gone once there is a newer one.
    refused: Option<(u64, i64)>,
    pub(super) flight: Option<Flight>,
    /// Bumped when the slot is emptied from outside; a refresh of an older epoch may not touch the slot.
    pub(super) epoch: u64,
    background_not_before: i64,
    hold: Option<(i64, TokenError)>,
}

impl SlotState {
    /// The step for a caller at `now`.
    pub(super) fn step(&mut self, now: i64, settings: &KeeperSettings) -> Step {
        if let Some(current) = self.current.clone().filter(|token| now < token.expires_at_micros) {
            // A token that lives shortly from the start would otherwise be due all its life.
            let life = current.expires_at_micros.saturating_sub(current.issued_at_micros);
            let ahead = micros(settings.refresh_ahead).min(life / 4);
            let due = now >= current.expires_at_micros.saturating_sub(ahead);
            return match due && self.flight.is_none() && now >= self.background_not_before {
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
        Step::Refresh
    }

    /// Notes that a refresh begins.
    pub(super) fn begin(&mut self, now: i64, settings: &KeeperSettings, flight: Flight) {
        self.background_not_before = now.saturating_add(micros(settings.background_gap));
        self.flight = Some(flight);
    }

    /// The number of the newest token that does not serve (any more), and WeChat's code if that is why.
    pub(super) fn unwanted(&self) -> (u64, Option<i64>) {
        let current = self.current.as_ref().map_or(0, |token| token.version);
        match self.refused {
            Some((version, code)) if current <= version => (version, Some(code)),
            _ => (current, None),
        }
    }

    /// Takes in what a refresh ended with.
    pub(super) fn land(&mut self, landed: &Landed, now: i64, settings: &KeeperSettings) {
        self.flight = None;
        match landed {
            Ok(token) => {
                self.current = Some(token.clone());
                self.refused = self.refused.filter(|(version, _)| token.version <= *version);
                self.hold = None;
            }
            Err(error) => {
                let until = hold_until(error, now, settings);
                self.background_not_before = self.background_not_before.max(until);
                self.hold = Some((until, error.clone()));
            }
        }
    }

    /// Drops the current token if it is the one of `version`, which WeChat refused with `code`. Whether it was.
    pub(super) fn invalidate_if(&mut self, version: u64, code: i64) -> bool {
        let dropped = self.current.take_if(|token| token.version == version).is_some();
        if dropped {
            self.refused = Some((version, code));
        }
        dropped
    }

    /// Drops the current token if it is not newer than `version`, which WeChat refused.
    pub(super) fn refuse(&mut self, version: u64, code: i64) {
        if version == 0 {
            return;
        }
        if self.current.as_ref().is_some_and(|token| version < token.version) {
            return;
        }
        self.current = None;
        if self.refused.is_none_or(|(known, _)| known < version) {
            self.refused = Some((version, code));
        }
    }

    /// Empties the slot.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.refused = None;
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
        TokenError::BudgetSpent { until_micros } => until_micros.saturating_sub(now),
        TokenError::Interrupted | TokenError::ForcedTooSoon { .. } => 0,
        TokenError::Call(_) | TokenError::Shelf(_) | TokenError::Secret(SecretUnavailable::Temporary) => {
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

    const SECOND: i64 = 1_000_000;

    fn settings() -> KeeperSettings {
        KeeperSettings::default()
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
    fn a_spent_budget_holds_back_refreshes_but_not_a_living_token() {
        let mut slot = SlotState::default();
        let spent = |until: i64| Err(TokenError::BudgetSpent { until_micros: until * SECOND });
        slot.land(&spent(500), 0, &settings());
        assert!(matches!(slot.step(499 * SECOND, &settings()), Step::Fail(TokenError::BudgetSpent { .. })));
        assert!(matches!(slot.step(500 * SECOND, &settings()), Step::Refresh));

        slot.land(&Ok(token(1, 0)), 0, &settings());
        slot.begin(6900 * SECOND, &settings(), flight());
        slot.land(&spent(7100), 6900 * SECOND, &settings());
        assert!(matches!(slot.step(7099 * SECOND, &settings()), Step::Use(_)));
        assert!(matches!(slot.step(7100 * SECOND, &settings()), Step::UseAndRefresh(_)));
    }

    #[test]
    fn a_token_of_short_life_is_not_due_from_the_start() {
        let mut slot = SlotState::default();
        slot.land(&Ok(IssuedToken { expires_at_micros: 200 * SECOND, ..token(1, 0) }), 0, &settings());
        assert!(matches!(slot.step(149 * SECOND, &settings()), Step::Use(_)));
        assert!(matches!(slot.step(150 * SECOND, &settings()), Step::UseAndRefresh(_)));
    }

    #[test]
    fn only_the_failing_version_is_invalidated() {
        let mut slot = SlotState::default();
        slot.land(&Ok(token(2, 0)), 0, &settings());
        assert!(!slot.invalidate_if(1, 40001));
        assert!(matches!(slot.step(1, &settings()), Step::Use(_)));
        assert_eq!(slot.unwanted(), (2, None));
        assert!(slot.invalidate_if(2, 40001));
        assert!(!slot.invalidate_if(2, 40001));
        assert!(matches!(slot.step(1, &settings()), Step::Refresh));
        assert_eq!(slot.unwanted(), (2, Some(40001)));
        slot.land(&Ok(token(3, 0)), 0, &settings());
        assert_eq!(slot.unwanted(), (3, None));
    }
}
