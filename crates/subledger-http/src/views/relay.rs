//! The relay of a channel's pushes.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use subledger_domain::{Timestamp, channel::RelayKind};
use subledger_engine::relay::{RelayReport, RelaySet, RelayTested, RelayWish};
use subledger_projection::RelayRow;
use utoipa::ToSchema;

use super::secrets::SecretsView;
use super::words::{RelayFormWord, RelayKindWord, RelayStopWord};
use crate::moment::Moment;

/// Where pushes are to be relayed to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayBody {
    /// Your URL. Without user name, password, query and fragment: it is recorded and shown.
    #[schema(example = "https://hooks.example.com/wechat", max_length = 2048)]
    url: String,
    /// What is sent.
    form: RelayFormWord,
    /// Which pushes; all if left out.
    #[serde(default)]
    #[schema(min_items = 1)]
    kinds: Option<BTreeSet<RelayKindWord>>,
    /// Make a new signing secret. The one before signs, too, for a day.
    #[serde(default)]
    rotate_secret: bool,
}

impl From<RelayBody> for RelayWish {
    fn from(body: RelayBody) -> Self {
        let kinds = match body.kinds {
            Some(kinds) => kinds.into_iter().map(Into::into).collect(),
            None => RelayKind::ALL.into(),
        };
        Self { url: body.url, form: body.form.into(), kinds, rotate_secret: body.rotate_secret }
    }
}

/// A relay that was configured.
#[derive(Serialize, ToSchema)]
pub(crate) struct RelaySetView {
    /// The signing secret, if it is new. It is shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    generated_secret: Option<String>,
    /// Until when the secret before it signs, too.
    previous_secret_until: Option<Moment>,
    #[serde(flatten)]
    secrets: SecretsView,
}

impl RelaySetView {
    pub(crate) fn of(set: RelaySet, secrets: SecretsView) -> Self {
        Self {
            generated_secret: set.secret.map(|secret| secret.expose_secret().to_owned()),
            previous_secret_until: set.previous_until.map(Moment),
            secrets,
        }
    }
}

/// Where the pushes of a channel are relayed to, or were.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelayView {
    /// The URL.
    #[schema(example = "https://hooks.example.com/wechat")]
    url: String,
    /// What is sent.
    form: RelayFormWord,
    /// Which pushes.
    kinds: Vec<RelayKindWord>,
    /// When this was configured.
    configured_at: Moment,
    /// Since when pushes are relayed no more; null while they are.
    stopped_at: Option<Moment>,
    /// Why they are relayed no more.
    stopped_because: Option<RelayStopWord>,
}

impl From<RelayRow> for RelayView {
    fn from(row: RelayRow) -> Self {
        Self {
            url: row.url,
            form: row.form.into(),
            kinds: row.kinds.into_iter().map(Into::into).collect(),
            configured_at: Moment(row.configured_at),
            stopped_at: row.stopped.map(|(at, _)| Moment(at)),
            stopped_because: row.stopped.map(|(_, cause)| cause.into()),
        }
    }
}

/// The relay of a channel and how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelayStateView {
    /// Where pushes are relayed to, or were; null if never.
    relay: Option<RelayView>,
    /// Until when a replaced signing secret signs, too.
    previous_secret_until: Option<Moment>,
    /// Pushes your back end is still to get.
    waiting: u64,
    /// When the oldest of them came.
    oldest_waiting_at: Option<Moment>,
    /// How long ago that is, in seconds.
    oldest_waiting_s: Option<u64>,
    /// Pushes that are not tried any more; `redrive` has them wait again.
    given_up: u64,
    /// What the newest attempt came to for the oldest push that waits, else for the newest whose relay has ended: `ok`, an HTTP
    /// status, or a word.
    #[schema(example = "503")]
    last_status: Option<String>,
    /// Until when the node that answers leaves your back end alone, because it kept failing.
    paused_until: Option<Moment>,
}

impl RelayStateView {
    pub(crate) fn of(row: Option<RelayRow>, report: RelayReport, now: Timestamp) -> Self {
        let oldest = report.health.oldest_waiting_at;
        let age = |at: Timestamp| {
            (now.micros().saturating_sub(at.micros()).max(0) / Timestamp::MICROS_PER_SECOND).unsigned_abs()
        };
        let previous = report.relay.and_then(|relay| relay.previous).map(|previous| previous.until);
        Self {
            relay: row.map(Into::into),
            previous_secret_until: previous.filter(|until| now < *until).map(Moment),
            waiting: report.health.waiting,
            oldest_waiting_at: oldest.map(Moment),
            oldest_waiting_s: oldest.map(age),
            given_up: report.health.given_up,
            last_status: report.health.last_status,
            paused_until: report.paused_until.map(Moment),
        }
    }
}

/// What came back of a test event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelayTestView {
    /// Whether your back end took it: any 2xx.
    delivered: bool,
    /// What became of it, as a word.
    #[schema(example = "delivered")]
    outcome: &'static str,
    /// The HTTP status, if there was an answer.
    status: Option<u16>,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

impl From<RelayTested> for RelayTestView {
    fn from(tested: RelayTested) -> Self {
        let RelayTested { delivered, outcome, status, took } = tested;
        Self { delivered, outcome, status, took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Pushes that wait again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// How many.
    pub(crate) redriven: u64,
}
