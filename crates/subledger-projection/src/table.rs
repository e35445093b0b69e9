//! Tables as the folds see them: rows by key, loaded, changed and written in sets.

mod columns;

use std::hash::Hash;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use subledger_domain::{
    AppId, ChannelCode, DeliveryId, LotId, MessageId, SubjectId, TemplateId, Timestamp, UserRef,
};

use crate::{
    AppKeyRow, AppRow, BindingRow, ChannelRow, DeliveryRow, LotRow, Measure, MessageRow, ProjectionName,
    ReportTemplateRow, TemplateRow,
    fold::LedgerBook,
    postgres,
    rows::{ReportBook, ReportClosing, ReportCount, ReportSend},
    sqlite,
};

/// The statements of a table on one database. Parameters of all: log, generation; then keys or rows as JSON, or a limit.
pub(crate) struct TableSql {
    /// Rows by a JSON array of keys.
    pub(crate) load: &'static str,
    /// Writes a JSON array of rows.
    pub(crate) upsert: &'static str,
    /// Every row in key order.
    pub(crate) scan: &'static str,
    /// Deletes some rows.
    pub(crate) drop: &'static str,
}

/// A table of a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Channels,
    Templates,
    Bindings,
    Ledgers,
    Lots,
    Messages,
    Deliveries,
    ReportBooks,
    ReportSends,
    ReportTemplates,
    ReportClosings,
    ReportCounts,
    Apps,
    AppKeys,
}

impl Table {
    /// The tables of a projection, in the order of a digest.
    pub(crate) const fn of(projection: ProjectionName) -> &'static [Self] {
        match projection {
            ProjectionName::Channels => &[Self::Channels, Self::Templates],
            ProjectionName::Bindings => &[Self::Bindings],
            ProjectionName::Ledgers => &[Self::Ledgers, Self::Lots],
            ProjectionName::Messages => &[Self::Messages, Self::Deliveries],
            ProjectionName::Reports => &[
                Self::ReportBooks,
                Self::ReportSends,
                Self::ReportTemplates,
                Self::ReportClosings,
                Self::ReportCounts,
            ],
            ProjectionName::Apps => &[Self::Apps, Self::AppKeys],
        }
    }

    /// The name that goes into a digest; part of its definition.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Templates => "templates",
            Self::Bindings => "bindings",
            Self::Ledgers => "ledgers",
            Self::Lots => "ledger_lots",
            Self::Messages => "messages",
            Self::Deliveries => "deliveries",
            Self::ReportBooks => "report_books",
            Self::ReportSends => "report_sends",
            Self::ReportTemplates => "report_templates",
            Self::ReportClosings => "report_closings",
            Self::ReportCounts => "report_counts",
            Self::Apps => "apps",
            Self::AppKeys => "app_keys",
        }
    }

    /// Its columns after the log and the generation; the first [`Self::key_columns`] of them are its key.
    pub(crate) const fn columns(self) -> &'static [Column] {
        columns::of(self)
    }

    /// How many columns make up its key, beside the log and the generation.
    pub(crate) const fn key_columns(self) -> usize {
        match self {
            Self::Channels
            | Self::Templates
            | Self::Bindings
            | Self::Messages
            | Self::ReportSends
            | Self::ReportTemplates
            | Self::Apps => 1,
            Self::Ledgers | Self::Deliveries | Self::ReportBooks | Self::ReportClosings | Self::AppKeys => 2,
            Self::Lots => 3,
            Self::ReportCounts => 4,
        }
    }

    /// Its statements for (SQLite, PostgreSQL).
    pub(crate) const fn sql(self) -> (&'static TableSql, &'static TableSql) {
        match self {
            Self::Channels => (&sqlite::channels::CHANNELS, &postgres::channels::CHANNELS),
            Self::Templates => (&sqlite::channels::TEMPLATES, &postgres::channels::TEMPLATES),
            Self::Bindings => (&sqlite::bindings::BINDINGS, &postgres::bindings::BINDINGS),
            Self::Ledgers => (&sqlite::ledgers::LEDGERS, &postgres::ledgers::LEDGERS),
            Self::Lots => (&sqlite::ledgers::LEDGER_LOTS, &postgres::ledgers::LEDGER_LOTS),
            Self::Messages => (&sqlite::messages::MESSAGES, &postgres::messages::MESSAGES),
            Self::Deliveries => (&sqlite::messages::DELIVERIES, &postgres::messages::DELIVERIES),
            Self::ReportBooks => (&sqlite::reports::BOOKS, &postgres::reports::BOOKS),
            Self::ReportSends => (&sqlite::reports::SENDS, &postgres::reports::SENDS),
            Self::ReportTemplates => (&sqlite::reports::TEMPLATES, &postgres::reports::TEMPLATES),
            Self::ReportClosings => (&sqlite::reports::CLOSINGS, &postgres::reports::CLOSINGS),
            Self::ReportCounts => (&sqlite::reports::COUNTS, &postgres::reports::COUNTS),
            Self::Apps => (&sqlite::apps::APPS, &postgres::apps::APPS),
            Self::AppKeys => (&sqlite::apps::APP_KEYS, &postgres::apps::APP_KEYS),
        }
    }

    /// A row as stored, in the encoding that both databases agree on: field order as declared, no spaces.
    pub(crate) fn canonical(self, stored: &str) -> Result<Vec<u8>, serde_json::Error> {
        fn via<R: Row>(stored: &str) -> Result<Vec<u8>, serde_json::Error> {
            serde_json::to_vec(&serde_json::from_str::<R>(stored)?)
        }
        match self {
            Self::Channels => via::<ChannelRow>(stored),
            Self::Templates => via::<TemplateRow>(stored),
            Self::Bindings => via::<BindingRow>(stored),
            Self::Ledgers => via::<LedgerBook>(stored),
            Self::Lots => via::<LotRow>(stored),
            Self::Messages => via::<MessageRow>(stored),
            Self::Deliveries => via::<DeliveryRow>(stored),
            Self::ReportBooks => via::<ReportBook>(stored),
            Self::ReportSends => via::<ReportSend>(stored),
            Self::ReportTemplates => via::<ReportTemplateRow>(stored),
            Self::ReportClosings => via::<ReportClosing>(stored),
            Self::ReportCounts => via::<ReportCount>(stored),
            Self::Apps => via::<AppRow>(stored),
            Self::AppKeys => via::<AppKeyRow>(stored),
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `text` on both databases.
    Text,
    /// `integer` on SQLite, `bigint` on PostgreSQL.
    Int,
    /// `integer` 0 or 1 on SQLite, `boolean` on PostgreSQL.
    Flag,
    /// `text` on SQLite, `jsonb` on PostgreSQL.
    Json,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Kind::Int }
}

const fn flag(name: &'static str) -> Column {
    Column { name, kind: Kind::Flag }
}

const fn json(name: &'static str) -> Column {
    Column { name, kind: Kind::Json }
}

/// A row with a key.
pub(crate) trait Row: Serialize + DeserializeOwned + Send + Sync {
    /// About how many bytes of texts and lists a row and its key own, to bound what is kept in memory.
    const HEAP_BYTES: usize = 200;
    /// What identifies it within its log and generation, in the order of the primary key.
    type Key: Ord + Hash + Clone + Send + Sync;
    /// Its table.
    const TABLE: Table;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// A key as JSON object of its columns.
    fn columns(key: &Self::Key) -> Value;
}

macro_rules! row {
    ($row:ty, $table:ident, $key:ty, |$r:ident| $of:expr, |$k:ident| $columns:tt) => {
        impl Row for $row {
            type Key = $key;
            const TABLE: Table = Table::$table;

            fn key(&self) -> Self::Key {
                let $r = self;
                $of
            }

            fn columns($k: &Self::Key) -> Value {
                json!($columns)
            }
        }
    };
}

row!(ChannelRow, Channels, ChannelCode, |r| r.code.clone(), |k| { "code": k });
row!(TemplateRow, Templates, TemplateId, |r| r.id.clone(), |k| { "id": k });
row!(BindingRow, Bindings, UserRef, |r| r.user_ref, |k| { "user_ref": k });
row!(LedgerBook, Ledgers, (SubjectId, TemplateId), |r| (r.row.subject, r.row.template.clone()), |k| {
    "subject": k.0, "template": k.1
});
row!(LotRow, Lots, (SubjectId, TemplateId, LotId), |r| (r.subject, r.template.clone(), r.lot), |k| {
    "subject": k.0, "template": k.1, "lot": k.2
});
row!(MessageRow, Messages, MessageId, |r| r.id, |k| { "id": k });
row!(DeliveryRow, Deliveries, DeliveryId, |r| r.id(), |k| { "message": k.message, "idx": k.index });
row!(ReportBook, ReportBooks, (SubjectId, TemplateId), |r| (r.subject, r.template.clone()), |k| {
    "subject": k.0, "template": k.1
});
row!(ReportSend, ReportSends, MessageId, |r| r.id, |k| { "id": k });
row!(ReportTemplateRow, ReportTemplates, TemplateId, |r| r.template.clone(), |k| { "template": k });
row!(ReportClosing, ReportClosings, (TemplateId, Timestamp), |r| (r.template.clone(), r.bucket), |k| {
    "template": k.0, "bucket": k.1
});
row!(
    ReportCount, ReportCounts, (TemplateId, Timestamp, Measure, String),
    |r| (r.template.clone(), r.bucket, r.measure, r.class.clone()),
    |k| { "template": k.0, "bucket": k.1, "measure": k.2, "class": k.3 }
);
row!(AppRow, Apps, AppId, |r| r.id.clone(), |k| { "id": k });
row!(AppKeyRow, AppKeys, (AppId, String), |r| (r.app.clone(), r.key.clone()), |k| {
    "app": k.0, "key": k.1
});

/// Rows to load: a table and a JSON array of keys.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) table: Table,
    pub(crate) keys: String,
}

/// Rows to write: a table and a JSON array of rows.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) rows: String,
}
