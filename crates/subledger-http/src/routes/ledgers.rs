//! Ledgers: balances, the grants behind them, and every entry that led to them.

use axum::extract::State;
use subledger_audit::history::{History, PastLedger};
use subledger_domain::{StreamName, SubjectId, TemplateId};
use subledger_engine::{Engine, EngineError};
use subledger_projection::{Answer, LedgerRow, ProjectionName};
use subledger_store::Position;

use super::{
    paths::{ChannelPath, LedgerPath},
    shown::shown,
    users::{binding, ledgers_of},
};
use crate::{
    cursor,
    extract::{
        ExplanationQuery, LedgersQuery, PastPageQuery, PastReadQuery, Query, Read, Scope, Then, limit, page,
        position, refused,
    },
    people::People,
    problem::ApiError,
    reply::{At, Page, Past},
    views::{EntryView, ExplanationView, LedgerView, LotView},
};

/// Entries of a ledger that one request explains: they are held in memory.
const MAX_EXPLAINED: usize = 20_000;

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
    shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers]).await?;
    let (subject, at) = match (user, openid) {
        (Some(_), Some(_)) => {
            let rule = "give either a userid or an openid";
            return Err(EngineError::field("invalid_query", "/openid", "one_of", rule).into());
        }
        (Some(userid), None) => {
            shown(&scope, &engine, query.min_position, &[ProjectionName::Bindings]).await?;
            let binding = binding(&scope, &engine, &userid).await?;
            (binding.value.subject, Some(binding.position))
        }
        (None, Some(openid)) => {
            let subject = engine.store().subject_of(&scope.code, &openid);
            (Some(subject), Some(Position(u64::MAX)))
        }
        (None, None) => (None, None),
    };
    let Some(at) = at else {
        let rows = engine.queries().ledgers(&scope.code, template.as_ref(), &request).await?;
        let subjects: Vec<SubjectId> = rows.items.iter().map(|row| row.subject).collect();
        let people = People::behind(&engine, &scope.log, subjects, []).await?;
        return Ok(Page::of(rows, |row| LedgerView::new(row, &people)));
    };
    // Who the user is and what the openid holds are two read models: the answer stands at the lower of both.
    let ledgers = ledgers_of(&scope, &engine, subject).await?;
    let at = ledgers.as_ref().map_or(at, |ledgers| ledgers.position.min(at));
    let mut rows = ledgers.map(|ledgers| ledgers.value).unwrap_or_default();
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
    params(LedgerPath, PastReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<At<LedgerView>>)))]
pub(crate) async fn show_ledger(
    scope: Scope<Read>,
    Query(query): Query<PastReadQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<LedgerView>>, ApiError> {
    let key = Key::of(&scope)?;
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers]).await?;
    let people = People::behind(&engine, &scope.log, [key.subject], []).await?;
    let Some(then) = then else {
        let Answer { value, position } = key.find(&scope, &engine).await?;
        return Ok(Past::Now(At::new(position, LedgerView::new(value, &people))));
    };
    Ok(match key.find_then(&scope, &then).await? {
        Some(past) => {
            Past::then(then.point, At::new(then.point.position, LedgerView::new(past.row, &people)))
        }
        None => Past::not_yet(then.point),
    })
}

/// Explain a ledger: every number with the events behind it.
///
/// For each delivery the tap that paid for it, for each tap what it paid for, the sum, and what does not agree. Covers
/// ledgers with up to 20,000 entries; beyond that ask for an earlier `at`.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}/explanation", tag = "ledgers",
    params(LedgerPath, ExplanationQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<At<ExplanationView>>)))]
pub(crate) async fn explain_ledger(
    scope: Scope<Read>,
    Query(query): Query<ExplanationQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<ExplanationView>>, ApiError> {
    let key = Key::of(&scope)?;
    let limit = limit(query.limit)? as usize;
    let asked = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    let is_now = asked.is_none();
    let then = match asked {
        Some(then) => then,
        None => {
            let history = History::new(engine.store().clone());
            let point = history.now(&scope.log).await.map_err(refused)?;
            Then { history, point }
        }
    };
    let at = then.point.position;
    let explained = then
        .history
        .explain(&scope.code, key.subject, &key.template, at, MAX_EXPLAINED)
        .await
        .map_err(refused)?;
    let Some((_, explanation)) = explained else {
        scope.not_yet(&then, &key.stream(), unknown_ledger()).await?;
        return Ok(Past::not_yet(then.point));
    };
    let people = People::behind(&engine, &scope.log, [key.subject], []).await?;
    let (subject, template) = (key.subject.to_string(), key.template.to_string());
    let view = ExplanationView::new(subject, people.openid(key.subject), template, explanation.cut(limit));
    let answer = At::new(at, view);
    Ok(if is_now { Past::Now(answer) } else { Past::then(then.point, answer) })
}

/// List the grants of a ledger, oldest first.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}/lots", tag = "ledgers",
    params(LedgerPath, PastPageQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<Page<LotView>>)))]
pub(crate) async fn list_lots(
    scope: Scope<Read>,
    Query(query): Query<PastPageQuery>,
    State(engine): State<Engine>,
) -> Result<Past<Page<LotView>>, ApiError> {
    let key = Key::of(&scope)?;
    let request = page(query.cursor, query.limit)?;
    let Some(then) = scope.then(&engine, query.at.as_deref(), query.min_position).await? else {
        shown(&scope, &engine, query.min_position, &[ProjectionName::Ledgers]).await?;
        key.find(&scope, &engine).await?;
        let rows = engine.queries().lots(&scope.code, key.subject, &key.template, &request).await?;
        return Ok(Past::Now(Page::of(rows, LotView::from)));
    };
    let Some(past) = key.find_then(&scope, &then).await? else { return Ok(Past::not_yet(then.point)) };
    let (cursor, limit) = (request.after.as_deref(), request.limit as usize);
    let (rows, next_cursor) = cursor::cut("past_lots", past.lots, |row| row.lot, cursor, limit)?;
    let items = rows.into_iter().map(LotView::from).collect();
    Ok(Past::then(then.point, Page { items, next_cursor, position: then.point.position.0 }))
}

/// List the entries of a ledger, oldest first, as recorded.
#[utoipa::path(get, path = "/channels/{code}/ledgers/{subject}/{template_id}/entries", tag = "ledgers",
    params(LedgerPath, PastPageQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<Page<EntryView>>)))]
pub(crate) async fn list_entries(
    scope: Scope<Read>,
    Query(query): Query<PastPageQuery>,
    State(engine): State<Engine>,
) -> Result<Past<Page<EntryView>>, ApiError> {
    const LIST: &str = "entries";
    let key = Key::of(&scope)?;
    let limit = limit(query.limit)?;
    let after: u64 = cursor::decode(LIST, query.cursor.as_deref())?.unwrap_or(0);
    let then = scope.then(&engine, query.at.as_deref(), query.min_position).await?;
    let stream = key.stream();
    let (mut recorded, head) = match &then {
        Some(Then { history, point }) => {
            let at = point.position;
            let events = history.events(&scope.log, &stream, after, at, limit + 1).await.map_err(refused)?;
            (events, at)
        }
        None => {
            // The head before the entries: they show at least what it says.
            let head: Position = engine.store().head(&scope.log).await?.position;
            (engine.store().read_stream(&scope.log, &stream, after, limit + 1).await?, head)
        }
    };
    if recorded.is_empty() && after == 0 {
        let Some(then) = &then else { return Err(unknown_ledger().into()) };
        scope.not_yet(then, &stream, unknown_ledger()).await?;
        return Ok(Past::not_yet(then.point));
    }
    let more = recorded.len() > limit as usize;
    recorded.truncate(limit as usize);
    let next_cursor = match recorded.last() {
        Some(last) if more => Some(cursor::encode(LIST, &last.version)?),
        _ => None,
    };
    let items: Result<Vec<EntryView>, _> = recorded.iter().map(EntryView::new).collect();
    let items = items.map_err(|error| ApiError::internal(format!("a stored entry is not JSON: {error}")))?;
    let page = Page { items, next_cursor, position: head.0 };
    Ok(match then {
        Some(then) => Past::then(then.point, page),
        None => Past::Now(page),
    })
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

    async fn find(&self, scope: &Scope<Read>, engine: &Engine) -> Result<Answer<LedgerRow>, ApiError> {
        let Answer { value, position } =
            engine.queries().ledger(&scope.code, self.subject, &self.template).await?;
        Ok(Answer { value: value.ok_or_else(unknown_ledger)?, position })
    }

    /// The ledger as it was; none where nothing had been recorded yet.
    async fn find_then(&self, scope: &Scope<Read>, then: &Then) -> Result<Option<PastLedger>, ApiError> {
        let at = then.point.position;
        let found =
            then.history.ledger(&scope.log, self.subject, &self.template, at).await.map_err(refused)?;
        if found.is_none() {
            scope.not_yet(then, &self.stream(), unknown_ledger()).await?;
        }
        Ok(found)
    }

    fn stream(&self) -> StreamName {
        StreamName::ledger(self.subject, &self.template)
    }
}
