//! Questions about quotas and lots.

use subledger_domain::{ChannelCode, LotId, SubjectId, TemplateId};

use super::{Queries, question::Question, single, surplus};
use crate::{
    Answer, LedgerRow, LotRow, MAX_PAGE, Page, PageRequest, QueryError,
    database::{Param, int},
    fold::LedgerBook,
    table::Table,
};

/// One ledger; parameters: subject, template.
const ONE: Question = Question {
    of: "ledgers",
    table: Table::Ledgers,
    from: None,
    given: "t.subject = $2 and t.template = (select n.number from term n where n.text = $3)",
    order: "t.subject",
    limit: None,
};
/// Ledgers of a subject, one look for each template of the channel; parameters: subject, limit.
const OF_SUBJECT: Question = Question {
    from: Some(
        "report_templates r cross join ledgers t on t.generation = r.generation and t.template = r.template",
    ),
    given: "r.generation = {live} and t.subject = $2",
    // The text of the template, after the position.
    order: "2",
    limit: Some("$3"),
    ..ONE
};
/// Ledgers after a key; parameters: template, subject, limit.
const PAGE: Question = Question {
    from: Some("term n cross join ledgers t on t.template = n.number"),
    given: "n.text >= $2 and (n.text > $2 or t.subject > $3)",
    order: "n.text, t.subject",
    limit: Some("$4"),
    ..ONE
};
/// Ledgers of a template after a subject; parameters: template, subject, limit.
const PAGE_OF_TEMPLATE: Question = Question {
    given: "t.template = (select n.number from term n where n.text = $2) and t.subject > $3",
    limit: Some("$4"),
    ..ONE
};
/// Lots of a ledger after a lot; parameters: subject, template, lot, limit.
const LOTS: Question = Question {
    table: Table::Lots,
    given: "t.subject = $2 and t.template = (select n.number from term n where n.text = $3) and t.lot > $4",
    order: "t.lot",
    limit: Some("$5"),
    ..ONE
};

fn rows(answer: Answer<Vec<LedgerBook>>) -> Answer<Vec<LedgerRow>> {
    let value = answer.value.into_iter().map(|book| book.row).collect();
    Answer { value, position: answer.position }
}

impl Queries {
    /// One ledger.
    pub async fn ledger(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        template: &TemplateId,
    ) -> Result<Answer<Option<LedgerRow>>, QueryError> {
        let params = vec![subject.as_bytes().into(), template.as_str().into()];
        Ok(single(rows(self.of_channel(code, &ONE, params).await?)))
    }

    /// The ledgers of one openid, by template (at most [`MAX_PAGE`]: a channel has no more templates).
    pub async fn ledgers_of(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
    ) -> Result<Answer<Vec<LedgerRow>>, QueryError> {
        let params = vec![subject.as_bytes().into(), Param::Int(MAX_PAGE.into())];
        Ok(rows(self.of_channel(code, &OF_SUBJECT, params).await?))
    }

    /// The ledgers of a channel, or of one template, by (template, subject).
    pub async fn ledgers(
        &self,
        code: &ChannelCode,
        template: Option<&TemplateId>,
        page: &PageRequest,
    ) -> Result<Page<LedgerRow>, QueryError> {
        let limit = page.limit()?;
        let after: Option<(TemplateId, SubjectId)> = page.key("ledgers")?;
        let subject =
            after.as_ref().map_or(Param::Bytes(Vec::new()), |(_, subject)| subject.as_bytes().into());
        let question = if template.is_some() { &PAGE_OF_TEMPLATE } else { &PAGE };
        let template = template.or(after.as_ref().map(|(template, _)| template));
        let template = template.map_or("", TemplateId::as_str);
        let params = vec![template.into(), subject, surplus(limit)];
        let found = rows(self.of_channel(code, question, params).await?);
        Page::cut(found, limit, "ledgers", |row: &LedgerRow| (row.template.clone(), row.subject))
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
            vec![subject.as_bytes().into(), template.as_str().into(), int(after).into(), surplus(limit)];
        let rows = self.of_channel(code, &LOTS, params).await?;
        Page::cut(rows, limit, "lots", |row: &LotRow| row.lot)
    }
}
