//! Questions about quotas and lots.

use subledger_domain::{ChannelCode, LotId, SubjectId, TemplateId};

use super::{Queries, single, surplus};
use crate::{
    Answer, LedgerRow, LotRow, MAX_PAGE, Page, PageRequest, QueryError,
    database::{Param, int, statement},
};

impl Queries {
    /// One ledger.
    pub async fn ledger(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        template: &TemplateId,
    ) -> Result<Answer<Option<LedgerRow>>, QueryError> {
        let params = vec![subject.to_string().into(), template.as_str().into()];
        Ok(single(self.of_channel(code, statement!(ledgers::ONE), params).await?))
    }

    /// The ledgers of one openid, by template (at most [`MAX_PAGE`]: a channel has no more templates).
    pub async fn ledgers_of(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
    ) -> Result<Answer<Vec<LedgerRow>>, QueryError> {
        let params = vec![subject.to_string().into(), Param::Int(MAX_PAGE.into())];
        self.of_channel(code, statement!(ledgers::OF_SUBJECT), params).await
    }

    /// The ledgers of a channel, or of one template, by (subject, template).
    pub async fn ledgers(
        &self,
        code: &ChannelCode,
        template: Option<&TemplateId>,
        page: &PageRequest,
    ) -> Result<Page<LedgerRow>, QueryError> {
        let limit = page.limit()?;
        let (subject, after) = page.key::<(String, String)>("ledgers")?.unwrap_or_default();
        let rows = match template {
            Some(template) => {
                let params = vec![template.as_str().into(), subject.into(), surplus(limit)];
                self.of_channel(code, statement!(ledgers::PAGE_OF_TEMPLATE), params).await?
            }
            None => {
                let params = vec![subject.into(), after.into(), surplus(limit)];
                self.of_channel(code, statement!(ledgers::PAGE), params).await?
            }
        };
        Page::cut(rows, limit, "ledgers", |row: &LedgerRow| (row.subject, row.template.clone()))
    }

    /// The lots of one ledger, oldest first.
    pub async fn lots(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        template: &TemplateId,
        page: &PageRequest,
    ) -> Result<Page<LotRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<LotId>("lots")?.unwrap_or_default();
        let params =
            vec![subject.to_string().into(), template.as_str().into(), int(after).into(), surplus(limit)];
        let rows = self.of_channel(code, statement!(ledgers::LOTS), params).await?;
        Page::cut(rows, limit, "lots", |row: &LotRow| row.lot)
    }
}
