//! What people put on the books: corrections with a reason, and balances that were counted elsewhere.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use subledger_domain::TemplateId;
use subledger_engine::{
    Engine, EngineError, FieldError,
    corrections::{Adjustment, Corrected, Numbers, OpenedRow, OpeningRow},
    limits,
};
use utoipa::ToSchema;

use super::{
    paths::{ChannelPath, Idempotent},
    person::{Person, wrong_person},
};
use crate::{
    extract::{IdempotencyKey, Json, Manage, Scope, parse_id},
    problem::ApiError,
    reply::Written,
};

/// A correction of one ledger.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "userid": "zhangsan", "template_id": "zun-LzcQyW-edafCVvzPkK4de2Rllr1fFpw2A_x0oXE", "remove": 2,
    "reason": "two taps of 2026-03-01 were reported twice"
}))]
pub(crate) struct AdjustBody {
    /// Whose ledger, by your own id. Not together with `openid`.
    #[schema(max_length = 128)]
    userid: Option<String>,
    /// Whose ledger, by openid. Not together with `userid`.
    #[schema(pattern = "^[A-Za-z0-9_-]{16,64}$")]
    openid: Option<String>,
    /// The template (`priTmplId`); one-time.
    template_id: String,
    /// How many grants more. Not together with `remove`.
    #[schema(minimum = 1)]
    add: Option<u32>,
    /// How many grants fewer, no more than are open; the newest go. Not together with `add`.
    #[schema(minimum = 1)]
    remove: Option<u32>,
    /// Why; kept in the books for ever, so it must not name the person. 1 to 500 characters.
    #[schema(max_length = 500)]
    reason: String,
}

/// The numbers of a ledger that a correction moves.
#[derive(Serialize, ToSchema)]
pub(crate) struct NumbersView {
    /// Grants ever counted.
    granted: u64,
    /// Open grants.
    balance: u64,
    /// Grants found void or taken away.
    voided: u64,
}

impl From<Numbers> for NumbersView {
    fn from(numbers: Numbers) -> Self {
        Self { granted: numbers.granted, balance: numbers.balance, voided: numbers.voided }
    }
}

/// What a correction came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrectedView {
    /// What stands for the openid in the log.
    subject: String,
    /// The template.
    template_id: String,
    /// The numbers before.
    before: NumbersView,
    /// The numbers after.
    after: NumbersView,
    /// The new grants, by their numbers in the ledger.
    added: Vec<u64>,
    /// The grants that are void now.
    removed: Vec<u64>,
}

impl From<Corrected> for CorrectedView {
    fn from(corrected: Corrected) -> Self {
        Self {
            subject: corrected.subject.to_string(),
            template_id: corrected.template.to_string(),
            before: corrected.before.into(),
            after: corrected.after.into(),
            added: corrected.added,
            removed: corrected.removed,
        }
    }
}

/// Balances that were counted elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "import_id": "old-system-2026-03", "rows": [{
        "row_id": "1", "userid": "zhangsan", "template_id": "zun-LzcQyW-edafCVvzPkK4de2Rllr1fFpw2A_x0oXE", "count": 3
    }]
}))]
pub(crate) struct OpeningBody {
    /// The id of the import, chosen by you. 1 to 128 printable ASCII characters; kept in the books for ever.
    #[schema(max_length = 128)]
    import_id: String,
    /// 1 to 1,000 rows.
    #[schema(min_items = 1, max_items = 1000)]
    rows: Vec<OpeningRowBody>,
}

/// One balance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpeningRowBody {
    /// Its id in the import: the same row again changes nothing. Kept in the books for ever, so it must not name the person.
    #[schema(max_length = 128)]
    row_id: String,
    /// Whose, by your own id. Not together with `openid`.
    userid: Option<String>,
    /// Whose, by openid. Not together with `userid`.
    openid: Option<String>,
    /// The template (`priTmplId`); one-time.
    template_id: String,
    /// How many grants.
    #[schema(minimum = 1)]
    count: u32,
}

/// What became of a row of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenedWord {
    /// It is counted now.
    Counted,
    /// It was counted by an earlier request.
    Repeated,
    /// It is not counted; see `code`.
    Refused,
}

/// What one row came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenedView {
    /// Its id in the import.
    row_id: String,
    /// What became of it.
    result: OpenedWord,
    /// Open grants after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<u64>,
    /// Why it was refused, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "unknown_user")]
    code: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What an import came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportedView {
    /// Rows counted by this request.
    counted: u32,
    /// Rows that an earlier request had counted.
    repeated: u32,
    /// Rows not counted.
    refused: u32,
    /// Per row, in the order of the request.
    rows: Vec<OpenedView>,
}

/// Correct the number of open grants of a ledger.
///
/// Added grants count as `granted`; those taken away are `voided`, the newest first. No more can be taken than are open.
#[utoipa::path(post, path = "/channels/{code}/ledgers/adjustments", tag = "ledgers", params(ChannelPath, Idempotent),
    request_body = AdjustBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<CorrectedView>)))]
pub(crate) async fn adjust_ledger(
    scope: Scope<Manage>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<AdjustBody>,
) -> Result<Written<CorrectedView>, ApiError> {
    let who = Person::of(body.userid.as_deref(), body.openid.as_deref(), "").map_err(wrong_person)?;
    let template: TemplateId = parse_id("bad_template_id", "/template_id", &body.template_id)?;
    let one_of = |pointer: &str, rule: &str| EngineError::field("invalid_body", pointer, "one_of", rule);
    let by = match (body.add, body.remove) {
        (Some(count), None) => i64::from(count),
        (None, Some(count)) => -i64::from(count),
        (None, None) => return Err(one_of("/add", "give add or remove").into()),
        (Some(_), Some(_)) => return Err(one_of("/remove", "give add or remove, not both").into()),
    };
    if by == 0 {
        let pointer = if body.add.is_some() { "/add" } else { "/remove" };
        return Err(EngineError::field("bad_count", pointer, "bad_count", "must be at least 1").into());
    }
    let adjustment =
        Adjustment { who: who.into(), template, by, reason: body.reason, idempotency_key: idempotency_key.0 };
    let done = engine.adjust_ledger(&scope.caller, &scope.code, adjustment).await?;
    Ok(Written::of(done, CorrectedView::from))
}

/// Import opening balances.
///
/// For users whose grants were counted by another system. Each row stands alone and is counted once per import: send the
/// same rows again until every one is answered. The ids of import and row take the place of an `Idempotency-Key`.
#[utoipa::path(post, path = "/channels/{code}/opening-balances", tag = "ledgers", params(ChannelPath),
    request_body = OpeningBody, security(("api_key" = ["manage"])),
    responses((status = 200, body = Written<ImportedView>)))]
pub(crate) async fn import_balances(
    scope: Scope<Manage>,
    State(engine): State<Engine>,
    Json(body): Json<OpeningBody>,
) -> Result<Written<ImportedView>, ApiError> {
    let rows = rows(body.rows)?;
    let done = engine.import_balances(&scope.caller, &scope.code, &body.import_id, rows).await?;
    Ok(Written::of(done, imported))
}

fn rows(bodies: Vec<OpeningRowBody>) -> Result<Vec<OpeningRow>, ApiError> {
    if bodies.len() > limits::MAX_OPENING_ROWS {
        let rule = format!("must be 1 to {} rows; found {}", limits::MAX_OPENING_ROWS, bodies.len());
        return Err(EngineError::field("bad_rows", "/rows", "row_count", rule).into());
    }
    let (mut rows, mut fields) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (index, body) in bodies.into_iter().enumerate() {
        let pointer = format!("/rows/{index}");
        let mut wrong = |name: &str, rule: &str, detail: String| {
            fields.push(FieldError { pointer: format!("{pointer}/{name}"), rule: rule.to_owned(), detail });
        };
        let template = body.template_id.parse::<TemplateId>();
        if let Err(error) = &template {
            wrong("template_id", "bad_template_id", error.to_string());
        }
        if body.count == 0 {
            wrong("count", "bad_count", "must be at least 1".to_owned());
        }
        let who = Person::of(body.userid.as_deref(), body.openid.as_deref(), &pointer);
        match (who, template) {
            (Ok(who), Ok(template)) => {
                rows.push(OpeningRow { row: body.row_id, who: who.into(), template, count: body.count });
            }
            (Err(field), _) => fields.push(field),
            (Ok(_), Err(_)) => {}
        }
    }
    if fields.is_empty() {
        return Ok(rows);
    }
    fields.truncate(limits::MAX_FIELDS);
    let detail = "some rows are not written as they should be";
    Err(EngineError { fields, ..EngineError::invalid("bad_rows", detail) }.into())
}

fn imported(rows: Vec<OpenedRow>) -> ImportedView {
    let mut view = ImportedView { counted: 0, repeated: 0, refused: 0, rows: Vec::with_capacity(rows.len()) };
    for OpenedRow { row: row_id, result } in rows {
        view.rows.push(match result {
            Ok(done) => {
                let result = if done.replayed { OpenedWord::Repeated } else { OpenedWord::Counted };
                *if done.replayed { &mut view.repeated } else { &mut view.counted } += 1;
                OpenedView {
                    row_id,
                    result,
                    balance: Some(done.answer.after.balance),
                    code: None,
                    detail: None,
                }
            }
            Err(error) => {
                view.refused += 1;
                let (code, detail) = (Some(error.code.to_owned()), Some(error.detail));
                OpenedView { row_id, result: OpenedWord::Refused, balance: None, code, detail }
            }
        });
    }
    view
}
