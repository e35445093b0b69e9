//! Reports.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, TemplateId};
use subledger_projection::{
    ActivityCounts, ActivityLine, Grain, Lines, Loss, Measure, Reach, Report, ReportDays, Stock,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::moment::Moment;

/// How finely activity is told.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrainWord {
    /// A line per template and day.
    #[default]
    Day,
    /// A line per template.
    Total,
}

impl From<GrainWord> for Grain {
    fn from(word: GrainWord) -> Self {
        match word {
            GrainWord::Day => Self::Day,
            GrainWord::Total => Self::Total,
        }
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReportFormat {
    /// As JSON.
    Json,
    /// As CSV (RFC 4180, UTF-8, with a heading).
    Csv,
}

/// The sums of a line; what each means stands with it in the schema.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct CountsView(ActivityCounts);

impl PartialSchema for CountsView {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new().schema_type(Type::Object);
        for (name, meaning) in ActivityCounts::COLUMNS {
            let count = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
                .description(Some(meaning.trim()));
            object = object.property(*name, count).required(*name);
        }
        object.into()
    }
}

impl ToSchema for CountsView {
    fn name() -> Cow<'static, str> {
        "CountsView".into()
    }
}

/// What happened to a template on a day, or in the whole period.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityLineView {
    /// The template.
    template_id: String,
    /// The day in the zone of the report; null with grain `total`.
    #[schema(example = "2026-03-01")]
    day: Option<String>,
    /// The sums.
    counts: CountsView,
    /// The measures behind the sums, by class: reasons of skips, classes of WeChat's answers, sources of evidence.
    #[schema(example = json!({ "skipped": { "no_grant": 3 }, "refused": { "no_permission": 1 } }))]
    classes: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Grants that moved, by `from>to`.
    #[schema(example = json!({ "outside>open": 5, "open>reserved": 2 }))]
    moves: BTreeMap<String, u64>,
}

impl ActivityLineView {
    fn new(mut line: ActivityLine, days: &ReportDays) -> Self {
        let counts = CountsView(ActivityCounts::from(&line));
        let moves = line.classes.remove(&Measure::Move).unwrap_or_default();
        let named = |(measure, mut classes): (Measure, BTreeMap<String, u64>)| {
            classes.retain(|class, _| !class.is_empty());
            (!classes.is_empty()).then(|| (measure.as_str(), classes))
        };
        Self {
            template_id: line.template.to_string(),
            day: line.day.and_then(|day| date(days, day)),
            counts,
            classes: line.classes.into_iter().filter_map(named).collect(),
            moves,
        }
    }
}

/// What happened in a period, by template and day. Lines without anything are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityView {
    /// The channel.
    channel: String,
    /// The time zone of the days.
    zone: String,
    /// The first day.
    from: Option<String>,
    /// The last day.
    to: Option<String>,
    /// The lines, by template and day.
    lines: Vec<ActivityLineView>,
    /// Hand it back as `cursor` for the next page of templates; null after the last one.
    next_cursor: Option<String>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl ActivityView {
    pub(crate) fn new(report: Report<Lines<ActivityLine>>, code: &ChannelCode, days: &ReportDays) -> Self {
        let Report { value, position, recorded_at } = report;
        Self {
            channel: code.to_string(),
            zone: days.zone.clone(),
            from: date(days, 0),
            to: days.days.last().map(|day| day.date.clone()),
            lines: value.lines.into_iter().map(|line| ActivityLineView::new(line, days)).collect(),
            next_cursor: value.next,
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

/// Where the grants of a template are now. `granted = open + reserved + in_doubt + consumed + voided`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockNowView {
    /// The template.
    template_id: String,
    /// Grants ever recorded, imported ones included.
    granted: u64,
    /// Open: what new sends may use, suspended ledgers included.
    open: u64,
    /// Set aside for deliveries that wait or are started.
    reserved: u64,
    /// Held by deliveries in doubt.
    in_doubt: u64,
    /// Spent.
    consumed: u64,
    /// Found void.
    voided: u64,
    /// When the newest event about the template was recorded.
    changed_at: Moment,
}

/// The stock of a template when a day ended, and what moved on that day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockDayView {
    /// The template.
    template_id: String,
    /// The day in the zone of the report.
    #[schema(example = "2026-03-01")]
    day: String,
    /// Open grants when the day ended, or now if it has not.
    open: u64,
    /// Grants set aside then.
    reserved: u64,
    /// Grants held by deliveries in doubt then.
    in_doubt: u64,
    /// Grants recorded on that day, imported ones included.
    granted: u64,
    /// Grants spent on that day.
    consumed: u64,
    /// Grants found void on that day.
    voided: u64,
}

/// The stock of open grants now, and how it went down and up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockView {
    /// The channel.
    channel: String,
    /// The time zone of the days.
    zone: String,
    /// The first day.
    from: Option<String>,
    /// The last day.
    to: Option<String>,
    /// Every template of the page.
    now: Vec<StockNowView>,
    /// By template and day; days before the first grant are left out.
    days: Vec<StockDayView>,
    /// Hand it back as `cursor` for the next page of templates; null after the last one.
    next_cursor: Option<String>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl StockView {
    pub(crate) fn new(report: Report<Stock>, code: &ChannelCode, days: &ReportDays) -> Self {
        let Report { value, position, recorded_at } = report;
        let now = value.now.into_iter().map(|row| StockNowView {
            template_id: row.template.to_string(),
            granted: row.holdings.granted,
            open: row.holdings.open,
            reserved: row.holdings.reserved,
            in_doubt: row.holdings.in_doubt,
            consumed: row.holdings.consumed,
            voided: row.holdings.voided,
            changed_at: Moment(row.changed_at),
        });
        let lines = value.days.lines.into_iter().map(|line| StockDayView {
            template_id: line.template.to_string(),
            day: date(days, line.day).unwrap_or_default(),
            open: line.closing.open,
            reserved: line.closing.reserved,
            in_doubt: line.closing.in_doubt,
            granted: line.granted,
            consumed: line.consumed,
            voided: line.voided,
        });
        Self {
            channel: code.to_string(),
            zone: days.zone.clone(),
            from: date(days, 0),
            to: days.days.last().map(|day| day.date.clone()),
            now: now.collect(),
            days: lines.collect(),
            next_cursor: value.days.next,
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

/// Users who can be reached, by the age of their last tap.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReachBandView {
    /// `today`, `7_days`, `30_days`, `90_days` (each without the younger ones) or `older`.
    #[schema(example = "7_days")]
    age: &'static str,
    /// Bound users with an open grant (for a long-term template: a consent) who are not suspended.
    users: u64,
    /// Their openids; two users may share one.
    openids: u64,
    /// Their open grants.
    grants: u64,
}

/// Who can be reached with a template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReachView {
    /// The channel.
    channel: String,
    /// The template.
    template_id: String,
    /// The time zone in which today begins.
    zone: String,
    /// Bound users of the channel, whatever they hold.
    bound_users: u64,
    /// Users who can be reached: the sum of the bands.
    users: u64,
    /// Their openids.
    openids: u64,
    /// Their open grants.
    grants: u64,
    /// Bound users with an open grant who are suspended until a newer accept.
    suspended_users: u64,
    /// The open grants of suspended openids that are bound.
    suspended_grants: u64,
    /// Openids with an open grant that no user is bound to.
    unbound_openids: u64,
    /// Their open grants.
    unbound_grants: u64,
    /// By the age of the last tap, youngest first.
    bands: Vec<ReachBandView>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl ReachView {
    pub(crate) fn new(report: Report<Reach>, code: &ChannelCode, template: &TemplateId, zone: &str) -> Self {
        let Report { value, position, recorded_at } = report;
        let bands = value.bands.into_iter().map(|band| ReachBandView {
            age: band.age,
            users: band.users,
            openids: band.openids,
            grants: band.grants,
        });
        Self {
            channel: code.to_string(),
            template_id: template.to_string(),
            zone: zone.to_owned(),
            bound_users: value.bound_users,
            users: value.users,
            openids: value.openids,
            grants: value.grants,
            suspended_users: value.suspended_users,
            suspended_grants: value.suspended_grants,
            unbound_openids: value.unbound_openids,
            unbound_grants: value.unbound_grants,
            bands: bands.collect(),
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

/// Recipients that fell out at the same step for the same reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LossReasonView {
    /// The step they did not reach: `bound`, `with_grant`, `handed_over`, `accepted` or `confirmed`.
    #[schema(example = "with_grant")]
    step: &'static str,
    /// The state of their deliveries, or `unplanned`.
    #[schema(example = "skipped")]
    state: &'static str,
    /// The reason of a skip, the class of an answer, or what hid the answer.
    #[schema(example = "no_grant")]
    reason: Option<String>,
    /// How many.
    recipients: u64,
}

/// From the recipients asked for to the messages confirmed. `targeted = confirmed + sum of lost`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LossView {
    /// The channel.
    channel: String,
    /// The message.
    msgid: String,
    /// Its template.
    template_id: String,
    /// Recipients asked for.
    targeted: u64,
    /// Those with an openid in this channel, each counted once.
    bound: u64,
    /// Those let in: with a grant set aside, or none needed.
    with_grant: u64,
    /// Those handed to WeChat at least once.
    handed_over: u64,
    /// Those WeChat accepted, as far as is known.
    accepted: u64,
    /// Those of which WeChat pushed a proof that settled a doubt.
    confirmed: u64,
    /// Where the others are, by step.
    lost: Vec<LossReasonView>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl LossView {
    pub(crate) fn new(report: Report<Loss>, code: &ChannelCode) -> Self {
        let Report { value, position, recorded_at } = report;
        let lost = value.lost.into_iter().map(|lost| LossReasonView {
            step: lost.step,
            state: lost.state,
            reason: lost.reason,
            recipients: lost.recipients,
        });
        Self {
            channel: code.to_string(),
            msgid: value.msgid.to_string(),
            template_id: value.template_id.to_string(),
            targeted: value.targeted,
            bound: value.bound,
            with_grant: value.with_grant,
            handed_over: value.handed_over,
            accepted: value.accepted,
            confirmed: value.confirmed,
            lost: lost.collect(),
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

fn date(days: &ReportDays, day: usize) -> Option<String> {
    days.days.get(day).map(|day| day.date.clone())
}
