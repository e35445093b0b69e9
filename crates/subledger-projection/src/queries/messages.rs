//! Questions about messages and deliveries.

use subledger_domain::{AppId, ChannelCode, DeliveryId, MessageId, SubjectId, TemplateId};

use super::{Queries, single, surplus};
use crate::{
    Answer, DeliveryRow, DeliveryState, MessageRow, Page, PageRequest, QueryError,
    database::{Param, int, statement},
};

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
    Param::MaybeText(state.map(|state| state.as_str().to_owned()))
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
        let rows = self.of_channel(code, statement!(messages::PAGE), params).await?;
        Page::cut(rows, limit, "messages", |row: &MessageRow| row.position)
    }

    /// One message.
    pub async fn message(
        &self,
        code: &ChannelCode,
        id: MessageId,
    ) -> Result<Answer<Option<MessageRow>>, QueryError> {
        Ok(single(self.of_channel(code, statement!(messages::ONE), vec![id.to_string().into()]).await?))
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
        let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
        self.of_channel(code, statement!(messages::SOME), vec![format!("[{}]", ids.join(",")).into()]).await
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
        let params = vec![message.to_string().into(), after.into(), surplus(limit), state_param(state)];
        let rows = self.of_channel(code, statement!(messages::OF_MESSAGE), params).await?;
        Page::cut(rows, limit, "deliveries", |row: &DeliveryRow| row.index)
    }

    /// One delivery.
    pub async fn delivery(
        &self,
        code: &ChannelCode,
        id: DeliveryId,
    ) -> Result<Answer<Option<DeliveryRow>>, QueryError> {
        let params = vec![id.message.to_string().into(), Param::Int(id.index.into())];
        Ok(single(self.of_channel(code, statement!(messages::DELIVERY), params).await?))
    }

    /// The deliveries to one openid, newest first.
    pub async fn deliveries_of_subject(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>, QueryError> {
        let limit = page.limit()?;
        let key = page.key::<(u64, String, u32)>("deliveries_of_subject")?;
        let (position, message, index) = key.unwrap_or((u64::MAX, String::new(), 0));
        let params = vec![
            subject.to_string().into(),
            int(position).into(),
            message.into(),
            Param::Int(index.into()),
            surplus(limit),
        ];
        let rows = self.of_channel(code, statement!(messages::OF_SUBJECT), params).await?;
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
        let (position, message, index) = page.key::<(u64, String, u32)>("in_doubt")?.unwrap_or_default();
        let params = vec![int(position).into(), message.into(), Param::Int(index.into()), surplus(limit)];
        let rows = self.of_channel(code, statement!(messages::IN_DOUBT), params).await?;
        Page::cut(rows, limit, "in_doubt", |row: &DeliveryRow| (row.position, row.message, row.index))
    }
}
