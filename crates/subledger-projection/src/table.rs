//! Tables as the folds see them: rows by key, loaded, changed and written in sets.
//!
//! A row of Rust is a row of a table ([`Row`]); the statements that read and write whole tables are made from their columns.

mod codec;
mod columns;
mod layout;
mod packed;
mod statements;

use std::hash::Hash;

use serde::Serialize;

use crate::{
    AppKeyRow, AppRow, BindingRow, ChannelRow, DeliveryRow, DoubtRow, DriftRow, LotRow, MessageRow,
    ProjectionName, ReportTemplateRow, TemplateRow,
    fold::LedgerBook,
    rows::{ReportClosing, ReportCount, StrangerRow},
    tuples::{Cells, Fields, Tuples, Unreadable},
};

/// A table of a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Channels,
    Templates,
    Bindings,
    Ledgers,
    Lots,
    Messages,
    Deliveries,
    Doubts,
    Drifts,
    Strangers,
    ReportTemplates,
    ReportClosings,
    ReportCounts,
    Apps,
    AppKeys,
}

impl Table {
    /// The tables of a projection, in the order of a digest. Those of reports have rows of two projections.
    pub(crate) const fn of(projection: ProjectionName) -> &'static [Self] {
        match projection {
            ProjectionName::Channels => &[Self::Channels, Self::Templates],
            ProjectionName::Bindings => &[Self::Bindings],
            ProjectionName::Ledgers => &[
                Self::Ledgers,
                Self::Lots,
                Self::Drifts,
                Self::Strangers,
                Self::ReportTemplates,
                Self::ReportClosings,
                Self::ReportCounts,
            ],
            ProjectionName::Messages => {
                &[Self::Messages, Self::Deliveries, Self::Doubts, Self::ReportTemplates, Self::ReportCounts]
            }
            ProjectionName::Apps => &[Self::Apps, Self::AppKeys],
        }
    }

    /// Its name in the database, which also goes into a digest.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Templates => "templates",
            Self::Bindings => "bindings",
            Self::Ledgers => "ledgers",
            Self::Lots => "ledger_lots",
            Self::Messages => "messages",
            Self::Deliveries => "deliveries",
            Self::Doubts => "doubts",
            Self::Drifts => "drifts",
            Self::Strangers => "strangers",
            Self::ReportTemplates => "report_templates",
            Self::ReportClosings => "report_closings",
            Self::ReportCounts => "report_counts",
            Self::Apps => "apps",
            Self::AppKeys => "app_keys",
        }
    }

    /// Its columns after the generation; the first [`Self::key_columns`] of them are its key.
    pub(crate) const fn columns(self) -> &'static [Column] {
        columns::of(self)
    }

    /// How many columns make up its key, beside the generation.
    pub(crate) const fn key_columns(self) -> usize {
        match self {
            Self::Channels
            | Self::Templates
            | Self::Bindings
            | Self::Messages
            | Self::ReportTemplates
            | Self::Apps => 1,
            Self::Ledgers
            | Self::Deliveries
            | Self::Drifts
            | Self::Strangers
            | Self::ReportClosings
            | Self::AppKeys => 2,
            Self::Lots | Self::Doubts => 3,
            Self::ReportCounts => 4,
        }
    }

    /// A row as read from a database, in the encoding that a digest is taken of: JSON, fields in order, no spaces.
    pub(crate) fn canonical(self, row: &mut Cells<'_>) -> Result<Vec<u8>, Unreadable> {
        fn via<R: Row>(row: &mut Cells<'_>) -> Result<Vec<u8>, Unreadable> {
            serde_json::to_vec(&R::take(row)?).map_err(Unreadable::new)
        }
        match self {
            Self::Channels => via::<ChannelRow>(row),
            Self::Templates => via::<TemplateRow>(row),
            Self::Bindings => via::<BindingRow>(row),
            Self::Ledgers => via::<LedgerBook>(row),
            Self::Lots => via::<LotRow>(row),
            Self::Messages => via::<MessageRow>(row),
            Self::Deliveries => via::<DeliveryRow>(row),
            Self::Doubts => via::<DoubtRow>(row),
            Self::Drifts => via::<DriftRow>(row),
            Self::Strangers => via::<StrangerRow>(row),
            Self::ReportTemplates => via::<ReportTemplateRow>(row),
            Self::ReportClosings => via::<ReportClosing>(row),
            Self::ReportCounts => via::<ReportCount>(row),
            Self::Apps => via::<AppRow>(row),
            Self::AppKeys => via::<AppKeyRow>(row),
        }
    }
}

/// What a column holds. All numbers are `integer` on SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `smallint` on PostgreSQL.
    Small,
    /// `integer` on PostgreSQL.
    Int,
    /// `bigint` on PostgreSQL.
    Big,
    /// `text` on both.
    Text,
    /// `blob`, `bytea`.
    Bytes,
    /// The number of a text in the table `term`; read as the text.
    Term,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// A row with a key.
pub(crate) trait Row: Serialize + Sized + Send + Sync {
    /// About how many bytes of texts and lists a row and its key own, to bound what is kept in memory.
    const HEAP_BYTES: usize = 100;
    /// What identifies it within its generation, in the order of the primary key.
    type Key: Ord + Hash + Clone + Send + Sync;
    /// Its table.
    const TABLE: Table;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// Writes the columns of a key.
    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>);
    /// Writes the columns after the key.
    fn put_rest(&self, to: &mut Fields<'_, '_>);
    /// Reads all columns.
    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable>;
}

/// Rows to load: a table and their keys.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) table: Table,
    pub(crate) keys: Tuples,
}
