//! Ledgers: balances, the grants behind them, and every entry that led to them.

use axum::extract::State;
use subledger_domain::{StreamName, SubjectId, TemplateId};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{Answer, LedgerRow};
use subledger_store::Position;

use super::{
    paths::{ChannelPath, LedgerPath},
    users::{binding, ledgers_of},
};
use crate::{
    cursor,
    extract::{LedgersQuery, PageQuery, Query, Read, ReadQuery, Scope, limit, page, position},
    people::People,
    problem::ApiError,
    reply::{At, Page},
    views::{EntryView, LedgerView, LotView},
};

/// List ledgers: of the channel, of a template, of a user or of an openid.
#[utoipa::path(get, path = "/channels/{code}/ledgers", tag = "ledgers", params(ChannelPath, LedgersQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Page<LedgerView>)))]
pub(crate) async fn list_ledgers(
    scope: Scope<Read>,
    Query(query): Query<LedgersQuery>,
    State(engine): State<Engine>,
) -> Result<Page<LedgerView>, ApiError> {
    let (template, user, openid) = (query.template()?, query.user()?, query.openid()?);
    let request = page(query.cursor, query.limit)?;
    scope.ready(&engine, position(query.min_position)).await?;
    let (subject, at) = match (user, openid) {
        (Some(_), Some(_)) => {
            let rule = "give either a userid or an openid";
            return Err(EngineError::field("invalid_query", "/openid", "one_of", rule).into());
        }
        (Some(userid), None) => {
            let binding = binding(&scope, &engine, &userid).await?;
            (binding.value.subject, Some(binding.position))
        }
        (None, Some(openid)) => {
            let subject = engine.store().subject_of(&scope.code, &openid);
            (Some(subject), Some(engine.queries().ledgers_of(&scope.code, subject).await?.position))
        }
        (None, None) => (None, None),
    };
    let Some(at) = at else {
        let rows = engine.queries().ledgers(&scope.code, template.as_ref(), &request).await?;
        let subjects: Vec<SubjectId> = rows.items.iter().map(|row| row.subject).collect();
        let people = People::behind(&engine, &scope.log, subjects, []).await?;
        return Ok(Page::of(rows, |row| LedgerView::new(row, &people)));
    };
    let mut rows = ledgers_of(&scope, &engine, subject).await?;
    rows.retain(|row| template.as_ref().is_none_or(|template| row.template == *template));
    let key = |row: &LedgerRow| row.template.clone();
    let (rows, next_cursor) =
        cursor::cut("ledgers_of", rows, key, request.after.as_deref(), request.limit as usize)?;
    let people = People::behind(&engine, &scope.log, subject, []).await?;
    let items = rows.into_iter().map(|row| LedgerView::new(row, &people)).collect();
    Ok(Page { items, next_cursor, position: at.0 })
}

/// Show a ledger.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}", tag = "ledgers",
    params(LedgerPath, ReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = At<LedgerView>)))]
pub(crate) async fn show_ledger(
    scope: Scope<Read>,
    Query(query): Query<ReadQuery>,
    State(engine): State<Engine>,
) -> Result<At<LedgerView>, ApiError> {
    let key = Key::of(&scope)?;
    let Answer { value, position } = key.find(&scope, &engine, query.min_position).await?;
    let people = People::behind(&engine, &scope.log, [value.subject], []).await?;
    Ok(At::new(position, LedgerView::new(value, &people)))
}

/// List the grants of a ledger, oldest first.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}/lots", tag = "ledgers",
    params(LedgerPath, PageQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Page<LotView>)))]
pub(crate) async fn list_lots(
    scope: Scope<Read>,
    Query(query): Query<PageQuery>,
    State(engine): State<Engine>,
) -> Result<Page<LotView>, ApiError> {
    let key = Key::of(&scope)?;
    let request = page(query.cursor, query.limit)?;
    key.find(&scope, &engine, query.min_position).await?;
    let rows = engine.queries().lots(&scope.code, key.subject, &key.template, &request).await?;
    Ok(Page::of(rows, LotView::from))
}

/// List the entries of a ledger, oldest first, as recorded.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}/entries", tag = "ledgers",
    params(LedgerPath, PageQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Page<EntryView>)))]
pub(crate) async fn list_entries(
    scope: Scope<Read>,
    Query(query): Query<PageQuery>,
    State(engine): State<Engine>,
) -> Result<Page<EntryView>, ApiError> {
    const LIST: &str = "entries";
    let key = Key::of(&scope)?;
    let limit = limit(query.limit)?;
    let after: u64 = cursor::decode(LIST, query.cursor.as_deref())?.unwrap_or(0);
    scope.ready(&engine, position(query.min_position)).await?;
    // The head before the entries: they show at least what it says.
    let head: Position = engine.store().head(&scope.log).await?.position;
    let stream = StreamName::ledger(key.subject, &key.template);
    let mut recorded = engine.store().read_stream(&scope.log, &stream, after, limit + 1).await?;
    if recorded.is_empty() && after == 0 {
        return Err(unknown_ledger().into());
    }
    let more = recorded.len() > limit as usize;
    recorded.truncate(limit as usize);
    let next_cursor = match recorded.last() {
        Some(last) if more => Some(cursor::encode(LIST, &last.version)?),
        _ => None,
    };
    let items: Result<Vec<EntryView>, _> = recorded.iter().map(EntryView::new).collect();
    let items = items.map_err(|error| ApiError::internal(format!("a stored entry is not JSON: {error}")))?;
    Ok(Page { items, next_cursor, position: head.0 })
}

fn unknown_ledger() -> EngineError {
    EngineError::not_found("unknown_ledger", "nothing was ever recorded for this openid and template")
}

/// Which ledger the path names.
struct Key {
    subject: SubjectId,
    template: TemplateId,
}

impl Key {
    fn of(scope: &Scope<Read>) -> Result<Self, ApiError> {
        let (subject, template) =
            (scope.id("subject", "bad_subject")?, scope.id("template_id", "bad_template_id")?);
        Ok(Self { subject, template })
    }

    async fn find(
        &self,
        scope: &Scope<Read>,
        engine: &Engine,
        min_position: Option<u64>,
    ) -> Result<Answer<LedgerRow>, ApiError> {
        scope.ready(engine, position(min_position)).await?;
        let Answer { value, position } =
            engine.queries().ledger(&scope.code, self.subject, &self.template).await?;
        Ok(Answer { value: value.ok_or_else(unknown_ledger)?, position })
    }
}
