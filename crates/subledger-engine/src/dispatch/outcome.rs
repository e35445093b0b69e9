//! What WeChat's answer means for a delivery and for its lane.

use rand::RngExt;
use subledger_domain::{
    Timestamp,
    ledger::{Answer, AttemptOutcome, DoubtCause},
};
use subledger_wechat::{
    CallError, ConnectFailure, NotSentReason, RefusalClass, RetryHint, SendOutcome, TokenError, TokenFailure,
    UnknownReason,
};

/// How long a lane holds back when its credentials are refused: an operator has to act.
const CONFIGURATION_HOLD_SECONDS: i64 = 30;
/// How long a lane holds back when WeChat is not reached: every other delivery would find the same.
const NOT_REACHED_HOLD_SECONDS: i64 = 1;
/// The longest that a lane holds back for want of a token.
const LONGEST_TOKEN_HOLD_SECONDS: i64 = 600;
/// Jitter added to every retry time, so that many waiters do not wake at once.
const MAX_JITTER_MICROS: i64 = 250_000;

/// The meaning of one answer.
pub(super) struct Meaning {
    /// For the ledger.
    pub(super) outcome: AttemptOutcome,
    /// For metrics and logs: a small fixed set of words.
    pub(super) word: &'static str,
    /// The whole lane must wait until then.
    pub(super) hold: Option<Timestamp>,
}

/// Reads an answer to attempt number `attempt`.
pub(super) fn meaning(sent: SendOutcome, attempt: u16, now: Timestamp, max_attempts: u16) -> Meaning {
    let jitter = rand::rng().random_range(0..=MAX_JITTER_MICROS);
    let until =
        |hint: RetryHint| Timestamp::from_micros(hint.not_before(u32::from(attempt), now.micros(), jitter));
    let postponed = |answer, until| AttemptOutcome::Postponed { answer, until, max_attempts };
    match sent {
        SendOutcome::Accepted { msgid } => Meaning {
            outcome: AttemptOutcome::Accepted { wechat_msgid: msgid },
            word: "accepted",
            hold: None,
        },
        // What lacks an authorization waits for it: the administrator can give it again, and then the channel goes on.
        SendOutcome::Refused { code, rid, class: class @ RefusalClass::NotAuthorized, .. } => {
            let answer = Answer { code: Some(code), rid, class: class.as_str().to_owned() };
            let wait = now.plus_seconds(CONFIGURATION_HOLD_SECONDS);
            let at = until(RetryHint::Backoff).max(wait);
            Meaning { outcome: postponed(answer, at), word: class.as_str(), hold: Some(wait) }
        }
        SendOutcome::Refused { code, rid, class, .. } => {
            let answer = Answer { code: Some(code), rid, class: class.as_str().to_owned() };
            let (outcome, word) = match class {
                RefusalClass::NoPermission if code == 43101 => {
                    (AttemptOutcome::NoPermission { answer }, "no_permission")
                }
                _ => (AttemptOutcome::Refused { answer }, class.as_str()),
            };
            Meaning { outcome, word, hold: None }
        }
        SendOutcome::TryAgain { code, rid, when, .. } => {
            let (word, hold) = match when {
                RetryHint::Backoff => ("system_busy", None),
                RetryHint::SameLane => ("concurrent_call", None),
                RetryHint::NextMinute => ("minute_limit", Some(until(when))),
                RetryHint::NextDay => ("daily_quota", Some(until(when))),
            };
            let answer = Answer { code: Some(code), rid, class: word.to_owned() };
            Meaning { outcome: postponed(answer, until(when)), word, hold }
        }
        SendOutcome::NotSent { reason } => {
            let (word, code, rid, wait) = not_sent(&reason, now);
            let answer = Answer { code, rid, class: word.to_owned() };
            let at = until(RetryHint::Backoff).max(wait);
            Meaning { outcome: postponed(answer, at), word, hold: Some(wait) }
        }
        SendOutcome::Unknown { reason } => {
            let (cause, word) = match reason {
                UnknownReason::Timeout => (DoubtCause::Timeout, "unknown_timeout"),
                UnknownReason::ConnectionLost | UnknownReason::BodyTruncated => {
                    (DoubtCause::ConnectionBroken, "unknown_connection")
                }
                UnknownReason::BodyTooLarge
                | UnknownReason::HttpStatus(_)
                | UnknownReason::Unintelligible => (DoubtCause::Unintelligible, "unknown_answer"),
            };
            Meaning { outcome: AttemptOutcome::Unknown { cause }, word, hold: None }
        }
    }
}

/// Word, code and rid of a send that provably did not happen, and until when its lane should wait.
fn not_sent(
    reason: &NotSentReason,
    now: Timestamp,
) -> (&'static str, Option<i64>, Option<String>, Timestamp) {
    let soon = now.plus_seconds(NOT_REACHED_HOLD_SECONDS);
    let later = now.plus_seconds(CONFIGURATION_HOLD_SECONDS);
    match reason {
        NotSentReason::NotReached(failure) => (connect_word(*failure), None, None, soon),
        NotSentReason::TokenConflict(conflict) => {
            ("token_conflict", Some(conflict.code), conflict.rid.clone(), later)
        }
        NotSentReason::NoToken(error) => {
            let (code, rid) = match error {
                TokenError::Call(call) => (call.code(), call.rid().map(str::to_owned)),
                _ => (None, None),
            };
            let (word, wait) = no_token(error, now);
            (word, code, rid, wait)
        }
    }
}

/// Word of a token that could not be had, and until when its lane should wait.
pub(super) fn no_token(error: &TokenError, now: Timestamp) -> (&'static str, Timestamp) {
    let word = match error {
        TokenError::Call(CallError::NotReached(failure)) => connect_word(*failure),
        _ => "no_token",
    };
    let wait = match (error, error.failure()) {
        // Somebody may end the war before: look again now and then.
        (TokenError::BudgetSpent { until_micros }, _) => {
            Timestamp::from_micros(*until_micros).min(now.plus_seconds(LONGEST_TOKEN_HOLD_SECONDS))
        }
        (_, TokenFailure::Configuration) => now.plus_seconds(CONFIGURATION_HOLD_SECONDS),
        (_, TokenFailure::Transient) => now.plus_seconds(NOT_REACHED_HOLD_SECONDS),
    };
    (word, wait)
}

const fn connect_word(failure: ConnectFailure) -> &'static str {
    match failure {
        ConnectFailure::Dns => "not_reached_dns",
        ConnectFailure::Refused => "not_reached_refused",
        ConnectFailure::Timeout => "not_reached_timeout",
        ConnectFailure::Tls => "not_reached_tls",
        ConnectFailure::Other | ConnectFailure::NotBuilt => "not_reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

    fn read(sent: SendOutcome) -> Meaning {
        meaning(sent, 1, NOW, 3)
    }

    fn refused(code: i64, class: RefusalClass) -> SendOutcome {
        SendOutcome::Refused { code, message: String::new(), rid: None, class }
    }

    #[test]
    fn only_43101_says_that_nothing_is_left() {
        let denied = read(refused(43101, RefusalClass::NoPermission)).outcome;
        assert!(matches!(denied, AttemptOutcome::NoPermission { .. }));
        let other = read(refused(40037, RefusalClass::Template)).outcome;
        assert!(matches!(other, AttemptOutcome::Refused { .. }));
    }

    #[test]
    fn a_missing_authorization_is_waited_for_by_the_whole_lane() {
        for code in [61003, 61007] {
            let meaning = read(refused(code, RefusalClass::NotAuthorized));
            assert!(matches!(meaning.outcome, AttemptOutcome::Postponed { .. }), "{code}");
            assert_eq!(meaning.hold, Some(NOW.plus_seconds(CONFIGURATION_HOLD_SECONDS)));
        }
    }

    #[test]
    fn an_unknown_answer_is_never_tried_again() {
        for reason in [
            UnknownReason::Timeout,
            UnknownReason::ConnectionLost,
            UnknownReason::BodyTruncated,
            UnknownReason::HttpStatus(502),
            UnknownReason::Unintelligible,
            UnknownReason::BodyTooLarge,
        ] {
            let meaning = read(SendOutcome::Unknown { reason });
            assert!(matches!(meaning.outcome, AttemptOutcome::Unknown { .. }), "{reason}");
            assert_eq!(meaning.hold, None, "{reason}: one lost answer says nothing about the others");
        }
    }

    #[test]
    fn limits_of_the_channel_hold_the_lane_and_busy_answers_do_not() {
        let again = |when| read(SendOutcome::TryAgain { code: 0, rid: None, message: String::new(), when });
        assert!(again(RetryHint::NextMinute).hold.is_some_and(|until| until > NOW));
        assert!(again(RetryHint::NextDay).hold.is_some_and(|until| until > NOW));
        assert_eq!(again(RetryHint::Backoff).hold, None);
        assert_eq!(again(RetryHint::SameLane).hold, None);
    }

    #[test]
    fn what_did_not_reach_wechat_is_tried_again_later() {
        let reason = NotSentReason::NotReached(ConnectFailure::Refused);
        let Meaning { outcome, word, .. } = read(SendOutcome::NotSent { reason });
        let AttemptOutcome::Postponed { answer, until, max_attempts } = outcome else {
            panic!("not postponed")
        };
        assert_eq!((word, answer.code, max_attempts), ("not_reached_refused", None, 3));
        assert!(until > NOW);
    }
}
