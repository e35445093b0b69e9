//! Writing a log as lines that can be checked without the database.
//!
//! The chain is checked while it is written, so nothing that is broken already gets a signature.

use std::io::Write;

use serde::Serialize;
use subledger_domain::LogName;
use subledger_store::{Attestation, ChainCheck, ChainError, Position, Store, StoreError};
use thiserror::Error;

use super::{
    PAGE, Progress,
    format::{End, EndLine, EventLine, Header},
};

/// A log was not exported to its end; what was written has no signed end.
#[derive(Debug, Error)]
pub enum ExportError {
    /// There is nothing to export.
    #[error("log {0} holds no events")]
    Empty(LogName),
    /// The log does not reach so far.
    #[error("log {log} ends at position {head}; there is nothing after {after}")]
    After {
        /// The log.
        log: LogName,
        /// Its end.
        head: Position,
        /// The position asked for.
        after: Position,
    },
    /// The log is broken, so its end is not signed.
    #[error("the log is not whole, so its end is not signed; run `subledger audit verify`")]
    Broken(#[from] ChainError),
    /// The log is broken, so its end is not signed.
    #[error("log {log} is not whole, so its end is not signed: {what}; run `subledger audit verify`")]
    NotWhole {
        /// The log.
        log: LogName,
        /// What is wrong.
        what: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lines could not be written.
    #[error("the export could not be written")]
    Write(#[from] std::io::Error),
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The signed end.
    pub signed: Attestation,
    /// How many events were written.
    pub events: u64,
}

/// Writes one section: the events of a log after a position, up to where the log ends now.
pub async fn export(
    store: &Store,
    log: &LogName,
    after: Position,
    out: &mut (impl Write + Send),
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Exported, ExportError> {
    let head = store.head(log).await?;
    if head.position == Position(0) {
        return Err(ExportError::Empty(log.clone()));
    }
    if after > head.position {
        return Err(ExportError::After { log: log.clone(), head: head.position, after });
    }
    let mut check = begin(store, log, after).await?;
    let key = store.signing_key()?;
    line(out, &Header::new(log.as_str(), after, &check.end().1, &key))?;
    let mut events = 0;
    loop {
        let (at, _) = check.end();
        let done = at.0 - after.0;
        progress(Progress { log: log.clone(), step: "exporting", done, total: head.position.0 - after.0 });
        if at >= head.position {
            break;
        }
        let page = store.read_log(log, at, PAGE).await?;
        if page.is_empty() {
            return Err(not_whole(
                log,
                format!("its head says {} and its last event is at {at}", head.position),
            ));
        }
        for event in page.iter().take_while(|event| event.position <= head.position) {
            check.next(event)?;
            let text = EventLine::new(event).ok_or_else(|| {
                not_whole(log, format!("the event at position {} is not text", event.position))
            })?;
            line(out, &text)?;
            events += 1;
        }
        if check.end().0 == at {
            return Err(not_whole(log, format!("no event follows position {at}")));
        }
    }
    if check.end() != (head.position, head.link) {
        return Err(not_whole(log, "its head is not the link of its last event".to_owned()));
    }
    let signed = store.sign_head(&head, store.clock().now())?;
    line(out, &EndLine { end: End::new(&signed, events) })?;
    out.flush()?;
    Ok(Exported { signed, events })
}

/// A check that goes on after a position.
async fn begin(store: &Store, log: &LogName, after: Position) -> Result<ChainCheck, ExportError> {
    if after == Position(0) {
        return Ok(ChainCheck::new());
    }
    let before = store.read_log(log, Position(after.0 - 1), 1).await?;
    match before.first() {
        Some(event) if event.position == after => Ok(ChainCheck::after(after, event.link)),
        _ => Err(not_whole(log, format!("there is no event at position {after}"))),
    }
}

fn not_whole(log: &LogName, what: String) -> ExportError {
    ExportError::NotWhole { log: log.clone(), what }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> Result<(), std::io::Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    out.write_all(&text)
}
