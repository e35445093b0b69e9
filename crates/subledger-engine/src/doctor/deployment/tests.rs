//! Each finding about the deployment, made from facts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use subledger_domain::Timestamp;
use subledger_store::{DatabaseFacts, SchemaFound};
use subledger_wechat::{Answered, Reach, ReachFailure};

use super::*;
use crate::doctor::Health;

fn facts() -> DatabaseFacts {
    DatabaseFacts {
        product: "SQLite",
        version: "3".to_owned(),
        answers_in: Duration::from_millis(1),
        syncs_in: Some(Duration::from_millis(2)),
        bytes: 1 << 20,
        wal_bytes: Some(0),
        free_bytes: Some(100 << 30),
        clock_ahead: None,
    }
}

#[test]
fn a_database_is_slow_or_full() {
    assert_eq!(database(&facts()).health, Health::Ok);
    let slow = |answers, syncs| DatabaseFacts {
        answers_in: Duration::from_millis(answers),
        syncs_in: Some(Duration::from_millis(syncs)),
        ..facts()
    };
    assert_eq!(database(&slow(201, 1)).health, Health::Warn);
    assert_eq!(database(&slow(1, 101)).health, Health::Warn);
    assert_eq!(database(&DatabaseFacts { syncs_in: None, ..facts() }).health, Health::Ok);
    let room = |free| database(&DatabaseFacts { free_bytes: Some(free), ..facts() }).health;
    assert_eq!([room(2 << 30), room(512 << 20), room(1 << 20)], [Health::Ok, Health::Warn, Health::Fail]);
    assert_eq!(database(&DatabaseFacts { wal_bytes: Some(2 << 30), ..facts() }).health, Health::Warn);
    assert_eq!(database_failed("away").health, Health::Fail);
}

#[test]
fn a_schema_may_be_older_newer_or_broken() {
    let fits = SchemaFound { newest: 25, found: Some(25), ..SchemaFound::default() };
    assert_eq!(migrations(&fits).health, Health::Ok);
    let missing = SchemaFound { missing: vec![23], ..fits.clone() };
    assert_eq!(migrations(&missing).health, Health::Fail);
    assert!(!missing.fits());
    let newer = SchemaFound { unknown: vec![99], ..fits.clone() };
    assert_eq!(migrations(&newer).health, Health::Warn);
    assert!(newer.fits());
    assert_eq!(migrations(&SchemaFound { broken: vec![25], ..fits.clone() }).health, Health::Fail);
    assert_eq!(migrations(&SchemaFound { found: None, ..fits }).health, Health::Fail);
}

fn reached(answer: Result<Answered, ReachFailure>) -> Reach {
    Reach {
        host: "api.weixin.qq.com:443".to_owned(),
        addresses: vec!["203.0.113.10".parse().unwrap()],
        connected_in: Some(Duration::from_millis(9)),
        answer,
    }
}

fn answered(date_micros: Option<i64>) -> Answered {
    Answered { status: 200, code: Some(41001), date_micros, took: Duration::from_millis(60) }
}

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

#[test]
fn clocks_are_compared_and_the_worst_counts() {
    let wechat = |seconds: i64| {
        let date = NOW.plus_seconds(seconds).micros();
        Reached::at(reached(Ok(answered(Some(date)))), NOW)
    };
    assert_eq!(clock(None, &wechat(0)).health, Health::Ok);
    assert_eq!(clock(None, &wechat(-7)).health, Health::Warn);
    assert_eq!(clock(None, &wechat(120)).health, Health::Fail);
    assert_eq!(clock(Some(-6_000_000), &wechat(0)).health, Health::Warn);
    assert_eq!(clock(Some(61_000_000), &wechat(0)).health, Health::Fail);
    let silent = Reached::at(reached(Err(ReachFailure::Dns)), NOW);
    assert_eq!(clock(None, &silent).health, Health::Skipped);
    assert_eq!(clock(Some(0), &silent).health, Health::Ok);
    assert!(clock(Some(-6_000_000), &wechat(0)).found.en.contains("the database -6.0 s"));
}

#[test]
fn the_way_to_wechat_names_the_step_that_fails() {
    assert_eq!(egress(&reached(Ok(answered(None)))).health, Health::Ok);
    let slow = Answered { took: Duration::from_secs(3), ..answered(None) };
    assert_eq!(egress(&reached(Ok(slow))).health, Health::Warn);
    // A proxy's own page.
    let stranger = Answered { code: None, ..answered(None) };
    assert_eq!(egress(&reached(Ok(stranger))).health, Health::Fail);
    let failures = [ReachFailure::Dns, ReachFailure::Tcp, ReachFailure::Tls, ReachFailure::NoAnswer];
    let advice = failures.map(|failure| {
        let found = egress(&reached(Err(failure)));
        assert_eq!(found.health, Health::Fail);
        assert!(found.found.en.contains(&failure.to_string()));
        found.advice.unwrap().en
    });
    let distinct: std::collections::BTreeSet<_> = advice.iter().collect();
    assert_eq!(distinct.len(), 4, "each step has a cure of its own");
}
