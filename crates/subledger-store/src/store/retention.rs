//! Retention: deleting what is kept for a time only, class by class, in bounded pieces.
//!
//! The log is kept for ever and is no class. Several nodes may sweep at once: every piece is one statement that deletes
//! rows which are due whoever asks, so a race costs time and nothing else.

use serde::{Deserialize, Serialize};
use subledger_domain::Timestamp;

use super::Store;
use crate::{StoreError, rows::unsigned};

/// Contents looked at in one piece when ended messages are searched.
const LOOK_ROWS: i64 = 2_000;

/// What is kept for a time only. A new table with a bounded life is a new member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionClass {
    /// Contents of messages, counted from when the message had ended. Never while a delivery of it waits, is under way or is
    /// in doubt.
    Contents,
    /// Receipts, counted from when they were recorded. A command repeated after that is a new command.
    Receipts,
    /// Pushes from WeChat, counted from when they came. Never while one waits to be acted on or relayed.
    Pushes,
}

impl RetentionClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Contents, Self::Receipts, Self::Pushes];

    /// The name in settings, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contents => "contents",
            Self::Receipts => "receipts",
            Self::Pushes => "pushes",
        }
    }
}

/// How much of a class went, or would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Rows.
    pub rows: u64,
    /// Bytes of their values, without what the database adds.
    pub bytes: u64,
}

/// What a class holds, seen from a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What is due: older than the moment, and not held back.
    pub due: Amount,
    /// Rows that stay however old they are: contents of messages that have not ended, or were not seen to; pushes that wait to
    /// be acted on or relayed.
    pub open: u64,
    /// Since when the time of the oldest row runs that is not due.
    pub oldest_left: Option<Timestamp>,
}

impl Store {
    /// Notes which messages have ended, so that the time of their contents begins to run. Answers how many contents.
    pub async fn note_ended(&self) -> Result<u64, StoreError> {
        let mut after = (i64::MIN, [0; 16], i64::MIN);
        let mut noted = 0;
        loop {
            let open = {
                let mut reader = self.inner.database.reader().await?;
                reader.session().open_contents(&after, LOOK_ROWS).await?
            };
            let Some((last, _)) = open.last() else { return Ok(noted) };
            after = *last;
            let ended: Vec<_> = open.iter().filter(|(_, waits)| !waits).map(|(key, _)| *key).collect();
            if !ended.is_empty() {
                // The writer is taken anew for each piece, so that commands get their turn in between.
                let now = self.inner.clock.now().micros();
                self.inner.database.writer().await?.session().mark_ended(&ended, now).await?;
                noted += ended.len() as u64;
            }
        }
    }

    /// What a class holds; changes nothing.
    pub async fn held(&self, class: RetentionClass, before: Timestamp) -> Result<Held, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let (rows, bytes, open, oldest_left) = match class {
            RetentionClass::Contents => session.held_contents(before.micros()).await?,
            RetentionClass::Receipts => session.held_receipts(before.micros()).await?,
            RetentionClass::Pushes => session.held_pushes(before.micros()).await?,
        };
        Ok(Held {
            due: Amount { rows: unsigned(rows)?, bytes: unsigned(bytes)? },
            open: unsigned(open)?,
            oldest_left: oldest_left.map(Timestamp::from_micros),
        })
    }

    /// Deletes up to `limit` rows of a class whose time ran out before a moment. One short statement: call it until it
    /// deletes nothing.
    pub async fn delete_due(
        &self,
        class: RetentionClass,
        before: Timestamp,
        limit: u32,
    ) -> Result<Amount, StoreError> {
        let mut writer = self.inner.database.writer().await?;
        let mut session = writer.session();
        let (rows, bytes) = match class {
            RetentionClass::Contents => session.delete_contents(before.micros(), limit.into()).await?,
            RetentionClass::Receipts => session.delete_receipts(before.micros(), limit.into()).await?,
            RetentionClass::Pushes => session.delete_pushes(before.micros(), limit.into()).await?,
        };
        Ok(Amount { rows: unsigned(rows)?, bytes: unsigned(bytes)? })
    }
}
