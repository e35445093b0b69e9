//! Reports on real databases: their sums are those of the ledgers, the deliveries and the log, whatever the zone.

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng};
use subledger_domain::{
    Evidence, EvidenceSource, TemplateId, Timestamp,
    binding::BindingCommand,
    ledger::{Choice, LedgerCommand, SettingsOff},
};
use subledger_projection::{
    ActivityCounts, DeliveryCounts, DeliveryState, Grain, Holdings, MessageFilter, PageRequest, QueryError,
    ReachAges, ReportDays, verify,
};
use subledger_store::Position;

use crate::{
    history::{about, code, log, message, once, subject, tap, tell, user},
    random::{move_one, send},
    support::{Ask, Node, Place, on_both_databases},
};

on_both_databases!(
    days_of_any_zone_add_up_to_the_ledgers_and_the_deliveries,
    a_day_begins_at_midnight_of_its_zone,
    templates_come_in_pages,
    reach_counts_bound_users_by_the_age_of_their_tap,
    loss_accounts_for_every_recipient,
    a_sent_event_confirms_a_delivery_or_tells_of_its_failure,
    an_empty_log_has_empty_reports
);

const ZONES: [&str; 6] = [
    "Asia/Shanghai",
    "UTC",
    "Asia/Kathmandu",      // +05:45
    "America/St_Johns",    // -03:30, with daylight saving time
    "Australia/Lord_Howe", // half an hour of daylight saving time
    "America/New_York",    // its clock changes within the history
];

/// Half a year of random history, at odd times of the day.
pub(crate) async fn half_a_year(place: &Place) -> Node {
    let node = Node::on(place).await;
    let mut rng = StdRng::seed_from_u64(11);
    for m in 0..30u8 {
        node.clock.pass_seconds(5 * 86_400 + 26_000);
        send(&node, &mut rng, m).await;
        for _ in 0..8 {
            node.clock.pass_seconds(8_000);
            move_one(&node, &mut rng).await;
        }
    }
    node.catch_up().await;
    node
}

/// All days of [`half_a_year`], in a zone.
pub(crate) fn days(zone: &str) -> ReportDays {
    ReportDays::new(Some("2025-06-14"), Some("2026-01-10"), zone, Timestamp::default()).unwrap()
}

fn added(sum: &mut ActivityCounts, one: &ActivityCounts) {
    let total: Vec<u64> = sum.values().iter().zip(one.values()).map(|(a, b)| a + b).collect();
    let names = ActivityCounts::COLUMNS.iter().map(|(name, _)| *name);
    let total: BTreeMap<&str, u64> = names.zip(total).collect();
    *sum = serde_json::from_value(serde_json::json!(total)).unwrap();
}

async fn days_of_any_zone_add_up_to_the_ledgers_and_the_deliveries(place: Place) {
    let node = half_a_year(&place).await;
    let all = PageRequest::first(10);
    let mut totals = Vec::new();
    for zone in ZONES {
        let days = days(zone);
        let report = node.queries.report_activity(&code(), &days, Grain::Day, None, &all).await.unwrap();
        let head = node.store.head(&log()).await.unwrap().position;
        assert_eq!(report.position, head);
        assert!(report.recorded_at.is_some_and(|at| at <= node.now() && at > days.from()));
        let mut sum = ActivityCounts::default();
        report.value.lines.iter().for_each(|line| added(&mut sum, &line.into()));
        let total = node.queries.report_activity(&code(), &days, Grain::Total, None, &all).await.unwrap();
        let [line] = total.value.lines.as_slice() else { panic!("{total:?}") };
        assert_eq!((sum, line.day), (line.into(), None), "{zone}");
        totals.push(sum);

        let stock = node.queries.report_stock(&code(), &days, None, &all).await.unwrap().value;
        assert_eq!(stock.days.lines.last().unwrap().closing, stock.now[0].holdings, "{zone}");
        let mut before = Holdings::default();
        for line in &stock.days.lines {
            assert!(line.closing.balanced());
            assert_eq!(line.granted, line.closing.granted - before.granted);
            let same = |l: &&subledger_projection::ActivityLine| l.day == Some(line.day);
            let activity = report.value.lines.iter().find(same).map(ActivityCounts::from).unwrap_or_default();
            assert_eq!(
                (line.granted, line.consumed, line.voided),
                (activity.granted + activity.opened, activity.consumed, activity.voided),
                "{zone}: {line:?}"
            );
            before = line.closing;
        }
    }
    assert!(totals.windows(2).all(|pair| pair[0] == pair[1]), "{totals:?}");
    check_against_rows(&node, &totals[0]).await;
    for verification in verify(&node.store, None, |_| {}).await.unwrap() {
        assert!(verification.equal, "{verification:?}");
    }
}

/// The counters against the ledgers and the deliveries, which are folded elsewhere.
async fn check_against_rows(node: &Node, sums: &ActivityCounts) {
    let all = PageRequest::first(200);
    let mut held = Holdings::default();
    for row in node.queries.ledgers(&code(), None, &all).await.unwrap().items {
        held.granted += row.granted;
        held.open += row.balance;
        held.reserved += row.reserved;
        held.in_doubt += row.in_doubt;
        held.consumed += row.consumed;
        held.voided += row.voided;
    }
    let stock = node.queries.report_stock(&code(), &days("UTC"), None, &all_templates()).await.unwrap();
    assert_eq!(stock.value.now[0].holdings, held);
    assert_eq!(
        (sums.granted + sums.opened, sums.consumed, sums.voided),
        (held.granted, held.consumed, held.voided)
    );
    let mut counts = DeliveryCounts::default();
    let mut targeted = 0;
    for row in node.queries.messages(&code(), &MessageFilter::default(), &all).await.unwrap().items {
        targeted += u64::from(row.targeted);
        counts.sent += row.counts.sent;
        counts.refused += row.counts.refused;
        counts.not_sent += row.counts.not_sent;
        counts.in_doubt += row.counts.in_doubt;
        counts.skipped += row.counts.skipped;
    }
    let found = |state| u64::from(counts.of(state));
    assert_eq!(sums.targeted, targeted);
    assert_eq!(sums.messages, 30);
    assert_eq!(sums.sent, found(DeliveryState::Sent));
    assert_eq!(sums.refused, found(DeliveryState::Refused));
    assert_eq!(sums.settled_not_sent - sums.corrected, found(DeliveryState::NotSent));
    assert_eq!(sums.skipped + sums.dropped, found(DeliveryState::Skipped));
    let settled = sums.settled_sent + sums.settled_not_sent + sums.answered_late;
    assert_eq!(sums.doubted - settled, found(DeliveryState::InDoubt));
    assert!(sums.sent > 0 && sums.refused > 0 && sums.doubted > 0 && sums.voided > 0, "{sums:?}");
}

fn all_templates() -> PageRequest {
    PageRequest::first(100)
}

async fn a_day_begins_at_midnight_of_its_zone(place: Place) {
    let node = Node::on(&place).await;
    // 2025-06-15T15:06:40Z; Shanghai's next day begins at 16:00Z, Kathmandu's at 18:15Z.
    let until = |at: &str| {
        let at = at.parse::<i64>().unwrap();
        at - node.now().micros() / 1_000_000 - 1
    };
    for second in ["1750003199", "1750003200", "1750011299", "1750011300"] {
        node.clock.pass_seconds(until(second));
        node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    }
    node.catch_up().await;
    for (zone, on_15th, on_16th) in
        [("Asia/Shanghai", 1, 3), ("Asia/Kathmandu", 3, 1), ("UTC", 4, 0), ("America/New_York", 4, 0)]
    {
        let days =
            ReportDays::new(Some("2025-06-15"), Some("2025-06-16"), zone, Timestamp::default()).unwrap();
        let report = node.queries.report_activity(&code(), &days, Grain::Day, None, &all_templates()).await;
        let lines = report.unwrap().value.lines;
        let granted = |day| {
            let line = lines.iter().find(|line| line.day == Some(day));
            line.map_or(0, |line| ActivityCounts::from(line).granted)
        };
        assert_eq!((granted(0), granted(1)), (on_15th, on_16th), "{zone}");
        let stock = node.queries.report_stock(&code(), &days, None, &all_templates()).await.unwrap().value;
        let open: Vec<u64> = stock.days.lines.iter().map(|line| line.closing.open).collect();
        // Where the newest tap was on the 15th, the 16th has not begun.
        assert_eq!(open, if on_16th == 0 { vec![4] } else { vec![on_15th, 4] }, "{zone}");
        let later =
            ReportDays::new(Some("2025-06-17"), Some("2025-06-20"), zone, Timestamp::default()).unwrap();
        let stock = node.queries.report_stock(&code(), &later, None, &all_templates()).await.unwrap().value;
        assert_eq!((stock.now[0].holdings.open, stock.days.lines), (4, vec![]), "{zone}");
    }
}

async fn templates_come_in_pages(place: Place) {
    let node = Node::on(&place).await;
    let templates: Vec<TemplateId> = (0..7).map(|n| format!("template-{n}").parse().unwrap()).collect();
    for (number, template) in (1..).zip(&templates) {
        let evidence = Evidence::new(EvidenceSource::Import, "opening", node.now());
        let ask = LedgerCommand::RecordOpeningBalance { count: number, evidence };
        node.ask(&log(), vec![Ask::Ledger(subject(1), template.clone(), ask)]).await.unwrap();
    }
    node.catch_up().await;
    let days = ReportDays::new(None, None, "Asia/Shanghai", node.now()).unwrap();
    let mut page = PageRequest::first(3);
    let (mut opened, mut open) = (Vec::new(), Vec::new());
    loop {
        let activity =
            node.queries.report_activity(&code(), &days, Grain::Day, None, &page).await.unwrap().value;
        opened.extend(activity.lines.iter().map(|l| (l.template.clone(), ActivityCounts::from(l).opened)));
        let Some(next) = activity.next else { break };
        page.after = Some(next);
    }
    page.after = None;
    loop {
        let stock = node.queries.report_stock(&code(), &days, None, &page).await.unwrap().value;
        assert!(stock.now.len() <= 3);
        open.extend(stock.days.lines.iter().map(|line| (line.template.clone(), line.closing.open)));
        let Some(next) = stock.days.next else { break };
        page.after = Some(next);
    }
    let expected: Vec<(TemplateId, u64)> = templates.iter().cloned().zip(1..).collect();
    assert_eq!(opened, expected);
    assert_eq!(open, expected);
    page.after = None;

    let only = node.queries.report_activity(&code(), &days, Grain::Total, Some(&templates[4]), &page).await;
    let only = only.unwrap().value;
    assert_eq!((only.templates, only.lines.len(), only.next), (vec![templates[4].clone()], 1, None));
    let foreign = PageRequest {
        limit: 3,
        after: node.queries.report_stock(&code(), &days, None, &page).await.unwrap().value.days.next,
    };
    let refused = node.queries.report_activity(&code(), &days, Grain::Day, None, &foreign).await;
    assert!(matches!(refused, Err(QueryError::Cursor)), "{refused:?}");
    for limit in [0, 101] {
        let page = PageRequest::first(limit);
        let refused = node.queries.report_activity(&code(), &days, Grain::Day, None, &page).await;
        assert!(matches!(refused, Err(QueryError::Limit)), "{refused:?}");
    }
}

async fn reach_counts_bound_users_by_the_age_of_their_tap(place: Place) {
    let node = Node::on(&place).await;
    let bind = |who: u8, to: u8| {
        let evidence = Evidence::new(EvidenceSource::Integrator, "login", node.now());
        Ask::Binding(user(who), BindingCommand::Bind { subject: subject(to), evidence })
    };
    // Days ago of the last tap, by openid; the clock goes on from the oldest to the newest.
    let taps = [(1u8, 100i64), (2, 60), (3, 29), (4, 8), (5, 6), (6, 1), (7, 0), (8, 0), (9, 0)];
    let mut ago = 100;
    for (who, days) in taps {
        node.clock.pass_seconds((ago - days) * 86_400);
        ago = days;
        node.ask(&log(), vec![tap(&node, who, Choice::Accept)]).await.unwrap();
    }
    node.ask(&log(), vec![tap(&node, 7, Choice::Accept)]).await.unwrap();
    for who in 1..=8 {
        node.ask(&log(), vec![bind(who, who)]).await.unwrap();
    }
    // Another user of the openid 7, one who never tapped, and 8 is suspended. Nobody is bound to 9.
    node.ask(&log(), vec![bind(17, 7), bind(18, 18)]).await.unwrap();
    let evidence = Evidence::new(EvidenceSource::WechatAnswer, "rid", node.now());
    node.ask(
        &log(),
        vec![about(8, LedgerCommand::Suspend { settings_off: SettingsOff::default(), evidence })],
    )
    .await
    .unwrap();
    node.catch_up().await;

    let ages = ReachAges::new("Asia/Shanghai", node.now()).unwrap();
    let report = node.queries.report_reach(&code(), &once(), &ages).await.unwrap();
    assert_eq!(report.position, node.store.head(&log()).await.unwrap().position);
    let reach = report.value.unwrap();
    let bands: Vec<_> = reach.bands.iter().map(|b| (b.age, b.users, b.openids, b.grants)).collect();
    assert_eq!(
        bands,
        [
            ("today", 2, 1, 2),
            ("7_days", 2, 2, 2),
            ("30_days", 2, 2, 2),
            ("90_days", 1, 1, 1),
            ("older", 1, 1, 1)
        ]
    );
    assert_eq!((reach.bound_users, reach.users, reach.openids, reach.grants), (10, 8, 7, 8));
    assert_eq!((reach.suspended_users, reach.suspended_grants), (1, 1));
    assert_eq!((reach.unbound_openids, reach.unbound_grants), (1, 1));
    let stock = node.queries.report_stock(&code(), &days("UTC"), None, &all_templates()).await.unwrap();
    let grants = reach.grants + reach.suspended_grants + reach.unbound_grants;
    assert_eq!(stock.value.now[0].holdings.open, grants, "reach and stock tell of the same grants");
    let unknown: TemplateId = "template-unknown".parse().unwrap();
    let nobody = node.queries.report_reach(&code(), &unknown, &ages).await.unwrap().value.unwrap();
    assert_eq!((nobody.recorded, nobody.bound_users, nobody.users, nobody.bands.len()), (false, 10, 0, 5));
}

async fn loss_accounts_for_every_recipient(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let loss = node.queries.report_loss(&code(), message(1)).await.unwrap().value.unwrap();
    let steps = (loss.targeted, loss.bound, loss.with_grant, loss.handed_over, loss.accepted, loss.confirmed);
    assert_eq!(steps, (11, 9, 9, 6, 1, 0));
    let lost: u64 = loss.lost.iter().map(|reason| reason.recipients).sum();
    assert_eq!(loss.targeted, loss.confirmed + lost);
    let found: Vec<_> =
        loss.lost.iter().map(|l| (l.step, l.state, l.reason.as_deref(), l.recipients)).collect();
    assert_eq!(
        found,
        [
            ("bound", "skipped", Some("not_bound"), 1),
            ("bound", "unplanned", None, 1),
            ("handed_over", "expired", None, 1),
            ("handed_over", "queued", None, 1),
            ("handed_over", "retracted", None, 1),
            ("accepted", "failed", Some("busy"), 1),
            ("accepted", "in_doubt", Some("timeout"), 1),
            ("accepted", "not_sent", Some("timeout"), 1),
            ("accepted", "refused", Some("argument"), 1),
            ("accepted", "refused", Some("no_permission"), 1),
            ("confirmed", "sent", None, 1),
        ]
    );
    assert_eq!(node.queries.report_loss(&code(), message(99)).await.unwrap().value, None);
}

async fn a_sent_event_confirms_a_delivery_or_tells_of_its_failure(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let sent = |errcode, at| LedgerCommand::RecordSent {
        wechat_msgid: Some("3300000000000000001".into()),
        code: errcode,
        status: "system failed".into(),
        began: None,
        evidence: Evidence::new(EvidenceSource::WechatPush, "push-1", at),
    };
    for (errcode, confirmed) in [(0, 1), (5, 0)] {
        let at = node.now();
        node.ask(&log(), vec![about(0, sent(errcode, at))]).await.unwrap();
        node.catch_up().await;
        let loss = node.queries.report_loss(&code(), message(1)).await.unwrap().value.unwrap();
        assert_eq!((loss.accepted, loss.confirmed), (1, confirmed), "{errcode}");
        let page = PageRequest::default();
        let all = node.queries.deliveries(&code(), message(1), None, &page).await.unwrap().items;
        assert_eq!((all[0].sent_event_at, all[0].sent_event_code), (Some(at), Some(errcode)));
        assert_eq!(all[0].state, DeliveryState::Sent, "the grant stays spent");
    }
    let (channel, days, page) = (code(), days("UTC"), all_templates());
    let report = node.queries.report_activity(&channel, &days, Grain::Total, None, &page).await.unwrap();
    let counts = ActivityCounts::from(&report.value.lines[0]);
    assert_eq!((counts.sent, counts.confirmed, counts.undelivered), (1, 1, 1));
}

async fn an_empty_log_has_empty_reports(place: Place) {
    let node = Node::on(&place).await;
    let days = days("UTC");
    let activity = node.queries.report_activity(&code(), &days, Grain::Day, None, &all_templates()).await;
    let activity = activity.unwrap();
    assert_eq!((activity.position, activity.recorded_at), (Position(0), None));
    assert!(activity.value.lines.is_empty() && activity.value.next.is_none());
    let stock = node.queries.report_stock(&code(), &days, None, &all_templates()).await.unwrap().value;
    assert!(stock.now.is_empty() && stock.days.lines.is_empty());
    let ages = ReachAges::new("UTC", node.now()).unwrap();
    assert_eq!(node.queries.report_reach(&code(), &once(), &ages).await.unwrap().value, None);
    assert_eq!(node.queries.report_loss(&code(), message(1)).await.unwrap().value, None);
}
