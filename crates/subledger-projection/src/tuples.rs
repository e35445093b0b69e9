//! Rows on their way into and out of a database.
//!
//! One encoding for both databases: that of PostgreSQL's `copy … (format binary)`, which goes to the server as it is and
//! which the SQLite side takes apart again. A row is a count of fields, then for each its length (-1 for null) and its
//! bytes; numbers are big-endian, of 2, 4 or 8 bytes as their column is wide. Rows are written by [`Fields`] and read by
//! [`Cells`], in the order of [`Table::columns`](crate::table::Table::columns).

use std::sync::Arc;

use thiserror::Error;

use crate::{table::Table, terms::Terms};

/// The length that stands for null.
const NULL: u32 = u32::MAX;

/// A row that is not what this version writes.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

impl Unreadable {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// Rows to write to one table.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) table: Table,
    /// Rows whose keys the generation does not hold.
    pub(crate) fresh: Tuples,
    /// Rows whose keys it holds.
    pub(crate) known: Tuples,
}

/// Encoded rows, one after the other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tuples {
    pub(crate) rows: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Tuples {
    /// Adds a row of so many fields.
    pub(crate) fn push(
        &mut self,
        fields: usize,
        naming: &mut Naming<'_>,
        fill: impl FnOnce(&mut Fields<'_, '_>),
    ) {
        self.bytes.extend_from_slice(&(fields as u16).to_be_bytes());
        fill(&mut Fields { out: &mut self.bytes, naming });
        self.rows += 1;
    }

    /// The rows, each to be read field by field.
    pub(crate) fn iter(&self, fields: usize) -> impl Iterator<Item = Cells<'_>> {
        let mut rest = self.bytes.as_slice();
        (0..self.rows).map(move |_| {
            let mut end = Cells { rest: rest.get(2..).unwrap_or_default() };
            for _ in 0..fields {
                // A row that is cut off is noticed by whoever reads it.
                let _ = end.field();
            }
            let (row, next) = rest.split_at(rest.len() - end.rest.len());
            rest = next;
            Cells { rest: row.get(2..).unwrap_or_default() }
        })
    }
}

/// How texts that have a number in the database are written.
pub(crate) enum Naming<'a> {
    /// As themselves: rows that stay in memory.
    Texts,
    /// As their numbers. Those that have none yet are noted; what was written meanwhile is to be thrown away.
    Numbers { terms: &'a Terms, missing: Vec<Arc<str>> },
}

impl Naming<'_> {
    /// Whether something had no number.
    pub(crate) fn has_missing(&self) -> bool {
        matches!(self, Self::Numbers { missing, .. } if !missing.is_empty())
    }
}

/// Writes the fields of a row.
pub(crate) struct Fields<'a, 'n> {
    out: &'a mut Vec<u8>,
    naming: &'a mut Naming<'n>,
}

impl Fields<'_, '_> {
    pub(crate) fn null(&mut self) {
        self.out.extend_from_slice(&NULL.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // No field of ours comes near 2 GiB.
        self.out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// What does not fit is written as null, which the database refuses: no column for numbers that are always there
    /// allows it.
    pub(crate) fn small(&mut self, value: i64) {
        match i16::try_from(value) {
            Ok(value) => self.bytes(&value.to_be_bytes()),
            Err(_) => self.null(),
        }
    }

    /// See [`Self::small`].
    pub(crate) fn int(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(value) => self.bytes(&value.to_be_bytes()),
            Err(_) => self.null(),
        }
    }

    pub(crate) fn big(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// A text that has a number in the database.
    pub(crate) fn term(&mut self, text: &str) {
        match &mut *self.naming {
            Naming::Texts => self.text(text),
            Naming::Numbers { terms, missing } => match terms.number(text) {
                Some(number) => self.int(number.into()),
                None => {
                    missing.push(Arc::from(text));
                    self.null();
                }
            },
        }
    }
}

/// Reads the fields of a row. Texts that have a number in the database are read as themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Cells<'a> {
    /// The fields in these bytes.
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes of everything that was not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field; nothing if it is null.
    pub(crate) fn field(&mut self) -> Result<Option<&'a [u8]>, Unreadable> {
        let cut = || Unreadable::new("a row is cut off");
        let (length, rest) = self.rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length);
        if length == NULL {
            self.rest = rest;
            return Ok(None);
        }
        let (field, rest) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
        self.rest = rest;
        Ok(Some(field))
    }

    /// Passes over a null; nothing happens if the next field is something else.
    pub(crate) fn skip_null(&mut self) -> bool {
        match self.rest.split_first_chunk::<4>() {
            Some((length, rest)) if u32::from_be_bytes(*length) == NULL => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        self.field()?.ok_or_else(|| Unreadable::new("a value is missing"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(Unreadable::new)
    }

    pub(crate) fn int(&mut self) -> Result<i64, Unreadable> {
        number(self.bytes()?).ok_or_else(|| Unreadable::new("a number is of an odd length"))
    }
}

/// A big-endian number of 2, 4 or 8 bytes.
pub(crate) fn number(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        2 => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
