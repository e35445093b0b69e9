//! Arithmetic of a quota: what is left at this moment, and until when it lasts. Pure: time is handed in.
//!
//! A day is one of China's (UTC+8, no daylight saving since 1991). That the quota begins anew at its midnight is commonly
//! understood and stated nowhere (§10).

use subledger_domain::Timestamp;
use subledger_store::QuotaSample;

const SHANGHAI_OFFSET_MICROS: i64 = 8 * 3_600 * Timestamp::MICROS_PER_SECOND;
const DAY_MICROS: i64 = 24 * 3_600 * Timestamp::MICROS_PER_SECOND;
/// The rate of a forecast is that of this last while.
const WINDOW_SECONDS: i64 = 3_600;
/// A rate over less than this says nothing.
const LEAST_SECONDS: i64 = 60;

/// The beginning of the day in China that a moment falls into.
pub(crate) const fn day_start(at: Timestamp) -> Timestamp {
    let local = at.micros().saturating_add(SHANGHAI_OFFSET_MICROS);
    Timestamp::from_micros(local.div_euclid(DAY_MICROS) * DAY_MICROS - SHANGHAI_OFFSET_MICROS)
}

/// The beginning of the next one.
pub(crate) const fn next_day(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(day_start(at).micros().saturating_add(DAY_MICROS))
}

/// The figures of a moment: WeChat's newest, less what we sent since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Sends a day.
    pub limit: u64,
    /// Sends made today, as far as is known: others' sends since WeChat was asked are not in it.
    pub used: u64,
    /// Sends left today.
    pub remaining: u64,
    /// Sends we began since WeChat was asked, or today if it was asked before today.
    pub sent_since: u64,
    /// When WeChat was asked.
    pub read_at: Timestamp,
}

impl Figures {
    /// From WeChat's newest answer and the sends we have begun today.
    pub(crate) const fn of(sample: &QuotaSample, ours_today: u64, now: Timestamp) -> Self {
        let limit = sample.limit;
        let same_day = day_start(sample.read_at).micros() == day_start(now).micros();
        // An answer of an earlier day tells the limit alone.
        let (used, remaining, ours) =
            if same_day { (sample.used, sample.remain, sample.ours) } else { (0, limit, 0) };
        let sent_since = ours_today.saturating_sub(ours);
        Self {
            limit,
            used: used.saturating_add(sent_since),
            remaining: remaining.saturating_sub(sent_since),
            sent_since,
            read_at: sample.read_at,
        }
    }
}

/// Until when a quota lasts at the rate of the last hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Forecast {
    /// Too little is known.
    Unknown,
    /// It lasts until it begins anew. Sends an hour.
    Lasts(f64),
    /// It is used up then. Sends an hour.
    UsedUp(Timestamp, f64),
}

impl Forecast {
    /// Sends an hour, if known.
    pub const fn per_hour(&self) -> Option<f64> {
        match self {
            Self::Unknown => None,
            Self::Lasts(rate) | Self::UsedUp(_, rate) => Some(*rate),
        }
    }
}

/// Forecasts from the samples of a channel (oldest first) and the figures of this moment.
///
/// The rate is what was used, by anybody, since the oldest sample of today within the last hour. If there is none so young,
/// since the newest of today; if there is none of today at all, what we sent since midnight.
#[expect(clippy::cast_precision_loss, reason = "a forecast needs no more than 53 bits")]
pub(crate) fn forecast(samples: &[QuotaSample], figures: &Figures, now: Timestamp) -> Forecast {
    let today = day_start(now);
    if figures.remaining == 0 {
        return Forecast::UsedUp(now, 0.0);
    }
    let of_today = || samples.iter().filter(|sample| today <= sample.read_at);
    let window = now.plus_seconds(-WINDOW_SECONDS);
    let base = of_today().find(|sample| window <= sample.read_at).or_else(|| of_today().next_back());
    let (since, used_then) = base.map_or((today, 0), |sample| (sample.read_at, sample.used));
    let elapsed = now.micros().saturating_sub(since.micros());
    if elapsed < LEAST_SECONDS * Timestamp::MICROS_PER_SECOND {
        return Forecast::Unknown;
    }
    let hours = elapsed as f64 / (3_600.0 * Timestamp::MICROS_PER_SECOND as f64);
    let rate = figures.used.saturating_sub(used_then) as f64 / hours;
    let left =
        (next_day(now).micros() - now.micros()) as f64 / (3_600.0 * Timestamp::MICROS_PER_SECOND as f64);
    if rate * left < figures.remaining as f64 {
        return Forecast::Lasts(rate);
    }
    let seconds = figures.remaining as f64 / rate * 3_600.0;
    // Less than a day, as was just found.
    #[expect(clippy::cast_possible_truncation, reason = "less than a day of seconds")]
    Forecast::UsedUp(now.plus_seconds(seconds as i64), rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-01T16:00:00Z, midnight in China.
    const MIDNIGHT: Timestamp = Timestamp::from_micros(1_709_308_800_000_000);

    fn at(seconds: i64) -> Timestamp {
        MIDNIGHT.plus_seconds(seconds)
    }

    fn sample(seconds: i64, used: u64, ours: u64) -> QuotaSample {
        QuotaSample { read_at: at(seconds), limit: 1_000, used, remain: 1_000 - used, ours, rate: None }
    }

    #[test]
    fn a_day_is_one_of_china() {
        assert_eq!(day_start(at(-1)), at(-86_400));
        assert_eq!((day_start(at(0)), next_day(at(0))), (at(0), at(86_400)));
        assert_eq!(day_start(at(86_399)), at(0));
    }

    #[test]
    fn what_we_sent_since_is_taken_from_what_wechat_said() {
        let now = Figures::of(&sample(100, 300, 50), 80, at(200));
        assert_eq!((now.used, now.remaining, now.sent_since), (330, 670, 30));
        // Counts that lag behind are not negative.
        assert_eq!(Figures::of(&sample(100, 300, 50), 40, at(200)).remaining, 700);
        assert_eq!(Figures::of(&sample(100, 999, 0), 5, at(200)).remaining, 0);
    }

    #[test]
    fn an_answer_of_yesterday_tells_the_limit_alone() {
        let now = Figures::of(&sample(-100, 900, 700), 12, at(1));
        assert_eq!((now.limit, now.used, now.remaining, now.sent_since), (1_000, 12, 988, 12));
    }

    fn forecast_at(samples: &[QuotaSample], ours: u64, now: i64) -> Forecast {
        let figures = Figures::of(samples.last().unwrap_or(&sample(-1, 0, 0)), ours, at(now));
        forecast(samples, &figures, at(now))
    }

    #[test]
    fn the_rate_is_that_of_the_last_hour() {
        let noon = 12 * 3_600;
        // 500 an hour long ago, 100 in the last half hour.
        let samples = [sample(noon - 7_200, 0, 0), sample(noon - 1_800, 500, 0), sample(noon, 600, 0)];
        let Forecast::UsedUp(when, rate) = forecast_at(&samples, 0, noon) else { panic!() };
        assert!((rate - 200.0).abs() < 0.01, "{rate}");
        // 400 left at 200 an hour.
        assert_eq!(when, at(noon + 7_200));
        // What we sent since the newest sample counts too.
        let Forecast::UsedUp(when, _) = forecast_at(&samples, 100, noon + 1_800) else { panic!() };
        assert_eq!(when, at(noon + 1_800 + 300 * 3_600 / 200));
    }

    #[test]
    fn it_may_last_until_midnight() {
        let late = 23 * 3_600;
        let samples = [sample(late - 3_600, 100, 0), sample(late, 200, 0)];
        assert_eq!(forecast_at(&samples, 0, late), Forecast::Lasts(100.0));
        let still = [sample(late - 3_600, 100, 0), sample(late, 100, 0)];
        assert_eq!(forecast_at(&still, 0, late), Forecast::Lasts(0.0));
        // A quota that was cleared in between.
        let cleared = [sample(late - 3_600, 900, 0), sample(late, 10, 0)];
        assert_eq!(forecast_at(&cleared, 0, late), Forecast::Lasts(0.0));
    }

    #[test]
    fn too_little_to_go_by_is_said() {
        assert_eq!(forecast_at(&[sample(30, 5, 5)], 5, 60), Forecast::Unknown);
        assert_eq!(forecast_at(&[], 0, 30), Forecast::Unknown);
        // Nothing of today but our own count since midnight.
        let Forecast::Lasts(rate) = forecast_at(&[sample(-60, 900, 0)], 10, 3_600) else { panic!() };
        assert!((rate - 10.0).abs() < 0.01);
    }

    #[test]
    fn what_is_used_up_is_used_up_now() {
        assert_eq!(forecast_at(&[sample(30, 1_000, 5)], 5, 60), Forecast::UsedUp(at(60), 0.0));
    }
}
