//! How long a value is and how long it may be.
//!
//! WeChat does not say what it counts. Unicode characters (scalar values) and UTF-16 units agree on everything but emoji and rare
//! Han; where they disagree about the limit, the answer is "uncertain", not "too long".

use super::alphabet::is_han;

/// The limit of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// None documented.
    None,
    /// So many characters.
    Characters(u32),
    /// So many digits, whatever stands between them.
    Digits(u32),
    /// So many digits before the decimal point.
    WholeDigits(u32),
    /// `han` characters if any of them is Han, else `other`.
    HanOrElse {
        /// The limit of a value with Han; a mixed value counts as Chinese.
        han: u32,
        /// The limit of a value without.
        other: u32,
    },
}

/// By how much a value goes past its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too long however it is counted.
    Certain {
        /// How many.
        count: usize,
        /// Of what.
        unit: &'static str,
    },
    /// Too long only in UTF-16 units.
    Uncertain {
        /// Unicode characters.
        scalars: usize,
        /// UTF-16 units.
        utf16: usize,
    },
}

impl Limit {
    /// The limit and the excess, if there is one.
    pub(super) fn exceeded_by(self, value: &str) -> Option<(u32, Excess)> {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        let (limit, count) = match self {
            Self::None => return None,
            Self::Characters(limit) => return characters(limit, value),
            Self::HanOrElse { han, other } => {
                return characters(if value.chars().any(is_han) { han } else { other }, value);
            }
            Self::Digits(limit) => (limit, digits(value)),
            Self::WholeDigits(limit) => (limit, digits(value.split('.').next().unwrap_or(value))),
        };
        let excess = Excess::Certain { count, unit: "digits" };
        (count > limit as usize).then_some((limit, excess))
    }
}

fn characters(limit: u32, value: &str) -> Option<(u32, Excess)> {
    let scalars = value.chars().count();
    let utf16 = utf16_units(value);
    if scalars > limit as usize {
        return Some((limit, Excess::Certain { count: scalars, unit: "characters" }));
    }
    (utf16 > limit as usize).then_some((limit, Excess::Uncertain { scalars, utf16 }))
}

/// The length of `value` in UTF-16 units, as JavaScript counts.
pub fn utf16_units(value: &str) -> usize {
    value.chars().map(char::len_utf16).sum()
}

/// The longest beginning of `value` that together with an ellipsis fits `limit` however it is counted; the whole value if
/// it fits. Never ends in the middle of a character or on a joiner.
pub fn cut(value: &str, limit: u32) -> String {
    let limit = limit as usize;
    if utf16_units(value) <= limit {
        return value.to_owned();
    }
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units < limit
    };
    let kept: String = value.chars().take_while(fits).collect();
    let kept = kept.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{200d}');
    if limit == 0 { String::new() } else { format!("{kept}…") }
}
