//! Query strings. An unknown parameter is refused: a filter that is misspelt would otherwise show everything.

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use subledger_domain::{Openid, TemplateId, UserId};
use subledger_engine::EngineError;
use subledger_projection::{MAX_PAGE, PageRequest};
use subledger_store::Position;
use utoipa::IntoParams;

use super::{faults::field_error, scope::parse_id};
use crate::{context::Context, problem::ApiError, views::DeliveryStateWord};

/// Rows of a page when the caller does not say.
const DEFAULT_LIMIT: u32 = 50;

/// A query string, read strictly.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Context> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, ApiError> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let mut field = field_error(error.path(), &error.inner().to_string());
        if field.rule == "unknown_field" {
            field.rule = "unknown_parameter".to_owned();
        }
        let detail = format!("{}: {}", field.pointer.trim_start_matches('/'), field.detail);
        EngineError { fields: vec![field], ..EngineError::invalid("invalid_query", detail) }.into()
    })
}

/// Parameters of every read of a channel.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// Read your own write: answer only once this position of the channel's log is shown.
    pub(crate) min_position: Option<u64>,
}

/// Parameters of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    pub(crate) min_position: Option<u64>,
}

/// Parameters of the list of channels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChannelsQuery {
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
}

/// Parameters of the list of ledgers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgersQuery {
    /// Only of this template.
    pub(crate) template_id: Option<String>,
    /// Only of this user. Not together with `openid`.
    pub(crate) userid: Option<String>,
    /// Only of this openid. Not together with `userid`.
    pub(crate) openid: Option<String>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    pub(crate) min_position: Option<u64>,
}

/// Parameters of the list of messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessagesQuery {
    /// Only messages with at least one delivery in this state.
    #[param(inline)]
    pub(crate) state: Option<DeliveryStateWord>,
    /// Only of this template.
    pub(crate) template_id: Option<String>,
    /// Only asked for by this sender app.
    pub(crate) app: Option<String>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Rows wanted, 50 by default.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// Read your own write: answer only once this position of the channel's log is shown.
    pub(crate) min_position: Option<u64>,
}

/// Parameters of the list of deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Only deliveries in this state.
    #[param(inline)]
    pub(crate) state: Option<DeliveryStateWord>,
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

/// The limit asked for, checked.
pub(crate) fn limit(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit if (1..=MAX_PAGE).contains(&limit) => Ok(limit),
        limit => {
            let rule = format!("must be 1 to {MAX_PAGE}; found {limit}");
            Err(EngineError::field("bad_limit", "/limit", "bad_limit", rule).into())
        }
    }
}

/// A page of a query of the read models.
pub(crate) fn page(cursor: Option<String>, asked: Option<u32>) -> Result<PageRequest, ApiError> {
    Ok(PageRequest { limit: limit(asked)?, after: cursor })
}

/// A position to wait for.
pub(crate) fn position(min_position: Option<u64>) -> Option<Position> {
    min_position.map(Position)
}

impl LedgersQuery {
    /// The template asked for.
    pub(crate) fn template(&self) -> Result<Option<TemplateId>, ApiError> {
        self.template_id.as_deref().map(|text| parse_id("bad_template_id", "/template_id", text)).transpose()
    }

    /// The user asked for.
    pub(crate) fn user(&self) -> Result<Option<UserId>, ApiError> {
        self.userid.as_deref().map(|text| parse_id("bad_userid", "/userid", text)).transpose()
    }

    /// The openid asked for.
    pub(crate) fn openid(&self) -> Result<Option<Openid>, ApiError> {
        self.openid.as_deref().map(|text| parse_id("bad_openid", "/openid", text)).transpose()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::Value;

    use super::*;

    async fn check<T: DeserializeOwned + std::fmt::Debug>(query: &str, pointer: &str, rule: &str) {
        let response = crate::problem::render(parse::<T>(query).unwrap_err().into_response(), "r");
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem["code"], "invalid_query", "{query}");
        assert_eq!(problem["status"], 422);
        let found = (&problem["errors"][0]["pointer"], &problem["errors"][0]["rule"]);
        assert_eq!(found, (&pointer.into(), &rule.into()), "{query}: {problem}");
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named() {
        check::<PageQuery>("limits=3", "/limits", "unknown_parameter").await;
        check::<PageQuery>("limit=many", "/limit", "invalid").await;
        check::<PageQuery>("limit=-1", "/limit", "invalid").await;
        check::<PageQuery>("limit=1&limit=2", "/limit", "duplicate_field").await;
        check::<ReadQuery>("min_position=x", "/min_position", "invalid").await;
        check::<MessagesQuery>("state=lost", "/state", "not_allowed").await;
    }

    #[test]
    fn limits_are_checked() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some(200)).unwrap(), 200);
        assert!(limit(Some(0)).is_err());
        assert!(limit(Some(201)).is_err());
    }

    #[test]
    fn a_plain_query_is_read() {
        let query: MessagesQuery = parse("state=in_doubt&app=shop&limit=7").unwrap();
        assert_eq!(query.limit, Some(7));
        assert_eq!(query.app.as_deref(), Some("shop"));
        assert_eq!(query.state, Some(DeliveryStateWord::InDoubt));
    }
}
