//! Questions about sender apps and their keys.

use subledger_domain::{AppId, LogName};

use super::{
    Queries,
    question::{Question, answered, kinds},
    single, surplus,
};
use crate::{
    Answer, AppKeyRow, AppRow, MAX_PAGE, Page, PageRequest, QueryError,
    database::Param,
    table::{Row, Table},
};

const APPS: Question =
    Question { of: "apps", table: Table::Apps, from: None, given: "", order: "t.id", limit: None };
/// Parameter: id.
const ONE: Question = Question { given: "t.id = $2", ..APPS };
/// Apps after an id; parameters: id, limit.
const PAGE: Question = Question { given: "t.id > $2", limit: Some("$3"), ..APPS };
/// Keys of an app, newest first; parameters: id, limit.
const KEYS: Question = Question {
    of: "apps",
    table: Table::AppKeys,
    from: None,
    given: "t.app = $2",
    order: "t.added_at desc, t.key",
    limit: Some("$3"),
};

/// A key that works, and the app it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppKeyAnswer {
    /// The key, with its hash.
    pub key: AppKeyRow,
    /// The app, with its rights.
    pub app: AppRow,
}

impl Queries {
    /// One sender app.
    pub async fn app(&self, id: &AppId) -> Result<Answer<Option<AppRow>>, QueryError> {
        Ok(single(self.of_main(&ONE, vec![id.as_str().into()]).await?))
    }

    /// The sender apps, by id.
    pub async fn apps(&self, page: &PageRequest) -> Result<Page<AppRow>, QueryError> {
        let limit = page.limit()?;
        let after = page.key::<String>("apps")?.unwrap_or_default();
        let rows = self.of_main(&PAGE, vec![after.into(), surplus(limit)]).await?;
        Page::cut(rows, limit, "apps", |row: &AppRow| row.id.clone())
    }

    /// The keys of an app, newest first, revoked ones included (at most [`MAX_PAGE`]).
    pub async fn app_keys(&self, id: &AppId) -> Result<Answer<Vec<AppKeyRow>>, QueryError> {
        let params = vec![id.as_str().into(), Param::Int(MAX_PAGE.into())];
        self.of_main(&KEYS, params).await
    }

    /// The key with this public part, if it works, and its app. A revoked key is not found.
    pub async fn app_key(&self, key: &str) -> Result<Answer<Option<AppKeyAnswer>>, QueryError> {
        let columns = [kinds(Table::AppKeys), kinds(Table::Apps)].concat();
        let statement = answered("apps", columns.len(), |live| {
            format!(
                "select -1 as position, {}, {} from app_keys k
                     cross join apps a on a.generation = k.generation and a.id = k.app
                 where k.generation = {live} and k.key = $2 and k.revoked_at is null
                 order by k.added_at, k.app limit 1",
                Table::AppKeys.list("k"),
                Table::Apps.list("a")
            )
        });
        let answer = self.answer(LogName::MAIN, statement, &columns, vec![key.into()], |cells| {
            Ok(AppKeyAnswer { key: AppKeyRow::take(cells)?, app: AppRow::take(cells)? })
        });
        Ok(single(answer.await?))
    }
}
