//! WeChat's daily quota of a channel, and what is held for want of it.

use serde::Serialize;
use subledger_domain::channel::BulkHeld;
use subledger_engine::quota::{Forecast, Quota};
use utoipa::ToSchema;

use crate::moment::Moment;

/// Why deliveries wait that could be sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HeldView {
    /// Why: `bulk_reserve`, what is left of WeChat's daily quota is kept for single sends.
    #[schema(example = "bulk_reserve")]
    reason: &'static str,
    /// Until then at the latest: WeChat's quota begins anew.
    until: Moment,
    /// In one sentence.
    detail: String,
}

impl HeldView {
    pub(crate) fn of(held: &BulkHeld) -> Self {
        Self {
            reason: "bulk_reserve",
            until: Moment(held.until),
            detail: format!(
                "{} of the {} sends that WeChat allows today were left; {} % are kept for single sends. Bulk goes on when the quota begins anew",
                held.remaining, held.limit, held.reserve
            ),
        }
    }
}

/// WeChat's daily quota of sending, as far as is known. WeChat's figures may be about one per cent off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaView {
    /// Sends a day. Null while WeChat has not told.
    limit: Option<u64>,
    /// Sends made today: WeChat's figure and what was sent from here since.
    used: Option<u64>,
    /// Sends left today: WeChat's figure less what was sent from here since.
    remaining: Option<u64>,
    /// When WeChat was asked for the figures.
    read_at: Option<Moment>,
    /// Sends begun from here since then. What other systems sent since is not known.
    sent_since: Option<u64>,
    /// When the quota begins anew: midnight in China.
    resets_at: Moment,
    /// How long it lasts.
    forecast: ForecastView,
    /// What is kept for single sends.
    bulk_reserve: ReserveView,
    /// The bound within a short time, if WeChat names one.
    rate_limit: Option<RateLimitView>,
    /// When WeChat was last asked, whether or not it told.
    polled_at: Option<Moment>,
    /// Why it did not tell then; null if it did.
    failure: Option<QuotaFailureView>,
}

/// How long the quota lasts at the rate of the last hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForecastView {
    /// `used_up` (at `at`), `lasts` (until it begins anew), or `unknown` (too little to go by).
    state: &'static str,
    /// When it is used up.
    at: Option<Moment>,
    /// Sends an hour, everybody's as far as is known.
    per_hour: Option<f64>,
}

/// The reserve for single sends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReserveView {
    /// In per cent of the limit: the channel's policy `bulk_reserve`.
    percent: u8,
    /// In sends.
    sends: Option<u64>,
    /// The hold of bulk deliveries, if there is one.
    held: Option<HeldView>,
    /// Bulk deliveries that wait, held or not.
    waiting: u64,
}

/// Calls within a short time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitView {
    /// Calls.
    calls: u64,
    /// Within so many seconds.
    seconds: u64,
}

/// Why WeChat did not tell.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaFailureView {
    /// `refused`, `try_again`, `not_reached`, `no_answer`, `no_token`, `token_conflict`, or `not_asked`: in the token mode `normal`
    /// a channel that does not send is not asked about, because fetching a token would retire that of other systems.
    reason: String,
    /// WeChat's code, if it gave one.
    errcode: Option<i64>,
    /// Tries in a row that failed.
    failures: u64,
}

impl From<Quota> for QuotaView {
    fn from(quota: Quota) -> Self {
        let figures = quota.figures;
        let rate_limit = quota.rate();
        let (state, at) = match quota.forecast {
            Forecast::Unknown => ("unknown", None),
            Forecast::Lasts(_) => ("lasts", None),
            Forecast::UsedUp(at, _) => ("used_up", Some(Moment(at))),
        };
        let per_hour = quota.forecast.per_hour().map(|rate| (rate * 10.0).round() / 10.0);
        Self {
            limit: figures.map(|figures| figures.limit),
            used: figures.map(|figures| figures.used),
            remaining: figures.map(|figures| figures.remaining),
            read_at: figures.map(|figures| Moment(figures.read_at)),
            sent_since: figures.map(|figures| figures.sent_since),
            resets_at: Moment(quota.resets_at),
            forecast: ForecastView { state, at, per_hour },
            bulk_reserve: ReserveView {
                percent: quota.reserve_percent,
                sends: quota.reserve,
                held: quota.held.as_ref().map(HeldView::of),
                waiting: quota.bulk_waiting,
            },
            rate_limit: rate_limit.map(|rate| RateLimitView { calls: rate.calls, seconds: rate.seconds }),
            polled_at: quota.polled_at.map(Moment),
            failure: quota.failure.map(|failure| QuotaFailureView {
                reason: failure.word,
                errcode: failure.errcode,
                failures: failure.failures,
            }),
        }
    }
}
