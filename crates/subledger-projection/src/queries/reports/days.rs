//! Days of a time zone as moments.

use jiff::{Span, civil::Date, tz::TimeZone};
use subledger_domain::Timestamp;
use thiserror::Error;

use crate::rows::{BUCKET_MICROS, bucket_of};

/// The zone of reports where the caller does not say.
pub const DEFAULT_ZONE: &str = "Asia/Shanghai";
/// The most days of one report.
pub const MAX_REPORT_DAYS: usize = 400;
/// Days of a report where the caller does not say: this many up to today.
pub const DEFAULT_REPORT_DAYS: i64 = 30;

/// Reports begin in this year at the earliest: before, zones were not yet whole quarters of an hour away from UTC. WeChat's
/// subscription messages are of 2019.
const FIRST_YEAR: i16 = 2000;
const LAST_YEAR: i16 = 2199;
/// No name of a zone is longer.
const MAX_ZONE_LENGTH: usize = 64;

/// A report cannot be made: which parameter breaks which rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{parameter}: {detail}")]
pub struct ReportError {
    /// The parameter, as HTTP API and command line call it.
    pub parameter: &'static str,
    /// The rule, as a stable word.
    pub rule: &'static str,
    /// The rule and what was found.
    pub detail: String,
}

/// One day of a zone. Days with a change of the clock have 23 or 25 hours, or other lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportDay {
    /// The date, as `2026-03-01`.
    pub date: String,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// The days of a report, in order and without gaps; at least one, at most [`MAX_REPORT_DAYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportDays {
    /// The zone's IANA name.
    pub zone: String,
    /// The days.
    pub days: Vec<ReportDay>,
}

impl ReportDays {
    /// The days `from` to `to`, both included, in the zone of this IANA name. Without `to` until today; without `from` the
    /// [`DEFAULT_REPORT_DAYS`] up to then.
    pub fn new(
        from: Option<&str>,
        to: Option<&str>,
        zone: &str,
        now: Timestamp,
    ) -> Result<Self, ReportError> {
        let tz = zone_of(zone)?;
        let to = match to {
            Some(to) => date("to", to)?,
            None => today(&tz, now)?,
        };
        let from = match from {
            Some(from) => date("from", from)?,
            None => to
                .checked_sub(Span::new().days(DEFAULT_REPORT_DAYS - 1))
                .map_err(|_| outside("to", &to.to_string()))?,
        };
        if from > to {
            let detail = format!("must not be after to; found {from} and {to}");
            return Err(ReportError { parameter: "from", rule: "range", detail });
        }
        let mut days = Vec::new();
        let mut date = from;
        while date <= to {
            if days.len() == MAX_REPORT_DAYS {
                let detail = format!("a report has at most {MAX_REPORT_DAYS} days; found {from} to {to}");
                return Err(ReportError { parameter: "to", rule: "too_many_days", detail });
            }
            let next = date.tomorrow().map_err(|_| outside("to", &to.to_string()))?;
            days.push(ReportDay {
                date: date.to_string(),
                from: first_moment(date, &tz, zone)?,
                until: first_moment(next, &tz, zone)?,
            });
            date = next;
        }
        Ok(Self { zone: tz.iana_name().unwrap_or(zone).to_owned(), days })
    }

    /// The first moment.
    pub fn from(&self) -> Timestamp {
        self.days.first().map_or(Timestamp::default(), |day| day.from)
    }

    /// The first moment after the last day.
    pub fn until(&self) -> Timestamp {
        self.days.last().map_or(Timestamp::default(), |day| day.until)
    }
}

/// The moments at which the age of a tap changes its word: the beginnings of today, and of the day 6, 29 and 89 days ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachAges {
    /// The zone's IANA name.
    pub zone: String,
    pub(crate) since: [Timestamp; 4],
}

impl ReachAges {
    /// As of `now` in the zone of this IANA name.
    pub fn new(zone: &str, now: Timestamp) -> Result<Self, ReportError> {
        let tz = zone_of(zone)?;
        let today = today(&tz, now)?;
        let mut since = [Timestamp::default(); 4];
        for (moment, ago) in since.iter_mut().zip([0, 6, 29, 89]) {
            let day = today.checked_sub(Span::new().days(ago)).map_err(|_| outside("zone", zone))?;
            *moment = first_moment(day, &tz, zone)?;
        }
        Ok(Self { zone: tz.iana_name().unwrap_or(zone).to_owned(), since })
    }
}

fn zone_of(zone: &str) -> Result<TimeZone, ReportError> {
    let unknown = || {
        let shown: String = zone.chars().filter(|c| c.is_ascii_graphic()).take(MAX_ZONE_LENGTH).collect();
        let detail = format!("must be the IANA name of a time zone, such as {DEFAULT_ZONE}; found {shown:?}");
        ReportError { parameter: "zone", rule: "unknown_zone", detail }
    };
    if zone.is_empty() || zone.len() > MAX_ZONE_LENGTH {
        return Err(unknown());
    }
    TimeZone::get(zone).map_err(|_| unknown())
}

fn today(tz: &TimeZone, now: Timestamp) -> Result<Date, ReportError> {
    let now = jiff::Timestamp::from_microsecond(now.micros()).map_err(|_| outside("to", "the clock"))?;
    Ok(now.to_zoned(tz.clone()).date())
}

fn date(parameter: &'static str, text: &str) -> Result<Date, ReportError> {
    // The parser knows more shapes than one; a date with a time would be cut in silence.
    let shaped = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(n, b)| if n == 4 || n == 7 { b == b'-' } else { b.is_ascii_digit() });
    let date: Option<Date> = if shaped { text.parse().ok() } else { None };
    let Some(date) = date else {
        let shown: String = text.chars().filter(|c| c.is_ascii_graphic()).take(20).collect();
        let detail = format!("must be a date such as 2026-03-01; found {shown:?}");
        return Err(ReportError { parameter, rule: "date", detail });
    };
    if (FIRST_YEAR..=LAST_YEAR).contains(&date.year()) { Ok(date) } else { Err(outside(parameter, text)) }
}

fn outside(parameter: &'static str, found: &str) -> ReportError {
    let detail = format!("must be in the years {FIRST_YEAR} to {LAST_YEAR}; found {found}");
    ReportError { parameter, rule: "date_range", detail }
}

/// The first moment of a date. Where the clock jumps over midnight, the first moment after the jump.
fn first_moment(date: Date, tz: &TimeZone, zone: &str) -> Result<Timestamp, ReportError> {
    let start = date.to_zoned(tz.clone()).map_err(|_| outside("to", &date.to_string()))?;
    let moment = Timestamp::from_micros(start.timestamp().as_microsecond());
    if bucket_of(moment) == moment {
        return Ok(moment);
    }
    let minutes = BUCKET_MICROS / 60 / Timestamp::MICROS_PER_SECOND;
    let detail = format!(
        "{date} does not begin on a multiple of {minutes} minutes in {zone}; reports cannot cut there"
    );
    Err(ReportError { parameter: "zone", rule: "zone_offset", detail })
}

#[cfg(test)]
mod tests;
