//! The reports of drift and of doubts.

use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, Timestamp};
use subledger_projection::{
    DoubtCount, DoubtCounts, DoubtEnd, DoubtReport, DoubtRow, DoubtState, DriftCount, DriftCounts,
    DriftReport, DriftRow, Group, Report, ReportDays,
};
use utoipa::ToSchema;

use super::words::{DoubtCauseWord, DoubtEndWord, DoubtOutcomeWord, DriftCauseWord};
use crate::moment::Moment;

/// What a report as CSV holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReportPart {
    /// A row per entry.
    #[default]
    Entries,
    /// A row per group of the counts.
    Counts,
}

/// Which doubts are wanted: those still `open`, those that `ended` or did so by `sent_event`, `late_answer`, `by_hand` or
/// `deadline`, or those that were settled as not sent and `corrected` later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DoubtStateWord {
    Open,
    Ended,
    SentEvent,
    LateAnswer,
    ByHand,
    Deadline,
    Corrected,
}

impl From<DoubtStateWord> for DoubtState {
    fn from(word: DoubtStateWord) -> Self {
        match word {
            DoubtStateWord::Open => Self::Open,
            DoubtStateWord::Ended => Self::Ended,
            DoubtStateWord::SentEvent => Self::EndedBy(DoubtEnd::SentEvent),
            DoubtStateWord::LateAnswer => Self::EndedBy(DoubtEnd::LateAnswer),
            DoubtStateWord::ByHand => Self::EndedBy(DoubtEnd::ByHand),
            DoubtStateWord::Deadline => Self::EndedBy(DoubtEnd::Deadline),
            DoubtStateWord::Corrected => Self::Corrected,
        }
    }
}

/// How much drift.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftCountView {
    /// How often it was found.
    found: u64,
    /// How many grants were void.
    grants: u64,
}

impl From<DriftCount> for DriftCountView {
    fn from(count: DriftCount) -> Self {
        Self { found: count.found, grants: count.grants }
    }
}

/// The drift of one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftGroupView {
    /// What is common to them: a template, a class of age, a cause.
    #[schema(example = "stranger")]
    of: String,
    #[serde(flatten)]
    count: DriftCountView,
}

/// All drift of the period, grouped in three ways. The groups by age and those by cause each add up to `total`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftCountsView {
    /// All of it.
    total: DriftCountView,
    /// By template, most first; at most 100, the rest is in `total` alone.
    by_template: Vec<DriftGroupView>,
    /// By the age of the newest grant when it was found: `1_day` (less than), `7_days`, `30_days`, `90_days` (each without the
    /// younger ones), `older`, or `unknown`.
    by_age: Vec<DriftGroupView>,
    /// By what most likely explains it.
    by_cause: Vec<DriftGroupView>,
}

impl From<DriftCounts> for DriftCountsView {
    fn from(counts: DriftCounts) -> Self {
        let groups = |groups: Vec<Group<DriftCount>>| {
            let group = |Group { of, count }| DriftGroupView { of, count: DriftCount::into(count) };
            groups.into_iter().map(group).collect()
        };
        Self {
            total: counts.total.into(),
            by_template: groups(counts.by_template),
            by_age: groups(counts.by_age),
            by_cause: groups(counts.by_cause),
        }
    }
}

/// One finding of drift. The delivery leads to the person, as long as the person is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftEntryView {
    /// When it was recorded.
    found_at: Moment,
    /// The template.
    template_id: String,
    /// What most likely explains it.
    cause: DriftCauseWord,
    /// The class of the age of the newest grant.
    #[schema(example = "7_days")]
    age: &'static str,
    /// That age in seconds, by the times of its evidence.
    age_seconds: Option<i64>,
    /// How many grants are void.
    grants: u32,
    /// How many deliveries settled as not sent the same answer proved to have been sent; they explain other grants.
    explained: u32,
    /// When the newest grant was made, according to its evidence.
    last_grant_at: Option<Moment>,
    /// When WeChat last told of a change in the user's settings.
    last_settings_at: Option<Moment>,
    /// The message whose delivery WeChat answered 43101 to.
    msgid: String,
    /// That recipient's place in the request, from 0.
    index: u32,
    /// What stands for the openid in the log.
    subject: String,
    /// The position of its event.
    found_position: u64,
}

impl From<DriftRow> for DriftEntryView {
    fn from(row: DriftRow) -> Self {
        Self {
            found_at: Moment(row.found_at),
            age: row.age(),
            age_seconds: row.age_micros().map(seconds),
            template_id: row.template.to_string(),
            cause: row.cause.into(),
            grants: row.grants,
            explained: row.explained,
            last_grant_at: row.last_grant_at.map(Moment),
            last_settings_at: row.last_settings_at.map(Moment),
            msgid: row.message.to_string(),
            index: row.index,
            subject: row.subject.to_string(),
            found_position: row.position.0,
        }
    }
}

/// Drift that was recorded in a period.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftView {
    /// The channel.
    channel: String,
    /// The time zone of the days.
    zone: String,
    /// The first day.
    from: Option<String>,
    /// The last day.
    to: Option<String>,
    /// Counts of everything asked for; null with a `cursor`.
    counts: Option<DriftCountsView>,
    /// The findings, newest first.
    entries: Vec<DriftEntryView>,
    /// Hand it back as `cursor` for the next page of entries; null after the last one.
    next_cursor: Option<String>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl DriftView {
    pub(crate) fn new(report: DriftReport, code: &ChannelCode, days: &ReportDays) -> Self {
        let Report { value, position, recorded_at } = report;
        Self {
            channel: code.to_string(),
            zone: days.zone.clone(),
            from: days.days.first().map(|day| day.date.clone()),
            to: days.days.last().map(|day| day.date.clone()),
            counts: value.counts.map(Into::into),
            entries: value.entries.into_iter().map(Into::into).collect(),
            next_cursor: value.next,
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

/// How many doubts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoubtCountView {
    /// How many began.
    doubts: u64,
    /// How many of them are still open.
    open: u64,
    /// How many were settled as not sent and later proved to have been sent.
    corrected: u64,
}

impl From<DoubtCount> for DoubtCountView {
    fn from(count: DoubtCount) -> Self {
        Self { doubts: count.doubts, open: count.open, corrected: count.corrected }
    }
}

/// The doubts of one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoubtGroupView {
    /// What is common to them: a template, a class of age, a cause, an end.
    #[schema(example = "timeout")]
    of: String,
    #[serde(flatten)]
    count: DoubtCountView,
}

/// All doubts of the period, grouped in four ways. The groups by age, by cause and by end each add up to `total`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoubtCountsView {
    /// All of them.
    total: DoubtCountView,
    /// By template, most first; at most 100, the rest is in `total` alone.
    by_template: Vec<DoubtGroupView>,
    /// By the time in doubt: `1_minute` (less than), `1_hour`, `1_day`, `3_days`, `30_days` (each without the shorter ones) or
    /// `older`.
    by_age: Vec<DoubtGroupView>,
    /// By what hid the answer.
    by_cause: Vec<DoubtGroupView>,
    /// By what ended them, `open` first.
    by_end: Vec<DoubtGroupView>,
}

impl From<DoubtCounts> for DoubtCountsView {
    fn from(counts: DoubtCounts) -> Self {
        let groups = |groups: Vec<Group<DoubtCount>>| {
            let group = |Group { of, count }| DoubtGroupView { of, count: DoubtCount::into(count) };
            groups.into_iter().map(group).collect()
        };
        Self {
            total: counts.total.into(),
            by_template: groups(counts.by_template),
            by_age: groups(counts.by_age),
            by_cause: groups(counts.by_cause),
            by_end: groups(counts.by_end),
        }
    }
}

/// One doubt. The delivery leads to the person, as long as the person is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoubtEntryView {
    /// When it began.
    began_at: Moment,
    /// When it ended; null while it is open.
    ended_at: Option<Moment>,
    /// The template.
    template_id: String,
    /// What hid the answer.
    cause: DoubtCauseWord,
    /// The class of the time in doubt.
    #[schema(example = "1_hour")]
    age: &'static str,
    /// That time in seconds.
    age_seconds: i64,
    /// What ended it; null while it is open.
    end: Option<DoubtEndWord>,
    /// What became of the delivery then.
    outcome: Option<DoubtOutcomeWord>,
    /// What proved that it had been sent, where it was settled as not sent.
    corrected: Option<DoubtEndWord>,
    /// When that was.
    corrected_at: Option<Moment>,
    /// The message.
    msgid: String,
    /// The recipient's place in the request, from 0.
    index: u32,
    /// Which attempt of the delivery, from 1.
    attempt: u16,
    /// What stands for the openid in the log.
    subject: Option<String>,
    /// The position at which it began.
    began_position: u64,
}

impl DoubtEntryView {
    fn new(row: DoubtRow, as_of: Timestamp) -> Self {
        Self {
            age: row.age(as_of),
            age_seconds: seconds(row.age_micros(as_of)),
            began_at: Moment(row.began_at),
            ended_at: row.ended_at.map(Moment),
            template_id: row.template.to_string(),
            cause: row.cause.into(),
            end: row.ended.map(Into::into),
            outcome: row.outcome.map(Into::into),
            corrected: row.corrected.map(Into::into),
            corrected_at: row.corrected_at.map(Moment),
            msgid: row.message.to_string(),
            index: row.index,
            attempt: row.attempt,
            subject: row.subject.map(String::from),
            began_position: row.position.0,
        }
    }
}

/// Doubts that began in a period.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoubtsView {
    /// The channel.
    channel: String,
    /// The time zone of the days.
    zone: String,
    /// The first day.
    from: Option<String>,
    /// The last day.
    to: Option<String>,
    /// The moment until which doubts that are open are measured.
    as_of: Moment,
    /// Counts of everything asked for; null with a `cursor`.
    counts: Option<DoubtCountsView>,
    /// The doubts, newest first.
    entries: Vec<DoubtEntryView>,
    /// Hand it back as `cursor` for the next page of entries; null after the last one.
    next_cursor: Option<String>,
    /// The position of the channel's log that the report stands at.
    position: u64,
    /// When the event at that position was recorded.
    recorded_at: Option<Moment>,
}

impl DoubtsView {
    pub(crate) fn new(report: DoubtReport, code: &ChannelCode, days: &ReportDays, as_of: Timestamp) -> Self {
        let Report { value, position, recorded_at } = report;
        Self {
            channel: code.to_string(),
            zone: days.zone.clone(),
            from: days.days.first().map(|day| day.date.clone()),
            to: days.days.last().map(|day| day.date.clone()),
            as_of: Moment(as_of),
            counts: value.counts.map(Into::into),
            entries: value.entries.into_iter().map(|row| DoubtEntryView::new(row, as_of)).collect(),
            next_cursor: value.next,
            position: position.0,
            recorded_at: recorded_at.map(Moment),
        }
    }
}

fn seconds(micros: i64) -> i64 {
    micros.div_euclid(Timestamp::MICROS_PER_SECOND)
}
