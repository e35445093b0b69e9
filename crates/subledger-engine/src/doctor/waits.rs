//! Lengths of time, sizes and moments as people read them.

use std::time::Duration;

use subledger_domain::Timestamp;

use super::Text;

/// How long it is from one moment to a later one.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.micros().saturating_sub(from.micros())).unwrap_or(0))
}

/// A length of time, in the unit that fits.
pub(super) fn length(of: Duration) -> Text {
    let seconds = of.as_secs();
    let (number, en, zh) = match seconds {
        0..=119 => (seconds, "s", "秒"),
        120..=7_199 => (seconds / 60, "min", "分钟"),
        7_200..=172_799 => (seconds / 3_600, "h", "小时"),
        _ => (seconds / 86_400, "days", "天"),
    };
    Text::new(format!("{number} {en}"), format!("{number} {zh}"))
}

/// Milliseconds with one digit behind the point.
pub(super) fn millis(of: Duration) -> String {
    format!("{:.1} ms", of.as_secs_f64() * 1_000.0)
}

/// Bytes in the unit that fits.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub(super) fn bytes(of: u64) -> String {
    let mut size = of as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1_024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1_024.0;
    }
    format!("{size:.1} TiB")
}

/// A moment in China's time, where WeChat's day is.
pub(super) fn moment(at: Timestamp) -> String {
    let text = jiff::Timestamp::from_microsecond(at.micros()).map(|at| {
        let zoned = at.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
        zoned.strftime("%Y-%m-%d %H:%M:%S+08:00").to_string()
    });
    text.unwrap_or_else(|_| at.micros().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_are_short() {
        let of = |seconds| length(Duration::from_secs(seconds)).en;
        assert_eq!(
            [of(5), of(119), of(120), of(7_200), of(200_000)],
            ["5 s", "119 s", "2 min", "2 h", "2 days"]
        );
        assert_eq!([bytes(5), bytes(2_048), bytes(3 << 30)], ["5.0 B", "2.0 KiB", "3.0 GiB"]);
        assert_eq!(millis(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(moment(Timestamp::from_micros(1_709_308_800_000_000)), "2024-03-02 00:00:00+08:00");
        assert_eq!(between(Timestamp::from_micros(5), Timestamp::from_micros(1)), Duration::ZERO);
    }
}
