//! Deliveries: what became of each recipient, what is in doubt, and settling a doubt by hand.

use axum::extract::State;
use serde::Deserialize;
use subledger_domain::{DeliveryId, MessageId};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{DeliveryRow, Page as Rows};
use utoipa::ToSchema;

use super::{
    messages::find,
    paths::{ChannelPath, DeliveryPath, Idempotent, MessagePath},
};
use crate::{
    extract::{
        DeliveriesQuery, IdempotencyKey, Json, PageQuery, Query, Read, ReadQuery, Scope, Settle, page,
        position,
    },
    people::People,
    problem::ApiError,
    reply::{Acknowledged, At, Page, Written, acknowledged},
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
    responses((status = 200, body = Page<DeliveryView>)))]
pub(crate) async fn list_deliveries(
    scope: Scope<Read>,
    Query(query): Query<DeliveriesQuery>,
    State(engine): State<Engine>,
) -> Result<Page<DeliveryView>, ApiError> {
    let id: MessageId = scope.id("msgid", "bad_msgid")?;
    let request = page(query.cursor, query.limit)?;
    scope.ready(&engine, position(query.min_position)).await?;
    find(&scope, &engine, id).await?;
    let state = query.state.map(Into::into);
    let rows = engine.queries().deliveries(&scope.code, id, state, &request).await?;
    show(&scope, &engine, rows).await
}

/// Show a delivery.
#[utoipa::path(get, path = "/channels/{code}/messages/{msgid}/deliveries/{index}", tag = "deliveries",
    params(DeliveryPath, ReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = At<DeliveryView>)))]
pub(crate) async fn show_delivery(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<DeliveryView>, ApiError> {
    let id = DeliveryId::new(scope.id("msgid", "bad_msgid")?, scope.index()?);
    scope.ready(&engine, position(query.min_position)).await?;
    find(&scope, &engine, id.message).await?;
    let answer = engine.queries().delivery(&scope.code, id).await?;
    let row = answer.value.ok_or_else(|| {
        EngineError::not_found("unknown_delivery", "the message has no recipient with this index")
    })?;
    let people = People::behind(&engine, &scope.log, row.subject, row.user_ref).await?;
    Ok(At::new(answer.position, DeliveryView::new(row, &people)))
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
