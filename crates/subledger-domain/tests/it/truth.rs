//! The books against the truth: a WeChat that counts taps and sends exactly, answers that get lost, and people who guess.
//!
//! Whatever is lost or guessed, the books never hold less than WeChat does, never find drift where every tap was counted,
//! and agree with WeChat again after it has said that nothing is left.

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::ledger::{
    AttemptOutcome, Choice, Ledger, LedgerCommand, LedgerEvent, UnknownBalance, Verdict,
};
use subledger_domain::{Decide, TemplateKind};

use crate::properties::cases;
use crate::support::{accepted, at, delivery, denied, operator, tap, unknown};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The user taps "allow"; both sides learn it.
    Tap,
    /// The next delivery is reserved, if the books allow.
    Reserve,
    /// The oldest waiting delivery is handed over; WeChat counts at once, the answer is on its way.
    Send,
    /// The answer arrives.
    Answer,
    /// The answer is lost.
    Lose,
    /// A policy settles the doubt as not sent, rightly or wrongly.
    GiveUp,
    /// WeChat's proof arrives for a delivery that was given up, if it was sent.
    LateProof(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Tap),
        4 => Just(Step::Reserve),
        6 => Just(Step::Send),
        4 => Just(Step::Answer),
        4 => Just(Step::Lose),
        4 => Just(Step::GiveUp),
        1 => any::<prop::sample::Index>().prop_map(Step::LateProof),
    ]
}

#[derive(Default)]
struct World {
    ledger: Ledger,
    /// What WeChat really has.
    left: u64,
    /// The attempt in flight or in doubt, and whether it was sent.
    in_flight: Option<(u8, bool)>,
    waiting: Vec<u8>,
    given_up: Vec<(u8, bool)>,
    reserved: u8,
}

impl World {
    fn ask(&mut self, now: i64, command: LedgerCommand) -> Option<Vec<LedgerEvent>> {
        let events = self.ledger.decide(command, at(now)).ok()?;
        for event in &events {
            assert!(!matches!(event, LedgerEvent::DriftFound(_)), "every tap was counted: {event:?}");
            self.ledger.apply(event.clone());
        }
        Some(events)
    }

    fn settle(&mut self, now: i64, d: u8, outcome: AttemptOutcome) -> Option<Vec<LedgerEvent>> {
        self.ask(now, LedgerCommand::Settle { delivery: delivery(d), attempt: 1, outcome })
    }

    fn step(&mut self, step: Step, now: i64) {
        match step {
            Step::Tap => {
                self.left += 1;
                let (kind, word) = (TemplateKind::OneTime, "accept".to_owned());
                let evidence = tap(now);
                self.ask(now, LedgerCommand::RecordChoice { choice: Choice::Accept, word, kind, evidence });
            }
            Step::Reserve => {
                let d = self.reserved;
                let reserve = LedgerCommand::Reserve {
                    delivery: delivery(d),
                    kind: TemplateKind::OneTime,
                    unknown_balance: UnknownBalance::Refuse,
                    user: None,
                };
                if self.ask(now, reserve).is_some() {
                    self.reserved += 1;
                    self.waiting.push(d);
                }
            }
            Step::Send => self.send(now),
            Step::Answer => {
                let Some((d, sent)) = self.in_flight.take() else { return };
                let answered = self.settle(now, d, if sent { accepted() } else { denied() });
                assert!(answered.is_some(), "an answer settles what is in flight or in doubt");
            }
            Step::Lose => {
                if let Some((d, _)) = self.in_flight {
                    self.settle(now, d, unknown());
                }
            }
            Step::GiveUp => {
                let Some((d, sent)) = self.in_flight else { return };
                let (delivery, evidence) = (delivery(d), operator(now));
                let resolve = LedgerCommand::Resolve { delivery, verdict: Verdict::NotSent, evidence };
                if self.ask(now, resolve).is_some() {
                    self.in_flight = None;
                    self.given_up.push((d, sent));
                }
            }
            Step::LateProof(pick) => {
                let sent: Vec<u8> = self.given_up.iter().filter(|(_, sent)| *sent).map(|(d, _)| *d).collect();
                if !sent.is_empty() {
                    self.settle(now, *pick.get(&sent), accepted());
                }
            }
        }
    }

    fn send(&mut self, now: i64) {
        let Some(d) = self.waiting.first().copied() else { return };
        let start = LedgerCommand::Start { delivery: delivery(d), expires_at: at(now + 1_000) };
        let Some(events) = self.ask(now, start) else { return };
        self.waiting.remove(0);
        if matches!(events.as_slice(), [LedgerEvent::Started(_)]) {
            let sent = self.left > 0;
            self.left -= u64::from(sent);
            self.in_flight = Some((d, sent));
        }
    }

    fn check(&self) {
        let totals = self.ledger.totals();
        assert!(totals.balanced());
        let believed = totals.open + totals.reserved + totals.in_doubt;
        assert!(believed >= self.left, "we believe in {believed}, WeChat has {}", self.left);
        let unknown = self.given_up.iter().chain(&self.in_flight).filter(|(_, sent)| *sent).count() as u64;
        assert!(
            believed <= self.left + unknown,
            "we believe in {believed}, {} and {unknown} unknown",
            self.left
        );
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn lost_answers_and_wrong_guesses_never_become_drift(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::default();
        for (n, step) in steps.into_iter().enumerate() {
            world.step(step, 1_000 + n as i64);
            world.check();
        }
    }
}
