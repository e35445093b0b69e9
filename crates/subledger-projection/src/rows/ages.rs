//! Classes of age: how long a time was, by a closed set of words. Times that passed, not days of a calendar.

use subledger_domain::Timestamp;

const SECOND: i64 = Timestamp::MICROS_PER_SECOND;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Words for ages. An age has the first word whose bound it is below.
#[derive(Debug)]
pub struct AgeClasses {
    /// The words, youngest first. The last but one is for what is at no bound, the last for what has no age.
    pub words: &'static [&'static str],
    /// The bounds in microseconds, one fewer than there are words for ages.
    pub(crate) bounds: &'static [i64],
}

/// How old the newest grant was when drift was found.
pub const GRANT_AGES: AgeClasses = AgeClasses {
    words: &["1_day", "7_days", "30_days", "90_days", "older", "unknown"],
    bounds: &[DAY, 7 * DAY, 30 * DAY, OLD_GRANT_MICROS],
};

/// How long a delivery was in doubt. A channel lets doubts be for three days unless it says otherwise, and for thirty at most.
pub const DOUBT_AGES: AgeClasses = AgeClasses {
    words: &["1_minute", "1_hour", "1_day", "3_days", "30_days", "older"],
    bounds: &[60 * SECOND, HOUR, DAY, 3 * DAY, 30 * DAY],
};

/// From this age on a grant is old.
pub(crate) const OLD_GRANT_MICROS: i64 = 90 * DAY;

impl AgeClasses {
    /// The word for an age in microseconds; the last one where there is none.
    pub fn word(&self, age: Option<i64>) -> &'static str {
        let place = match age {
            Some(age) => self.bounds.partition_point(|bound| *bound <= age),
            None => self.words.len() - 1,
        };
        self.words.get(place).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_older_class() {
        for (age, word) in [
            (Some(-5), "1_day"),
            (Some(DAY - 1), "1_day"),
            (Some(DAY), "7_days"),
            (Some(30 * DAY), "90_days"),
            (Some(90 * DAY - 1), "90_days"),
            (Some(90 * DAY), "older"),
            (None, "unknown"),
        ] {
            assert_eq!(GRANT_AGES.word(age), word, "{age:?}");
        }
        assert_eq!((DOUBT_AGES.word(Some(0)), DOUBT_AGES.word(Some(3 * DAY))), ("1_minute", "30_days"));
        assert_eq!(DOUBT_AGES.word(Some(30 * DAY)), "older");
    }
}
