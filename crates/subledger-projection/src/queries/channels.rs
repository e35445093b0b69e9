//! Questions about channels and templates.

use subledger_domain::{ChannelCode, TemplateId};

use super::{Queries, at, parsed, single};
use crate::{
    Answer, ChannelRow, QueryError, TemplateRow,
    database::{ask, statement},
};

impl Queries {
    /// Every channel, by code, each with the position of its own log.
    pub async fn channels(&self) -> Result<Vec<Answer<ChannelRow>>, QueryError> {
        let rows: Vec<(i64, String)> =
            ask(&self.store, "answering a query", statement!(channels::ALL), &[]).await?;
        rows.iter()
            .map(|(position, row)| Ok(Answer { value: parsed(row)?, position: at(*position) }))
            .collect()
    }

    /// One channel.
    pub async fn channel(&self, code: &ChannelCode) -> Result<Answer<Option<ChannelRow>>, QueryError> {
        Ok(single(self.of_channel(code, statement!(channels::ONE), Vec::new()).await?))
    }

    /// Every template of a channel, listed or vanished, by id.
    pub async fn templates(&self, code: &ChannelCode) -> Result<Answer<Vec<TemplateRow>>, QueryError> {
        self.of_channel(code, statement!(channels::ALL_TEMPLATES), Vec::new()).await
    }

    /// One template of a channel.
    pub async fn template(
        &self,
        code: &ChannelCode,
        id: &TemplateId,
    ) -> Result<Answer<Option<TemplateRow>>, QueryError> {
        Ok(single(self.of_channel(code, statement!(channels::TEMPLATE), vec![id.as_str().into()]).await?))
    }
}
