//! Questions about sender apps and their keys.

use serde::Deserialize;
use subledger_domain::AppId;

use super::{Queries, single, surplus};
use crate::{
    Answer, AppKeyRow, AppRow, MAX_PAGE, Page, PageRequest, QueryError,
    database::{Param, statement},
};

/// A key that works, and the app it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AppKeyAnswer {
    /// The key, with its hash.
    pub key: AppKeyRow,
    /// The app, with its rights.
    pub app: AppRow,
}

impl Queries {
    /// One sender app.
    pub async fn app(&self, id: &AppId) -> Result<Answer<Option<AppRow>>, QueryError> {
        Ok(single(self.of_main(statement!(apps::ONE), vec![id.as_str().into()]).await?))
    }

    /// The sender apps, by id.
    pub async fn apps(&self, page: &PageRequest) -> Result<Page<AppRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<String>("apps")?.unwrap_or_default();
        let rows = self.of_main(statement!(apps::PAGE), vec![after.into(), surplus(limit)]).await?;
        Page::cut(rows, limit, "apps", |row: &AppRow| row.id.clone())
    }

    /// The keys of an app, newest first, revoked ones included (at most [`MAX_PAGE`]).
    pub async fn app_keys(&self, id: &AppId) -> Result<Answer<Vec<AppKeyRow>>, QueryError> {
        let params = vec![id.as_str().into(), Param::Int(MAX_PAGE.into())];
        self.of_main(statement!(apps::KEYS), params).await
    }

    /// The key with this public part, if it works, and its app. A revoked key is not found.
    pub async fn app_key(&self, key: &str) -> Result<Answer<Option<AppKeyAnswer>>, QueryError> {
        Ok(single(self.of_main(statement!(apps::KEY), vec![key.into()]).await?))
    }
}
