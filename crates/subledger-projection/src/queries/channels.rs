//! Questions about channels and templates.

use subledger_domain::{ChannelCode, TemplateId};

use super::{Queries, at, question::Question, single, taken};
use crate::{
    Answer, ChannelRow, QueryError, TemplateRow,
    database::ask_rows,
    table::{Row, Table},
};

/// The channel of a log.
const ONE: Question = Question {
    of: "channels",
    table: Table::Channels,
    from: None,
    given: "true",
    order: "t.code",
    limit: None,
};
/// Every template of a log.
const TEMPLATES: Question = Question { table: Table::Templates, order: "t.id", ..ONE };
/// One template; parameter: id.
const TEMPLATE: Question = Question { given: "t.id = $2", ..TEMPLATES };

impl Queries {
    /// Every channel, by code, each with the position of its own log.
    pub async fn channels(&self) -> Result<Vec<Answer<ChannelRow>>, QueryError> {
        let statement = format!(
            "select p.position, {} from projection p cross join channels t on t.generation = p.generation
             where p.name = 'channels' and p.purpose = 'live' order by t.code",
            Table::Channels.list("t")
        );
        let kinds = ONE.kinds();
        let mut channels = Vec::new();
        for (position, row) in ask_rows(&self.store, "answering a query", statement, &[], &kinds).await? {
            let value = taken(&row, kinds.len(), &ChannelRow::take)?;
            channels.extend(value.map(|value| Answer { value, position: at(position) }));
        }
        Ok(channels)
    }

    /// One channel.
    pub async fn channel(&self, code: &ChannelCode) -> Result<Answer<Option<ChannelRow>>, QueryError> {
        Ok(single(self.of_channel(code, &ONE, Vec::new()).await?))
    }

    /// Every template of a channel, listed or vanished, by id.
    pub async fn templates(&self, code: &ChannelCode) -> Result<Answer<Vec<TemplateRow>>, QueryError> {
        self.of_channel(code, &TEMPLATES, Vec::new()).await
    }

    /// One template of a channel.
    pub async fn template(
        &self,
        code: &ChannelCode,
        id: &TemplateId,
    ) -> Result<Answer<Option<TemplateRow>>, QueryError> {
        Ok(single(self.of_channel(code, &TEMPLATE, vec![id.as_str().into()]).await?))
    }
}
