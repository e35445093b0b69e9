//! Forgetting people. The rows themselves go in the transaction of the command that says so ([`crate::Effect`]).

use std::time::Duration;

use subledger_domain::{LogName, MessageId};

use super::{SHARED, Store};
use crate::{Database, StoreError};

/// How often, and after which pause, a write-ahead log that a reader keeps is tried again.
const SCRUB_TRIES: u32 = 20;
const SCRUB_PAUSE: Duration = Duration::from_millis(50);

/// One kept piece of a message's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptContent {
    /// The message.
    pub message: MessageId,
    /// The recipient it belongs to; none for what all recipients share.
    pub recipient: Option<u32>,
}

impl Store {
    /// Which contents of these messages are kept.
    pub async fn kept_contents(
        &self,
        log: &LogName,
        messages: &[MessageId],
    ) -> Result<Vec<KeptContent>, StoreError> {
        let keys: Vec<[u8; 16]> = messages.iter().map(|message| *message.as_bytes()).collect();
        let rows = self.inner.database.reader().await?.session().kept_contents(log, &keys).await?;
        let kept = |(message, index): ([u8; 16], i64)| {
            let recipient = match index {
                SHARED => None,
                index => Some(
                    u32::try_from(index)
                        .map_err(|_| StoreError::Corrupt(format!("content index {index}")))?,
                ),
            };
            Ok(KeptContent { message: MessageId::from_bytes(message), recipient })
        };
        rows.into_iter().map(kept).collect()
    }

    /// Takes deleted rows out of the database's files, as far as a program can.
    ///
    /// SQLite overwrites what it deletes; this empties the write-ahead log, which still holds the pages of before, and with
    /// `full` writes the whole file anew (as long as it takes, no command is carried out). PostgreSQL vacuums the vaults'
    /// tables, or with `full` writes them anew under a lock. Answers whether it is done; `false` means that readers kept
    /// the write-ahead log, which the next checkpoint overwrites.
    pub async fn scrub(&self, full: bool) -> Result<bool, StoreError> {
        let mut full = full;
        for _ in 0..SCRUB_TRIES {
            let done = self.inner.database.writer().await?.session().scrub(full).await?;
            if done || matches!(self.inner.database, Database::Postgres(_)) {
                return Ok(done);
            }
            full = false;
            tokio::time::sleep(SCRUB_PAUSE).await;
        }
        Ok(false)
    }
}
