//! Tables in memory, in place of a database: rows by projection, table and key.

use std::collections::BTreeMap;

use subledger_store::Recorded;

use crate::{ProjectionName, fold::Poison, replay::Stored, table::Row};

#[derive(Default, Clone, PartialEq, Debug)]
pub(super) struct Memory {
    rows: BTreeMap<ProjectionName, Stored>,
}

impl Memory {
    /// Applies one batch, as the runner does.
    pub(super) fn apply(&mut self, projection: ProjectionName, events: &[Recorded]) -> Result<(), Poison> {
        if events.is_empty() {
            return Ok(());
        }
        self.rows.entry(projection).or_default().apply(projection, events)
    }

    /// Every row of a table.
    pub(super) fn all<R: Row>(&self) -> Vec<R> {
        self.rows.values().flat_map(Stored::all).collect()
    }
}
