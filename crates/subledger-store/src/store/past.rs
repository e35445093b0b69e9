//! Reads of the past: what a log held at a moment or a position.
//!
//! Nothing is stored for it. Positions are dense and times never go back, so a moment is found by halving; streams are
//! read up to a position, so their state then is a fold over what had been recorded.

use subledger_domain::{LogName, StreamName, Timestamp};

use super::Store;
use crate::{
    Position, Recorded, StoreError,
    database::Session,
    postgres,
    rows::{EachEvent, EventColumns, PastStream, recorded, signed, unsigned},
    sqlite,
};

/// Streams asked for in one statement.
const STREAMS: usize = 500;

impl Store {
    /// The newest position of a log that was recorded at or before a moment; zero if nothing was. About twenty probes
    /// of the primary key for a million events; a log does not get shorter meanwhile, so a growing one does no harm.
    pub async fn position_at(&self, log: &LogName, moment: Timestamp) -> Result<Position, StoreError> {
        let head = self.head(log).await?;
        if head.recorded_at <= moment {
            return Ok(head.position);
        }
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        // Everything up to `low` was recorded in time (or is nothing), everything from `high` on was not.
        let (mut low, mut high, mut newest) = (0, head.position.0, Position(0));
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match past_at_or_below(&mut session, log, signed(middle)).await? {
                // A hole in the log is for its proof to name; what is found below it answers for it here.
                Some((found, recorded_at)) if recorded_at <= moment.micros() => {
                    newest = Position(unsigned(found)?);
                    low = middle;
                }
                Some((found, _)) => high = unsigned(found)?,
                None => low = middle,
            }
        }
        Ok(newest)
    }

    /// When the event at a position was recorded; none at zero and beyond the head.
    pub async fn recorded_at(
        &self,
        log: &LogName,
        position: Position,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let found = past_at_or_below(&mut reader.session(), log, signed(position.0)).await?;
        let exact = found.filter(|(at, _)| *at == signed(position.0));
        Ok(exact.map(|(_, recorded_at)| Timestamp::from_micros(recorded_at)))
    }

    /// Hands every event of these streams to `each`: those after the version given with the stream and up to a position
    /// of the log, in order of position within each five hundred streams. Nothing is kept, so a long stream costs time
    /// and no memory. An error of `each` ends the reading.
    pub async fn each_past_event(
        &self,
        log: &LogName,
        streams: &[(StreamName, u64)],
        until: Position,
        mut each: impl FnMut(Recorded) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let mut each = |row: EventColumns| each(recorded(log, row)?);
        for some in streams.chunks(STREAMS) {
            let some: Vec<PastStream> = some
                .iter()
                .map(|(stream, after)| PastStream { stream: stream.clone(), after: signed(*after) })
                .collect();
            let each: EachEvent<'_> = &mut each;
            match &mut session {
                Session::Sqlite(connection, _) => {
                    sqlite::past::each_past_event(connection, log, &some, signed(until.0), each).await?;
                }
                Session::Postgres(connection) => {
                    postgres::past::each_past_event(connection, log, &some, signed(until.0), each).await?;
                }
            }
        }
        Ok(())
    }

    /// Up to `limit` events of a log from a position downwards, newest first.
    pub async fn read_back(
        &self,
        log: &LogName,
        from: Position,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let rows = match &mut reader.session() {
            Session::Sqlite(connection, _) => {
                sqlite::past::events_back(connection, log, signed(from.0), i64::from(limit)).await?
            }
            Session::Postgres(connection) => {
                postgres::past::events_back(connection, log, signed(from.0), i64::from(limit)).await?
            }
        };
        rows.into_iter().map(|row| recorded(log, row)).collect()
    }

    /// Up to `limit` streams of a log whose names begin with `beginning`, by name, after `after` if one is given. Reads
    /// that part of the index of names and nothing else.
    pub async fn streams_beginning(
        &self,
        log: &LogName,
        beginning: &str,
        after: Option<&StreamName>,
        limit: u32,
    ) -> Result<Vec<StreamName>, StoreError> {
        // Names are ASCII: nothing that begins with it comes after it and the last character of all.
        let end = format!("{beginning}{}", char::MAX);
        let after = after.map_or(beginning, StreamName::as_str);
        let mut reader = self.inner.database.reader().await?;
        let names = match &mut reader.session() {
            Session::Sqlite(connection, _) => {
                sqlite::past::stream_names(connection, log, after, &end, i64::from(limit)).await?
            }
            Session::Postgres(connection) => {
                postgres::past::stream_names(connection, log, after, &end, i64::from(limit)).await?
            }
        };
        Ok(names.into_iter().map(|(name,)| StreamName::from_stored(name)).collect())
    }
}

async fn past_at_or_below(
    session: &mut Session<'_>,
    log: &LogName,
    position: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    match session {
        Session::Sqlite(connection, _) => sqlite::past::at_or_below(connection, log, position).await,
        Session::Postgres(connection) => postgres::past::at_or_below(connection, log, position).await,
    }
}
