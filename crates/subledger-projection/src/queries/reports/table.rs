//! Reports as tables, for CSV and for terminals: plain texts under column names that stay.
//!
//! Every row repeats the channel, the position and the time the report stands at, so that a file that was put aside still
//! says what it is.

use serde::Serialize;
use subledger_domain::{ChannelCode, TemplateId, Timestamp};

use super::{
    ActivityCounts, ActivityLine, Lines, Loss, Reach, Report, ReportDays, Stock, findings::Group, loss::STEPS,
};
use crate::Measure;

/// A report as a table. Every row has as many cells as there are columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportTable {
    /// The names of the columns.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl ReportTable {
    pub(super) fn new<T>(
        report: &Report<T>,
        code: &ChannelCode,
        columns: &[&'static str],
        rows: Vec<Vec<String>>,
    ) -> Self {
        let columns = [&["channel"], columns, &["position", "recorded_at"]].concat();
        let framed = |row: Vec<String>| {
            let mut framed = vec![code.to_string()];
            framed.extend(row);
            framed.extend([report.position.to_string(), report.recorded_at.map(moment).unwrap_or_default()]);
            framed
        };
        Self { columns, rows: rows.into_iter().map(framed).collect() }
    }

    /// A row per template and day. The column `classes` holds `measure:class=amount`, separated by semicolons.
    pub fn of_activity(report: &Report<Lines<ActivityLine>>, code: &ChannelCode, days: &ReportDays) -> Self {
        let counts = ActivityCounts::COLUMNS.iter().map(|(name, _)| *name);
        let columns: Vec<_> =
            ["zone", "template_id", "day"].into_iter().chain(counts).chain(["classes"]).collect();
        let row = |line: &ActivityLine| {
            let day = line.day.map(|day| date(days, day)).unwrap_or_default();
            let counts = ActivityCounts::from(line).values().map(|value| value.to_string());
            let head = [days.zone.clone(), line.template.to_string(), day];
            head.into_iter().chain(counts).chain([classes(line)]).collect()
        };
        Self::new(report, code, &columns, report.value.lines.iter().map(row).collect())
    }

    /// A row per template and day: the stock when it ended, what moved on it, and the totals since the beginning.
    pub fn of_stock(report: &Report<Stock>, code: &ChannelCode, days: &ReportDays) -> Self {
        const COLUMNS: [&str; 12] = [
            "zone",
            "template_id",
            "day",
            "open",
            "reserved",
            "in_doubt",
            "granted",
            "consumed",
            "voided",
            "total_granted",
            "total_consumed",
            "total_voided",
        ];
        let rows = report.value.days.lines.iter().map(|line| {
            let (held, head) =
                (line.closing, [days.zone.clone(), line.template.to_string(), date(days, line.day)]);
            let numbers = [
                held.open,
                held.reserved,
                held.in_doubt,
                line.granted,
                line.consumed,
                line.voided,
                held.granted,
                held.consumed,
                held.voided,
            ];
            head.into_iter().chain(numbers.map(|number| number.to_string())).collect()
        });
        Self::new(report, code, &COLUMNS, rows.collect())
    }

    /// A row per age of the last tap, then one of those who are suspended and one of those nobody is bound to.
    pub fn of_reach(report: &Report<Reach>, code: &ChannelCode, template: &TemplateId, zone: &str) -> Self {
        let Reach { suspended_users, suspended_grants, unbound_openids, unbound_grants, bands, .. } =
            &report.value;
        let row = |group: &str, users: &u64, openids: String, grants: &u64| {
            vec![
                zone.to_owned(),
                template.to_string(),
                group.to_owned(),
                users.to_string(),
                openids,
                grants.to_string(),
            ]
        };
        let mut rows: Vec<_> = bands
            .iter()
            .map(|band| row(band.age, &band.users, band.openids.to_string(), &band.grants))
            .collect();
        rows.push(row("suspended", suspended_users, String::new(), suspended_grants));
        rows.push(row("unbound", &0, unbound_openids.to_string(), unbound_grants));
        Self::new(report, code, &["zone", "template_id", "group", "users", "openids", "grants"], rows)
    }

    /// A row per step with how many reached it, each followed by those who fell out before it.
    pub fn of_loss(report: &Report<Loss>, code: &ChannelCode) -> Self {
        let loss = &report.value;
        let row = |step: &str, outcome: &str, state: &str, reason: &str, recipients: u64| {
            let texts = [step, outcome, state, reason].map(str::to_owned);
            let mut row = vec![loss.msgid.to_string(), loss.template_id.to_string()];
            row.extend(texts);
            row.push(recipients.to_string());
            row
        };
        let mut rows = vec![row("targeted", "reached", "", "", loss.targeted)];
        let reached = [loss.bound, loss.with_grant, loss.handed_over, loss.accepted, loss.confirmed];
        for (step, reached) in STEPS.into_iter().zip(reached) {
            for lost in loss.lost.iter().filter(|lost| lost.step == step) {
                rows.push(row(
                    step,
                    "lost",
                    lost.state,
                    lost.reason.as_deref().unwrap_or_default(),
                    lost.recipients,
                ));
            }
            rows.push(row(step, "reached", "", "", reached));
        }
        let columns = ["msgid", "template_id", "step", "outcome", "state", "reason", "recipients"];
        Self::new(report, code, &columns, rows)
    }
}

/// Rows of (zone, by, of, numbers): all, then each group.
pub(super) fn grouped<C: Copy, const GROUPS: usize, const NUMBERS: usize>(
    days: &ReportDays,
    total: C,
    groups: [(&'static str, &Vec<Group<C>>); GROUPS],
    numbers: impl Fn(&C) -> [String; NUMBERS],
) -> Vec<Vec<String>> {
    let row = |by: &str, of: &str, count: &C| {
        let head = [days.zone.clone(), by.to_owned(), of.to_owned()];
        head.into_iter().chain(numbers(count)).collect::<Vec<_>>()
    };
    let all = std::iter::once(row("total", "", &total));
    let each = groups
        .into_iter()
        .flat_map(|(by, groups)| groups.iter().map(move |group| (by, group)))
        .map(|(by, group)| row(by, &group.of, &group.count));
    all.chain(each).collect()
}

fn date(days: &ReportDays, day: usize) -> String {
    days.days.get(day).map(|day| day.date.clone()).unwrap_or_default()
}

/// Classes that say more than their measure, moves of grants left out: they have columns.
fn classes(line: &ActivityLine) -> String {
    let told = line.classes.iter().filter(|(measure, _)| **measure != Measure::Move);
    let pairs = told.flat_map(|(measure, classes)| {
        let named = classes.iter().filter(|(class, _)| !class.is_empty());
        named.map(move |(class, amount)| format!("{}:{class}={amount}", measure.as_str()))
    });
    pairs.collect::<Vec<_>>().join(";")
}

/// RFC 3339 with microseconds, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros()).map_or_else(|_| String::new(), |at| format!("{at:.6}"))
}
