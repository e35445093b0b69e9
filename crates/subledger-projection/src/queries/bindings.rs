//! Questions about which openid a user has.

use subledger_domain::{ChannelCode, SubjectId, UserRef};

use super::{Queries, question::Question, single, surplus};
use crate::{Answer, BindingRow, MAX_PAGE, Page, PageRequest, QueryError, database::Param, table::Table};

/// One binding; parameter: user.
const ONE: Question = Question {
    of: "bindings",
    table: Table::Bindings,
    from: None,
    given: "t.user_ref = $2",
    order: "t.user_ref",
    limit: None,
};
/// Bindings after a user; parameters: user, limit.
const PAGE: Question = Question { given: "t.user_ref > $2", limit: Some("$3"), ..ONE };
/// Bindings to a subject; parameters: subject, limit.
const OF_SUBJECT: Question = Question { given: "t.subject = $2", limit: Some("$3"), ..ONE };

impl Queries {
    /// The bindings of a channel, by user reference; unbound ones included.
    pub async fn bindings(
        &self,
        code: &ChannelCode,
        page: &PageRequest,
    ) -> Result<Page<BindingRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<UserRef>("bindings")?;
        let after = after.map_or(Param::Bytes(Vec::new()), |after| after.as_bytes().into());
        let params = vec![after, surplus(limit)];
        let rows = self.of_channel(code, &PAGE, params).await?;
        Page::cut(rows, limit, "bindings", |row: &BindingRow| row.user_ref)
    }

    /// The binding of one user.
    pub async fn binding(
        &self,
        code: &ChannelCode,
        user: UserRef,
    ) -> Result<Answer<Option<BindingRow>>, QueryError> {
        Ok(single(self.of_channel(code, &ONE, vec![user.as_bytes().into()]).await?))
    }

    /// The users who have this openid now (at most [`MAX_PAGE`]), by user reference.
    pub async fn bindings_of_subject(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
    ) -> Result<Answer<Vec<BindingRow>>, QueryError> {
        let params = vec![subject.as_bytes().into(), Param::Int(MAX_PAGE.into())];
        self.of_channel(code, &OF_SUBJECT, params).await
    }
}
