//! Deliveries: what became of each recipient, what is in doubt, and settling a doubt by hand.

use axum::extract::State;
use serde::Deserialize;
use subledger_domain::{DeliveryId, MessageId};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{DeliveryRow, DeliveryState, Page as Rows, ProjectionName};
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
        position,
    },
    people::People,
    problem::ApiError,
    reply::{Acknowledged, At, Page, Past, Written, acknowledged},
    views::{DeliveryView, VerdictWord},
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
        find(&scope, &engine, id).await?;
        let rows = engine.queries().deliveries(&scope.code, id, state, &request).await?;
        return Ok(Past::Now(show(&scope, &engine, rows).await?));
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
    let (row, position) = match &then {
        None => {
            find(&scope, &engine, id.message).await?;
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
    let answer = At::new(position, DeliveryView::new(row, &people));
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
