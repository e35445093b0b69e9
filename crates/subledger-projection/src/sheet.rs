//! Rows on their way into a database in bulk.
//!
//! One encoding for both: that of PostgreSQL's `copy … (format binary)`, which goes to the server as it is and which the
//! SQLite side takes apart again. A row is a count of fields, then for each its length (-1 for null) and its bytes. The
//! fields are the log, the generation, and the row's own, found by serialising it: their names and order must be those of
//! [`Table::columns`], which is checked on the way.

mod fields;

use serde::{Serialize, ser::Error as _};
use serde_json::Error;

use self::fields::Fields;
use crate::table::Table;

/// Rows to write to one table.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) table: Table,
    /// Rows whose keys the generation does not hold.
    pub(crate) fresh: Tuples,
    /// Rows whose keys it holds.
    pub(crate) known: Tuples,
}

impl Sheet {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, fresh: Tuples::default(), known: Tuples::default() }
    }
}

/// Encoded rows, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    pub(crate) rows: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Tuples {
    /// Adds a row.
    pub(crate) fn push<R: Serialize>(
        &mut self,
        table: Table,
        log: &str,
        generation: i64,
        row: &R,
    ) -> Result<(), Error> {
        let columns = table.columns();
        let count = i16::try_from(columns.len() + 2).map_err(Error::custom)?;
        let begun = self.bytes.len();
        self.bytes.extend_from_slice(&count.to_be_bytes());
        put(&mut self.bytes, log.as_bytes());
        put(&mut self.bytes, &i16::try_from(generation).map_err(Error::custom)?.to_be_bytes());
        match row.serialize(Fields { out: &mut self.bytes, columns, next: 0 }) {
            Ok(filled) if filled == columns.len() => {
                self.rows += 1;
                Ok(())
            }
            Ok(filled) => {
                self.bytes.truncate(begun);
                Err(Error::custom(format!("a row of {} has {filled} fields", table.name())))
            }
            Err(error) => {
                self.bytes.truncate(begun);
                Err(error)
            }
        }
    }
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    // No field of ours comes near 2 GiB.
    out.extend_from_slice(&(field.len() as u32).to_be_bytes());
    out.extend_from_slice(field);
}
