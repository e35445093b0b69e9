//! Questions about messages and deliveries.

use subledger_domain::{AppId, ChannelCode, DeliveryId, MessageId, SubjectId, TemplateId};

use super::{
    Queries,
    question::{Question, answered, kinds},
    single, surplus,
};
use crate::{
    Answer, DeliveryRow, DeliveryState, MessageRow, Page, PageRequest, QueryError,
    database::{Param, int},
    rows::codes::Coded,
    table::{Row, Table},
};

/// One message; parameter: id.
const ONE: Question = Question {
    of: "messages",
    table: Table::Messages,
    from: None,
    given: "t.id = $2",
    order: "t.id",
    limit: None,
};
/// Messages before a position; parameters: position, limit, then app, template and state or nulls.
const PAGE: Question = Question {
    given: "t.position < $2
        and ($4 is null or t.app = (select n.number from term n where n.text = $4))
        and ($5 is null or t.template = (select n.number from term n where n.text = $5))
        and ($6 is null or (case $6 when 0 then t.queued when 1 then t.started when 2 then t.in_doubt
            when 3 then t.sent when 4 then t.refused when 5 then t.failed when 6 then t.expired
            when 7 then t.retracted when 8 then t.not_sent when 9 then t.skipped end) > 0)",
    order: "t.position desc",
    limit: Some("$3"),
    ..ONE
};
/// One delivery; parameters: message, index.
const DELIVERY: Question =
    Question { table: Table::Deliveries, given: "t.message = $2 and t.idx = $3", order: "t.idx", ..ONE };
/// Deliveries of a message after an index; parameters: message, index, limit, then state or null.
const OF_MESSAGE: Question = Question {
    given: "t.message = $2 and t.idx > $3 and ($5 is null or t.state = $5)",
    limit: Some("$4"),
    ..DELIVERY
};
/// Deliveries to a subject before a key; parameters: subject, position planned at, message, index, limit.
const OF_SUBJECT: Question = Question {
    given: "t.subject = $2 and (t.planned_position, t.message, t.idx) < ($3, $4, $5)",
    order: "t.planned_position desc, t.message desc, t.idx desc",
    limit: Some("$6"),
    ..DELIVERY
};
/// Deliveries in doubt after a key; parameters: position, message, index, limit.
const IN_DOUBT: Question = Question {
    given: "t.in_doubt_at is not null and (t.in_doubt_at, t.message, t.idx) > ($2, $3, $4)",
    order: "t.in_doubt_at, t.message, t.idx",
    limit: Some("$5"),
    ..DELIVERY
};

/// A place among deliveries: a position, then a delivery.
type After = (u64, MessageId, u32);

fn message_param(after: Option<&After>) -> Param {
    after.map_or(Param::Bytes(Vec::new()), |(_, message, _)| message.as_bytes().into())
}

/// Which messages are wanted; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageFilter {
    /// Asked for by this app.
    pub app: Option<AppId>,
    /// Of this template.
    pub template: Option<TemplateId>,
    /// With at least one delivery in this state.
    pub state: Option<DeliveryState>,
}

fn state_param(state: Option<DeliveryState>) -> Param {
    Param::MaybeInt(state.map(Coded::code))
}

impl Queries {
    /// The messages of a channel, newest first.
    pub async fn messages(
        &self,
        code: &ChannelCode,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let limit = page.limit()?;
        let before = page.key::<u64>("messages")?.unwrap_or(u64::MAX);
        let params = vec![
            int(before).into(),
            surplus(limit),
            Param::MaybeText(filter.app.as_ref().map(AppId::to_string)),
            Param::MaybeText(filter.template.as_ref().map(TemplateId::to_string)),
            state_param(filter.state),
        ];
        let rows = self.of_channel(code, &PAGE, params).await?;
        Page::cut(rows, limit, "messages", |row: &MessageRow| row.position)
    }

    /// One message.
    pub async fn message(
        &self,
        code: &ChannelCode,
        id: MessageId,
    ) -> Result<Answer<Option<MessageRow>>, QueryError> {
        Ok(single(self.of_channel(code, &ONE, vec![id.as_bytes().into()]).await?))
    }

    /// These messages, by id; at most [`crate::MAX_PAGE`] are asked for at once.
    pub async fn messages_by_id(
        &self,
        code: &ChannelCode,
        ids: &[MessageId],
    ) -> Result<Answer<Vec<MessageRow>>, QueryError> {
        if ids.len() > crate::MAX_PAGE as usize {
            return Err(QueryError::Limit);
        }
        let places: Vec<String> = (2..).take(ids.len()).map(|place| format!("${place}")).collect();
        let kinds = kinds(Table::Messages);
        let statement = answered("messages", kinds.len(), |live| {
            // No place at all would be no list; nothing has an id of no bits.
            let places = if places.is_empty() { "''".to_owned() } else { places.join(", ") };
            let list = Table::Messages.list("t");
            format!(
                "select -1 as position, {list} from messages t
                 where t.generation = {live} and t.id in ({places}) order by t.id"
            )
        });
        let params = ids.iter().map(|id| id.as_bytes().into()).collect();
        self.answer(code.as_str(), statement, &kinds, params, MessageRow::take).await
    }

    /// The deliveries of a message, or those in one state, by index.
    pub async fn deliveries(
        &self,
        code: &ChannelCode,
        message: MessageId,
        state: Option<DeliveryState>,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<u32>("deliveries")?.map_or(-1, i64::from);
        let params = vec![message.as_bytes().into(), after.into(), surplus(limit), state_param(state)];
        let rows = self.of_channel(code, &OF_MESSAGE, params).await?;
        Page::cut(rows, limit, "deliveries", |row: &DeliveryRow| row.index)
    }

    /// One delivery.
    pub async fn delivery(
        &self,
        code: &ChannelCode,
        id: DeliveryId,
    ) -> Result<Answer<Option<DeliveryRow>>, QueryError> {
        let params = vec![id.message.as_bytes().into(), Param::Int(id.index.into())];
        Ok(single(self.of_channel(code, &DELIVERY, params).await?))
    }

    /// The deliveries to one openid, newest first.
    pub async fn deliveries_of_subject(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, QueryError> {
        let limit = page.limit()?;
        let before: Option<After> = page.key("deliveries_of_subject")?;
        let params = vec![
            subject.as_bytes().into(),
            int(before.map_or(u64::MAX, |(position, ..)| position)).into(),
            message_param(before.as_ref()),
            Param::Int(before.map_or(0, |(.., index)| index.into())),
            surplus(limit),
        ];
        let rows = self.of_channel(code, &OF_SUBJECT, params).await?;
        Page::cut(rows, limit, "deliveries_of_subject", |row: &DeliveryRow| {
            (row.planned_position, row.message, row.index)
        })
    }

    /// The deliveries in doubt, longest in doubt first.
    pub async fn in_doubt(
        &self,
        code: &ChannelCode,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, QueryError> {
        let limit = page.limit()?;
        let after: Option<After> = page.key("in_doubt")?;
        let params = vec![
            int(after.map_or(0, |(position, ..)| position)).into(),
            message_param(after.as_ref()),
            Param::Int(after.map_or(0, |(.., index)| index.into())),
            surplus(limit),
        ];
        let rows = self.of_channel(code, &IN_DOUBT, params).await?;
        Page::cut(rows, limit, "in_doubt", |row: &DeliveryRow| (row.position, row.message, row.index))
    }
}
