//! The feed: the event log, for integrators and warehouses that follow it without a callback.
//!
//! Who may follow what is said in [`crate::feed`].

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, LogName};
use subledger_engine::{Engine, EngineError};
use subledger_store::Position;
use utoipa::{IntoParams, ToSchema};

use crate::{
    context::Context,
    extract::{Deployment, Query, Read},
    feed,
    middleware::auth,
    problem::ApiError,
    reply::POSITION,
    views::EventView,
};

/// Events of a page when the caller does not say.
const DEFAULT_LIMIT: u32 = 100;
/// Events of a page at most.
const MAX_LIMIT: u32 = 1_000;
/// Where a stream goes on after the connection broke.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// Parameters of the feed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The log: a channel's code, or `main`.
    #[param(example = "wechatmp123")]
    log: String,
    /// Only events after this position, 0 by default. `Last-Event-ID` outweighs it.
    after: Option<u64>,
    /// Events wanted, 100 by default. Streams have no limit.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage {
    /// The events, in order of position.
    items: Vec<EventView>,
    /// Hand it back as `after` for the events that follow. Never null: more may be recorded later.
    next_after: u64,
    /// The position the log ended at. Equal to `next_after`: nothing more for now.
    position: u64,
}

/// Follow the event log.
///
/// Without more, a page of JSON. With `Accept: text/event-stream`, server-sent events: `id` is the position, `event` the
/// kind, `data` the event as in a page; comments keep a silent stream open. A browser or client that reconnects sends
/// `Last-Event-ID` and misses nothing. Needs the right `read` for the channel; the log `main` needs `manage` as well, and a
/// key that is not limited to channels.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery), security(("api_key" = ["read"])),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn read_events(
    scope: Deployment<Read>,
    Query(query): Query<EventsQuery>,
    State(context): State<Context>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = limit(query.limit)?;
    let after = match last_event_id(&headers)? {
        Some(after) => after,
        None => query.after.unwrap_or(0),
    };
    let engine = context.engine();
    let log = permitted(&scope, engine, &query.log).await?;
    let head = engine.store().head(&log).await?.position.0;
    if after > head {
        // Nobody was ever told of a position that is not there: the database was set back, or the log is another.
        let rule = format!("must be at most {head}, where the log ends; found {after}");
        return Err(EngineError::field("bad_after", "/after", "bad_after", rule).into());
    }
    if wants_stream(&headers) {
        let key = auth::bearer(&headers).ok_or_else(ApiError::missing_key)?;
        let slot = context.streams().open(auth::public_part(&key))?;
        let mut response =
            feed::stream(engine.clone(), context.settings().heartbeat, log, Position(after), key, slot);
        response.headers_mut().insert(POSITION, HeaderValue::from(head));
        return Ok(response);
    }
    let events = engine.store().read_log(&log, Position(after), limit).await?;
    let next_after = events.last().map_or(after, |event| event.position.0);
    let items = events.iter().map(EventView::new).collect::<Result<Vec<_>, _>>()?;
    let page = EventPage { items, next_after, position: head.max(next_after) };
    let mut response = ([(POSITION, HeaderValue::from(page.position))], Json(page)).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// The log, if the key may follow it and it exists. Refusals come in the order of all routes: no right, no such channel.
async fn permitted(scope: &Deployment<Read>, engine: &Engine, log: &str) -> Result<LogName, ApiError> {
    let log = LogName::new(log);
    feed::may_follow(&scope.rights, &log)?;
    if log != LogName::main() {
        let code: ChannelCode = log.as_str().parse().map_err(|_| EngineError::unknown_channel())?;
        // The read model first, because it is one row; the log only where the channel may be too new for it.
        if engine.queries().channel(&code).await?.value.is_none() {
            engine.registered(&code).await?;
        }
    }
    Ok(log)
}

fn limit(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        limit => {
            let rule = format!("must be 1 to {MAX_LIMIT}; found {limit}");
            Err(EngineError::field("bad_limit", "/limit", "bad_limit", rule).into())
        }
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    position.map(Some).ok_or_else(|| {
        let rule = "must be the position of the last event that came";
        EngineError::field("bad_last_event_id", "/Last-Event-ID", "bad_last_event_id", rule).into()
    })
}

/// Whether the caller names the media type of streams; a wildcard asks for a page.
fn wants_stream(headers: &HeaderMap) -> bool {
    let named = |value: &str| {
        value.split(',').any(|part| {
            let kind = part.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case(EVENT_STREAM)
        })
    };
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(named)
}
