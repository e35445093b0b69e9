//! Points in time: which position a moment means, and what is refused.

use subledger_audit::history::{At, History, HistoryError, Point};
use subledger_domain::{LogName, Timestamp, ledger::Choice};
use subledger_store::Position;

use crate::{
    history::{code, log, message, once, one_queued, registered, subject, tap, tell, user},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(
    a_moment_means_the_newest_event_before_it,
    events_of_the_same_moment_belong_together,
    beyond_the_end_is_refused_and_names_the_end,
    before_the_first_event_nothing_is_known,
    what_was_erased_is_still_told,
    a_message_in_the_middle_of_its_commit,
    a_hole_in_the_log_does_not_mislead,
);

async fn position(history: &History, log: &LogName, micros: i64) -> Position {
    history.point(log, At::Time(Timestamp::from_micros(micros))).await.unwrap().position
}

async fn a_moment_means_the_newest_event_before_it(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    let mut times = Vec::new();
    for who in 0..33 {
        node.ask(&log(), vec![tap(&node, who, Choice::Accept)]).await.unwrap();
        times.push(node.now().micros());
    }
    for (n, time) in (1..).zip(&times) {
        assert_eq!(position(&history, &log(), *time).await, Position(n), "exactly then");
        assert_eq!(position(&history, &log(), time + 1).await, Position(n), "just after");
        assert_eq!(position(&history, &log(), time + 999_999).await, Position(n), "just before the next");
        assert_eq!(position(&history, &log(), time - 1).await, Position(n - 1), "just before");
        let point = history.point(&log(), At::Position(Position(n))).await.unwrap();
        assert_eq!(point.time, Some(Timestamp::from_micros(*time)));
    }
    assert_eq!(position(&history, &log(), i64::MAX).await, Position(33), "the future is now");
    assert_eq!(position(&history, &log(), i64::MIN).await, Position(0));
}

async fn events_of_the_same_moment_belong_together(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    for who in 0..7 {
        let asks = (0..5).map(|_| tap(&node, who, Choice::Accept)).collect();
        node.ask(&log(), asks).await.unwrap();
        assert_eq!(position(&history, &log(), node.now().micros()).await.0 % 5, 0);
    }
    let then = node.now().micros();
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    assert_eq!(position(&history, &log(), then).await, Position(35), "the last of the commit, not the first");
    // A position in the middle of a commit is a point, too.
    let ledger = history.ledger(&log(), subject(6), &once(), Position(33)).await.unwrap().unwrap();
    assert_eq!((ledger.row.balance, ledger.lots.len()), (3, 3));
}

async fn beyond_the_end_is_refused_and_names_the_end(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    for asked in [2, 1_000_000, i64::MAX as u64] {
        match history.point(&log(), At::Position(Position(asked))).await {
            Err(HistoryError::BeyondHead { asked: found, head }) => {
                assert_eq!((found, head), (Position(asked), Position(1)));
            }
            other => panic!("{other:?}"),
        }
    }
    let empty = history.point(&LogName::new("nobody"), At::Position(Position(1))).await.unwrap_err();
    assert_eq!(empty.to_string(), "position 1 is beyond the end of the log, which stands at 0");
}

async fn before_the_first_event_nothing_is_known(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    let nothing = Point { position: Position(0), time: None };
    assert_eq!(history.now(&log()).await.unwrap(), nothing, "an empty log");
    let first = node.now().micros();
    node.ask(&log(), vec![registered()]).await.unwrap();
    one_queued(&node, 1, 1).await;
    for at in [At::Position(Position(0)), At::Time(Timestamp::from_micros(first))] {
        assert_eq!(history.point(&log(), at).await.unwrap(), nothing);
    }
    let at = Position(0);
    assert_eq!(history.ledger(&log(), subject(1), &once(), at).await.unwrap(), None);
    assert_eq!(history.explain(&code(), subject(1), &once(), at, 10).await.unwrap(), None);
    assert_eq!(history.message(&log(), message(1), at).await.unwrap(), None);
    assert_eq!(history.binding(&log(), user(1), at).await.unwrap(), None);
    assert_eq!(history.ledgers_of(&log(), subject(1), at).await.unwrap(), []);
    let templates = history.templates(&code(), at).await.unwrap();
    assert_eq!((templates.channel, templates.templates), (None, Vec::new()));
    let too_long = history.explain(&code(), subject(1), &once(), Position(5), 1).await.unwrap_err();
    assert!(matches!(too_long, HistoryError::TooLong { limit: 1 }), "{too_long}");
}

async fn what_was_erased_is_still_told(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let history = History::new(node.store.clone());
    let head = node.store.head(&log()).await.unwrap().position;
    node.log_sql("delete from identity").await;
    node.log_sql("delete from user_identity").await;
    let told = history.message(&log(), message(1), head).await.unwrap().unwrap();
    assert_eq!((told.deliveries.len(), told.row.counts.sent), (10, 1));
    assert!(history.binding(&log(), user(2), head).await.unwrap().is_some());
    let (_, explained) = history.explain(&code(), subject(0), &once(), head, 100).await.unwrap().unwrap();
    assert_eq!((explained.findings.len(), explained.sum.consumed), (0, 1));
}

async fn a_message_in_the_middle_of_its_commit(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    one_queued(&node, 1, 1).await;
    // 1 tap, 2 accepted, 3 reserved, 4 planned.
    let told = async |at| history.message(&log(), message(1), Position(at)).await.unwrap();
    assert_eq!(told(1).await, None);
    let accepted = told(2).await.unwrap();
    assert_eq!((accepted.row.unplanned(), accepted.deliveries.len()), (1, 0));
    let reserved = told(3).await.unwrap();
    assert_eq!((reserved.row.unplanned(), reserved.deliveries.len()), (0, 1));
    assert_eq!(told(4).await.unwrap().deliveries, reserved.deliveries);
    assert_eq!(history.message(&log(), message(9), Position(4)).await.unwrap(), None);
}

async fn a_hole_in_the_log_does_not_mislead(place: Place) {
    let node = Node::on(&place).await;
    let history = History::new(node.store.clone());
    let mut times = Vec::new();
    for who in 0..20 {
        node.ask(&log(), vec![tap(&node, who, Choice::Accept)]).await.unwrap();
        times.push(node.now().micros());
    }
    node.log_sql("delete from event where position between 4 and 16").await;
    for (n, time) in (1..).zip(&times).filter(|(n, _)| !(4..=16).contains(n)) {
        assert_eq!(position(&history, &log(), *time).await, Position(n));
    }
}
