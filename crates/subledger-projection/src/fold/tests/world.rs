//! A channel driven through the domain by random requests, and the log it leaves.

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::{
    Decide, DeliveryId, Evidence, EvidenceSource, LogName, MessageId, StoredEvent, StreamName, SubjectId,
    TemplateId, TemplateKind, Timestamp, UserRef,
    ledger::{
        Answer, AttemptOutcome, Choice, DoubtCause, Ledger, LedgerCommand, LedgerError, RefusedSend,
        ReleaseRequest, SettingsOff, Taps, UnknownBalance, Verdict,
    },
    message::{Accepted, Message, MessageCommand, Planned, Retracted, Skip, SkipReason},
};
use subledger_store::{Link, Position, Recorded};

/// Something that happens to the channel. Numbers pick among what exists.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Tap { subject: u8, template: bool, choice: u8, push: bool, taps: Taps, ago: i64 },
    Import { subject: u8, count: u32 },
    Suspend { subject: u8, template: bool, push: bool, clear: bool, ago: i64 },
    Adjust { subject: u8, by: i64 },
    Sent { delivery: usize, named: bool, good: bool },
    Send { template: bool, recipients: Vec<Option<u8>>, planned: usize, attempt: bool },
    Start { delivery: usize, expired: bool },
    Settle { delivery: usize, outcome: u8, consume: bool },
    Resolve { delivery: usize, sent: bool },
    Release { delivery: usize, expire: bool },
    Retract { message: usize },
}

pub(super) fn requests(most: usize) -> impl Strategy<Value = Vec<Request>> {
    let subject = 0..3u8;
    let ago = 0..20_000_000i64;
    let delivery = 0..6usize;
    let taps = prop_oneof![3 => Just(Taps::Both), 1 => Just(Taps::ClientOnly), 1 => Just(Taps::PushOnly)];
    let one = prop_oneof![
        4 => (subject.clone(), any::<bool>(), 0..6u8, any::<bool>(), taps, ago.clone()).prop_map(
            |(subject, template, choice, push, taps, ago)| Request::Tap { subject, template, choice, push, taps, ago }
        ),
        1 => (subject.clone(), -2..3i64).prop_map(|(subject, by)| Request::Adjust { subject, by }),
        2 => (delivery.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(delivery, named, good)| Request::Sent { delivery, named, good }),
        1 => (subject.clone(), 1..4u32).prop_map(|(subject, count)| Request::Import { subject, count }),
        1 => (subject.clone(), any::<bool>(), any::<bool>(), any::<bool>(), ago).prop_map(
            |(subject, template, push, clear, ago)| Request::Suspend { subject, template, push, clear, ago }
        ),
        4 => (any::<bool>(), prop::collection::vec(prop::option::weighted(0.9, subject), 1..5), 1..6usize, any::<bool>())
            .prop_map(|(template, recipients, planned, attempt)| Request::Send { template, recipients, planned, attempt }),
        8 => (delivery.clone(), prop::bool::weighted(0.05))
            .prop_map(|(delivery, expired)| Request::Start { delivery, expired }),
        8 => (delivery.clone(), 0..8u8, any::<bool>())
            .prop_map(|(delivery, outcome, consume)| Request::Settle { delivery, outcome, consume }),
        5 => (delivery.clone(), any::<bool>()).prop_map(|(delivery, sent)| Request::Resolve { delivery, sent }),
        1 => (delivery, any::<bool>()).prop_map(|(delivery, expire)| Request::Release { delivery, expire }),
        1 => (0..4usize).prop_map(|message| Request::Retract { message }),
    ];
    prop::collection::vec(one, 1..most)
}

/// A report of an accepted tap of the first person.
pub(super) fn tapped() -> Request {
    Request::Tap { subject: 0, template: false, choice: 5, push: false, taps: Taps::Both, ago: 0 }
}

type LedgerKey = (SubjectId, TemplateId);

#[derive(Default)]
pub(super) struct World {
    pub(super) ledgers: BTreeMap<LedgerKey, Ledger>,
    pub(super) messages: BTreeMap<MessageId, Message>,
    pub(super) log: Vec<Recorded>,
    deliveries: Vec<(DeliveryId, LedgerKey)>,
    now: i64,
}

pub(super) fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n; 16])
}

pub(super) fn template(long_term: bool) -> TemplateId {
    if long_term { "template-long".parse().unwrap() } else { "template-once".parse().unwrap() }
}

fn kind(long_term: bool) -> TemplateKind {
    if long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime }
}

impl World {
    pub(super) fn of(requests: &[Request]) -> Self {
        let mut world = Self { now: 1_000_000_000_000, ..Self::default() };
        for request in requests {
            world.now += 1_000_000;
            world.meet(request);
        }
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn evidence(&self, ago: i64) -> Evidence {
        Evidence::new(EvidenceSource::ClientReport, format!("r{}", self.now), self.now().plus_micros(-ago))
    }

    fn evidence_of(&self, push: bool, ago: i64) -> Evidence {
        let source = if push { EvidenceSource::WechatPush } else { EvidenceSource::ClientReport };
        Evidence { source, ..self.evidence(ago) }
    }

    pub(super) fn record<E: StoredEvent>(&mut self, stream: &StreamName, event: &E) {
        self.log.push(Recorded {
            log: LogName::new("wechatmp123"),
            position: Position(self.log.len() as u64 + 1),
            stream: stream.clone(),
            version: 1,
            kind: event.kind().number,
            schema: event.kind().schema,
            recorded_at: self.now(),
            data: event.encode().unwrap(),
            cause: b"{}".to_vec(),
            link: Link::default(),
        });
    }

    fn ask_ledger(&mut self, key: &LedgerKey, ask: LedgerCommand) -> Result<(), LedgerError> {
        let ledger = self.ledgers.entry(key.clone()).or_default();
        let events = ledger.decide(ask, Timestamp::from_micros(self.now))?;
        events.iter().for_each(|event| ledger.apply(event.clone()));
        let stream = StreamName::ledger(key.0, &key.1);
        events.iter().for_each(|event| self.record(&stream, event));
        Ok(())
    }

    fn ask_message(&mut self, id: MessageId, ask: MessageCommand) {
        let message = self.messages.entry(id).or_default();
        let events = message.decide(ask, Timestamp::from_micros(self.now)).unwrap();
        events.iter().for_each(|event| message.apply(event.clone()));
        events.iter().for_each(|event| self.record(&StreamName::message(id), event));
    }

    fn meet(&mut self, request: &Request) {
        match request {
            Request::Tap { subject: s, template: t, choice, push, taps, ago } => {
                let choice = [Choice::Reject, Choice::Ban, Choice::Filter]
                    .get(usize::from(*choice))
                    .copied()
                    .unwrap_or(Choice::Accept);
                let ask = LedgerCommand::RecordChoice {
                    choice,
                    word: "accept".into(),
                    kind: kind(*t),
                    taps: *taps,
                    window: 10,
                    evidence: self.evidence_of(*push, *ago),
                };
                self.ask_ledger(&(subject(*s), template(*t)), ask).ok();
            }
            Request::Import { subject: s, count } => {
                let ask = LedgerCommand::RecordOpeningBalance { count: *count, evidence: self.evidence(0) };
                self.ask_ledger(&(subject(*s), template(false)), ask).ok();
            }
            Request::Suspend { subject: s, template: t, push, clear, ago } => {
                let ask = LedgerCommand::Suspend {
                    settings_off: if *clear { SettingsOff::Clear } else { SettingsOff::Keep },
                    evidence: self.evidence_of(*push, *ago),
                };
                self.ask_ledger(&(subject(*s), template(*t)), ask).ok();
            }
            Request::Adjust { subject: s, by } => {
                let evidence = Evidence {
                    source: EvidenceSource::Operator,
                    reason: Some("counted anew".into()),
                    ..self.evidence(0)
                };
                let ask = LedgerCommand::Adjust { by: *by, evidence };
                self.ask_ledger(&(subject(*s), template(false)), ask).ok();
            }
            Request::Sent { delivery, named, good } => {
                let evidence = self.evidence_of(true, 0);
                // WeChat's id of a delivery, in an event that may come before its answer, after it, or instead of it.
                self.about(*delivery, |delivery| LedgerCommand::RecordSent {
                    wechat_msgid: named.then(|| format!("m{delivery}")),
                    code: if *good { 0 } else { 5 },
                    status: "failed".into(),
                    began: None,
                    evidence,
                });
            }
            Request::Send { template, recipients, planned, attempt } => {
                self.send(*template, recipients, *planned, *attempt);
            }
            Request::Start { delivery, expired } => {
                let expires_at = self.now().plus_seconds(if *expired { -1 } else { 60 });
                self.about(*delivery, |delivery| LedgerCommand::Start { delivery, expires_at });
            }
            Request::Settle { delivery, outcome, consume } => {
                let mut outcome = self.outcome(*outcome);
                let attempt = self.attempts(*delivery);
                self.about(*delivery, |delivery| {
                    if let AttemptOutcome::Accepted { wechat_msgid: Some(msgid) } = &mut outcome {
                        *msgid = format!("m{delivery}");
                    }
                    let refused_send = if *consume { RefusedSend::Consume } else { RefusedSend::Release };
                    LedgerCommand::Settle { delivery, attempt, refused_send, outcome }
                });
            }
            Request::Resolve { delivery, sent } => {
                let evidence = self.evidence(0);
                let verdict = if *sent { Verdict::Sent { wechat_msgid: None } } else { Verdict::NotSent };
                self.about(*delivery, |delivery| LedgerCommand::Resolve { delivery, verdict, evidence });
            }
            Request::Release { delivery, expire } => {
                let request = if *expire { ReleaseRequest::Expire } else { ReleaseRequest::Retract };
                self.about(*delivery, |delivery| LedgerCommand::Release { delivery, request });
            }
            Request::Retract { message } => {
                if let Some(id) = self.messages.keys().nth(*message).copied() {
                    let retracted = Retracted { app: "shop".parse().unwrap(), released: 0 };
                    self.ask_message(id, MessageCommand::Retract(retracted));
                }
            }
        }
    }

    /// A command about one of the newest deliveries.
    fn about(&mut self, back: usize, ask: impl FnOnce(DeliveryId) -> LedgerCommand) {
        let Some(at) = self.deliveries.len().checked_sub(back + 1) else { return };
        let (delivery, key) = self.deliveries[at].clone();
        self.ask_ledger(&key, ask(delivery)).ok();
    }

    /// The newest attempt of one of the newest deliveries.
    fn attempts(&self, back: usize) -> u16 {
        let Some(at) = self.deliveries.len().checked_sub(back + 1) else { return 0 };
        let (delivery, key) = &self.deliveries[at];
        self.ledgers[key].outstanding().get(delivery).map_or(0, |outstanding| outstanding.attempts)
    }

    fn outcome(&self, number: u8) -> AttemptOutcome {
        let answer = Answer { code: Some(-1), rid: Some("rid".into()), class: "busy".into() };
        match number {
            0 | 1 => AttemptOutcome::Accepted { wechat_msgid: Some(format!("m{}", self.now)) },
            2 => AttemptOutcome::NoPermission { answer },
            3 => AttemptOutcome::Refused { answer },
            4 | 5 => {
                let max_attempts = if number == 4 { 3 } else { 1 };
                AttemptOutcome::Postponed { answer, until: self.now().plus_seconds(9), max_attempts }
            }
            _ => AttemptOutcome::Unknown { cause: DoubtCause::Timeout },
        }
    }

    fn send(&mut self, long_term: bool, recipients: &[Option<u8>], planned: usize, attempt: bool) {
        let id = MessageId::from_bytes(u128::try_from(self.now).unwrap().to_be_bytes());
        let accepted = Accepted {
            app: "shop".parse().unwrap(),
            template: template(long_term),
            kind: kind(long_term),
            targeted: u32::try_from(recipients.len()).unwrap(),
            expires_at: self.now().plus_seconds(60),
        };
        self.ask_message(id, MessageCommand::Accept(accepted));
        let unknown_balance = if attempt { UnknownBalance::Attempt } else { UnknownBalance::Refuse };
        let mut seen = BTreeSet::new();
        let mut plan = Planned { from: 0, reserved: 0, skipped: Vec::new() };
        for (index, recipient) in (0..).zip(recipients.iter().take(planned)) {
            let user = recipient.map(|n| UserRef::from_bytes([n; 16]));
            let mut skip = |reason, subject| plan.skipped.push(Skip { index, reason, user, subject });
            let Some(n) = *recipient else {
                skip(SkipReason::NotBound, None);
                continue;
            };
            if !seen.insert(n) {
                skip(SkipReason::Duplicate, Some(subject(n)));
                continue;
            }
            let key = (subject(n), template(long_term));
            let delivery = DeliveryId::new(id, index);
            let ask = LedgerCommand::Reserve { delivery, kind: kind(long_term), unknown_balance, user };
            match self.ask_ledger(&key, ask) {
                Ok(()) => {
                    plan.reserved += 1;
                    self.deliveries.push((delivery, key));
                }
                Err(LedgerError::Suspended { .. }) => skip(SkipReason::Suspended, Some(key.0)),
                Err(_) => skip(SkipReason::NoGrant, Some(key.0)),
            }
        }
        self.ask_message(id, MessageCommand::Plan(plan));
    }
}
