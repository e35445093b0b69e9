//! Reads of the log.

use serde::de::DeserializeOwned;
use subledger_domain::{Decide, LogName, StreamName, Timestamp};
use tokio::sync::watch;

use super::Store;
use crate::{
    Done, Head, Link, Position, ReceiptKey, Recorded, StoreError,
    rows::{StreamTail, recorded, signed, unsigned},
    work::{ReceiptDigest, StreamRef, Versioned},
};

/// When an event was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamped {
    /// Its log.
    pub log: LogName,
    /// Its place in the log.
    pub position: Position,
    /// When.
    pub recorded_at: Timestamp,
}

/// What is stored under a command id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredReceipt<T> {
    /// Nothing: the command was not carried out, or its receipt was pruned.
    None,
    /// The command was carried out with the same body.
    Same(Done<T>),
    /// The id was used with another body.
    OtherBody,
}

impl Store {
    /// The end of one log; position zero if it holds nothing.
    pub async fn head(&self, log: &LogName) -> Result<Head, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let found = reader.session().heads().await?.into_iter().find(|head| head.name == *log);
        Ok(found.map_or_else(
            || Head {
                log: log.clone(),
                position: Position(0),
                link: Link::default(),
                recorded_at: Timestamp::default(),
            },
            |head| head.to_public(),
        ))
    }

    /// The ends of all logs that hold events, by name.
    pub async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let heads = self.inner.database.reader().await?.session().heads().await?;
        Ok(heads.iter().map(|head| head.to_public()).collect())
    }

    /// What is stored under a command id: lets a caller answer a repetition before it does anything that must not be done
    /// twice outside the log, such as spending a login code. A command that is under way at this moment is not seen; the
    /// executor still decides.
    pub async fn receipt<T: DeserializeOwned>(
        &self,
        log: &LogName,
        key: &ReceiptKey,
    ) -> Result<StoredReceipt<T>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let Some(head) = session.heads().await?.into_iter().find(|head| head.name == *log) else {
            return Ok(StoredReceipt::None);
        };
        let digest = ReceiptDigest::from(key);
        match session.find_receipts(&[(head.id, digest.key)]).await?.pop() {
            None => Ok(StoredReceipt::None),
            Some(row) if row.fingerprint != digest.fingerprint => Ok(StoredReceipt::OtherBody),
            Some(row) => {
                let answer = serde_json::from_str(&row.outcome).map_err(|error| {
                    StoreError::Corrupt(format!("the stored answer does not parse: {error}"))
                })?;
                Ok(StoredReceipt::Same(Done {
                    answer,
                    position: Position(unsigned(row.position)?),
                    replayed: true,
                }))
            }
        }
    }

    /// Up to `limit` events of a log after a position, in order.
    pub async fn read_log(
        &self,
        log: &LogName,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let rows = reader.session().log_events(log, signed(after.0), i64::from(limit)).await?;
        rows.into_iter().map(|row| recorded(log, row)).collect()
    }

    /// Up to `limit` events of a stream after a version, in order.
    pub async fn read_stream(
        &self,
        log: &LogName,
        stream: &StreamName,
        after_version: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let rows =
            reader.session().stream_events(log, stream, signed(after_version), i64::from(limit)).await?;
        rows.into_iter().map(|row| recorded(log, row)).collect()
    }

    /// The state of a stream as the log has it now, and its version.
    pub async fn load<A: Decide>(&self, log: &LogName, stream: &StreamName) -> Result<(A, u64), StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let wanted = StreamRef::of::<A>(stream.clone());
        let Some(head) = session.log_id(log).await? else { return Ok((A::default(), 0)) };
        let found = session.find_streams(&[(head, stream.clone())]).await?;
        let Some(found) = found.first() else { return Ok((A::default(), 0)) };
        let mut base = crate::fold::thaw(&wanted, found.snapshot.as_ref());
        let tail = StreamTail { log: head, number: found.number, after: signed(base.version) };
        let events = session.tail_events(&[tail]).await?;
        crate::fold::fold(&mut base, log, stream, &events)?;
        let Versioned { version, state } = base.freeze();
        let state = state.as_any().downcast_ref::<A>().cloned();
        Ok((state.ok_or_else(|| StoreError::Corrupt(format!("{stream} holds another aggregate")))?, version))
    }

    /// The newest position of a log that this node knows of. Woken by every commit of this node at once, and by a slow
    /// poll (and, on PostgreSQL, a notification) for commits of others. Never runs ahead of what can be read.
    pub fn tail(&self, log: &LogName) -> watch::Receiver<Position> {
        self.inner.tails.subscribe(log)
    }

    /// Changes whenever a log appears that this node did not know.
    pub fn logs(&self) -> watch::Receiver<Vec<LogName>> {
        self.inner.tails.names()
    }

    /// When the events at these places were recorded; places that hold none are left out.
    pub async fn times_of(&self, places: &[(LogName, Position)]) -> Result<Vec<Timestamped>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<(&str, i64)> =
            places.iter().map(|(log, position)| (log.as_str(), signed(position.0))).collect();
        let mut reader = self.inner.database.reader().await?;
        let rows = reader.session().times_of(&places).await?;
        let event = |(log, position, at)| {
            Ok(Timestamped {
                log: LogName::new(log),
                position: Position(unsigned(position)?),
                recorded_at: Timestamp::from_micros(at),
            })
        };
        rows.into_iter().map(event).collect()
    }

    /// Deletes all snapshots. Loses nothing; needed once after an upgrade that changes what a state remembers.
    pub async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.inner.database.writer().await?.session().drop_snapshots().await
    }
}
