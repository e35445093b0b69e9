//! How a value of a type has to be written: numbers, amounts, car numbers, dates and times.

use super::{alphabet::is_han, date_time};

/// A way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Digits with at most one decimal part.
    Number,
    /// A currency sign, digits with at most one decimal part, 元.
    Amount,
    /// Han first and last, letters and digits between.
    CarNumber,
    /// A 24-hour time, after a date or alone; two of them with `~`.
    Time,
    /// A date, with or without a 24-hour time; two of them with `~`.
    Date,
}

impl Shape {
    /// What is wrong, if something is.
    pub(super) fn fault(self, value: &str) -> Option<String> {
        let right = match self {
            Self::Number => is_number(value),
            Self::Amount => is_amount(value),
            Self::CarNumber => is_car_number(value),
            Self::Time => date_time::every_point(value, date_time::is_time_point),
            Self::Date => date_time::every_point(value, date_time::is_date_point),
        };
        let count = value.chars().count();
        (!right).then(|| format!("{count} characters that do not read as {}", self.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Amount => "an amount",
            Self::CarNumber => "a car number",
            Self::Time => "a time",
            Self::Date => "a date",
        }
    }

    /// What is right, as advice.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Number => "write digits, with at most one decimal part: 12.5",
            Self::Amount => "write up to one currency sign, up to 10 digits, decimals, 元: ¥12.50 or 12.50元",
            Self::CarNumber => "write letters and digits; only the first and last may be Chinese: 粤A12345",
            Self::Time => {
                "write a 24-hour time, if need be after a date: 09:30, 2025-01-31 09:30, 09:30~10:00"
            }
            Self::Date => "write a date, if need be with a 24-hour time: 2025-01-31, 2025年1月31日 09:30",
        }
    }
}

/// `\d+(\.\d+)?`
fn is_number(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match value.split_once('.') {
        Some((whole, decimals)) => digits(whole) && digits(decimals),
        None => digits(value),
    }
}

/// `sign? \d{1,10}(\.\d+)? 元?`. Negative amounts are undocumented, so a minus is no currency sign. Too many digits are
/// reported as a length.
fn is_amount(value: &str) -> bool {
    let value = value.strip_suffix('元').unwrap_or(value);
    let sign = |c: char| {
        !c.is_alphanumeric() && !c.is_whitespace() && !matches!(c, '-' | '+' | '.' | '−' | '－') && !is_han(c)
    };
    is_number(value.strip_prefix(sign).unwrap_or(value))
}

fn is_car_number(value: &str) -> bool {
    let last = value.chars().count().saturating_sub(1);
    value
        .chars()
        .enumerate()
        .all(|(at, c)| c.is_ascii_alphanumeric() || ((at == 0 || at == last) && is_han(c)))
}
