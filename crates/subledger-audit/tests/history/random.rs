//! Random histories: the state at every position is what a live read model showed when its log ended there, and every
//! explanation of it is sound.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use subledger_audit::history::{At, History, NumberName};
use subledger_domain::{
    Evidence, EvidenceSource, StreamName,
    binding::BindingCommand,
    ledger::{
        AttemptOutcome, Choice, DoubtCause, Ledger, LedgerCommand, Phase, ReleaseRequest, SettingsOff, Taps,
        UnknownBalance, Verdict,
    },
    message::{Skip, SkipReason},
};
use subledger_projection::{
    BindingRow, DeliveryRow, LedgerRow, LotRow, MessageFilter, MessageRow, PageRequest, TemplateRow, rebuild,
};
use subledger_store::Position;

use crate::{
    history::{
        about, accept, accepted_by_wechat, answer, code, delivery, log, message, once, plan, registered,
        reserve, resolve, settle, start, subject, tap, template, user,
    },
    support::{Ask, Node, Place, SOON, on_both_databases},
};

on_both_databases!(
    the_past_is_what_the_read_models_showed_then,
    the_past_is_what_a_rebuild_of_the_first_events_shows,
);

/// Everything the read models of a channel show.
#[derive(Debug, Clone, PartialEq, Default)]
struct Shown {
    ledgers: Vec<LedgerRow>,
    lots: Vec<LotRow>,
    bindings: Vec<BindingRow>,
    messages: Vec<MessageRow>,
    deliveries: Vec<DeliveryRow>,
    templates: Vec<TemplateRow>,
}

async fn shown(node: &Node) -> Shown {
    let (all, code) = (PageRequest::first(200), code());
    let mut shown = Shown {
        ledgers: node.queries.ledgers(&code, None, &all).await.unwrap().items,
        bindings: node.queries.bindings(&code, &all).await.unwrap().items,
        messages: node.queries.messages(&code, &MessageFilter::default(), &all).await.unwrap().items,
        templates: node.queries.templates(&code).await.unwrap().value,
        ..Shown::default()
    };
    shown.messages.sort_by_key(|row| row.position);
    for ledger in &shown.ledgers {
        shown
            .lots
            .extend(node.queries.lots(&code, ledger.subject, &ledger.template, &all).await.unwrap().items);
    }
    for message in &shown.messages {
        shown.deliveries.extend(node.queries.deliveries(&code, message.id, None, &all).await.unwrap().items);
    }
    shown
}

/// The same, asked of the log.
async fn past(history: &History, at: Position, everyone: &Shown) -> Shown {
    let mut past =
        Shown { templates: history.templates(&code(), at).await.unwrap().templates, ..Shown::default() };
    for ledger in &everyone.ledgers {
        if let Some(then) = history.ledger(&log(), ledger.subject, &ledger.template, at).await.unwrap() {
            past.ledgers.push(then.row);
            past.lots.extend(then.lots);
        }
    }
    for binding in &everyone.bindings {
        past.bindings.extend(history.binding(&log(), binding.user_ref, at).await.unwrap());
    }
    for message in &everyone.messages {
        if let Some(then) = history.message(&log(), message.id, at).await.unwrap() {
            past.messages.push(then.row);
            past.deliveries.extend(then.deliveries);
        }
    }
    past
}

async fn the_past_is_what_the_read_models_showed_then(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(7);
    let mut rng = StdRng::seed_from_u64(20);
    let mut then: BTreeMap<Position, Shown> = BTreeMap::from([(Position(0), Shown::default())]);
    let mut script = Script::default();
    for _ in 0..160 {
        script.step(&node, &mut rng).await;
        let head = node.store.head(&log()).await.unwrap().position;
        projections.wait_for(&log(), head, SOON).await.unwrap();
        then.insert(head, shown(&node).await);
    }
    let history = History::new(node.store.clone());
    let everyone = then.values().last().unwrap().clone();
    assert!(everyone.messages.len() > 5 && everyone.bindings.len() > 2, "the history reached something");
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut explained = 0;
    for (at, shown) in &then {
        assert_eq!(past(&history, *at, &everyone).await, *shown, "at {at}");
        for ledger in &shown.ledgers {
            explain(&history, *at, ledger, shown).await;
            explained += 1;
        }
        for delivery in &shown.deliveries {
            *seen.entry(delivery.state.as_str()).or_default() += 1;
        }
        // Every ledger of an openid is found by the beginning of the name.
        for who in 0..4 {
            let mine: Vec<LedgerRow> =
                shown.ledgers.iter().filter(|row| row.subject == subject(who)).cloned().collect();
            assert_eq!(history.ledgers_of(&log(), subject(who), *at).await.unwrap(), mine);
        }
    }
    assert!(explained > 100, "{explained}");
    for state in ["queued", "started", "in_doubt", "sent", "refused", "retracted", "not_sent", "skipped"] {
        assert!(seen.contains_key(state), "no delivery was ever {state}: {seen:?}");
    }
    // An answer at the end of the log is also compared with the live read model: tampering with it shows.
    node.sql("update ledgers set balance = balance + 1 where balance = 0").await;
    let head = node.store.head(&log()).await.unwrap().position;
    let found = async |row: &LedgerRow| {
        let explained = history.explain(&code(), row.subject, &row.template, head, usize::MAX).await;
        explained.unwrap().unwrap().1.findings.len()
    };
    for row in &everyone.ledgers {
        assert_eq!(found(row).await, usize::from(row.balance == 0), "{row:?}");
    }
    projections.shutdown().await;
}

/// The explanation of a ledger agrees with itself and with the read models of that moment.
async fn explain(history: &History, at: Position, row: &LedgerRow, shown: &Shown) {
    let (past, explained) =
        history.explain(&code(), row.subject, &row.template, at, usize::MAX).await.unwrap().unwrap();
    assert_eq!(past.row, *row);
    assert_eq!(explained.findings, [], "at {at}: {row:?}");
    assert!(explained.sum.holds);
    for number in &explained.numbers {
        assert_eq!(number.value, number.name.of(row), "{:?} at {at}", number.name);
        let sum: i64 = number.events.iter().map(|step| step.change).sum();
        assert_eq!(i64::try_from(number.value), Ok(sum), "{:?} at {at}", number.name);
    }
    for (tap, lot) in explained.taps.items.iter().zip(&past.lots) {
        assert_eq!((tap.lot, tap.state, tap.delivery), (lot.lot, lot.state, lot.delivery), "at {at}");
        assert_eq!((tap.doubted_by, &tap.evidence.reference), (lot.doubted_by, &lot.evidence_ref));
        assert_eq!(tap.voided.is_some(), tap.state == subledger_projection::LotState::Void);
    }
    assert_eq!(explained.taps.items.len(), past.lots.len());
    for delivery in &explained.deliveries.items {
        let row = shown.deliveries.iter().find(|row| row.id() == delivery.delivery).unwrap();
        assert_eq!((delivery.state, delivery.attempts), (row.state, row.attempts), "{delivery:?}");
        assert_eq!(
            (delivery.planned.position, delivery.changed.position),
            (row.planned_position, row.position)
        );
        let spent = explained.taps.items.iter().any(|tap| {
            tap.state == subledger_projection::LotState::Consumed && tap.delivery == Some(delivery.delivery)
        });
        assert_eq!(spent, delivery.paid == subledger_audit::history::Paid::Spent, "{delivery:?}");
    }
    // A cut keeps the sums whole.
    let whole: Vec<u64> = explained.numbers.iter().map(|number| number.value).collect();
    let cut = explained.cut(2);
    for (number, value) in cut.numbers.iter().zip(whole) {
        let shown: i64 = number.events.iter().map(|step| step.change).sum();
        assert!(number.events.len() <= 2);
        assert_eq!(i64::try_from(value), Ok(number.omitted_change + shown), "{:?}", number.name);
    }
    assert_eq!(cut.numbers.len(), NumberName::ALL.len());
}

/// A database that was given only the first events of another: the second oracle, which never saw the later ones.
async fn the_past_is_what_a_rebuild_of_the_first_events_shows(place: Place) {
    let node = Node::on(&place).await;
    let mut rng = StdRng::seed_from_u64(21);
    let mut script = Script::default();
    for _ in 0..30 {
        script.step(&node, &mut rng).await;
    }
    node.catch_up().await;
    let everyone = shown(&node).await;
    let history = History::new(node.store.clone());
    let head = node.store.head(&log()).await.unwrap().position;
    let mut expected = Vec::new();
    for at in 0..=head.0 {
        expected.push(past(&history, Position(at), &everyone).await);
    }
    // Take the log away from its end, event by event, and build the read models anew: also in the middle of a commit.
    for at in (1..=head.0).rev() {
        assert_eq!(shown(&node).await, expected[usize::try_from(at).unwrap()], "at {at} of {head}");
        node.log_sql("delete from event where log = (select id from head where name = 'wechatmp123') and position = (select position from head where name = 'wechatmp123')").await;
        node.log_sql("update head set position = position - 1 where name = 'wechatmp123'").await;
        node.sql("delete from projection").await;
        for table in TABLES {
            node.sql(table).await;
        }
        if at > 1 {
            rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap();
        }
    }
    assert_eq!(shown(&node).await, expected[0]);
    // What was cut off is the future now.
    let refused = history.point(&log(), At::Position(Position(1))).await.unwrap_err();
    assert!(refused.to_string().contains("stands at 0"), "{refused}");
}

const TABLES: [&str; 13] = [
    "delete from channels",
    "delete from templates",
    "delete from bindings",
    "delete from ledgers",
    "delete from ledger_lots",
    "delete from messages",
    "delete from deliveries",
    "delete from drifts",
    "delete from strangers",
    "delete from doubts",
    "delete from report_templates",
    "delete from report_closings",
    "delete from report_counts",
];

/// A random history of a channel, one or a few events at a time.
#[derive(Default)]
struct Script {
    messages: u8,
    registered: bool,
}

impl Script {
    async fn step(&mut self, node: &Node, rng: &mut StdRng) {
        if !self.registered {
            self.registered = true;
            node.ask(&log(), vec![registered()]).await.unwrap();
            return;
        }
        match rng.random_range(0..15) {
            0 => bind(node, rng).await,
            1 => refresh(node, rng).await,
            2..4 => {
                let choice = if rng.random_bool(0.8) { Choice::Accept } else { Choice::Reject };
                node.ask(&log(), vec![tap(node, rng.random_range(0..4), choice)]).await.unwrap();
            }
            4 if rng.random_bool(0.3) => {
                let evidence = Evidence::new(EvidenceSource::Import, "import-1", node.now());
                let ask = LedgerCommand::RecordOpeningBalance { count: rng.random_range(1..4), evidence };
                node.ask(&log(), vec![about(rng.random_range(0..4), ask)]).await.unwrap();
            }
            5 if rng.random_bool(0.3) => {
                let evidence = Evidence::new(EvidenceSource::Operator, "cli", node.now());
                let ask = LedgerCommand::Suspend { settings_off: SettingsOff::default(), evidence };
                node.ask(&log(), vec![about(rng.random_range(0..4), ask)]).await.unwrap();
            }
            4..7 => self.send(node, rng).await,
            12 if rng.random_bool(0.5) => {
                let ask = if rng.random_bool(0.6) { told_again(node, rng) } else { adjusted(node, rng) };
                // More than is open cannot be taken away.
                let _ = node.ask(&log(), vec![about(rng.random_range(0..4), ask)]).await;
            }
            13 if rng.random_bool(0.4) => {
                let ask = sent_event(node, rng);
                node.ask(&log(), vec![about(rng.random_range(0..4), ask)]).await.unwrap();
            }
            _ => move_one(node, rng).await,
        }
    }

    /// As the engine does it, one commit; or piece by piece, with others' events in between.
    async fn send(&mut self, node: &Node, rng: &mut StdRng) {
        let m = self.messages;
        self.messages += 1;
        let at_once: bool = rng.random();
        let mut commit = vec![accept(node, m, 4)];
        if !at_once {
            node.ask(&log(), std::mem::take(&mut commit)).await.unwrap();
        }
        let (mut reserved, mut skipped) = (0, Vec::new());
        for index in 0..4u8 {
            let ask = if rng.random_bool(0.2) {
                about(
                    index,
                    LedgerCommand::Reserve {
                        delivery: delivery(m, index.into()),
                        kind: subledger_domain::TemplateKind::OneTime,
                        unknown_balance: UnknownBalance::Attempt,
                        user: None,
                    },
                )
            } else {
                reserve(m, index.into(), index)
            };
            // In one commit a refusal would refuse all of it: try first.
            let able = {
                let stream = StreamName::ledger(subject(index), &once());
                let (ledger, _) = node.store.load::<Ledger>(&log(), &stream).await.unwrap();
                ledger.balance() > 0 && ledger.suspension().is_none()
            };
            let done = if at_once {
                if able {
                    commit.push(ask);
                }
                able
            } else {
                if rng.random_bool(0.3) {
                    node.ask(&log(), vec![tap(node, index, Choice::Accept)]).await.unwrap();
                }
                node.ask(&log(), vec![ask]).await.is_ok()
            };
            if done {
                reserved += 1;
            } else {
                let reason = SkipReason::NoGrant;
                skipped.push(Skip { index: index.into(), reason, user: None, subject: Some(subject(index)) });
            }
        }
        commit.push(plan(m, reserved, skipped));
        node.ask(&log(), commit).await.unwrap();
    }
}

/// WeChat pushes a tap, perhaps one that the Mini Program reported, or that messages were switched off.
fn told_again(node: &Node, rng: &mut StdRng) -> LedgerCommand {
    let evidence = Evidence::new(EvidenceSource::WechatPush, "push-1", node.now());
    if rng.random_bool(0.2) {
        let settings_off = if rng.random() { SettingsOff::Keep } else { SettingsOff::Clear };
        return LedgerCommand::Suspend { settings_off, evidence };
    }
    let taps = [Taps::Both, Taps::ClientOnly, Taps::PushOnly][rng.random_range(0..3)];
    LedgerCommand::RecordChoice {
        choice: Choice::Accept,
        word: "accept".into(),
        kind: subledger_domain::TemplateKind::OneTime,
        taps,
        window: 60,
        evidence,
    }
}

fn adjusted(node: &Node, rng: &mut StdRng) -> LedgerCommand {
    let by = Evidence::new(EvidenceSource::Operator, "cli", node.now());
    let evidence = Evidence { reason: Some("counted anew".into()), ..by };
    LedgerCommand::Adjust { by: rng.random_range(-2..4), evidence }
}

/// Of a send of ours, or of a stranger's.
fn sent_event(node: &Node, rng: &mut StdRng) -> LedgerCommand {
    LedgerCommand::RecordSent {
        wechat_msgid: Some(["1", "late", "77"][rng.random_range(0..3)].into()),
        code: if rng.random_bool(0.8) { 0 } else { 5 },
        status: "success".into(),
        began: None,
        evidence: Evidence::new(EvidenceSource::WechatPush, "push-2", node.now()),
    }
}

async fn bind(node: &Node, rng: &mut StdRng) {
    let who = rng.random_range(0..5);
    let evidence = Evidence::new(EvidenceSource::Integrator, "login", node.now());
    let ask = if rng.random_bool(0.8) {
        BindingCommand::Bind { subject: subject(rng.random_range(0..4)), evidence }
    } else {
        BindingCommand::Unbind { evidence }
    };
    // To unbind somebody who is not bound is refused.
    let _ = node.ask(&log(), vec![Ask::Binding(user(who), ask)]).await;
}

async fn refresh(node: &Node, rng: &mut StdRng) {
    let titles = ["取餐", "取餐提醒", "订单"];
    let mut listed = vec![template(once(), titles[rng.random_range(0..3)])];
    if rng.random() {
        listed.push(template(crate::history::long(), titles[rng.random_range(0..3)]));
    }
    let ask = subledger_domain::channel::ChannelCommand::RefreshTemplates { listed };
    node.ask(&log(), vec![Ask::Channel(ask)]).await.unwrap();
}

/// Something happens to a delivery under way.
async fn move_one(node: &Node, rng: &mut StdRng) {
    let who = rng.random_range(0..4u8);
    let stream = StreamName::ledger(subject(who), &once());
    let (ledger, _) = node.store.load::<Ledger>(&log(), &stream).await.unwrap();
    let under_way = ledger.outstanding();
    if under_way.is_empty() {
        return;
    }
    let any = under_way.keys().nth(rng.random_range(0..under_way.len())).copied();
    let Some(id) = ledger.unresolved().or(any) else { return };
    let m = id.message.as_bytes()[0];
    assert_eq!(message(m), id.message);
    let outcome = match rng.random_range(0..8) {
        0..3 => accepted_by_wechat("1"),
        3 => AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") },
        4 => AttemptOutcome::Refused { answer: answer(47003, "argument") },
        5 => AttemptOutcome::Postponed { answer: answer(-1, "busy"), until: node.now(), max_attempts: 3 },
        _ => AttemptOutcome::Unknown { cause: DoubtCause::Timeout },
    };
    let verdict = if rng.random() { Verdict::NotSent } else { Verdict::Sent { wechat_msgid: None } };
    let ask = match under_way[&id].phase {
        Phase::Reserved if rng.random_bool(0.2) => {
            about(who, LedgerCommand::Release { delivery: id, request: ReleaseRequest::Retract })
        }
        Phase::Reserved => start(node, m, id.index, who),
        Phase::Started => settle(m, id.index, who, under_way[&id].attempts, outcome),
        Phase::InDoubt if rng.random_bool(0.5) => resolve(node, m, id.index, who, verdict),
        Phase::InDoubt => settle(m, id.index, who, under_way[&id].attempts, outcome),
    };
    node.ask(&log(), vec![ask]).await.unwrap();
    // Now and then, proof that a doubt which was closed as "not sent" was sent after all.
    if rng.random_bool(0.3) {
        let sent = Verdict::Sent { wechat_msgid: Some("late".into()) };
        let _ = node.ask(&log(), vec![resolve(node, m, id.index, who, sent)]).await;
    }
}
