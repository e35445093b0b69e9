//! A log stream by stream, for somebody who does not trust it.
//!
//! How the database itself finds the events of a stream (the tip, and from each event the way back) is not relied on but
//! compared: the events are read in order of position and sorted, in a temporary file that SQLite removes by itself.

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, types::ValueRef};

use super::{MAX_OWN, bound, connect::SqliteDatabase, own};
use crate::{
    StoreError,
    error::while_doing,
    store::{
        by_stream::{Pages, Range},
        inspect::{LOOKING, RawColumns, RawEvent, raw_event},
    },
};

/// Events read in one statement: one that never ends would keep the write-ahead log from being restarted.
const PIECE: i64 = 50_000;

/// Begins to read on a blocking thread.
pub(crate) fn start(database: &SqliteDatabase, range: Range, pages: Pages) {
    let path = database.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = while_doing(LOOKING);
        let result = Connection::open_with_flags(path, flags).map_err(failed).and_then(|log| {
            let sorted = sort(&log, range)?;
            read(&log, &sorted, range, &pages)
        });
        if let Err(error) = result {
            // Nobody listens any more: then nobody has to be told.
            let _ = pages.blocking_send(Err(error));
        }
    });
}

/// Where the events are and how they are found, to be read in any order.
fn sort(log: &Connection, range: Range) -> Result<Connection, StoreError> {
    let failed = while_doing("sorting a log by stream");
    // A name of no characters is a file that nobody else sees and that goes with the connection.
    let sorted = Connection::open("").map_err(failed)?;
    sorted
        .execute_batch(
            "pragma journal_mode = off; pragma synchronous = off;
             create table entry (place integer primary key, stream, version, back); begin",
        )
        .map_err(failed)?;
    let mut entries = log
        .prepare(
            "select place, stream, version, back from event where place > ?1 and place <= ?2
             order by place limit ?3",
        )
        .map_err(failed)?;
    let mut insert = sorted.prepare("insert into entry values (?1, ?2, ?3, ?4)").map_err(failed)?;
    let (mut after, end) = (bound(range.log, i64::MIN), bound(range.log, range.up_to));
    loop {
        let begun = after;
        let mut rows = entries.query((after, end, PIECE)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let value = |column| row.get::<_, i64>(column).map_err(failed);
            after = value(0)?;
            insert.execute((after, value(1)?, value(2)?, value(3)?)).map_err(failed)?;
        }
        if after == begun {
            break;
        }
    }
    drop(insert);
    sorted.execute_batch("commit").map_err(failed)?;
    Ok(sorted)
}

/// An event as the sorted file has it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: i64,
    stream: i64,
    version: i64,
    back: i64,
}

fn read(log: &Connection, sorted: &Connection, range: Range, pages: &Pages) -> Result<(), StoreError> {
    let failed = while_doing(LOOKING);
    let mut statement = sorted
        .prepare("select place, stream, version, back from entry order by stream, version, place")
        .map_err(failed)?;
    let entry = |row: &Row<'_>| {
        Ok(Entry { place: row.get(0)?, stream: row.get(1)?, version: row.get(2)?, back: row.get(3)? })
    };
    let mut entries = statement.query_map([], entry).map_err(failed)?.peekable();
    let page_events = usize::try_from(range.page).unwrap_or(usize::MAX);
    let mut page: Vec<RawEvent> = Vec::with_capacity(page_events);
    let mut events = Events::prepare(log, range)?;
    let mut before: Option<Entry> = None;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed)?;
        let last = !matches!(entries.peek(), Some(Ok(next)) if next.stream == entry.stream);
        let before_it = before.replace(entry).filter(|before| before.stream == entry.stream);
        let way_back = before_it.map_or(0, |before| entry.place - before.place);
        let mut event = events.read(entry)?;
        event.astray = entry.back != way_back || (last && events.is_behind_tip(entry)?);
        page.push(event);
        if page.len() == page_events
            && pages.blocking_send(Ok(std::mem::replace(&mut page, Vec::with_capacity(page_events)))).is_err()
        {
            return Ok(());
        }
    }
    if !page.is_empty() {
        let _ = pages.blocking_send(Ok(page));
    }
    Ok(())
}

/// Reads what entries stand for.
struct Events<'a> {
    event: rusqlite::Statement<'a>,
    tip: rusqlite::Statement<'a>,
    range: Range,
}

impl<'a> Events<'a> {
    fn prepare(log: &'a Connection, range: Range) -> Result<Self, StoreError> {
        let failed = while_doing(LOOKING);
        let event = log.prepare(
            "select e.stream, s.name, e.version, e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
             from event e left join stream s on s.log = ?2 and s.number = e.stream where e.place = ?1",
        );
        let tip = log.prepare("select position, version from stream_tip where stream = ?1");
        Ok(Self { event: event.map_err(failed)?, tip: tip.map_err(failed)?, range })
    }

    fn read(&mut self, entry: Entry) -> Result<RawEvent, StoreError> {
        let row = self.event.query_row((entry.place, self.range.log), |row| columns(own(entry.place), row));
        row.map(raw_event).map_err(while_doing(LOOKING))
    }

    /// Whether the tip of a stream names another event than the newest. A tip beyond what is looked at belongs to events that
    /// were added since; one that names a position without an event speaks of a gap in the log, which is found without it.
    fn is_behind_tip(&mut self, entry: Entry) -> Result<bool, StoreError> {
        if !(0..=MAX_OWN).contains(&entry.stream) {
            return Ok(true);
        }
        let tip = self.tip.query_row([bound(self.range.log, entry.stream)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let failed = while_doing(LOOKING);
        let Some((position, version)) = tip.optional().map_err(failed)? else { return Ok(true) };
        if position > self.range.up_to || (position, version) == (own(entry.place), entry.version) {
            return Ok(false);
        }
        self.event.exists([bound(self.range.log, position), self.range.log]).map_err(failed)
    }
}

fn columns(position: i64, row: &Row<'_>) -> Result<RawColumns, rusqlite::Error> {
    let bytes = |column| {
        Ok::<_, rusqlite::Error>(match row.get_ref(column)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
    };
    Ok((
        position,
        row.get(0)?,
        bytes(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        bytes(6)?.unwrap_or_default(),
        bytes(7)?.unwrap_or_default(),
        bytes(8)?.unwrap_or_default(),
    ))
}
