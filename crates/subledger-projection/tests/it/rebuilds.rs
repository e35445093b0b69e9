//! Rebuilding and verifying while the service runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use subledger_domain::{LogName, ledger::Choice};
use subledger_projection::{
    ProjectionError, ProjectionName, RebuildLimits, digest, rebuild, rebuild_within, status, verify,
};
use subledger_store::Position;

use crate::{
    history::{log, reserve, tap, tell, tell_much},
    support::{Node, Place, SOON, on_both_databases},
};

on_both_databases!(
    a_rebuild_leads_to_the_same_bytes,
    a_rebuild_catches_up_with_a_log_that_grows,
    a_rebuild_never_takes_a_read_model_back,
    verifying_names_the_projection_whose_rows_were_tampered_with,
    a_rebuild_cures_tampered_rows,
    a_rebuild_that_cannot_finish_leaves_the_live_rows_alone,
    a_killed_rebuild_goes_on_where_it_was,
    rows_of_another_version_are_not_built_upon,
    a_rebuild_in_little_memory_leads_to_the_same_bytes,
    a_rebuild_tells_how_far_it_is_before_anything_is_saved,
    two_rebuilds_of_a_log_do_not_meet,
    a_kind_of_a_newer_version_is_passed_over_live_and_refused_in_a_rebuild,
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
        + node.number("select count(*) from deliveries d where not exists (select 1 from projection p where p.name = 'messages' and p.generation = d.generation)").await
        + node.number("select count(*) from ledger_lots d where not exists (select 1 from projection p where p.name = 'ledgers' and p.generation = d.generation)").await
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
    let live = node.number("select count(*) from projection where purpose = 'live' and generation > 5").await;
    assert_eq!(live, 5, "another generation is live now");
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
        assert_eq!(all.len(), 5);
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

/// Rebuilds, and dies as soon as something is saved: its progress callback is as good a place as any. Where it had come to.
async fn die_while_rebuilding(node: &Node) -> Position {
    let store = node.store.clone();
    let died = tokio::spawn(async move {
        let limits = RebuildLimits { flush_events: 10, ..RebuildLimits::default() };
        rebuild_within(&store, Some(&[log()]), limits, |progress| {
            assert!(progress.done == Position(0), "dies");
        })
        .await
    });
    assert!(died.await.is_err());
    let saved =
        node.number("select position from projection where purpose = 'rebuild' and name = 'ledgers'").await;
    // Its lease runs out: on SQLite by the clock of the test, on PostgreSQL by itself.
    node.clock.pass_seconds(60);
    Position(u64::try_from(saved).unwrap())
}

/// Rebuilds; where it began.
async fn rebuild_from(node: &Node) -> Position {
    let mut begun_at = None;
    rebuild(&node.store, Some(&[log()]), |progress| {
        begun_at.get_or_insert(progress.done);
    })
    .await
    .unwrap();
    begun_at.unwrap()
}

async fn a_killed_rebuild_goes_on_where_it_was(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    tell_much(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    let head = node.store.head(&log()).await.unwrap().position;
    let died_at = die_while_rebuilding(&node).await;
    assert!(Position(0) < died_at && died_at < head, "{died_at} of {head}");
    assert!(leftovers(&node).await > 0, "its rows stand there");
    assert_eq!(digests(&node).await, before, "nobody sees them");
    assert_eq!(rebuild_from(&node).await, died_at);
    assert_eq!(digests(&node).await, before);
    assert_eq!(leftovers(&node).await, 0);
}

async fn rows_of_another_version_are_not_built_upon(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    tell_much(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    die_while_rebuilding(&node).await;
    node.sql("update projection set schema = schema + 1 where purpose = 'rebuild'").await;
    assert_eq!(rebuild_from(&node).await, Position(0));
    assert_eq!(digests(&node).await, before);
    assert_eq!(leftovers(&node).await, 0);
}

/// With next to no memory every row is dropped and read again, over and over.
async fn a_rebuild_in_little_memory_leads_to_the_same_bytes(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    tell_much(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    let tiny = RebuildLimits { flush_events: 1, cache_bytes: 1 };
    rebuild_within(&node.store, None, tiny, |_| {}).await.unwrap();
    assert_eq!(digests(&node).await, before);
    assert_eq!(leftovers(&node).await, 0);
}

async fn a_rebuild_tells_how_far_it_is_before_anything_is_saved(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    tell_much(&node).await;
    let head = node.store.head(&log()).await.unwrap().position;
    let mut told = Vec::new();
    rebuild(&node.store, Some(&[log()]), |progress| told.push(progress)).await.unwrap();
    let first = told.iter().find(|one| one.folded > Position(0)).unwrap();
    assert_eq!(first.done, Position(0), "a log this short is saved in one piece, at its end");
    assert!(first.folded < head && first.rate > 0.0 && first.eta.is_some(), "{first:?}");
    assert!(told.iter().all(|one| one.done <= one.folded && one.folded <= one.total));
    let last = told.last().unwrap();
    assert_eq!((last.done, last.folded), (head, head));
}

async fn two_rebuilds_of_a_log_do_not_meet(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let before = digests(&node).await;
    let take = || node.store.lease_acquire("rebuild/wechatmp123", "another", Duration::from_secs(600));
    let lease = take().await.unwrap().unwrap();
    let refused = rebuild(&node.store, Some(&[log()]), |_| {}).await;
    assert!(matches!(refused, Err(ProjectionError::Busy { .. })), "{refused:?}");
    node.store.lease_release(std::slice::from_ref(&lease)).await.unwrap();
    rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap();
    assert!(take().await.unwrap().is_some(), "it is given back");
    assert_eq!(digests(&node).await, before);
    assert_eq!(leftovers(&node).await, 0);
}

async fn a_kind_of_a_newer_version_is_passed_over_live_and_refused_in_a_rebuild(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let at = node.ask(&log(), vec![tap(&node, 100, Choice::Accept)]).await.unwrap();
    // The newest event is one of the future, of an aggregate of the future.
    node.log_sql("update event set kind = 9999 where log = (select id from head where name = 'wechatmp123') and position = (select position from head where name = 'wechatmp123')").await;
    node.log_sql("update stream set name = 'campaign/1' where log = (select id from head where name = 'wechatmp123') and number = (select streams from head where name = 'wechatmp123')").await;
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    node.catch_up().await;
    let head = node.store.head(&log()).await.unwrap().position;
    for state in status(&node.store).await.unwrap().iter().filter(|state| state.log == log()) {
        assert_eq!((state.position, state.paused.as_ref(), state.unknown), (head, None, 1), "{state:?}");
    }
    for refused in [
        rebuild(&node.store, Some(&[log()]), |_| {}).await.unwrap_err(),
        verify(&node.store, Some(&[log()]), |_| {}).await.unwrap_err(),
    ] {
        match refused {
            ProjectionError::UnknownKind { position, kind, stream, .. } => {
                assert_eq!((position, kind, stream.as_str()), (at, 9999, "campaign/1"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(leftovers(&node).await, 0);
}
