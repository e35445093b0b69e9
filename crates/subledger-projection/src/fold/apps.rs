//! Folds app events: sender apps and their keys.

use subledger_domain::{AppId, app::AppEvent};
use subledger_store::Recorded;

use super::{FoldError, Model, Poison, Stamp, changes_of};
use crate::{
    AppKeyRow, AppRow,
    table::{Change, Need, Rows, Table},
};

#[derive(Default)]
pub(super) struct Apps {
    events: Vec<(Stamp, AppId, AppEvent)>,
    apps: Rows<AppRow>,
    keys: Rows<AppKeyRow>,
}

impl Model for Apps {
    fn take(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        if recorded.stream.aggregate_type() != "app" {
            return Ok(());
        }
        let id: AppId =
            recorded.stream.id().parse().map_err(|_| FoldError::Stream(recorded.stream.to_string()))?;
        let event: AppEvent = recorded.decode()?;
        if let AppEvent::KeyRevoked(revoked) = &event {
            self.keys.want((id.clone(), revoked.key.clone()));
        }
        self.events.push((recorded.into(), id, event));
        Ok(())
    }

    fn need(&mut self) -> Option<Need> {
        self.keys.need()
    }

    fn load(&mut self, _table: Table, rows: Vec<String>) -> Result<(), serde_json::Error> {
        self.keys.load(rows)
    }

    fn fold(&mut self) -> Result<(), Poison> {
        for (stamp, id, event) in std::mem::take(&mut self.events) {
            self.apply(stamp, id, event).map_err(|error| Poison { position: stamp.position, error })?;
        }
        Ok(())
    }

    fn changes(&self) -> Result<Vec<Change>, serde_json::Error> {
        changes_of(self.apps.change(), self.keys.change())
    }
}

impl Apps {
    fn apply(&mut self, stamp: Stamp, id: AppId, event: AppEvent) -> Result<(), FoldError> {
        match event {
            AppEvent::Created(created) => self.apps.put(AppRow {
                id,
                name: created.name,
                rights: created.rights,
                channels: created.channels,
                created_at: stamp.at,
            }),
            AppEvent::KeyAdded(added) => self.keys.put(AppKeyRow {
                app: id,
                key: added.key,
                hash: added.hash,
                added_at: stamp.at,
                revoked_at: None,
            }),
            AppEvent::KeyRevoked(revoked) => {
                let key = (id, revoked.key);
                let Some(row) = self.keys.edit(&key) else {
                    return Err(FoldError::Contradiction(format!("app {} never had this key", key.0)));
                };
                row.revoked_at = Some(stamp.at);
            }
        }
        Ok(())
    }
}
