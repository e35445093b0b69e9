//! Random histories through the executor: rows agree with the aggregates and with each other.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use subledger_domain::{
    StreamName,
    ledger::{AttemptOutcome, Choice, DoubtCause, Ledger, Phase, Verdict},
    message::{Skip, SkipReason},
};
use subledger_projection::{DeliveryCounts, MessageFilter, PageRequest, verify};

use crate::{
    history::{
        accept, accepted_by_wechat, answer, code, log, once, plan, reserve, resolve, settle, start, subject,
        tap,
    },
    support::{Node, Place, SOON, on_both_databases},
};

on_both_databases!(sums_reconcile_after_random_histories);

async fn sums_reconcile_after_random_histories(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(7);
    let mut rng = StdRng::seed_from_u64(7);
    for m in 0..30u8 {
        send(&node, &mut rng, m).await;
        for _ in 0..8 {
            move_one(&node, &mut rng).await;
        }
    }
    let head = node.store.head(&log()).await.unwrap().position;
    projections.wait_for(&log(), head, SOON).await.unwrap();
    projections.shutdown().await;

    let all = PageRequest::first(200);
    let messages = node.queries.messages(&code(), &MessageFilter::default(), &all).await.unwrap().items;
    assert_eq!(messages.len(), 30);
    let mut seen = DeliveryCounts::default();
    for row in &messages {
        let deliveries = node.queries.deliveries(&code(), row.id, None, &all).await.unwrap().items;
        assert_eq!(row.counts.planned() as usize, deliveries.len());
        assert_eq!(row.targeted, row.counts.planned() + row.unplanned());
        for state in subledger_projection::DeliveryState::ALL {
            let found = deliveries.iter().filter(|delivery| delivery.state == state).count();
            assert_eq!(row.counts.of(state) as usize, found);
        }
        seen.sent += row.counts.sent;
        seen.refused += row.counts.refused;
        seen.not_sent += row.counts.not_sent;
    }
    assert!(
        seen.sent > 0 && seen.refused > 0 && seen.not_sent > 0,
        "the history reached something: {seen:?}"
    );
    for row in node.queries.ledgers(&code(), None, &all).await.unwrap().items {
        let stream = StreamName::ledger(row.subject, &row.template);
        let (ledger, _) = node.store.load::<Ledger>(&log(), &stream).await.unwrap();
        assert_eq!(row.totals(), ledger.totals());
        assert!(row.totals().balanced());
    }
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
}

pub(crate) async fn send(node: &Node, rng: &mut StdRng, m: u8) {
    for _ in 0..rng.random_range(0..4) {
        node.ask(&log(), vec![tap(node, rng.random_range(0..4), Choice::Accept)]).await.unwrap();
    }
    node.ask(&log(), vec![accept(node, m, 5)]).await.unwrap();
    let mut reserved = 0;
    let mut skipped = Vec::new();
    for index in 0..4u8 {
        match node.ask(&log(), vec![reserve(m, index.into(), index)]).await {
            Ok(_) => reserved += 1,
            Err(_) => skipped.push(Skip {
                index: index.into(),
                reason: SkipReason::NoGrant,
                user: None,
                subject: Some(subject(index)),
            }),
        }
    }
    node.ask(&log(), vec![plan(m, reserved, skipped)]).await.unwrap();
}

/// Something happens to a delivery under way.
pub(crate) async fn move_one(node: &Node, rng: &mut StdRng) {
    let who = rng.random_range(0..4u8);
    let stream = StreamName::ledger(subject(who), &once());
    let (ledger, _) = node.store.load::<Ledger>(&log(), &stream).await.unwrap();
    let under_way = ledger.outstanding();
    if under_way.is_empty() {
        return;
    }
    let unresolved = ledger.unresolved();
    let any = under_way.keys().nth(rng.random_range(0..under_way.len())).copied();
    let Some(id) = unresolved.or(any) else { return };
    let m = id.message.as_bytes()[0];
    let outcome = match rng.random_range(0..6) {
        0 | 1 => accepted_by_wechat("1"),
        2 => AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") },
        3 => AttemptOutcome::Refused { answer: answer(47003, "argument") },
        _ => AttemptOutcome::Unknown { cause: DoubtCause::Timeout },
    };
    let verdict = if rng.random() { Verdict::NotSent } else { Verdict::Sent { wechat_msgid: None } };
    let ask = match under_way[&id].phase {
        Phase::Reserved => start(node, m, id.index, who),
        Phase::Started => settle(m, id.index, who, under_way[&id].attempts, outcome),
        Phase::InDoubt if rng.random_bool(0.7) => resolve(node, m, id.index, who, verdict),
        Phase::InDoubt => return,
    };
    node.ask(&log(), vec![ask]).await.unwrap();
}
