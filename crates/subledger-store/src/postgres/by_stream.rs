//! A log stream by stream, for somebody who does not trust it.

use sqlx::PgPool;

use super::inspect::raw_events_by_stream;
use crate::{
    StoreError,
    error::while_doing,
    store::{
        by_stream::{Pages, Range},
        inspect::raw_event,
    },
};

/// Begins to read: page by page, in the order of the index by stream and version.
pub(crate) fn start(pool: &PgPool, range: Range, pages: Pages) {
    let pool = pool.clone();
    tokio::spawn(async move {
        if let Err(error) = read(&pool, range, &pages).await {
            // Nobody listens any more: then nobody has to be told.
            let _ = pages.send(Err(error)).await;
        }
    });
}

async fn read(pool: &PgPool, range: Range, pages: &Pages) -> Result<(), StoreError> {
    let (mut stream, mut version) = (i64::MIN, 0);
    loop {
        let mut connection = pool.acquire().await.map_err(while_doing("waiting for a connection"))?;
        let limit = i64::from(range.page);
        let rows =
            raw_events_by_stream(&mut connection, range.log, range.up_to, stream, version, limit).await?;
        drop(connection);
        let page: Vec<_> = rows.into_iter().map(raw_event).collect();
        let Some(last) = page.last() else { return Ok(()) };
        (stream, version) = (last.stream, last.version);
        if pages.send(Ok(page)).await.is_err() {
            return Ok(());
        }
    }
}
