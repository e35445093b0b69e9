//! Reports of drift and of doubts on real databases: pages hold each entry once, groups add up, filters divide, and all of it
//! is what the activity report counts.

use std::collections::BTreeMap;

use subledger_domain::{
    Evidence, EvidenceSource, Timestamp,
    ledger::{AttemptOutcome, Choice, DoubtCause, LedgerCommand, Verdict},
};
use subledger_projection::{
    ActivityCounts, DOUBT_CAUSES, DoubtCounts, DoubtEnd, DoubtFilter, DoubtRow, DoubtState, DriftCause,
    DriftCounts, DriftFilter, DriftRow, Grain, Group, PageRequest, QueryError, ReportDays, rebuild, verify,
};

use crate::{
    history::{about, answer, code, delivery, doubt, log, once, one_queued, resolve, settle, start, tap},
    reports::{days, half_a_year},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(
    pages_groups_and_filters_add_up_to_the_activity,
    open_doubts_grow_until_they_are_asked_for,
    a_finding_names_its_grants_and_its_cause,
    an_empty_log_has_no_drift_and_no_doubt
);

async fn all_drift(node: &Node, days: &ReportDays, filter: &DriftFilter) -> (DriftCounts, Vec<DriftRow>) {
    let mut page = PageRequest::first(2);
    let (mut counts, mut rows) = (None, Vec::new());
    loop {
        let found = node.queries.report_drift(&code(), days, filter, &page).await.unwrap().value;
        assert!(found.entries.len() <= 2);
        assert_eq!(found.recorded, filter.template.is_some(), "asked of a template");
        assert_eq!(found.counts.is_some(), page.after.is_none(), "counts come with the first page");
        counts = counts.or(found.counts);
        rows.extend(found.entries);
        page.after = found.next;
        if page.after.is_none() {
            return (counts.unwrap(), rows);
        }
    }
}

async fn all_doubts(node: &Node, days: &ReportDays, filter: &DoubtFilter) -> (DoubtCounts, Vec<DoubtRow>) {
    let mut page = PageRequest::first(3);
    let (mut counts, mut rows) = (None, Vec::new());
    loop {
        let found = node.queries.report_doubts(&code(), days, filter, node.now(), &page).await.unwrap().value;
        counts = counts.or(found.counts);
        rows.extend(found.entries);
        page.after = found.next;
        if page.after.is_none() {
            return (counts.unwrap(), rows);
        }
    }
}

/// Amounts by group; empty groups left out.
fn amounts<C>(groups: &[Group<C>], amount: impl Fn(&C) -> u64) -> BTreeMap<&str, u64> {
    let named = groups.iter().map(|group| (group.of.as_str(), amount(&group.count)));
    named.filter(|(_, amount)| *amount > 0).collect()
}

fn counted<'a, T>(rows: &'a [T], word: impl Fn(&'a T) -> &'a str) -> BTreeMap<&'a str, u64> {
    let mut counted = BTreeMap::new();
    rows.iter().for_each(|row| *counted.entry(word(row)).or_default() += 1);
    counted
}

async fn pages_groups_and_filters_add_up_to_the_activity(place: Place) {
    let node = half_a_year(&place).await;
    // All doubts of the history ended.
    one_queued(&node, 200, 9).await;
    node.ask(&log(), vec![start(&node, 200, 0, 9), doubt(200, 0, 9)]).await.unwrap();
    node.catch_up().await;
    let all = PageRequest::first(10);
    for zone in ["Asia/Shanghai", "America/St_Johns"] {
        let days = days(zone);
        let activity = node.queries.report_activity(&code(), &days, Grain::Total, None, &all).await.unwrap();
        let activity = ActivityCounts::from(&activity.value.lines[0]);

        let (counts, rows) = all_drift(&node, &days, &DriftFilter::default()).await;
        assert!(rows.len() > 3, "the history reached something: {rows:?}");
        assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse((row.found_at, row.position))));
        assert_eq!((counts.total.found, rows.len() as u64), (activity.drifted, activity.drifted));
        assert_eq!(counts.total.grants, rows.iter().map(|row| u64::from(row.grants)).sum::<u64>());
        assert_eq!(amounts(&counts.by_age, |count| count.found), counted(&rows, |row| row.age()));
        assert_eq!(amounts(&counts.by_cause, |count| count.found), counted(&rows, |row| row.cause.as_str()));
        assert_eq!(
            amounts(&counts.by_template, |count| count.found),
            counted(&rows, |row| row.template.as_str())
        );
        let mut found = 0;
        for cause in DriftCause::ALL.iter().copied() {
            let filter = DriftFilter { cause: Some(cause), template: Some(once()) };
            let (counts, of_cause) = all_drift(&node, &days, &filter).await;
            assert!(of_cause.iter().all(|row| row.cause == cause));
            assert_eq!(counts.total.found, of_cause.len() as u64);
            found += of_cause.len();
        }
        assert_eq!(found, rows.len());

        let (counts, rows) = all_doubts(&node, &days, &DoubtFilter::default()).await;
        assert_eq!((counts.total.doubts, rows.len() as u64), (activity.doubted, activity.doubted));
        assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse((row.began_at, row.position))));
        let ended = activity.settled_sent + activity.settled_not_sent + activity.answered_late;
        assert_eq!(counts.total.open, activity.doubted - ended);
        assert_eq!(counts.total.corrected, activity.corrected);
        assert!(counts.total.open > 0 && counts.total.corrected > 0, "{counts:?}");
        let now = node.now();
        assert_eq!(amounts(&counts.by_age, |count| count.doubts), counted(&rows, |row| row.age(now)));
        assert_eq!(amounts(&counts.by_end, |count| count.doubts), counted(&rows, |row| row.end_word()));
        assert_eq!(amounts(&counts.by_cause, |count| count.doubts), [("timeout", activity.doubted)].into());
        let mut by_state = BTreeMap::new();
        for name in DoubtState::NAMES {
            let filter = DoubtFilter { state: DoubtState::from_name(name), ..DoubtFilter::default() };
            let (counts, of_state) = all_doubts(&node, &days, &filter).await;
            assert_eq!(counts.total.doubts, of_state.len() as u64, "{name}");
            by_state.insert(name, of_state);
        }
        assert_eq!(by_state["open"].len() + by_state["ended"].len(), rows.len());
        assert_eq!(by_state["sent_event"].len(), by_state["ended"].len(), "the history settles by push");
        assert!(by_state["corrected"].iter().all(|row| row.corrected.is_some()));
        assert_eq!(by_state["corrected"].len() as u64, activity.corrected);
        assert!(by_state["by_hand"].is_empty() && by_state["deadline"].is_empty());
        for cause in DOUBT_CAUSES {
            let filter = DoubtFilter { cause: Some(cause), ..DoubtFilter::default() };
            let (_, of_cause) = all_doubts(&node, &days, &filter).await;
            assert_eq!(of_cause.len(), if cause == DoubtCause::Timeout { rows.len() } else { 0 });
        }
    }
    // A day has what was recorded on it.
    let (_, rows) = all_drift(&node, &days("UTC"), &DriftFilter::default()).await;
    let newest = jiff_date(rows[0].found_at);
    let day = ReportDays::new(Some(&newest), Some(&newest), "UTC", Timestamp::default()).unwrap();
    let (_, of_day) = all_drift(&node, &day, &DriftFilter::default()).await;
    let same: Vec<_> = rows.into_iter().filter(|row| jiff_date(row.found_at) == newest).collect();
    assert_eq!(of_day, same);
    refuses_what_it_must(&node).await;
    rebuild(&node.store, None, |_| {}).await.unwrap();
    assert_eq!(all_drift(&node, &day, &DriftFilter::default()).await.1, of_day);
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
}

fn jiff_date(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros()).unwrap().to_string()[..10].to_owned()
}

async fn refuses_what_it_must(node: &Node) {
    let (days, any) = (days("UTC"), DriftFilter::default());
    let page = PageRequest::first(1);
    let drift = node.queries.report_drift(&code(), &days, &any, &page).await.unwrap().value;
    let foreign = PageRequest { limit: 1, after: drift.next };
    let doubts = DoubtFilter::default();
    let refused = node.queries.report_doubts(&code(), &days, &doubts, node.now(), &foreign).await;
    assert!(matches!(refused, Err(QueryError::Cursor)), "{refused:?}");
    for limit in [0, 201] {
        let refused = node.queries.report_drift(&code(), &days, &any, &PageRequest::first(limit)).await;
        assert!(matches!(refused, Err(QueryError::Limit)), "{refused:?}");
    }
    // A template that nothing was recorded about is known as such.
    let filter = DriftFilter { template: Some("unknown_template".parse().unwrap()), cause: None };
    let found = node.queries.report_drift(&code(), &days, &filter, &page).await.unwrap().value;
    assert!(!found.recorded && found.entries.is_empty());
}

async fn open_doubts_grow_until_they_are_asked_for(place: Place) {
    let node = Node::on(&place).await;
    let unknown = |cause| AttemptOutcome::Unknown { cause };
    for (who, cause) in
        [(1u8, DoubtCause::NodeLost), (2, DoubtCause::Timeout), (3, DoubtCause::Unintelligible)]
    {
        one_queued(&node, who, who).await;
        node.ask(&log(), vec![start(&node, who, 0, who)]).await.unwrap();
        node.ask(&log(), vec![settle(who, 0, who, 1, unknown(cause))]).await.unwrap();
    }
    node.catch_up().await;
    let days = ReportDays::new(None, None, "UTC", node.now()).unwrap();
    let ages = |counts: &DoubtCounts| -> Vec<String> {
        counts.by_age.iter().filter(|group| group.count.doubts > 0).map(|group| group.of.clone()).collect()
    };
    let (counts, _) = all_doubts(&node, &days, &DoubtFilter::default()).await;
    assert_eq!((ages(&counts), counts.total.open), (vec!["1_minute".to_owned()], 3));
    node.clock.pass_seconds(2 * 3_600);
    let (counts, rows) = all_doubts(&node, &days, &DoubtFilter::default()).await;
    assert_eq!(ages(&counts), ["1_day"]);
    assert!(rows.iter().all(|row| row.age_micros(node.now()) >= 7_200_000_000 && row.end_word() == "open"));

    // One ends by the deadline, one by hand; the third goes on.
    let settled = |who: u8, source, verdict| {
        let evidence = Evidence::new(source, "ops", node.now());
        about(who, LedgerCommand::Resolve { delivery: delivery(who, 0), verdict, evidence })
    };
    let asks = vec![
        settled(1, EvidenceSource::Policy, Verdict::Sent { wechat_msgid: None }),
        settled(2, EvidenceSource::Operator, Verdict::NotSent),
    ];
    node.ask(&log(), asks).await.unwrap();
    node.catch_up().await;
    node.clock.pass_seconds(40 * 86_400);
    let (counts, rows) = all_doubts(&node, &days, &DoubtFilter::default()).await;
    assert_eq!(ages(&counts), ["1_day", "older"]);
    let told: Vec<_> =
        rows.iter().map(|row| (row.cause, row.end_word(), row.outcome.map(|o| o.as_str()))).collect();
    let expected = [
        (DoubtCause::Unintelligible, "open", None),
        (DoubtCause::Timeout, "by_hand", Some("not_sent")),
        (DoubtCause::NodeLost, "deadline", Some("sent")),
    ];
    assert_eq!(told, expected);
    assert_eq!(rows[0].subject, Some(crate::history::subject(3)));

    // Proof of a send that a person had given up.
    let proof = resolve(&node, 2, 0, 2, Verdict::Sent { wechat_msgid: None });
    node.ask(&log(), vec![proof]).await.unwrap();
    node.catch_up().await;
    let filter = DoubtFilter { state: Some(DoubtState::Corrected), ..DoubtFilter::default() };
    let (counts, rows) = all_doubts(&node, &days, &filter).await;
    assert_eq!((counts.total.doubts, counts.total.corrected), (1, 1));
    assert_eq!((rows[0].ended, rows[0].corrected), (Some(DoubtEnd::ByHand), Some(DoubtEnd::SentEvent)));
    assert!(rows[0].corrected_at > rows[0].ended_at);
}

async fn a_finding_names_its_grants_and_its_cause(place: Place) {
    let node = Node::on(&place).await;
    let denied =
        |m| settle(m, 0, 1, 1, AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") });
    one_queued(&node, 1, 1).await;
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept), start(&node, 1, 0, 1), denied(1)]).await.unwrap();
    node.catch_up().await;
    // A balance that another system had counted, and counted wrong; the newest grant is a hundred days old.
    let evidence = Evidence::new(EvidenceSource::Import, "old", node.now());
    node.ask(&log(), vec![about(1, LedgerCommand::RecordOpeningBalance { count: 3, evidence })])
        .await
        .unwrap();
    one_queued(&node, 2, 1).await;
    node.clock.pass_seconds(100 * 86_400);
    node.ask(&log(), vec![start(&node, 2, 0, 1), denied(2)]).await.unwrap();
    node.catch_up().await;
    let days = ReportDays::new(Some("2025-06-01"), Some("2025-12-01"), "UTC", node.now()).unwrap();
    let (counts, rows) = all_drift(&node, &days, &DriftFilter::default()).await;
    let told: Vec<_> = rows.iter().map(|row| (row.cause, row.age(), row.grants, row.message)).collect();
    let message = crate::history::message;
    let expected =
        [(DriftCause::NotTapped, "older", 4, message(2)), (DriftCause::Unexplained, "1_day", 2, message(1))];
    assert_eq!(told, expected);
    assert_eq!((counts.total.found, counts.total.grants), (2, 6));
}

async fn an_empty_log_has_no_drift_and_no_doubt(place: Place) {
    let node = Node::on(&place).await;
    let (days, page) = (days("UTC"), PageRequest::first(1));
    let drift = node.queries.report_drift(&code(), &days, &DriftFilter::default(), &page).await.unwrap();
    assert_eq!((drift.position.0, drift.recorded_at, drift.value.recorded), (0, None, false));
    assert_eq!(drift.value.counts.unwrap().total.found, 0);
    let doubts = node.queries.report_doubts(&code(), &days, &DoubtFilter::default(), node.now(), &page).await;
    assert_eq!(doubts.unwrap().value.counts.unwrap().total.doubts, 0);
}
