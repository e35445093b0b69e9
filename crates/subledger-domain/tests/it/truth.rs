//! The books against the truth: a WeChat that counts taps and sends exactly, answers and pushes that get lost, are late or
//! come twice, and people who guess. WeChat behaves in each of the ways that are undocumented, and the policy says which.
//!
//! Whatever is lost or guessed, the books never hold less than WeChat does, never find drift where every tap was counted,
//! and agree with WeChat again after it has said that nothing is left.

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::ledger::{
    AttemptOutcome, Choice, Ledger, LedgerCommand, LedgerEvent, RefusedSend, SettingsOff, Taps,
    UnknownBalance, Verdict,
};
use subledger_domain::{Decide, TemplateKind};

use crate::properties::cases;
use crate::support::{answer, at, delivery, denied, operator, push, tap, unknown};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The user taps "allow". The side that is relied on learns it at once; the other later, or never.
    Tap,
    /// The other side tells of its oldest tap that it has not told of.
    Tell,
    /// What the other side had to tell is lost.
    Lost,
    /// The user switches messages off; WeChat pushes it.
    Off,
    /// The next delivery is reserved, if the books allow.
    Reserve,
    /// The oldest waiting delivery is handed over; WeChat counts at once, the answer is on its way.
    Send,
    /// The answer arrives.
    Answer,
    /// WeChat refuses what is in flight for its contents, if it counted it.
    Refuse,
    /// WeChat pushes the result of one of its sends, perhaps again.
    Sent(prop::sample::Index),
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
        2 => Just(Step::Tell),
        1 => Just(Step::Lost),
        1 => Just(Step::Off),
        1 => Just(Step::Refuse),
        2 => any::<prop::sample::Index>().prop_map(Step::Sent),
        4 => Just(Step::Lose),
        4 => Just(Step::GiveUp),
        1 => any::<prop::sample::Index>().prop_map(Step::LateProof),
    ]
}

/// How WeChat behaves where nobody says so, and whom the channel relies on for taps.
#[derive(Debug, Clone, Copy)]
struct Profile {
    taps: Taps,
    relies_on_pushes: bool,
    refused_send: RefusedSend,
    settings_off: SettingsOff,
}

fn profile() -> impl Strategy<Value = Profile> {
    let taps = prop_oneof![
        Just((Taps::Both, true)),
        Just((Taps::Both, false)),
        Just((Taps::ClientOnly, false)),
        Just((Taps::PushOnly, true)),
    ];
    let refused_send = prop_oneof![Just(RefusedSend::Release), Just(RefusedSend::Consume)];
    let settings_off = prop_oneof![Just(SettingsOff::Keep), Just(SettingsOff::Clear)];
    (taps, refused_send, settings_off).prop_map(|((taps, relies_on_pushes), refused_send, settings_off)| {
        Profile { taps, relies_on_pushes, refused_send, settings_off }
    })
}

struct World {
    profile: Profile,
    /// Taps that the side not relied on has not told of, by time.
    untold: Vec<i64>,
    /// Deliveries WeChat has sent.
    sent: Vec<u8>,
    /// Those that WeChat has pushed a success of.
    pushed: Vec<u8>,
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
        let refused_send = self.profile.refused_send;
        self.ask(now, LedgerCommand::Settle { delivery: delivery(d), attempt: 1, refused_send, outcome })
    }

    fn tell(&mut self, now: i64, pushed: bool, tapped: i64) {
        let (kind, word) = (TemplateKind::OneTime, "accept".to_owned());
        let evidence = if pushed { push(tapped) } else { tap(tapped) };
        let (choice, taps) = (Choice::Accept, self.profile.taps);
        self.ask(now, LedgerCommand::RecordChoice { choice, word, kind, taps, window: 300, evidence });
    }

    fn step(&mut self, step: Step, now: i64) {
        match step {
            Step::Tap => {
                self.left += 1;
                self.tell(now, self.profile.relies_on_pushes, now);
                self.untold.push(now);
            }
            Step::Tell => {
                if !self.untold.is_empty() {
                    let tapped = self.untold.remove(0);
                    self.tell(now, !self.profile.relies_on_pushes, tapped);
                }
            }
            Step::Lost => self.untold.clear(),
            // What is in flight or given up while the counts are cleared is left to later answers: see `ledger.md`.
            Step::Off if self.in_flight.is_none() && self.given_up.is_empty() => {
                let settings_off = self.profile.settings_off;
                self.ask(now, LedgerCommand::Suspend { settings_off, evidence: push(now) });
                if settings_off == SettingsOff::Clear {
                    self.left = 0;
                }
            }
            Step::Off => {}
            Step::Refuse => {
                let Some((d, true)) = self.in_flight.filter(|(d, _)| !self.pushed.contains(d)) else {
                    return;
                };
                self.in_flight = None;
                self.sent.retain(|sent| *sent != d);
                if self.profile.refused_send == RefusedSend::Release {
                    self.left += 1;
                }
                let refused = AttemptOutcome::Refused { answer: answer(47003) };
                assert!(self.settle(now, d, refused).is_some(), "an answer settles what is in flight");
            }
            Step::Sent(pick) => {
                if self.sent.is_empty() {
                    return;
                }
                let d = *pick.get(&self.sent);
                self.pushed.push(d);
                self.ask(
                    now,
                    LedgerCommand::RecordSent {
                        wechat_msgid: Some(msgid(d)),
                        code: 0,
                        status: "success".to_owned(),
                        began: None,
                        evidence: push(now),
                    },
                );
                self.learn();
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
                let answered = self.settle(now, d, if sent { accepted(d) } else { denied() });
                assert!(answered.is_some(), "an answer settles what is in flight or in doubt");
            }
            Step::Lose => {
                if let Some((d, _)) = self.in_flight {
                    self.settle(now, d, unknown());
                    self.learn();
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
                    let d = *pick.get(&sent);
                    self.settle(now, d, accepted(d));
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
            self.sent.extend(sent.then_some(d));
        }
    }

    /// A push may have settled what was in doubt; its answer will find nothing to settle.
    fn learn(&mut self) {
        let under_way = |d: u8| self.ledger.outstanding().contains_key(&delivery(d));
        if self.in_flight.is_some_and(|(d, _)| !under_way(d)) {
            self.in_flight = None;
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

fn msgid(d: u8) -> String {
    format!("40000000000000{d:05}")
}

fn accepted(d: u8) -> AttemptOutcome {
    AttemptOutcome::Accepted { wechat_msgid: Some(msgid(d)) }
}

impl World {
    fn of(profile: Profile) -> Self {
        Self {
            profile,
            untold: Vec::new(),
            sent: Vec::new(),
            pushed: Vec::new(),
            ledger: Ledger::default(),
            left: 0,
            in_flight: None,
            waiting: Vec::new(),
            given_up: Vec::new(),
            reserved: 0,
        }
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn lost_answers_and_wrong_guesses_never_become_drift(
        profile in profile(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::of(profile);
        for (n, step) in steps.into_iter().enumerate() {
            world.step(step, 1_000 + n as i64);
            world.check();
        }
    }
}
