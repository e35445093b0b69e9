//! Reading a log stream by stream, for somebody who does not trust it.

use tokio::sync::mpsc;

use super::inspect::{Inspector, RawEvent};
use crate::{Database, StoreError, postgres, sqlite};

/// Pages that wait at most: reading goes on while the last one is worked on, and no further.
const PAGES_AHEAD: usize = 2;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) log: i64,
    pub(crate) up_to: i64,
    /// Events in a page.
    pub(crate) page: u32,
}

/// Where the reading side puts pages.
pub(crate) type Pages = mpsc::Sender<Result<Vec<RawEvent>, StoreError>>;

/// A reading under way. Dropping it ends it.
#[derive(Debug)]
pub struct ByStream {
    pages: mpsc::Receiver<Result<Vec<RawEvent>, StoreError>>,
}

impl ByStream {
    /// The next events; nothing after the last.
    pub async fn next(&mut self) -> Option<Result<Vec<RawEvent>, StoreError>> {
        self.pages.recv().await
    }
}

impl Inspector {
    /// The events of a log up to a position in order of stream and version, at most `page` at a time.
    pub fn events_by_stream(&self, number: i64, up_to: i64, page: u32) -> ByStream {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let range = Range { log: number, up_to, page: page.max(1) };
        match self.database() {
            Database::Sqlite(database) => sqlite::by_stream::start(database, range, sender),
            Database::Postgres(pool) => postgres::by_stream::start(pool, range, sender),
        }
        ByStream { pages }
    }
}
