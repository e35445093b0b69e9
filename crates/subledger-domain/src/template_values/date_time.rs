//! The spellings of dates and times that WeChat documents.
//!
//! Dates: `y年m月d日`, `y年m月`, `m月d日`, or the numbers joined with `-`, `/` or `.`. Times: `HH:MM`, `HH:MM:SS`, 24 hours. A date
//! and a time are separated by a space, two points in time by `~`.

/// Whether `value` is one point, or two joined with `~`, each of which passes `is_point`.
pub(super) fn every_point(value: &str, is_point: fn(&str) -> bool) -> bool {
    match value.split_once('~') {
        Some((from, to)) => is_point(from.trim_end()) && is_point(to.trim_start()),
        None => is_point(value),
    }
}

/// A time, alone or after a date.
pub(super) fn is_time_point(text: &str) -> bool {
    match text.rsplit_once(' ') {
        Some((date, time)) => is_date(date.trim_end()) && is_time(time),
        None => is_time(text),
    }
}

/// A date, alone or before a time.
pub(super) fn is_date_point(text: &str) -> bool {
    match text.rsplit_once(' ') {
        Some((date, time)) => is_date(date.trim_end()) && is_time(time),
        None => is_date(text),
    }
}

fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let within = |text: &str, limit: u32| text.len() == 2 && number(text).is_some_and(|n| n < limit);
    match parts.as_slice() {
        [hour, minute] => within(hour, 24) && within(minute, 60),
        [hour, minute, second] => within(hour, 24) && within(minute, 60) && within(second, 60),
        _ => false,
    }
}

fn is_date(text: &str) -> bool {
    is_han_date(text) || ['-', '/', '.'].into_iter().any(|joint| is_joined_date(text, joint))
}

fn is_han_date(text: &str) -> bool {
    let (year, rest) = match text.split_once('年') {
        Some((year, rest)) => (Some(year), rest),
        None => (None, text),
    };
    let Some((month, rest)) = rest.split_once('月') else { return false };
    match (year, rest.strip_suffix('日')) {
        (year, Some(day)) => is_day(year, month, Some(day)),
        (Some(year), None) => rest.is_empty() && is_day(Some(year), month, None),
        (None, None) => false,
    }
}

fn is_joined_date(text: &str, joint: char) -> bool {
    let parts: Vec<&str> = text.split(joint).collect();
    match parts.as_slice() {
        [year, month, day] => is_day(Some(year), month, Some(day)),
        [year, month] if year.len() == 4 => is_day(Some(year), month, None),
        [month, day] => is_day(None, month, Some(day)),
        _ => false,
    }
}

/// Whether the calendar has this day. A 29th of February without a year may exist.
fn is_day(year: Option<&str>, month: &str, day: Option<&str>) -> bool {
    let leap = match year.map(|year| (year.len(), number(year))) {
        None => true,
        Some((4, Some(year))) => year % 4 == 0 && (year % 100 != 0 || year % 400 == 0),
        Some(_) => return false,
    };
    let days = match number(month) {
        _ if month.len() > 2 => return false,
        Some(2) if leap => 29,
        Some(2) => 28,
        Some(4 | 6 | 9 | 11) => 30,
        Some(1..=12) => 31,
        _ => return false,
    };
    day.is_none_or(|day| day.len() <= 2 && number(day).is_some_and(|day| (1..=days).contains(&day)))
}

/// One to four ASCII digits as a number.
fn number(text: &str) -> Option<u32> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
