//! `?at=`: what was known then.
//!
//! A read of the past asks the log and not the read models, so there is nothing to wait for: `at` and `min_position`
//! together are refused. A point before the first event is no mistake, it is an answer ("not known yet").

use serde::Deserialize;
use subledger_audit::history::{At, History, HistoryError, Point, default_zone};
use subledger_domain::StreamName;
use subledger_engine::{Engine, EngineError};
use subledger_projection::ReplayError;
use subledger_store::StoreError;
use utoipa::IntoParams;

use super::{
    query::position,
    scope::{Read, Scope},
};
use crate::problem::ApiError;

/// Parameters of a read that can be asked of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PastReadQuery {
    /// Read your own write: answer only once this position of the channel's log is shown. Not together with `at`.
    pub(crate) min_position: Option<u64>,
    /// What was known then: a position of the channel's log, an RFC 3339 time (write `+` as `%2B`), or a date or time
    /// without an offset, meant in Asia/Shanghai.
    #[param(example = "2026-03-01T16:00:00+08:00")]
    pub(crate) at: Option<String>,
}

/// Parameters of a list that can be asked of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PastPageQuery {
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown. Not together with `at`.
    pub(crate) min_position: Option<u64>,
    /// What was known then: a position of the channel's log, an RFC 3339 time (write `+` as `%2B`), or a date or time
    /// without an offset, meant in Asia/Shanghai. Ask for all pages with the same `at`.
    #[param(example = "2026-03-01T16:00:00+08:00")]
    pub(crate) at: Option<String>,
}

/// Parameters of an explanation.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplanationQuery {
    /// The newest items wanted of each list, 50 by default. The sums stay whole: what is left out is counted.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown. Not together with `at`.
    pub(crate) min_position: Option<u64>,
    /// What was known then: a position of the channel's log, an RFC 3339 time (write `+` as `%2B`), or a date or time
    /// without an offset, meant in Asia/Shanghai.
    #[param(example = "2026-03-01T16:00:00+08:00")]
    pub(crate) at: Option<String>,
}

/// A point in the past of the channel, and who can tell about it.
pub(crate) struct Then {
    /// The past of the store.
    pub(crate) history: History,
    /// The point.
    pub(crate) point: Point,
}

impl Scope<Read> {
    /// The point in the past that is asked for; none for a read of now, which is ready then.
    pub(crate) async fn then(
        &self,
        engine: &Engine,
        at: Option<&str>,
        min_position: Option<u64>,
    ) -> Result<Option<Then>, ApiError> {
        let Some(text) = at else {
            self.ready(engine, position(min_position)).await?;
            return Ok(None);
        };
        if min_position.is_some() {
            let rule = "not together with at: the past is there already";
            return Err(EngineError::field("invalid_query", "/min_position", "not_with_at", rule).into());
        }
        let at = parse(text)?;
        engine.registered(&self.code).await?;
        let history = History::new(engine.store().clone());
        let point = history.point(&self.log, at).await.map_err(refused)?;
        Ok(Some(Then { history, point }))
    }

    /// Where nothing was known then: nothing, if something was recorded since; a refusal, if there never was anything.
    pub(crate) async fn not_yet(
        &self,
        then: &Then,
        stream: &StreamName,
        unknown: EngineError,
    ) -> Result<(), ApiError> {
        let exists = then.history.exists(&self.log, stream).await.map_err(refused)?;
        if exists { Ok(()) } else { Err(unknown.into()) }
    }
}

fn parse(text: &str) -> Result<At, ApiError> {
    // A plus sign that was not escaped arrives as a blank; after a T it cannot have been anything else.
    let text = if text.contains('T') { text.trim().replacen(' ', "+", 1) } else { text.to_owned() };
    At::parse(&text, &default_zone())
        .map_err(|error| EngineError::field("bad_at", "/at", "bad_at", format!("at {error}")).into())
}

/// What kept the past from being told.
pub(crate) fn refused(error: HistoryError) -> ApiError {
    match error {
        HistoryError::BeyondHead { .. } => {
            EngineError::field("bad_at", "/at", "beyond_end", error.to_string()).into()
        }
        HistoryError::TooLong { .. } => {
            EngineError::field("too_long", "/at", "too_long", error.to_string()).into()
        }
        HistoryError::Store(error) => EngineError::from(error).into(),
        HistoryError::Query(error) => EngineError::from(error).into(),
        HistoryError::Replay(ReplayError::Newer(event)) => EngineError::from(StoreError::Newer(event)).into(),
        HistoryError::Replay(error) => ApiError::internal(format!("the past cannot be told: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use subledger_audit::history::FORMS;
    use subledger_domain::Timestamp;

    use super::*;

    #[test]
    fn a_plus_that_arrived_as_a_blank_is_understood() {
        let moment = At::Time(Timestamp::from_micros(1_772_352_000_000_000));
        for text in ["2026-03-01T16:00:00+08:00", "2026-03-01T16:00:00 08:00", "2026-03-01 16:00"] {
            assert_eq!(parse(text).unwrap(), moment, "{text}");
        }
        assert!(FORMS.contains("2026-03-01T16:00:00+08:00"));
    }
}
