//! The runner: order, poison, several nodes, restarts.

use std::time::Duration;

use subledger_domain::{LogName, channel::ChannelCommand, ledger::Choice};
use subledger_projection::{PageRequest, ProjectionName, Projections, status, verify};
use subledger_store::{Position, StoreError};

use crate::{
    history::{code, delivery, log, message, once, one_queued, registered, reserve, subject, tap, tell},
    support::{Ask, Node, Place, SOON, on_both_databases},
};

on_both_databases!(
    a_write_can_be_read_once_waited_for,
    logs_that_appear_later_are_followed,
    a_poison_event_stops_one_projection_only,
    a_pause_ends_when_the_event_can_be_applied,
    two_runners_do_not_apply_anything_twice,
    a_new_runner_goes_on_from_the_checkpoint,
    waiting_for_what_is_not_there_ends,
    a_runner_recovers_when_the_database_failed,
    how_long_something_waits_is_told,
);

async fn a_write_can_be_read_once_waited_for(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(500);
    for count in 1..=20 {
        let position = node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
        projections.wait_for(&log(), position, SOON).await.unwrap();
        let answer = node.queries.ledger(&code(), subject(1), &once()).await.unwrap();
        assert!(answer.position >= position);
        assert_eq!(answer.value.unwrap().balance, count);
    }
    projections.shutdown().await;
}

async fn logs_that_appear_later_are_followed(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(500);
    for code in ["first", "second"] {
        let log = LogName::new(code);
        let (waited, position) =
            tokio::join!(projections.wait_for(&log, Position(1), SOON), node.ask(&log, vec![registered()]),);
        assert_eq!((waited, position), (Ok(()), Ok(Position(1))));
        let channel = node.queries.channel(&code.parse().unwrap()).await.unwrap();
        assert_eq!(channel.value.unwrap().code.as_str(), code);
    }
    let lag = projections.lag();
    assert_eq!(lag.len(), 8);
    assert!(lag.iter().all(|one| one.behind() == 0 && one.paused.is_none()), "{lag:?}");
    projections.shutdown().await;
}

/// A delivery of a message that nobody accepted: the ledgers can live with it, the messages cannot.
async fn poison(node: &Node) -> Position {
    node.ask(&log(), vec![tap(node, 1, Choice::Accept)]).await.unwrap();
    node.ask(&log(), vec![reserve(200, 0, 1)]).await.unwrap()
}

fn paused(projections: &Projections) -> Vec<(ProjectionName, Position)> {
    let paused = projections.lag().into_iter().filter_map(|one| Some((one.projection, one.paused?.position)));
    paused.collect()
}

async fn a_poison_event_stops_one_projection_only(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let at = poison(&node).await;
    let projections = node.project(500);
    one_queued(&node, 2, 2).await;
    let head = node.store.head(&log()).await.unwrap().position;
    projections.wait_for(&log(), head, SOON).await.unwrap();
    assert_eq!(paused(&projections), [(ProjectionName::Messages, at)]);

    let sound = Position(at.0 - 1);
    projections.wait_for_one(&log(), ProjectionName::Messages, sound, SOON).await.unwrap();
    let late =
        projections.wait_for_one(&log(), ProjectionName::Messages, head, Duration::from_millis(50)).await;
    assert_eq!(late.unwrap_err().at, sound, "everything before the poison is applied");
    let stopped = node.queries.message(&code(), message(1)).await.unwrap();
    assert_eq!(stopped.position, sound);
    assert_eq!(stopped.value.unwrap().targeted, 11);
    let going_on = node.queries.ledger(&code(), subject(2), &once()).await.unwrap();
    assert_eq!((going_on.position, going_on.value.unwrap().reserved), (head, 1));

    let error = projections.lag().into_iter().find_map(|one| one.paused).unwrap().error;
    assert!(error.contains("was never accepted"), "{error}");
    projections.shutdown().await;

    let recorded = node.number("select paused_position from projection where name = 'messages'").await;
    assert_eq!(recorded, i64::try_from(at.0).unwrap());
    let again = node.project(500);
    again.wait_for(&log(), head, SOON).await.unwrap();
    assert_eq!(paused(&again), [(ProjectionName::Messages, at)], "a new node finds the same");
    again.shutdown().await;
}

async fn a_pause_ends_when_the_event_can_be_applied(place: Place) {
    let node = Node::on(&place).await;
    one_queued(&node, 1, 1).await;
    node.catch_up().await;
    // As an older version would have left it, that could not read the newest event.
    node.sql("update projection set position = position - 1, paused_position = position, paused_error = 'unknown kind' where name = 'bindings'").await;
    let head = node.store.head(&log()).await.unwrap().position;
    let projections = node.project(500);
    projections.wait_for_one(&log(), ProjectionName::Bindings, head, SOON).await.unwrap();
    assert_eq!(paused(&projections), []);
    projections.shutdown().await;
}

async fn two_runners_do_not_apply_anything_twice(place: Place) {
    let node = Node::on(&place).await;
    let other = Node::with_clock(&place, node.clock.clone()).await;
    let runners = [node.project(2), node.project(3), other.project(2), other.project(5)];
    for round in 0..40u8 {
        one_queued(&node, round, round % 5).await;
    }
    let head = node.store.head(&log()).await.unwrap().position;
    for runner in &runners {
        runner.wait_for(&log(), head, SOON).await.unwrap();
    }
    for runner in &runners {
        runner.shutdown().await;
    }
    for who in 0..5 {
        let ledger = node.queries.ledger(&code(), subject(who), &once()).await.unwrap().value.unwrap();
        assert_eq!((ledger.granted, ledger.reserved), (8, 8));
    }
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
}

async fn a_new_runner_goes_on_from_the_checkpoint(place: Place) {
    let node = Node::on(&place).await;
    one_queued(&node, 1, 1).await;
    node.catch_up().await;
    let before = node.store.head(&log()).await.unwrap().position;
    // If the events before the checkpoint were applied again, this row would come back.
    assert_eq!(node.sql("delete from ledgers").await, 1);
    one_queued(&node, 2, 2).await;
    node.catch_up().await;
    let page = PageRequest::default();
    let ledgers = node.queries.ledgers(&code(), None, &page).await.unwrap();
    assert!(ledgers.position > before);
    assert_eq!(ledgers.items.iter().map(|row| row.subject).collect::<Vec<_>>(), [subject(2)]);
    assert!(node.queries.delivery(&code(), delivery(1, 0)).await.unwrap().value.is_some());
}

async fn waiting_for_what_is_not_there_ends(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(500);
    let soon = Duration::from_millis(50);
    let unknown = LogName::new("unknown");
    assert_eq!(projections.wait_for(&unknown, Position(1), soon).await.unwrap_err().at, Position(0));
    assert_eq!(projections.wait_for(&unknown, Position(0), soon).await, Ok(()));
    let position = node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    projections.wait_for(&log(), position, SOON).await.unwrap();
    let late = projections.wait_for(&log(), Position(position.0 + 1), soon).await;
    assert_eq!(late.unwrap_err().at, position);
    projections.shutdown().await;
}

async fn a_runner_recovers_when_the_database_failed(place: Place) {
    let node = Node::on(&place).await;
    let projections = node.project(500);
    let position = node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    projections.wait_for(&log(), position, SOON).await.unwrap();
    node.sql("alter table projection rename to projection_away").await;
    let position = node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    let late = projections.wait_for(&log(), position, Duration::from_millis(300)).await;
    assert!(late.is_err(), "commands are recorded although read models cannot follow");
    node.sql("alter table projection_away rename to projection").await;
    projections.wait_for(&log(), position, SOON).await.unwrap();
    projections.shutdown().await;
}

/// Connections that break at any moment lose time, never an event, and apply none twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_recovers_from_broken_connections() {
    let Some(place) = Place::postgres().await else { return };
    let node = Node::on(&place).await;
    for round in 0..20u8 {
        one_queued(&node, round, round % 5).await;
    }
    let projections = node.project(1);
    for _ in 0..20 {
        let mut admin = place.admin().await;
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1";
        let name = place.url.rsplit_once('/').unwrap().1;
        sqlx::query(cut).bind(name).execute(&mut admin).await.unwrap();
    }
    let head = loop {
        match node.store.head(&log()).await {
            Ok(head) => break head.position,
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
    };
    projections.wait_for(&log(), head, SOON).await.unwrap();
    projections.shutdown().await;
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
    place.remove().await;
}

/// PostgreSQL cannot keep U+0000 in a text. Such an event is poison like any other: found among its batch, and alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_the_database_refuses_stops_one_projection_only() {
    let Some(place) = Place::postgres().await else { return };
    let node = Node::on(&place).await;
    node.ask(&log(), vec![registered()]).await.unwrap();
    let pause = ChannelCommand::Pause { reason: "a\0b".into() };
    let at = node.ask(&log(), vec![Ask::Channel(pause)]).await.unwrap();
    one_queued(&node, 1, 1).await;
    let head = node.store.head(&log()).await.unwrap().position;
    let projections = node.project(500);
    projections.wait_for(&log(), head, SOON).await.unwrap();
    assert_eq!(paused(&projections), [(ProjectionName::Channels, at)]);
    let channel = node.queries.channel(&code()).await.unwrap();
    assert_eq!(channel.position, Position(at.0 - 1));
    assert!(channel.value.is_some(), "what came before it is applied");
    projections.shutdown().await;
    place.remove().await;
}

/// Who runs a log, as the database has it.
async fn runs(node: &Node) -> i64 {
    node.number("select token from lease where name = 'projection/wechatmp123'").await
}

/// One of two nodes applies what is written; the other only looks, and callers can wait on it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_runs_a_log_and_another_takes_over_when_it_dies() {
    let Some(place) = Place::postgres().await else { return };
    let node = Node::on(&place).await;
    let other = Node::with_clock(&place, node.clock.clone()).await;
    one_queued(&node, 0, 0).await;
    let head = async || node.store.head(&log()).await.unwrap().position;
    let first = node.project(5);
    first.wait_for(&log(), head().await, SOON).await.unwrap();
    let second = other.project(5);
    second.wait_for(&log(), head().await, SOON).await.unwrap();
    assert_eq!(runs(&node).await, 1, "it is still the first one's");

    // Waiting on the one that does not run the log.
    for round in 1..=20u8 {
        one_queued(&node, round, round % 5).await;
        second.wait_for(&log(), head().await, SOON).await.unwrap();
    }
    assert_eq!(runs(&node).await, 1);
    let lag = second.lag();
    assert!(
        lag.iter().any(|one| one.log == log() && one.position > Position(0)),
        "it tells where they stand: {lag:?}"
    );

    // Its process is gone: nobody renews, nobody releases.
    first.abandon();
    one_queued(&node, 30, 1).await;
    second.wait_for(&log(), head().await, SOON).await.unwrap();
    assert_eq!(runs(&node).await, 2, "it changed hands");

    // An orderly end gives the log away at once.
    let third = node.project(5);
    second.shutdown().await;
    one_queued(&node, 31, 2).await;
    third.wait_for(&log(), head().await, SOON).await.unwrap();
    assert_eq!(runs(&node).await, 3);
    third.shutdown().await;
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
    place.remove().await;
}

/// A node that was stopped for long and believes that it still runs the log changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_replaced_changes_nothing() {
    let Some(place) = Place::postgres().await else { return };
    let node = Node::on(&place).await;
    let stale = node.project(1);
    one_queued(&node, 0, 0).await;
    stale.wait_for(&log(), Position(1), SOON).await.unwrap();
    node.sql("update lease set holder = 'another', token = token + 1, until = 0 where name = 'projection/wechatmp123'").await;
    let other = Node::with_clock(&place, node.clock.clone()).await;
    let second = other.project(3);
    for round in 1..=20u8 {
        one_queued(&node, round, round % 5).await;
    }
    let head = node.store.head(&log()).await.unwrap().position;
    second.wait_for(&log(), head, SOON).await.unwrap();
    stale.shutdown().await;
    second.shutdown().await;
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
    place.remove().await;
}

async fn how_long_something_waits_is_told(place: Place) {
    let node = Node::on(&place).await;
    let at = poison(&node).await;
    node.clock.pass_seconds(90);
    node.catch_up().await;
    let states = status(&node.store).await.unwrap();
    let of = |name| states.iter().find(|one| one.log == log() && one.projection == name).unwrap();
    let messages = of(ProjectionName::Messages);
    let pause = messages.paused.as_ref().unwrap();
    assert_eq!((pause.position, pause.kind.as_str()), (at, "ledger.reserved"));
    assert!(pause.stream.starts_with("ledger/"), "{pause:?}");
    assert_eq!(messages.age(node.now()), Some(Duration::from_secs(90)));
    assert_eq!(of(ProjectionName::Ledgers).age(node.now()), None, "it is not behind");
    // The runner tells the same.
    let projections = node.project(500);
    let told = async {
        loop {
            let lag = projections.lag();
            let messages = lag.iter().find(|one| one.projection == ProjectionName::Messages);
            match messages.and_then(|one| one.age(node.now())) {
                Some(age) => break age,
                None => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, told).await.unwrap(), Duration::from_secs(90));
    projections.shutdown().await;
}
