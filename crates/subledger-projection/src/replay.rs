//! Folds in memory: what the read models would show if their log ended where the caller stops.
//!
//! The same folds as those behind the tables, so a past state has the shape and the meaning of a present one. A caller
//! may hand over a selection of streams: the rows of what they are about come out as they would from the whole log.

use std::collections::BTreeMap;

use subledger_domain::DecodeError;
use subledger_store::{NewerEvent, Position, Recorded};
use thiserror::Error;

use crate::{
    BindingRow, ChannelRow, DeliveryRow, LedgerRow, LotRow, MessageRow, ProjectionName, TemplateRow,
    fold::{FoldError, LedgerBook, Poison, model},
    table::{Need, Row, Table},
    tuples::{Cells, Naming, Tuples},
};

/// An event that cannot be folded; what came before it was.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It is of a newer version of the program.
    #[error(transparent)]
    Newer(#[from] NewerEvent),
    /// It cannot be read, or does not fit what came before it.
    #[error("the event at position {position} cannot be applied: {reason}")]
    NotApplicable {
        /// The event.
        position: Position,
        /// Why.
        reason: String,
    },
}

impl ReplayError {
    /// An event that cannot be decoded.
    pub fn undecoded(event: &Recorded, error: &DecodeError) -> Self {
        NewerEvent::of(&event.log, event.position, error).map_or_else(
            || Self::NotApplicable { position: event.position, reason: error.to_string() },
            Self::Newer,
        )
    }
}

/// The rows of one projection, built in memory.
#[derive(Debug, Clone)]
pub struct Replay {
    projection: ProjectionName,
    rows: Stored,
}

impl Replay {
    /// No rows yet.
    pub const fn new(projection: ProjectionName) -> Self {
        Self { projection, rows: Stored::new() }
    }

    /// Folds more events, in order of position. Those that are of no concern to the projection are passed over. After an
    /// error the rows are as they were before the call.
    pub fn apply(&mut self, events: &[Recorded]) -> Result<(), ReplayError> {
        self.rows.apply(self.projection, events).map_err(|Poison { position, error }| {
            let event = events.iter().find(|event| event.position == position);
            match (event, error) {
                (Some(event), FoldError::Decode(error)) => ReplayError::undecoded(event, &error),
                (_, error) => ReplayError::NotApplicable { position, reason: error.to_string() },
            }
        })
    }

    /// The channel, once registered.
    pub fn channel(&self) -> Option<ChannelRow> {
        self.rows().into_iter().next()
    }

    /// Templates by id.
    pub fn templates(&self) -> Vec<TemplateRow> {
        let mut rows: Vec<TemplateRow> = self.rows();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    /// Bindings by user reference.
    pub fn bindings(&self) -> Vec<BindingRow> {
        let mut rows: Vec<BindingRow> = self.rows();
        rows.sort_by_key(|row| row.user_ref);
        rows
    }

    /// Ledgers by subject and template.
    pub fn ledgers(&self) -> Vec<LedgerRow> {
        let mut rows: Vec<LedgerRow> = self.rows::<LedgerBook>().into_iter().map(|book| book.row).collect();
        rows.sort_by(|a, b| (a.subject, &a.template).cmp(&(b.subject, &b.template)));
        rows
    }

    /// Lots by ledger, oldest first.
    pub fn lots(&self) -> Vec<LotRow> {
        let mut rows: Vec<LotRow> = self.rows();
        rows.sort_by(|a, b| (a.subject, &a.template, a.lot).cmp(&(b.subject, &b.template, b.lot)));
        rows
    }

    /// Messages, oldest first.
    pub fn messages(&self) -> Vec<MessageRow> {
        let mut rows: Vec<MessageRow> = self.rows();
        rows.sort_by_key(|row| row.position);
        rows
    }

    /// Deliveries by message and index.
    pub fn deliveries(&self) -> Vec<DeliveryRow> {
        let mut rows: Vec<DeliveryRow> = self.rows();
        rows.sort_by_key(DeliveryRow::id);
        rows
    }

    fn rows<R: Row>(&self) -> Vec<R> {
        self.rows.all()
    }
}

/// Rows as a database would hold them, by table and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Stored {
    pub(crate) const fn new() -> Self {
        Self { tables: BTreeMap::new() }
    }

    /// Applies one batch, as the runner does.
    pub(crate) fn apply(&mut self, projection: ProjectionName, events: &[Recorded]) -> Result<(), Poison> {
        let mut model = model(projection);
        for event in events {
            model.take(&event.into()).map_err(|error| Poison { position: event.position, error })?;
        }
        while let Some(need) = model.need(&mut Naming::Texts) {
            // Rows written here and read here: only a defect makes them unreadable.
            let loaded = model.load(need.table, &self.find(&need));
            loaded.map_err(|error| {
                let position = events.last().map_or(Position(0), |event| event.position);
                Poison { position, error: FoldError::Contradiction(error.to_string()) }
            })?;
        }
        model.fold()?;
        for table in model.tables() {
            let Some(sheet) = table.changes(0, &mut Naming::Texts) else { continue };
            let (columns, keys) = (sheet.table.columns().len(), sheet.table.key_columns());
            let rows = self.tables.entry(sheet.table).or_default();
            for mut row in sheet.fresh.iter(columns + 1).chain(sheet.known.iter(columns + 1)) {
                let _ = row.field();
                rows.insert(key_of(row, keys).to_vec(), row.rest().to_vec());
            }
        }
        Ok(())
    }

    fn find(&self, need: &Need) -> Tuples {
        let mut found = Tuples::default();
        let table = self.tables.get(&need.table);
        for key in need.keys.iter(need.table.key_columns()) {
            if let Some(row) = table.and_then(|table| table.get(key.rest())) {
                found.bytes.extend_from_slice(&(need.table.columns().len() as u16).to_be_bytes());
                found.bytes.extend_from_slice(row);
                found.rows += 1;
            }
        }
        found
    }

    /// Every row of a table.
    pub(crate) fn all<R: Row>(&self) -> Vec<R> {
        let rows = self.tables.get(&R::TABLE).into_iter().flat_map(BTreeMap::values);
        // Each was written from this very type.
        rows.filter_map(|row| R::take(&mut Cells::of(row)).ok()).collect()
    }
}

/// The bytes of the first fields.
fn key_of(row: Cells<'_>, fields: usize) -> &[u8] {
    let mut rest = row;
    for _ in 0..fields {
        let _ = rest.field();
    }
    &row.rest()[..row.rest().len() - rest.rest().len()]
}
