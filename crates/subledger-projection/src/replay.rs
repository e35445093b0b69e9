//! Folds in memory: what the read models would show if their log ended where the caller stops.
//!
//! The same folds as those behind the tables, so a past state has the shape and the meaning of a present one. A caller
//! may hand over a selection of streams: the rows of what they are about come out as they would from the whole log.

use std::collections::BTreeMap;

use serde_json::Value;
use subledger_store::{Position, Recorded};
use thiserror::Error;

use crate::{
    BindingRow, ChannelRow, DeliveryRow, LedgerRow, LotRow, MessageRow, ProjectionName, ReportTemplateRow,
    TemplateRow,
    fold::{LedgerBook, Poison, model},
    rows::{ReportBook, ReportClosing, ReportCount, ReportSend},
    table::{Row, Table},
};

/// An event that cannot be folded; what came before it was.
#[derive(Debug, Error)]
#[error("the event at position {position} cannot be applied: {reason}")]
pub struct ReplayError {
    /// The event.
    pub position: Position,
    /// Why.
    pub reason: String,
}

/// The rows of one projection, built in memory.
#[derive(Debug, Clone)]
pub struct Replay {
    projection: ProjectionName,
    /// By table, then by key as JSON of the key's columns; rows as JSON.
    tables: BTreeMap<&'static str, BTreeMap<String, String>>,
}

impl Replay {
    /// No rows yet.
    pub const fn new(projection: ProjectionName) -> Self {
        Self { projection, tables: BTreeMap::new() }
    }

    /// Folds more events, in order of position. Those that are of no concern to the projection are passed over. After an
    /// error the rows are as they were before the call.
    pub fn apply(&mut self, events: &[Recorded]) -> Result<(), ReplayError> {
        let Some(last) = events.last() else { return Ok(()) };
        let poisoned = |Poison { position, error }| ReplayError { position, reason: error.to_string() };
        // Rows written here and read here: only a defect makes them unreadable.
        let defect =
            |error: serde_json::Error| ReplayError { position: last.position, reason: error.to_string() };
        let mut model = model(self.projection);
        for event in events {
            model
                .take(&event.into())
                .map_err(|error| poisoned(Poison { position: event.position, error }))?;
        }
        while let Some(need) = model.need() {
            let keys: Vec<Value> = serde_json::from_str(&need.keys).map_err(defect)?;
            let rows = match self.tables.get(need.table.name()) {
                Some(table) => keys.iter().filter_map(|key| table.get(&key.to_string()).cloned()).collect(),
                None => Vec::new(),
            };
            model.load(need.table, rows).map_err(defect)?;
        }
        model.fold().map_err(poisoned)?;
        for change in model.changes().map_err(defect)? {
            let rows = keyed(change.table, &change.rows).map_err(defect)?;
            self.tables.entry(change.table.name()).or_default().extend(rows);
        }
        Ok(())
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
        let rows = self.tables.get(R::TABLE.name()).into_iter().flat_map(BTreeMap::values);
        // Each was written by `keyed` from this very type.
        rows.filter_map(|row| serde_json::from_str(row).ok()).collect()
    }
}

/// Rows with the keys that a model asks for them by.
fn keyed(table: Table, rows: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
    fn of<R: Row>(rows: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
        let rows: Vec<R> = serde_json::from_str(rows)?;
        rows.iter().map(|row| Ok((R::columns(&row.key()).to_string(), serde_json::to_string(row)?))).collect()
    }
    match table {
        Table::Channels => of::<ChannelRow>(rows),
        Table::Templates => of::<TemplateRow>(rows),
        Table::Bindings => of::<BindingRow>(rows),
        Table::Ledgers => of::<LedgerBook>(rows),
        Table::Lots => of::<LotRow>(rows),
        Table::Messages => of::<MessageRow>(rows),
        Table::Deliveries => of::<DeliveryRow>(rows),
        Table::ReportBooks => of::<ReportBook>(rows),
        Table::ReportSends => of::<ReportSend>(rows),
        Table::ReportTemplates => of::<ReportTemplateRow>(rows),
        Table::ReportClosings => of::<ReportClosing>(rows),
        Table::ReportCounts => of::<ReportCount>(rows),
        Table::Apps => of::<crate::AppRow>(rows),
        Table::AppKeys => of::<crate::AppKeyRow>(rows),
    }
}
