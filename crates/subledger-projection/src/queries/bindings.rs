//! Questions about which openid a user has.

use subledger_domain::{ChannelCode, SubjectId, UserRef};

use super::{Queries, single, surplus};
use crate::{
    Answer, BindingRow, MAX_PAGE, Page, PageRequest, QueryError,
    database::{Param, statement},
};

impl Queries {
    /// The bindings of a channel, by user reference; unbound ones included.
    pub async fn bindings(
        &self,
        code: &ChannelCode,
        page: &PageRequest,
    ) -> Result<Page<BindingRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<String>("bindings")?.unwrap_or_default();
        let params = vec![after.into(), surplus(limit)];
        let rows = self.of_channel(code, statement!(bindings::PAGE), params).await?;
        Page::cut(rows, limit, "bindings", |row: &BindingRow| row.user_ref)
    }

    /// The binding of one user.
    pub async fn binding(
        &self,
        code: &ChannelCode,
        user: UserRef,
    ) -> Result<Answer<Option<BindingRow>>, QueryError> {
        Ok(single(self.of_channel(code, statement!(bindings::ONE), vec![user.to_string().into()]).await?))
    }

    /// The users who have this openid now (at most [`MAX_PAGE`]), by user reference.
    pub async fn bindings_of_subject(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
    ) -> Result<Answer<Vec<BindingRow>>, QueryError> {
        let params = vec![subject.to_string().into(), Param::Int(MAX_PAGE.into())];
        self.of_channel(code, statement!(bindings::OF_SUBJECT), params).await
    }
}
