//! When: a position of the log, or a moment.
//!
//! A moment without an offset is meant in a zone: Asia/Shanghai unless the asker says otherwise, because that is where
//! WeChat's users and their days are.

use std::fmt;

use jiff::{
    civil::DateTime,
    fmt::temporal::DateTimeParser,
    tz::{Offset, TimeZone},
};
use serde::Serialize;
use subledger_domain::Timestamp;
use subledger_store::Position;
use thiserror::Error;

/// The zone of moments that name none.
pub const DEFAULT_ZONE: &str = "Asia/Shanghai";

/// The forms of a point in time, for help and refusals.
pub const FORMS: &str = "a position (42), a time with offset (2026-03-01T16:00:00+08:00), a time without one \
                         (2026-03-01T16:00), a time in a zone (2026-03-01T09:00[Europe/Berlin]), or a date (2026-03-01: \
                         its first moment)";

/// A text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AtError {
    /// Neither a position nor a time.
    #[error("must be {FORMS}; found {found}")]
    Form {
        /// What was found, cut to a bearable length.
        found: String,
    },
    /// A position that no log can have.
    #[error("a position is 0 to {}; found {found}", i64::MAX)]
    Position {
        /// What was found, cut to a bearable length.
        found: String,
    },
    /// Not the name of a time zone, nor an offset.
    #[error("must be a time zone such as Asia/Shanghai or an offset such as +08:00; found {found}")]
    Zone {
        /// What was found, cut to a bearable length.
        found: String,
    },
}

/// A point in time as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the event at this position; zero is before the first.
    Position(Position),
    /// After everything that was recorded at or before this moment.
    Time(Timestamp),
}

/// A point in a log: after the event at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The position; zero is before the first event.
    pub position: Position,
    /// When the event there was recorded; none before the first event.
    pub time: Option<Timestamp>,
}

impl At {
    /// Reads any of [`FORMS`]; a time that says no offset is meant in `zone`. Where a clock was put back, the earlier of
    /// two moments is meant; where it was put forward, the moment as if it had not been yet.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, AtError> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let position = text.parse().ok().filter(|position| i64::try_from(*position).is_ok());
            return position
                .map(|position| Self::Position(Position(position)))
                .ok_or_else(|| AtError::Position { found: found(text) });
        }
        moment(text, zone)
            .map(|moment| Self::Time(Timestamp::from_micros(moment.as_microsecond())))
            .ok_or_else(|| AtError::Form { found: found(text) })
    }
}

fn moment(text: &str, zone: &TimeZone) -> Option<jiff::Timestamp> {
    if text.contains('[') {
        return text.parse::<jiff::Zoned>().ok().map(|zoned| zoned.timestamp());
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment);
    }
    let local: DateTime = text.parse().ok()?;
    zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp())
}

/// A time zone by its name in the IANA database, or a fixed offset.
pub fn zone(text: &str) -> Result<TimeZone, AtError> {
    let text = text.trim();
    match DateTimeParser::new().parse_time_zone(text) {
        Ok(zone) => Ok(zone),
        Err(_) => Err(AtError::Zone { found: found(text) }),
    }
}

/// [`DEFAULT_ZONE`] as a zone.
pub fn default_zone() -> TimeZone {
    // China has one offset all year; this must not depend on a database of zones being there.
    zone(DEFAULT_ZONE).unwrap_or_else(|_| TimeZone::fixed(Offset::constant(8)))
}

/// What was found, as a quoted text that cannot fill a screen.
fn found(text: &str) -> String {
    match text.char_indices().nth(60) {
        _ if text.is_empty() => "nothing".to_owned(),
        Some((cut, _)) => format!("{:?} and more", &text[..cut]),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "position {position}"),
            Self::Time(time) => match jiff::Timestamp::from_microsecond(time.micros()) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{} µs", time.micros()),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const UTC_EIGHT: i64 = 1_772_352_000_000_000;

    fn micros(text: &str, zone_name: &str) -> i64 {
        match At::parse(text, &zone(zone_name).unwrap()).unwrap() {
            At::Time(time) => time.micros(),
            At::Position(position) => panic!("{text} was read as position {position}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        for text in [
            "2026-03-01T08:00:00Z",
            "2026-03-01T16:00:00+08:00",
            "2026-03-01T16:00:00.000000+08:00",
            "2026-03-01T16:00:00",
            "2026-03-01T16:00",
            "2026-03-01 16:00",
            " 2026-03-01T16:00 ",
            "2026-03-01T09:00[Europe/Berlin]",
            "2026-03-01T16:00+08:00[Asia/Shanghai]",
        ] {
            assert_eq!(micros(text, DEFAULT_ZONE), UTC_EIGHT, "{text}");
        }
        assert_eq!(micros("2026-03-01", "UTC"), UTC_EIGHT - 8 * 3_600_000_000, "a date is its first moment");
        assert_eq!(micros("2026-03-01T03:00", "-05:00"), UTC_EIGHT);
        assert_eq!(micros("2026-03-01T08:00:00.0000019Z", "UTC"), UTC_EIGHT + 1, "finer than we keep");
        let shanghai = zone(DEFAULT_ZONE).unwrap();
        for (text, position) in [("0", 0), ("42", 42), ("007", 7), ("9223372036854775807", i64::MAX as u64)] {
            assert_eq!(At::parse(text, &shanghai), Ok(At::Position(Position(position))), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_is_told_the_forms() {
        let shanghai = zone(DEFAULT_ZONE).unwrap();
        for text in [
            "",
            " ",
            "yesterday",
            "-1",
            "+42",
            "4 2",
            "1e3",
            "0x10",
            "2026-13-01",
            "2026-02-30",
            "2026-03-01T25:00",
            "2026-03-01T16:00:00+99:00",
            "2026-03-01T16:00[Mars/Olympus]",
            "2026-03-01T16:00+09:00[Asia/Shanghai]",
            "16:00",
            "٤٢",
            "2026-03-01T16:00:00 08:00",
            "now",
        ] {
            let error = At::parse(text, &shanghai).unwrap_err();
            assert!(matches!(error, AtError::Form { .. }), "{text}: {error}");
            assert!(error.to_string().contains("2026-03-01T16:00:00+08:00"), "{error}");
        }
        let long = At::parse(&"x".repeat(10_000), &shanghai).unwrap_err().to_string();
        assert!(long.len() < 500, "{long}");
        for text in ["9223372036854775808", "18446744073709551616", &"9".repeat(400)] {
            assert!(matches!(At::parse(text, &shanghai), Err(AtError::Position { .. })), "{text}");
        }
    }

    #[test]
    fn clocks_that_jump_have_one_meaning() {
        let berlin = "Europe/Berlin";
        assert_eq!(micros("2026-03-29T02:30", berlin), micros("2026-03-29T01:30:00Z", berlin));
        assert_eq!(micros("2026-10-25T02:30", berlin), micros("2026-10-25T00:30:00Z", berlin));
    }

    #[test]
    fn zones_are_names_or_offsets() {
        for name in ["Asia/Shanghai", "UTC", "+08:00", "America/New_York"] {
            assert!(zone(name).is_ok(), "{name}");
        }
        for name in ["", "Shanghai", "+26:00", "8"] {
            let error = zone(name).unwrap_err().to_string();
            assert!(error.contains("Asia/Shanghai"), "{name}: {error}");
        }
    }
}
