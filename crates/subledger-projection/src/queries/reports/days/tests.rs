//! Tests of the module above.

#![allow(clippy::unwrap_used)]

use super::*;

/// 2026-03-01T08:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_772_352_000);

fn hours(zone: &str, from: &str, to: &str) -> Vec<(String, i64)> {
    let days = ReportDays::new(Some(from), Some(to), zone, NOW).unwrap();
    assert!(days.days.windows(2).all(|pair| pair[0].until == pair[1].from), "{days:?}");
    let minutes = |day: &ReportDay| (day.until.micros() - day.from.micros()) / 60_000_000;
    days.days.iter().map(|day| (day.date.clone(), minutes(day))).collect()
}

#[test]
fn days_are_those_of_the_zone() {
    let days = ReportDays::new(Some("2026-03-01"), Some("2026-03-01"), "Asia/Shanghai", NOW).unwrap();
    let from = "2026-02-28T16:00:00Z".parse::<jiff::Timestamp>().unwrap();
    assert_eq!(days.from().micros(), from.as_microsecond());
    assert_eq!((days.zone.as_str(), days.days.len()), ("Asia/Shanghai", 1));
    for (zone, from) in [
        ("Asia/Kathmandu", "2026-02-28T18:15:00Z"),
        ("Asia/Kolkata", "2026-02-28T18:30:00Z"),
        ("Australia/Lord_Howe", "2026-02-28T13:00:00Z"),
        ("America/New_York", "2026-03-01T05:00:00Z"),
        ("UTC", "2026-03-01T00:00:00Z"),
    ] {
        let days = ReportDays::new(Some("2026-03-01"), Some("2026-03-01"), zone, NOW).unwrap();
        let from = from.parse::<jiff::Timestamp>().unwrap();
        assert_eq!(days.from().micros(), from.as_microsecond(), "{zone}");
    }
}

#[test]
fn days_on_which_the_clock_changes_have_their_own_length() {
    let day = |date: &str, minutes| (date.to_owned(), minutes);
    assert_eq!(
        hours("America/New_York", "2026-03-08", "2026-03-09"),
        [day("2026-03-08", 23 * 60), day("2026-03-09", 24 * 60)]
    );
    assert_eq!(hours("Europe/Berlin", "2026-10-25", "2026-10-25"), [day("2026-10-25", 25 * 60)]);
    assert_eq!(hours("Australia/Lord_Howe", "2026-04-05", "2026-04-05"), [day("2026-04-05", 24 * 60 + 30)]);
    // The clock jumps over midnight, and over a whole day.
    assert_eq!(hours("America/Santiago", "2024-09-08", "2024-09-08"), [day("2024-09-08", 23 * 60)]);
    assert_eq!(
        hours("Pacific/Apia", "2011-12-29", "2011-12-31"),
        [day("2011-12-29", 24 * 60), day("2011-12-30", 0), day("2011-12-31", 24 * 60)]
    );
}

#[test]
fn without_dates_a_report_is_of_the_last_thirty_days() {
    let days = ReportDays::new(None, None, DEFAULT_ZONE, NOW).unwrap();
    assert_eq!(days.days.len(), 30);
    assert_eq!(days.days.last().unwrap().date, "2026-03-01");
    // It is still the day before in Honolulu.
    let days = ReportDays::new(None, None, "Pacific/Honolulu", NOW).unwrap();
    assert_eq!(days.days.last().unwrap().date, "2026-02-28");
    assert_eq!(ReportDays::new(Some("2026-02-27"), None, DEFAULT_ZONE, NOW).unwrap().days.len(), 3);
}

#[test]
fn what_cannot_be_is_refused_with_its_parameter() {
    let refused = |from: &str, to: &str, zone: &str| {
        let error = ReportDays::new(Some(from), Some(to), zone, NOW).unwrap_err();
        (error.parameter, error.rule)
    };
    let zone = DEFAULT_ZONE;
    assert_eq!(refused("2026-03-02", "2026-03-01", zone), ("from", "range"));
    assert_eq!(refused("2026-02-30", "2026-03-01", zone), ("from", "date"));
    for text in ["", "tomorrow", "2026-3-1", "2026-03-01T00:00:00Z", "+002026-03-01", "二〇二六"] {
        assert_eq!(refused("2026-01-01", text, zone), ("to", "date"), "{text}");
    }
    assert_eq!(refused("1999-12-31", "2026-03-01", zone), ("from", "date_range"));
    assert_eq!(refused("2026-01-01", "2200-01-01", zone), ("to", "date_range"));
    assert_eq!(refused("2026-01-01", "2027-02-05", zone), ("to", "too_many_days"));
    assert_eq!(ReportDays::new(Some("2026-01-01"), Some("2027-02-04"), zone, NOW).unwrap().days.len(), 400);
    let long = "A".repeat(100);
    for zone in ["", "Asia/Nowhere", "../../etc/passwd", "/etc/localtime", "GMT+8:00", "\0", &long] {
        assert_eq!(refused("2026-01-01", "2026-01-02", zone), ("zone", "unknown_zone"), "{zone:?}");
    }
}

#[test]
fn ages_begin_at_midnights_of_the_zone() {
    let ages = ReachAges::new(DEFAULT_ZONE, NOW).unwrap();
    let today = ReportDays::new(Some("2026-03-01"), None, DEFAULT_ZONE, NOW).unwrap().from();
    let days = ages.since.map(|since| (today.micros() - since.micros()) / 86_400_000_000);
    assert_eq!(days, [0, 6, 29, 89]);
}
