//! Pages of rows, by key and not by offset: rows that come and go never shift the others.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use subledger_store::Position;

use crate::QueryError;

/// The most rows of one page.
pub const MAX_PAGE: u32 = 200;

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The most rows wanted, from 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// [`Page::next`] of the page before, or none for the first.
    pub after: Option<String>,
}

impl PageRequest {
    /// The first page.
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    pub(crate) fn limit(&self) -> Result<u32, QueryError> {
        if (1..=MAX_PAGE).contains(&self.limit) { Ok(self.limit) } else { Err(QueryError::Limit) }
    }

    /// The key to go on after, if the cursor was made by `query`.
    pub(crate) fn key<K: DeserializeOwned>(&self, query: &str) -> Result<Option<K>, QueryError> {
        let Some(cursor) = &self.after else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| QueryError::Cursor)?;
        let (made_by, key): (String, K) = serde_json::from_slice(&bytes).map_err(|_| QueryError::Cursor)?;
        if made_by == query { Ok(Some(key)) } else { Err(QueryError::Cursor) }
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::first(50)
    }
}

/// Rows and where the read model stood when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order the query promises.
    pub items: Vec<T>,
    /// The cursor of the next page; none after the last row. Opaque: only hand it back to the same query.
    pub next: Option<String>,
    /// The position up to which the read model had applied its log.
    pub position: Position,
}

impl<T> Page<T> {
    /// A page out of up to `limit + 1` rows: the surplus row only tells that there is more.
    pub(crate) fn cut<K: Serialize>(
        answer: Answer<Vec<T>>,
        limit: u32,
        query: &str,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, QueryError> {
        let Answer { value: mut items, position } = answer;
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = match items.last() {
            Some(last) if more => {
                let bytes = serde_json::to_vec(&(query, key(last))).map_err(|_| QueryError::Cursor)?;
                Some(URL_SAFE_NO_PAD.encode(bytes))
            }
            _ => None,
        };
        Ok(Self { items, next, position })
    }
}

/// A value and where the read model stood when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// The position up to which the read model had applied its log; zero if it has not begun.
    pub position: Position,
}
