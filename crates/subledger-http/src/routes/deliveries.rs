//! Deliveries: what became of each recipient, what is in doubt, and settling a doubt by hand.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use subledger_domain::{DeliveryId, MessageId};
use subledger_engine::{Engine, EngineError, doubts::DoubtFilter, limits};
use subledger_projection::{DeliveryRow, DeliveryState, Page as Rows, ProjectionName};
use subledger_store::QueueEntry;
use utoipa::ToSchema;

use super::{
    messages::{find, find_then},
    paths::{ChannelPath, DeliveryPath, Idempotent, MessagePath},
    shown::shown,
};
use crate::{
    cursor,
    extract::{
        DeliveriesQuery, IdempotencyKey, Json, PageQuery, PastReadQuery, Query, Read, Scope, Settle, page,
        parse_id, position,
    },
    moment::Moment,
    people::People,
    problem::ApiError,
    reply::{Acknowledged, At, Page, Past, Written, acknowledged},
    views::{DeliveryView, VerdictWord, is_bulk},
};

/// How a doubt is settled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleBody {
    /// `sent` spends the grant; `not_sent` opens it again.
    verdict: VerdictWord,
    /// On what ground; kept in the books.
    #[schema(example = "the user showed the card", max_length = 500)]
    reason: String,
}

/// Which doubts are settled together, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "in_doubt_since": "2026-03-01T16:00:00+08:00", "verdict": "sent", "reason": "an outage of our line", "dry_run": true
}))]
pub(crate) struct SettleManyBody {
    /// Only of this template.
    template_id: Option<String>,
    /// Only those in doubt since then or longer. All, if left out.
    in_doubt_since: Option<Moment>,
    /// `sent` spends the grants; `not_sent` opens them again.
    verdict: VerdictWord,
    /// On what ground; kept in the books with each.
    #[schema(max_length = 500)]
    reason: String,
    /// Only say which deliveries fit, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// How many at most, longest in doubt first: 1 to 1,000, which is also what it is without.
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// A delivery in doubt.
#[derive(Serialize, ToSchema)]
pub(crate) struct DoubtView {
    /// The message.
    msgid: String,
    /// The recipient's place in the request.
    index: u32,
    /// The template.
    template_id: String,
    /// Since when it is in doubt.
    in_doubt_since: Moment,
}

/// What settling several doubts came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SettledView {
    /// Whether nothing was changed.
    dry_run: bool,
    /// The deliveries that fitted, longest in doubt first.
    matched: Vec<DoubtView>,
    /// How many of them this request settled; the others had ended in the meantime.
    settled: u32,
    /// Whether more fit than `limit`: ask again.
    more: bool,
}

/// List the deliveries of a message.
#[utoipa::path(get, path = "/channels/{code}/messages/{msgid}/deliveries", tag = "deliveries",
    params(MessagePath, DeliveriesQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<Page<DeliveryView>>)))]
pub(crate) async fn list_deliveries(
    scope: Scope<Read>,
    Query(query): Query<DeliveriesQuery>,
    State(engine): State<Engine>,
) -> Result<Past<Page<DeliveryView>>, ApiError> {
    let id: MessageId = scope.id("msgid", "bad_msgid")?;
    let request = page(query.cursor, query.limit)?;
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let state: Option<DeliveryState> = query.state.map(Into::into);
    let Some(then) = then else {
        let message = find(&scope, &engine, id).await?.value;
        let rows = engine.queries().deliveries(&scope.code, id, state, &request).await?;
        let mut page = show(&scope, &engine, rows).await?;
        if is_bulk(&message) {
            let held = engine.bulk_held(&scope.code).await?;
            page.items = page.items.into_iter().map(|view| view.held_by(held.as_ref())).collect();
        }
        return Ok(Past::Now(page));
    };
    let Some(past) = find_then(&scope, &then, id).await? else { return Ok(Past::not_yet(then.point)) };
    let mut rows = past.deliveries;
    rows.retain(|row| state.is_none_or(|state| row.state == state));
    let (cursor, limit) = (request.after.as_deref(), request.limit as usize);
    let (items, next) = cursor::cut("past_deliveries", rows, |row| row.index, cursor, limit)?;
    let page = show(&scope, &engine, Rows { items, next, position: then.point.position }).await?;
    Ok(Past::then(then.point, page))
}

/// Show a delivery.
#[utoipa::path(get, path = "/channels/{code}/messages/{msgid}/deliveries/{index}", tag = "deliveries",
    params(DeliveryPath, PastReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<At<DeliveryView>>)))]
pub(crate) async fn show_delivery(
    scope: Scope<Read>,
    Query(query): Query<PastReadQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<DeliveryView>>, ApiError> {
    let id = DeliveryId::new(scope.id("msgid", "bad_msgid")?, scope.index()?);
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let unknown =
        || EngineError::not_found("unknown_delivery", "the message has no recipient with this index");
    let mut held = None;
    let (row, position) = match &then {
        None => {
            if is_bulk(&find(&scope, &engine, id.message).await?.value) {
                held = engine.bulk_held(&scope.code).await?;
            }
            let answer = engine.queries().delivery(&scope.code, id).await?;
            (answer.value.ok_or_else(unknown)?, answer.position)
        }
        Some(then) => {
            let Some(past) = find_then(&scope, then, id.message).await? else {
                return Ok(Past::not_yet(then.point));
            };
            let found = past.deliveries.into_iter().find(|row| row.index == id.index);
            match found {
                Some(row) => (row, then.point.position),
                None if id.index < past.row.targeted => return Ok(Past::not_yet(then.point)),
                None => return Err(unknown().into()),
            }
        }
    };
    let people = People::behind(&engine, &scope.log, row.subject, row.user_ref).await?;
    let answer = At::new(position, DeliveryView::new(row, &people).held_by(held.as_ref()));
    Ok(match then {
        Some(then) => Past::then(then.point, answer),
        None => Past::Now(answer),
    })
}

/// List the deliveries in doubt, longest in doubt first.
#[utoipa::path(get, path = "/channels/{code}/in-doubt", tag = "deliveries", params(ChannelPath, PageQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Page<DeliveryView>)))]
pub(crate) async fn list_in_doubt(
    scope: Scope<Read>,
    Query(query): Query<PageQuery>,
    State(engine): State<Engine>,
) -> Result<Page<DeliveryView>, ApiError> {
    let request = page(query.cursor, query.limit)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let rows = engine.queries().in_doubt(&scope.code, &request).await?;
    show(&scope, &engine, rows).await
}

/// Settle a delivery in doubt by hand.
#[utoipa::path(post, path = "/channels/{code}/messages/{msgid}/deliveries/{index}/settle", tag = "deliveries",
    params(DeliveryPath, Idempotent), request_body = SettleBody, security(("api_key" = ["settle"])),
    responses((status = 200, body = Written<Acknowledged>)))]
pub(crate) async fn settle_delivery(
    scope: Scope<Settle>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<SettleBody>,
) -> Result<Written<Acknowledged>, ApiError> {
    let delivery = DeliveryId::new(scope.id("msgid", "bad_msgid")?, scope.index()?);
    engine.registered(&scope.code).await?;
    let verdict = body.verdict.into();
    let key = idempotency_key.as_deref();
    let done = engine.resolve_doubt(&scope.caller, &scope.code, delivery, verdict, body.reason, key).await?;
    Ok(acknowledged(done))
}

/// Settle all doubts that fit, by hand.
///
/// With `dry_run` only says which they are. A repetition settles what still fits, so an `Idempotency-Key` is not needed.
#[utoipa::path(post, path = "/channels/{code}/in-doubt/settle", tag = "deliveries", params(ChannelPath),
    request_body = SettleManyBody, security(("api_key" = ["settle"])),
    responses((status = 200, body = Written<SettledView>)))]
pub(crate) async fn settle_doubts(
    scope: Scope<Settle>,
    State(engine): State<Engine>,
    Json(body): Json<SettleManyBody>,
) -> Result<Written<SettledView>, ApiError> {
    let template = body.template_id.as_deref();
    let template = template.map(|text| parse_id("bad_template_id", "/template_id", text)).transpose()?;
    let filter = DoubtFilter {
        template,
        since: body.in_doubt_since.map(|since| since.0),
        limit: body.limit.unwrap_or(limits::MAX_SETTLED_AT_ONCE),
    };
    let (verdict, dry_run) = (body.verdict.into(), body.dry_run);
    let done =
        engine.settle_doubts(&scope.caller, &scope.code, &filter, verdict, body.reason, dry_run).await?;
    let doubt = |QueueEntry { row, since, .. }| DoubtView {
        msgid: row.delivery.message.to_string(),
        index: row.delivery.index,
        template_id: row.template.to_string(),
        in_doubt_since: Moment(since),
    };
    Ok(Written::of(done, |answer| SettledView {
        dry_run,
        matched: answer.matched.into_iter().map(doubt).collect(),
        settled: answer.settled,
        more: answer.more,
    }))
}

async fn show(
    scope: &Scope<Read>,
    engine: &Engine,
    rows: Rows<DeliveryRow>,
) -> Result<Page<DeliveryView>, ApiError> {
    let subjects: Vec<_> = rows.items.iter().filter_map(|row| row.subject).collect();
    let users: Vec<_> = rows.items.iter().filter_map(|row| row.user_ref).collect();
    let people = People::behind(engine, &scope.log, subjects, users).await?;
    Ok(Page::of(rows, |row| DeliveryView::new(row, &people)))
}
