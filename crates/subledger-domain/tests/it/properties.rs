//! Any interleaving of what a ledger can be asked agrees with the reference model, step by step.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use proptest::prelude::*;
use subledger_domain::ledger::{
    AttemptOutcome, Choice, Funding, LateOutcome, Ledger, LedgerCommand, LedgerEvent, LedgerParts, Phase,
    RefusedSend, ReleaseRequest, SettingsOff, Taps, UnknownBalance, Verdict,
};
use subledger_domain::{Decide, DeliveryId, Evidence, StoredEvent, TemplateKind};

use crate::reference_model::{self, Model, Rules};
use crate::support::{answer, at, delivery, denied, operator, push, tap, unknown};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    Accepted,
    /// Accepted without a msgid.
    Mute,
    Refused,
    Denied,
    Postponed,
    Unknown,
}

/// One step. `back`: how many seconds before the step its evidence dates from.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Tap {
        accept: bool,
        push: bool,
        back: i64,
    },
    Import {
        n: u32,
    },
    Adjust {
        by: i8,
    },
    Suspend {
        push: bool,
        back: i64,
    },
    /// WeChat's sent event with the msgid of delivery `m`, a stranger's, or none.
    Sent {
        m: u8,
        good: bool,
    },
    Reserve {
        d: u8,
        probe: bool,
    },
    Start {
        d: u8,
        expired: bool,
    },
    Settle {
        d: u8,
        out: Out,
        stale: bool,
    },
    Resolve {
        d: u8,
        sent: bool,
    },
    Release {
        d: u8,
    },
}

impl Op {
    /// The channel's limit in these runs.
    pub const MAX_ATTEMPTS: u16 = 2;
    /// How far apart two sides may date a tap, in seconds.
    pub const WINDOW: i64 = 25;
    /// An `m` from here on is an event without a msgid.
    pub const UNNAMED: u8 = 100;

    pub fn delivery(self) -> Option<u8> {
        match self {
            Self::Tap { .. }
            | Self::Import { .. }
            | Self::Adjust { .. }
            | Self::Suspend { .. }
            | Self::Sent { .. } => None,
            Self::Reserve { d, .. }
            | Self::Start { d, .. }
            | Self::Settle { d, .. }
            | Self::Resolve { d, .. }
            | Self::Release { d } => Some(d),
        }
    }

    fn command(self, ledger: &Ledger, kind: TemplateKind, rules: Rules, now: i64) -> LedgerCommand {
        match self {
            Self::Tap { accept, push: pushed, back } => LedgerCommand::RecordChoice {
                choice: if accept { Choice::Accept } else { Choice::Reject },
                word: if accept { "accept" } else { "reject" }.to_owned(),
                kind,
                taps: match rules.only {
                    None => Taps::Both,
                    Some(true) => Taps::PushOnly,
                    Some(false) => Taps::ClientOnly,
                },
                window: u32::try_from(Self::WINDOW).unwrap(),
                evidence: Evidence {
                    reference: format!("tap at step {now}"),
                    ..if pushed { push(now - back) } else { tap(now - back) }
                },
            },
            Self::Import { n } => LedgerCommand::RecordOpeningBalance { count: n, evidence: operator(now) },
            Self::Adjust { by } => LedgerCommand::Adjust { by: by.into(), evidence: operator(now) },
            Self::Suspend { push: pushed, back } => LedgerCommand::Suspend {
                settings_off: if rules.clear { SettingsOff::Clear } else { SettingsOff::Keep },
                evidence: if pushed { push(now - back) } else { operator(now - back) },
            },
            Self::Sent { m, good } => LedgerCommand::RecordSent {
                wechat_msgid: (m < Self::UNNAMED).then(|| msgid(m)),
                code: if good { 0 } else { 5 },
                status: String::new(),
                began: None,
                evidence: push(now),
            },
            Self::Reserve { d, probe } => LedgerCommand::Reserve {
                delivery: delivery(d),
                kind,
                unknown_balance: if probe { UnknownBalance::Attempt } else { UnknownBalance::Refuse },
                user: None,
            },
            Self::Start { d, expired } => LedgerCommand::Start {
                delivery: delivery(d),
                expires_at: at(if expired { now } else { now + 1 }),
            },
            Self::Settle { d, out, stale } => LedgerCommand::Settle {
                delivery: delivery(d),
                attempt: ledger
                    .outstanding()
                    .get(&delivery(d))
                    .map_or(1, |it| it.attempts.wrapping_sub(stale.into())),
                refused_send: if rules.consume { RefusedSend::Consume } else { RefusedSend::Release },
                outcome: match out {
                    Out::Accepted => AttemptOutcome::Accepted { wechat_msgid: Some(msgid(d)) },
                    Out::Mute => AttemptOutcome::Accepted { wechat_msgid: None },
                    Out::Refused => AttemptOutcome::Refused { answer: answer(47003) },
                    Out::Denied => denied(),
                    Out::Unknown => unknown(),
                    Out::Postponed => AttemptOutcome::Postponed {
                        answer: answer(-1),
                        until: at(now + 5),
                        max_attempts: Self::MAX_ATTEMPTS,
                    },
                },
            },
            Self::Resolve { d, sent } => LedgerCommand::Resolve {
                delivery: delivery(d),
                verdict: if sent { Verdict::Sent { wechat_msgid: None } } else { Verdict::NotSent },
                evidence: operator(now),
            },
            Self::Release { d } => {
                LedgerCommand::Release { delivery: delivery(d), request: ReleaseRequest::Retract }
            }
        }
    }
}

fn msgid(m: u8) -> String {
    format!("40000000000000{m:05}")
}

fn out() -> impl Strategy<Value = Out> {
    prop_oneof![
        4 => Just(Out::Accepted),
        1 => Just(Out::Mute),
        1 => Just(Out::Refused),
        2 => Just(Out::Denied),
        2 => Just(Out::Postponed),
        4 => Just(Out::Unknown),
    ]
}

/// Few enough that steps meet and repeat, and fewer than a ledger remembers.
const DELIVERIES: u8 = 12;

fn op() -> impl Strategy<Value = Op> {
    let d = 0..DELIVERIES;
    let back = 0..35i64;
    prop_oneof![
        5 => (prop::bool::weighted(0.8), any::<bool>(), back.clone())
            .prop_map(|(accept, push, back)| Op::Tap { accept, push, back }),
        1 => (0..3u32).prop_map(|n| Op::Import { n }),
        1 => (-2..3i8).prop_map(|by| Op::Adjust { by }),
        1 => (any::<bool>(), back).prop_map(|(push, back)| Op::Suspend { push, back }),
        3 => sent(),
        8 => (d.clone(), any::<bool>()).prop_map(|(d, probe)| Op::Reserve { d, probe }),
        9 => (d.clone(), prop::bool::weighted(0.05)).prop_map(|(d, expired)| Op::Start { d, expired }),
        9 => (d.clone(), out(), prop::bool::weighted(0.05))
            .prop_map(|(d, out, stale)| Op::Settle { d, out, stale }),
        5 => (d.clone(), prop::bool::weighted(0.3)).prop_map(|(d, sent)| Op::Resolve { d, sent }),
        1 => d.prop_map(|d| Op::Release { d }),
    ]
}

/// Mostly about deliveries there are; some of strangers, some without a msgid, some failures.
fn sent() -> impl Strategy<Value = Op> {
    let m = prop_oneof![8 => 0..DELIVERIES, 1 => 50..53u8, 1 => Just(Op::UNNAMED)];
    (m, prop::bool::weighted(0.8)).prop_map(|(m, good)| Op::Sent { m, good })
}

/// What a delivery usually goes through, cut off anywhere: lone steps seldom come this far.
fn course() -> impl Strategy<Value = Vec<Op>> {
    let out = prop_oneof![3 => Just(Out::Unknown), 2 => Just(Out::Accepted), 1 => out()];
    let pushed = prop::option::weighted(0.4, (0..4usize, sent()));
    (0..DELIVERIES, out, prop::bool::weighted(0.2), 1..5usize, pushed).prop_map(
        |(d, out, sent, steps, pushed)| {
            let settle = Op::Settle { d, out, stale: false };
            let all = [
                Op::Reserve { d, probe: false },
                Op::Start { d, expired: false },
                settle,
                Op::Resolve { d, sent },
            ];
            let mut course = all[..steps].to_vec();
            if let Some((at, event)) = pushed {
                // Often the delivery's own, before, after or instead of the answer.
                let own = Op::Sent { m: d, good: true };
                course.insert(at.min(steps), if at == 0 { event } else { own });
            }
            course
        },
    )
}

/// Steps and courses, some steps at once a second time.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Told by one side or by both.
    let tap = (0..35i64, any::<bool>(), 0..30i64, any::<bool>()).prop_map(|(back, push, apart, both)| {
        let one = Op::Tap { accept: true, push, back };
        let other = Op::Tap { accept: true, push: !push, back: (back + apart - 15).max(0) };
        if both { vec![one, other] } else { vec![one] }
    });
    let proof = (0..DELIVERIES).prop_map(|d| vec![Op::Resolve { d, sent: true }]);
    let part = prop_oneof![6 => op().prop_map(|op| vec![op]), 4 => course(), 2 => tap, 1 => proof];
    prop::collection::vec((part, prop::bool::weighted(0.1)), 1..80).prop_map(|parts| {
        let steps = parts.into_iter().flat_map(|(ops, twice)| ops.into_iter().map(move |op| (op, twice)));
        steps.flat_map(|(op, twice)| std::iter::repeat_n(op, 1 + usize::from(twice))).collect()
    })
}

/// Ledger and model side by side in the same words.
fn assert_same(ledger: &Ledger, model: &Model) {
    use reference_model::At;
    let at = |wanted: fn(&At) -> bool| {
        let lots = model.grants.iter().zip(1u64..).filter(move |((at, _), _)| wanted(at));
        lots.map(|((_, doubt), id)| (id, doubt.map(delivery))).collect::<Vec<_>>()
    };
    let open: Vec<_> = ledger.lots().iter().map(|lot| (lot.id, lot.doubted_by)).collect();
    assert_eq!(open, at(|at| *at == At::Open), "open lots, oldest first, with their doubts");
    let totals = ledger.totals();
    assert!(totals.balanced(), "{totals:?}");
    assert_eq!(totals.granted, model.grants.len() as u64, "granted");
    assert_eq!(totals.consumed, at(|at| *at == At::Spent).len() as u64, "consumed");
    assert_eq!(totals.voided, at(|at| *at == At::Void).len() as u64, "voided");
    assert_eq!(ledger.suspension().map(|s| s.since), model.stopped.map(crate::support::at), "suspension");
    assert_eq!(ledger.last_accept_at(), model.accept.map(crate::support::at), "last accept");
    assert_eq!(ledger.last_settings_at(), model.settings.map(crate::support::at), "last change of settings");
    let stored = serde_json::to_value(ledger).unwrap();
    let remembered =
        |what: &str| stored.get(what).and_then(|list| list.as_array()).cloned().unwrap_or_default();
    assert_eq!(remembered("taps").len(), model.taps.len(), "taps without a partner");
    let sends: Vec<_> =
        remembered("sends").iter().map(|it| it["wechat_msgid"].as_str().map(str::to_owned)).collect();
    assert_eq!(sends, model.sends.iter().map(|it| it.m.map(msgid)).collect::<Vec<_>>(), "sends remembered");

    let under_way = |d: &reference_model::Delivery| d.phase < reference_model::Phase::Ended;
    let modelled: BTreeMap<DeliveryId, _> =
        model.deliveries.iter().filter(|(_, d)| under_way(d)).map(|(n, d)| (delivery(*n), (*n, d))).collect();
    assert!(ledger.outstanding().keys().eq(modelled.keys()), "deliveries under way");
    for (id, outstanding) in ledger.outstanding() {
        let (n, expected) = &modelled[id];
        let lot = model.grants.iter().position(|(at, _)| *at == At::Held(*n)).map(|lot| lot as u64 + 1);
        let phase = match outstanding.phase {
            Phase::Reserved => reference_model::Phase::Waiting,
            Phase::Started => reference_model::Phase::Started,
            Phase::InDoubt => reference_model::Phase::Doubt,
        };
        assert_eq!(phase, expected.phase, "phase of {id}");
        match outstanding.funding {
            Funding::Lot(held) => assert_eq!(Some(held.id), lot, "lot of {id}"),
            Funding::Void => assert!(model.robbed(*n), "{id} lost its lot"),
            Funding::Without(_) => assert!(lot.is_none() && !expected.pays, "{id} needs no lot"),
        }
    }
    let unresolved = ledger.outstanding().values().filter(|o| o.phase != Phase::Reserved).count();
    assert!(unresolved <= 1, "{unresolved} unresolved attempts");
}

/// What the events alone say: how often each delivery ended, and whether a correction followed a "not sent".
#[derive(Default)]
struct Ends(BTreeMap<DeliveryId, (u32, bool)>);

impl Ends {
    fn see(&mut self, event: &LedgerEvent) {
        let (id, not_sent) = match event {
            LedgerEvent::Consumed(e) => (e.delivery, false),
            LedgerEvent::Released(e) => (e.delivery, false),
            LedgerEvent::Denied(e) => (e.delivery, false),
            LedgerEvent::Forfeited(e) => (e.delivery, false),
            LedgerEvent::SettledLate(e) => (e.delivery, e.outcome == LateOutcome::NotSent),
            _ => return,
        };
        let (ends, doubted) = self.0.entry(id).or_default();
        let correction = *doubted && matches!(event, LedgerEvent::SettledLate(_));
        *doubted = not_sent;
        *ends += u32::from(!correction);
        assert_eq!(*ends, 1, "{id} ends once; only a doubt settled as not sent may be corrected, and once");
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let only = prop_oneof![2 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    (only, any::<bool>(), any::<bool>()).prop_map(|(only, consume, clear)| Rules { only, consume, clear })
}

fn run(kind: TemplateKind, rules: Rules, ops: Vec<Op>, reload_every: usize) {
    let mut ledger = Ledger::default();
    let mut counted = Ledger::default();
    let mut model = Model { long: kind == TemplateKind::LongTerm, rules, ..Model::default() };
    let mut history = Vec::new();
    let mut ends = Ends::default();
    for (step, op) in ops.into_iter().enumerate() {
        let now = 1_000 + 10 * step as i64;
        let before = ledger.clone();
        let decided = ledger.decide(op.command(&ledger, kind, rules, now), at(now));
        let expected = model.step(op, now);
        assert_eq!(decided.is_ok(), expected, "step {step}: {op:?}: {decided:?}");
        assert_eq!(ledger, before, "deciding changes nothing");
        for event in decided.unwrap_or_default() {
            ends.see(&event);
            let stored = event.encode().unwrap();
            let kind = event.kind();
            assert_eq!(LedgerEvent::decode(kind.number, kind.schema, &stored).unwrap(), event);
            history.push(event.clone());
            counted.tally(&event);
            ledger.apply(event);
        }
        assert_same(&ledger, &model);
        let parts = LedgerParts::from(&ledger);
        assert_eq!(LedgerParts::from(&counted), parts, "what is counted needs no memory");
        counted = Ledger::from(parts);
        let snapshot = serde_json::to_vec(&ledger).unwrap();
        let reloaded: Ledger = serde_json::from_slice(&snapshot).unwrap();
        assert_eq!(reloaded, ledger, "a snapshot is the state");
        if step % reload_every == 0 {
            ledger = reloaded;
        }
    }
    let mut replayed = Ledger::default();
    history.into_iter().for_each(|event| replayed.apply(event));
    assert_eq!(replayed, ledger, "the state is the fold of its events");
}

/// Cases per property, unless `PROPTEST_CASES` says otherwise.
pub fn cases(default: u32) -> ProptestConfig {
    let configured = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { configured.cases } else { default };
    ProptestConfig { cases, failure_persistence: None, ..configured }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_one_time_ledger_agrees_with_the_model(rules in rules(), ops in ops(), reload_every in 1..9usize) {
        run(TemplateKind::OneTime, rules, ops, reload_every);
    }

    #[test]
    fn a_long_term_ledger_agrees_with_the_model(rules in rules(), ops in ops(), reload_every in 1..9usize) {
        run(TemplateKind::LongTerm, rules, ops, reload_every);
    }
}
