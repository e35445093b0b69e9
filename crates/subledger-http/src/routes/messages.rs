//! Messages: send, list, show, retract.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use subledger_audit::history::PastMessage;
use subledger_domain::{AppId, MessageId, StreamName, TemplateId};
use subledger_engine::{
    Engine, EngineError, FieldError, Language, ProgramState, limits,
    messages::RetractAnswer,
    send::{Recipient, RecipientPlan, SendAnswer, SendRequest, To},
};
use subledger_projection::{Answer, MessageFilter, MessageRow, ProjectionName};
use utoipa::ToSchema;

use super::{
    data::Data,
    paths::{ChannelPath, Idempotent, MessagePath},
    person::Person,
    shown::shown,
};
use crate::{
    extract::{
        IdempotencyKey, Json, MessagesQuery, NoBody, PastReadQuery, Query, Read, Scope, Send, Then, page,
        parse_id, position, refused,
    },
    moment::Moment,
    problem::ApiError,
    reply::{At, Page, Past, Written},
    views::{LanguageWord, MessageView, ProgramStateWord, SkipReasonWord},
};

/// A message to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "template_id": "zun-LzcQyW-edafCVvzPkK4de2Rllr1fFpw2A_x0oXE",
    "recipients": [{ "userid": "zhangsan" }, { "userid": "lisi", "data": { "thing1": "拿铁" } }],
    "data": { "thing1": "牛角面包", "phrase2": "待取餐" },
    "page": "pages/order/show?id=42",
    "expires_at": "2026-03-02T00:00:00+08:00"
}))]
pub(crate) struct SendBody {
    /// The template (`priTmplId`).
    template_id: String,
    /// To whom: 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    recipients: Vec<RecipientBody>,
    /// Values shared by all recipients.
    #[serde(default)]
    data: Data,
    /// The page the card opens, query allowed.
    #[schema(example = "pages/order/show?id=42", max_length = 1024)]
    page: Option<String>,
    /// Which version of the Mini Program it opens.
    #[serde(default)]
    miniprogram_state: ProgramStateWord,
    /// The language of the card's frame.
    #[serde(default)]
    lang: LanguageWord,
    /// A delivery not handed over by then ends as expired. A day ahead by default, 30 days at most.
    expires_at: Option<Moment>,
}

/// One recipient: by userid or by openid.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecipientBody {
    /// By your own id. Not together with `openid`.
    userid: Option<String>,
    /// By openid. Not together with `userid`.
    openid: Option<String>,
    /// Values of its own; they go over the shared ones, key by key.
    #[serde(default)]
    data: Data,
}

/// Whether a delivery was queued.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanWord {
    Accepted,
    Skipped,
}

/// What will happen to one recipient.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlanView {
    /// Its place in the request, from 0; names the delivery.
    index: u32,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    userid: Option<String>,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    openid: Option<String>,
    /// `accepted`: a delivery was queued. `skipped`: nothing will be sent.
    status: PlanWord,
    /// Why it is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<SkipReasonWord>,
}

/// A value that WeChat may well refuse; the message is accepted all the same.
#[derive(Serialize, ToSchema)]
pub(crate) struct WarningView {
    /// JSON pointer into the request.
    #[schema(example = "/data/thing1")]
    pointer: String,
    /// The rule, as a stable word.
    rule: String,
    /// The rule, what was found, what to do.
    detail: String,
}

/// An accepted message.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sent {
    /// Its id.
    #[schema(example = "019500aa7c1e7d0f8f5e0a4f5e6d7c8b")]
    msgid: String,
    /// Recipients asked for.
    targeted: u32,
    /// Deliveries queued.
    accepted: u32,
    /// Recipients skipped.
    skipped: u32,
    /// Per recipient, in the order of the request.
    recipients: Vec<PlanView>,
    /// Values that WeChat may refuse, at most 20.
    warnings: Vec<WarningView>,
}

/// What a retraction came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetractedView {
    /// Deliveries taken back; their grants are open again.
    retracted: u32,
    /// Recipients that had been handed over, had ended, or had been skipped before.
    too_late: u32,
}

/// Send a message.
///
/// Durable once answered. The answer says per recipient whether a delivery was queued or why not. A recipient is handed to
/// WeChat at most once. Send an `Idempotency-Key`: without one, a repetition is a second message.
#[utoipa::path(post, path = "/channels/{code}/messages", tag = "messages", params(ChannelPath, Idempotent),
    request_body = SendBody, security(("api_key" = ["send"])),
    responses((status = 202, body = Written<Sent>)))]
pub(crate) async fn send_message(
    scope: Scope<Send>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    Json(body): Json<SendBody>,
) -> Result<Response, ApiError> {
    let template: TemplateId = parse_id("bad_template_id", "/template_id", &body.template_id)?;
    let (recipients, echoes) = recipients(body.recipients)?;
    let request = SendRequest {
        template,
        recipients,
        data: body.data.0,
        page: body.page,
        state: state(body.miniprogram_state),
        lang: language(body.lang),
        expires_at: body.expires_at.map(|at| at.0),
        idempotency_key: idempotency_key.0,
    };
    let done = engine.send(&scope.caller, &scope.code, request).await?;
    Ok((StatusCode::ACCEPTED, Written::of(done, |answer| sent(answer, echoes))).into_response())
}

/// List messages, newest first.
#[utoipa::path(get, path = "/channels/{code}/messages", tag = "messages", params(ChannelPath, MessagesQuery),
    security(("api_key" = ["read"])), responses((status = 200, body = Page<MessageView>)))]
pub(crate) async fn list_messages(
    scope: Scope<Read>,
    Query(query): Query<MessagesQuery>,
    State(engine): State<Engine>,
) -> Result<Page<MessageView>, ApiError> {
    let app = query.app.as_deref().map(|text| parse_id::<AppId>("bad_app", "/app", text)).transpose()?;
    let template = query
        .template_id
        .as_deref()
        .map(|text| parse_id("bad_template_id", "/template_id", text))
        .transpose()?;
    let filter = MessageFilter { app, template, state: query.state.map(Into::into) };
    let request = page(query.cursor, query.limit)?;
    scope.ready(&engine, position(query.min_position)).await?;
    shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
    let held = engine.bulk_held(&scope.code).await?;
    let rows = engine.queries().messages(&scope.code, &filter, &request).await?;
    Ok(Page::of(rows, |row| MessageView::now(row, held.as_ref())))
}

/// Show a message.
#[utoipa::path(get, path = "/channels/{code}/messages/{msgid}", tag = "messages",
    params(MessagePath, PastReadQuery), security(("api_key" = ["read"])),
    responses((status = 200, body = Past<At<MessageView>>)))]
pub(crate) async fn show_message(
    scope: Scope<Read>,
    Query(query): Query<PastReadQuery>,
    State(engine): State<Engine>,
) -> Result<Past<At<MessageView>>, ApiError> {
    let id: MessageId = scope.id("msgid", "bad_msgid")?;
    let Some(then) = scope.then(&engine, query.at.as_deref(), query.min_position).await? else {
        shown(&scope, &engine, query.min_position, &[ProjectionName::Messages]).await?;
        let Answer { value, position } = find(&scope, &engine, id).await?;
        let held = engine.bulk_held(&scope.code).await?;
        return Ok(Past::Now(At::new(position, MessageView::now(value, held.as_ref()))));
    };
    Ok(match find_then(&scope, &then, id).await? {
        Some(past) => Past::then(then.point, At::new(then.point.position, past.row.into())),
        None => Past::not_yet(then.point),
    })
}

/// Retract a message.
///
/// Takes back what was not handed to WeChat yet; its grants are open again. What WeChat may have is never touched.
#[utoipa::path(post, path = "/channels/{code}/messages/{msgid}/retract", tag = "messages",
    params(MessagePath, Idempotent), security(("api_key" = ["send"])),
    responses((status = 200, body = Written<RetractedView>)))]
pub(crate) async fn retract_message(
    scope: Scope<Send>,
    idempotency_key: IdempotencyKey,
    State(engine): State<Engine>,
    _: NoBody,
) -> Result<Written<RetractedView>, ApiError> {
    let id: MessageId = scope.id("msgid", "bad_msgid")?;
    engine.registered(&scope.code).await?;
    let done = engine.retract(&scope.caller, &scope.code, id, idempotency_key.as_deref()).await?;
    let view =
        |answer: RetractAnswer| RetractedView { retracted: answer.retracted, too_late: answer.too_late };
    Ok(Written::of(done, view))
}

/// A message of the channel.
pub(super) async fn find(
    scope: &Scope<Read>,
    engine: &Engine,
    id: MessageId,
) -> Result<Answer<MessageRow>, ApiError> {
    let Answer { value, position } = engine.queries().message(&scope.code, id).await?;
    Ok(Answer { value: value.ok_or_else(unknown_message)?, position })
}

/// A message of the channel as it was, with its deliveries; none for one that was accepted later.
pub(super) async fn find_then(
    scope: &Scope<Read>,
    then: &Then,
    id: MessageId,
) -> Result<Option<PastMessage>, ApiError> {
    let found = then.history.message(&scope.log, id, then.point.position).await.map_err(refused)?;
    if found.is_none() {
        scope.not_yet(then, &StreamName::message(id), unknown_message()).await?;
    }
    Ok(found)
}

fn unknown_message() -> EngineError {
    EngineError::not_found("unknown_message", "there is no message with this id in this channel")
}

/// The recipients for the engine, and as they were named, to be said again in the answer.
fn recipients(bodies: Vec<RecipientBody>) -> Result<(Vec<Recipient>, Vec<Person>), ApiError> {
    let count = bodies.len();
    if count > limits::MAX_RECIPIENTS {
        // Said before a thousand and one of them are looked at.
        let rule = format!("at most {} recipients in one request; found {count}", limits::MAX_RECIPIENTS);
        return Err(
            EngineError::field("too_many_recipients", "/recipients", "too_many_recipients", rule).into()
        );
    }
    let (mut recipients, mut people, mut fields) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::new());
    for (index, body) in bodies.into_iter().enumerate() {
        let pointer = format!("/recipients/{index}");
        match Person::of(body.userid.as_deref(), body.openid.as_deref(), &pointer) {
            Ok(person) => {
                let to = match person.clone() {
                    Person::Userid(userid) => To::Userid(userid),
                    Person::Openid(openid) => To::Openid(openid),
                };
                recipients.push(Recipient { to, data: body.data.0 });
                people.push(person);
            }
            Err(field) if fields.len() < limits::MAX_FIELDS => fields.push(field),
            Err(_) => break,
        }
    }
    if fields.is_empty() { Ok((recipients, people)) } else { Err(bad_recipients(fields)) }
}

fn bad_recipients(fields: Vec<FieldError>) -> ApiError {
    let detail = "some recipients are not written as they should be";
    EngineError { fields, ..EngineError::invalid("bad_recipients", detail) }.into()
}

fn sent(answer: SendAnswer, people: Vec<Person>) -> Sent {
    let plan = |(index, (plan, person)): (u32, (RecipientPlan, Person))| {
        let (status, reason) = match plan {
            RecipientPlan::Accepted => (PlanWord::Accepted, None),
            RecipientPlan::Skipped { reason } => (PlanWord::Skipped, Some(reason.into())),
        };
        let (userid, openid) = match person {
            Person::Userid(userid) => (Some(userid.into()), None),
            Person::Openid(openid) => (None, Some(openid.into())),
        };
        PlanView { index, userid, openid, status, reason }
    };
    let warnings = answer.warnings.into_iter();
    Sent {
        msgid: answer.msgid.to_string(),
        targeted: answer.targeted,
        accepted: answer.accepted,
        skipped: answer.skipped,
        recipients: (0..).zip(answer.recipients.into_iter().zip(people)).map(plan).collect(),
        warnings: warnings
            .map(|warning| WarningView {
                pointer: warning.pointer,
                rule: warning.rule,
                detail: warning.detail,
            })
            .collect(),
    }
}

const fn state(word: ProgramStateWord) -> ProgramState {
    match word {
        ProgramStateWord::Developer => ProgramState::Developer,
        ProgramStateWord::Trial => ProgramState::Trial,
        ProgramStateWord::Formal => ProgramState::Formal,
    }
}

const fn language(word: LanguageWord) -> Language {
    match word {
        LanguageWord::ZhCn => Language::ZhCn,
        LanguageWord::EnUs => Language::EnUs,
        LanguageWord::ZhHk => Language::ZhHk,
        LanguageWord::ZhTw => Language::ZhTw,
    }
}
