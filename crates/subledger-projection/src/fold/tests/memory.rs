//! Tables in memory, in place of a database: rows by table and key.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use subledger_store::Recorded;

use crate::{
    ProjectionName,
    fold::{Poison, model},
    table::{Row, Table},
};

#[derive(Default, Clone, PartialEq, Debug)]
pub(super) struct Memory {
    rows: BTreeMap<(&'static str, String), String>,
}

/// The key columns of a stored row, as [`Row::columns`] writes them.
fn key_of(table: Table, row: &Value) -> String {
    let columns: &[&str] = match table {
        Table::Channels => &["code"],
        Table::Templates | Table::Messages | Table::Apps | Table::ReportSends => &["id"],
        Table::ReportTemplates => &["template"],
        Table::ReportClosings => &["template", "bucket"],
        Table::ReportCounts => &["template", "bucket", "measure", "class"],
        Table::Bindings => &["user_ref"],
        Table::Ledgers | Table::ReportBooks => &["subject", "template"],
        Table::Lots => &["subject", "template", "lot"],
        Table::Deliveries => &["message", "idx"],
        Table::AppKeys => &["app", "key"],
    };
    let key: BTreeMap<_, _> = columns.iter().map(|column| (*column, &row[*column])).collect();
    serde_json::to_string(&key).unwrap()
}

impl Memory {
    /// Applies one batch, as the runner does.
    pub(super) fn apply(&mut self, projection: ProjectionName, events: &[Recorded]) -> Result<(), Poison> {
        let mut model = model(projection);
        for event in events {
            model.take(&event.into()).map_err(|error| Poison { position: event.position, error })?;
        }
        while let Some(need) = model.need() {
            let keys: Vec<BTreeMap<String, Value>> = serde_json::from_str(&need.keys).unwrap();
            let keys = keys.iter().map(|key| serde_json::to_string(key).unwrap());
            let rows = keys.filter_map(|key| self.rows.get(&(need.table.name(), key)).cloned()).collect();
            model.load(need.table, rows).unwrap();
        }
        model.fold()?;
        for change in model.changes().unwrap() {
            let rows: Vec<Value> = serde_json::from_str(&change.rows).unwrap();
            for row in rows {
                let key = key_of(change.table, &row);
                self.rows.insert((change.table.name(), key), row.to_string());
            }
        }
        Ok(())
    }

    /// Every row of a table.
    pub(super) fn all<R: Row + DeserializeOwned>(&self) -> Vec<R> {
        let of_table = self.rows.iter().filter(|((table, _), _)| *table == R::TABLE.name());
        of_table.map(|(_, row)| serde_json::from_str(row).unwrap()).collect()
    }
}
