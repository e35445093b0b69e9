//! Rebuilding and verifying while the service runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use subledger_domain::{LogName, ledger::Choice};
use subledger_projection::{ProjectionError, ProjectionName, digest, rebuild, verify};
use subledger_store::Position;

use crate::{
    history::{log, once, registered, reserve, subject, tap, tell},
    support::{Node, Place, SOON, on_both_databases},
};

on_both_databases!(
    a_rebuild_leads_to_the_same_bytes,
    a_rebuild_catches_up_with_a_log_that_grows,
    a_rebuild_never_takes_a_read_model_back,
    verifying_names_the_projection_whose_rows_were_tampered_with,
    a_rebuild_cures_tampered_rows,
    a_rebuild_that_cannot_finish_leaves_the_live_rows_alone,
    what_an_interrupted_rebuild_left_is_swept_up,
);

async fn digests(node: &Node) -> Vec<(LogName, ProjectionName, String)> {
    let mut digests = Vec::new();
    for head in node.store.heads().await.unwrap() {
        for projection in ProjectionName::of_log(&head.log) {
            let digest = digest(&node.store, &head.log, *projection).await.unwrap();
            assert_eq!(digest.position, head.position);
            digests.push((head.log.clone(), *projection, digest.digest));
        }
    }
    digests
}

/// Rows and generations that nobody needs any more.
async fn leftovers(node: &Node) -> i64 {
    node.number("select count(*) from projection where purpose <> 'live'").await
        + node.number("select count(*) from deliveries d where not exists (select 1 from projection p where p.log = d.log and p.name = 'messages' and p.generation = d.generation)").await
        + node.number("select count(*) from ledger_lots d where not exists (select 1 from projection p where p.log = d.log and p.name = 'ledgers' and p.generation = d.generation)").await
}

async fn a_rebuild_leads_to_the_same_bytes(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    let mut told = Vec::new();
    rebuild(&node.store, None, |progress| told.push(progress)).await.unwrap();
    assert_eq!(digests(&node).await, before);
    assert_eq!(leftovers(&node).await, 0);
    let done = |of| told.iter().rev().find(|p| p.projection == of).map(|p| (p.done, p.total));
    let head = node.store.head(&log()).await.unwrap().position;
    assert_eq!(done(ProjectionName::Messages), Some((head, head)));
    let live = node.number("select count(*) from projection where purpose = 'live' and generation = 2").await;
    assert_eq!(live, 6, "another generation is live now");
}

async fn a_rebuild_catches_up_with_a_log_that_grows(place: Place) {
    let node = Arc::new(Node::on(&place).await);
    tell(&node).await;
    let projections = node.project(3);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (node, stop) = (Arc::clone(&node), Arc::clone(&stop));
        async move {
            let mut written: u32 = 0;
            while !stop.load(Ordering::Relaxed) || written < 50 {
                let who = u8::try_from(written % 200).unwrap();
                node.ask(&log(), vec![tap(&node, who, Choice::Accept)]).await.unwrap();
                written += 1;
            }
        }
    });
    for _ in 0..3 {
        rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap();
        for verification in verify(&node.store, Some(&[log()]), |_| {}).await.unwrap() {
            assert!(verification.equal, "{verification:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let head = node.store.head(&log()).await.unwrap().position;
    projections.wait_for(&log(), head, SOON).await.unwrap();
    projections.shutdown().await;
    node.catch_up().await;
    let grown = digests(&node).await;
    rebuild(&node.store, None, |_| {}).await.unwrap();
    assert_eq!(digests(&node).await, grown);
    assert_eq!(leftovers(&node).await, 0);
}

/// Just before the swap the live rows get ahead: the rebuild has to go another round.
async fn a_rebuild_never_takes_a_read_model_back(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let projections = node.project(500);
    let mut reached = Vec::new();
    let mut overtaken = None;
    rebuild(&node.store, Some(&[log()]), |progress| {
        let about_to_swap = progress.projection == ProjectionName::Ledgers && progress.done == progress.total;
        if about_to_swap && overtaken.is_none() {
            let overtake = async {
                let position = node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
                projections.wait_for(&log(), position, SOON).await.unwrap();
                position
            };
            let runtime = tokio::runtime::Handle::current();
            overtaken = Some(tokio::task::block_in_place(|| runtime.block_on(overtake)));
        }
        if about_to_swap {
            reached.push(progress.done);
        }
    })
    .await
    .unwrap();
    let overtaken = overtaken.unwrap();
    assert_eq!(reached, [Position(overtaken.0 - 1), overtaken], "two rounds, and the swap after the second");
    let digest = digest(&node.store, &log(), ProjectionName::Ledgers).await.unwrap();
    assert_eq!(digest.position, overtaken);
    projections.shutdown().await;
}

async fn verifying_names_the_projection_whose_rows_were_tampered_with(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let unequal = async || {
        let all = verify(&node.store, None, |_| {}).await.unwrap();
        assert_eq!(all.len(), 6);
        all.into_iter().filter(|one| !one.equal).map(|one| one.projection).collect::<Vec<_>>()
    };
    assert_eq!(unequal().await, []);
    assert!(node.sql("update ledgers set balance = balance + 1 where balance = 1").await > 0);
    assert_eq!(unequal().await, [ProjectionName::Ledgers]);
    assert!(node.sql("delete from deliveries where idx = 9").await > 0);
    assert_eq!(unequal().await, [ProjectionName::Ledgers, ProjectionName::Messages]);
    assert!(node.sql("update apps set rights = '[\"everything\"]' where id = 'shop'").await > 0);
    let found = unequal().await;
    assert!(found.contains(&ProjectionName::Apps), "a row that cannot even be read: {found:?}");
    assert_eq!(leftovers(&node).await, 0);
}

async fn a_rebuild_cures_tampered_rows(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    node.sql("update ledgers set balance = balance + 1 where balance = 1").await;
    node.sql("delete from bindings").await;
    assert_ne!(digests(&node).await, before);
    rebuild(&node.store, None, |_| {}).await.unwrap();
    assert_eq!(digests(&node).await, before);
}

async fn a_rebuild_that_cannot_finish_leaves_the_live_rows_alone(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digest(&node.store, &log(), ProjectionName::Messages).await.unwrap();
    // A delivery of a message that nobody accepted.
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept), reserve(200, 0, 1)]).await.unwrap();
    let poison = node.store.head(&log()).await.unwrap().position;
    match rebuild(&node.store, Some(&[log()]), |_| {}).await {
        Err(ProjectionError::Poison { projection, position, .. }) => {
            assert_eq!((projection, position), (ProjectionName::Messages, poison));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(digest(&node.store, &log(), ProjectionName::Messages).await.unwrap(), before);
    assert_eq!(leftovers(&node).await, 0);
}

async fn what_an_interrupted_rebuild_left_is_swept_up(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    // A process that dies in the middle of a rebuild: its progress callback is as good a place as any.
    let store = node.store.clone();
    let died = tokio::spawn(async move {
        rebuild(&store, Some(&[log()]), |progress| {
            assert!(progress.projection != ProjectionName::Ledgers || progress.done == Position(0), "dies");
        })
        .await
    });
    assert!(died.await.is_err());
    assert!(leftovers(&node).await > 0, "its rows stand there");
    rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap();
    assert!(leftovers(&node).await > 0, "somebody may still be building them");
    node.clock.pass_seconds(3_600);
    rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap();
    assert_eq!(leftovers(&node).await, 0);
    let rows = node.queries.ledger(&"wechatmp123".parse().unwrap(), subject(0), &once()).await.unwrap();
    assert!(rows.value.is_some());
    node.ask(&LogName::new("other"), vec![registered()]).await.unwrap();
    rebuild(&node.store, Some(&[LogName::new("other")]), |_| {}).await.unwrap();
}
