//! Leaving a back end alone that does not answer.
//!
//! After some failures in a row a back end is paused: what waits for it is put off with one statement and what still comes is
//! not tried. When the pause is over one push is tried; if it fails, the next pause is twice as long. Each node has circuits
//! of its own, in memory: they save work and decide nothing, and every push still has its own schedule.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use subledger_domain::{LogName, Timestamp};
use subledger_webhook::WHOLE_TIMEOUT;

/// Failures in a row after which a back end is paused.
pub const CIRCUIT_FAILURES: u32 = 5;
/// The first pause.
pub const CIRCUIT_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause: a back end that is well again is noticed so late at most.
pub const CIRCUIT_MAX_PAUSE: Duration = Duration::from_secs(300);
/// How long others wait while one push is tried: as long as an attempt takes at most.
const PROBE: Duration = WHOLE_TIMEOUT;

/// Whether a push may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Try,
    /// It is tried alone: what else waits for the back end waits until then.
    Probe {
        until: Timestamp,
    },
    NotBefore(Timestamp),
}

/// The back ends of a node, by channel.
#[derive(Debug, Default)]
pub(crate) struct Circuits(
    /// Std mutex: held for a look-up, never across an await.
    Mutex<HashMap<LogName, Circuit>>,
);

#[derive(Debug, Default)]
struct Circuit {
    /// Another URL is another back end.
    url: String,
    failures: u32,
    pauses: u32,
    paused_until: Option<Timestamp>,
    /// When the one push that is tried after a pause was begun.
    probing: Option<Timestamp>,
}

impl Circuits {
    fn lock(&self) -> MutexGuard<'_, HashMap<LogName, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a push may be tried now. Whoever is let through has to [`Self::note`] the end.
    pub(super) fn admit(&self, log: &LogName, url: &str, lease: Duration, now: Timestamp) -> Admission {
        let mut circuits = self.lock();
        let circuit = circuits.entry(log.clone()).or_default();
        if circuit.url != url {
            *circuit = Circuit { url: url.to_owned(), ..Circuit::default() };
        }
        match circuit.paused_until {
            None => Admission::Try,
            Some(until) if now < until => Admission::NotBefore(until),
            // A probe whose end nobody noted must not keep the circuit open for ever.
            Some(_) if circuit.probing.is_some_and(|begun| now < later(begun, lease)) => {
                Admission::NotBefore(later(now, PROBE))
            }
            Some(_) => {
                circuit.probing = Some(now);
                Admission::Probe { until: later(now, PROBE) }
            }
        }
    }

    /// Notes how an attempt ended. Answers until when the back end is paused, if a pause begins.
    pub(super) fn note(
        &self,
        log: &LogName,
        url: &str,
        well: bool,
        pause: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut circuits = self.lock();
        let circuit = circuits.get_mut(log).filter(|circuit| circuit.url == url)?;
        if well {
            *circuit = Circuit { url: url.to_owned(), ..Circuit::default() };
            return None;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        // Attempts that were under way when the pause began do not make it longer.
        let begins = match circuit.paused_until {
            None => CIRCUIT_FAILURES <= circuit.failures,
            Some(_) => circuit.probing.is_some(),
        };
        if !begins {
            return None;
        }
        let factor = 1_u32.checked_shl(circuit.pauses).unwrap_or(u32::MAX);
        let until = later(now, pause.saturating_mul(factor).min(CIRCUIT_MAX_PAUSE));
        circuit.pauses = circuit.pauses.saturating_add(1);
        circuit.paused_until = Some(until);
        circuit.probing = None;
        Some(until)
    }

    /// Until when a back end is paused.
    pub(super) fn paused(&self, log: &LogName, url: &str, now: Timestamp) -> Option<Timestamp> {
        let circuits = self.lock();
        let circuit = circuits.get(log).filter(|circuit| circuit.url == url)?;
        circuit.paused_until.filter(|until| now < *until)
    }
}

pub(super) fn later(moment: Timestamp, wait: Duration) -> Timestamp {
    moment.plus_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://hooks.example.com/";
    const LEASE: Duration = Duration::from_secs(60);

    fn probe(seconds: i64) -> Admission {
        Admission::Probe { until: later(Timestamp::from_seconds(seconds), PROBE) }
    }

    struct Played {
        circuits: Circuits,
        log: LogName,
    }

    impl Played {
        fn new() -> Self {
            Self { circuits: Circuits::default(), log: LogName::new("mp") }
        }

        fn admit(&self, seconds: i64) -> Admission {
            self.circuits.admit(&self.log, URL, LEASE, Timestamp::from_seconds(seconds))
        }

        fn note(&self, well: bool, seconds: i64) -> Option<i64> {
            let now = Timestamp::from_seconds(seconds);
            let until = self.circuits.note(&self.log, URL, well, CIRCUIT_PAUSE, now)?;
            Some(until.micros() / Timestamp::MICROS_PER_SECOND)
        }
    }

    #[test]
    fn failures_in_a_row_pause_a_back_end_and_one_success_ends_it() {
        let played = Played::new();
        for _ in 1..CIRCUIT_FAILURES {
            assert_eq!(played.admit(0), Admission::Try);
            assert_eq!(played.note(false, 0), None);
        }
        assert_eq!(played.note(true, 0), None, "one success and the count begins anew");
        for _ in 1..CIRCUIT_FAILURES {
            assert_eq!(played.note(false, 0), None);
        }
        assert_eq!(played.note(false, 0), Some(5));
        assert_eq!(played.note(false, 1), None, "it was under way before");
        assert_eq!(played.admit(4), Admission::NotBefore(Timestamp::from_seconds(5)));
        assert_eq!(played.admit(5), probe(5));
        assert_eq!(played.admit(5), Admission::NotBefore(Timestamp::from_seconds(20)), "one is tried");
        assert_eq!(played.note(true, 5), None);
        assert_eq!(played.admit(5), Admission::Try);
        assert_eq!(played.admit(5), Admission::Try);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let played = Played::new();
        assert_eq!(played.admit(0), Admission::Try);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..CIRCUIT_FAILURES - 1 {
            assert_eq!(played.note(false, now), None);
        }
        for _ in 0..9 {
            if let Some(until) = played.note(false, now) {
                pauses.push(until - now);
                now = until;
            }
            assert_eq!(played.admit(now), probe(now));
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn another_url_is_another_back_end_and_a_lost_probe_is_made_up_for() {
        let played = Played::new();
        assert_eq!(played.admit(0), Admission::Try);
        for _ in 0..CIRCUIT_FAILURES {
            played.note(false, 0);
        }
        assert_eq!(played.admit(5), probe(5));
        assert_eq!(played.admit(64), Admission::NotBefore(Timestamp::from_seconds(79)));
        assert_eq!(played.admit(65), probe(65));
        let other = played.circuits.admit(&played.log, "https://b/", LEASE, Timestamp::from_seconds(0));
        assert_eq!(other, Admission::Try);
        assert_eq!(played.note(false, 0), None, "an end of the one before counts for nobody");
    }
}
