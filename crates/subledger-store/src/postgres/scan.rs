//! Scans through `copy … to stdout` in the binary format: no work per row in the protocol or the driver.

use futures::TryStreamExt;
use sqlx::{Connection, PgConnection, PgPool};

use crate::{
    StoreError,
    error::while_doing,
    store::scan::{Chunk, Chunks, NAMES_AHEAD, Named, Range, nameless},
};

/// Events read in one statement; see [`crate::store::scan`].
const PIECE: i64 = 250_000;
const SCANNING: &str = "scanning a log";

/// Begins a scan in a task, on two connections that are not given back: one that is left in the middle of a copy is only
/// good for closing, and names are asked for while it streams.
pub(crate) async fn start(pool: &PgPool, range: Range, chunks: Chunks) -> Result<(), StoreError> {
    let failed = while_doing("waiting for a connection");
    let mut events = pool.acquire().await.map_err(failed)?.detach();
    let pool = pool.clone();
    tokio::spawn(async move {
        match read(&mut events, &pool, range, &chunks).await {
            Ok(()) => {
                let _ = events.close().await;
            }
            Err(error) => {
                let _ = chunks.send(Err(error)).await;
            }
        }
    });
    Ok(())
}

async fn read(
    connection: &mut PgConnection,
    pool: &PgPool,
    range: Range,
    chunks: &Chunks,
) -> Result<(), StoreError> {
    let failed = while_doing(SCANNING);
    let mut named = Named::default();
    let mut chunk = named.chunk(range.batch);
    let mut after = range.after;
    while after < range.up_to {
        let (log, end, begun) = (range.log, after.saturating_add(PIECE).min(range.up_to), after);
        // Numbers only; `copy` takes no parameters.
        let statement = format!(
            "copy (select position, stream, kind, schema, recorded_at, data from event
             where log = {log} and position > {after} and position <= {end} order by position)
             to stdout (format binary)"
        );
        let mut messages = connection.copy_out_raw(&statement).await.map_err(failed)?;
        let mut header = true;
        while let Some(message) = messages.try_next().await.map_err(failed)? {
            let mut bytes = Binary(&message);
            if std::mem::take(&mut header) {
                bytes.header()?;
            }
            while let Some((columns, payload)) = bytes.row()? {
                let (position, stream, ..) = columns;
                if !named.has(stream) {
                    named.add(&mut chunk, names(pool, log, stream).await?);
                    if !named.has(stream) {
                        return Err(nameless(position, stream));
                    }
                }
                chunk.push(columns, payload)?;
                after = position;
                if chunk.is_full(range.batch) {
                    let next = named.chunk(range.batch);
                    let full: Chunk = std::mem::replace(&mut chunk, next);
                    if chunks.send(Ok(full)).await.is_err() {
                        // Nobody listens any more. The connection is dropped in the middle of its copy.
                        return Err(StoreError::Corrupt("the scan was given up".to_owned()));
                    }
                }
            }
        }
        if after == begun {
            break;
        }
    }
    if !chunk.events.is_empty() {
        let _ = chunks.send(Ok(chunk)).await;
    }
    Ok(())
}

/// Names of streams from a number on.
async fn names(pool: &PgPool, log: i64, from: i64) -> Result<Vec<(i64, String)>, StoreError> {
    sqlx::query_as("select number, name from stream where log = $1 and number between $2 and $2 + $3")
        .bind(log)
        .bind(from)
        .bind(NAMES_AHEAD)
        .fetch_all(pool)
        .await
        .map_err(while_doing("reading names of streams"))
}

/// The bytes of a copy: a header, then rows of a count of fields and each field's length and bytes, then a count of -1.
struct Binary<'a>(&'a [u8]);

type Row<'a> = ((i64, i64, i64, i64, i64), &'a [u8]);

impl<'a> Binary<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        match self.0.split_at_checked(length) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(StoreError::Corrupt("the server sent half a row of the log".to_owned())),
        }
    }

    /// A big-endian integer of 2, 4 or 8 bytes.
    fn int(&mut self, length: usize) -> Result<i64, StoreError> {
        let bytes = self.take(length)?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        Ok(bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte)))
    }

    /// Signature, flags, and an extension whose length is said.
    fn header(&mut self) -> Result<(), StoreError> {
        self.take(11 + 4)?;
        let extension = self.int(4)?;
        self.take(usize::try_from(extension).unwrap_or_default())?;
        Ok(())
    }

    fn field(&mut self) -> Result<i64, StoreError> {
        let length = self.int(4)?;
        self.int(usize::try_from(length).unwrap_or_default())
    }

    fn row(&mut self) -> Result<Option<Row<'a>>, StoreError> {
        if self.0.is_empty() || self.int(2)? < 0 {
            return Ok(None);
        }
        let columns = (self.field()?, self.field()?, self.field()?, self.field()?, self.field()?);
        let length = self.int(4)?;
        let payload = self.take(usize::try_from(length).unwrap_or_default())?;
        Ok(Some((columns, payload)))
    }
}
