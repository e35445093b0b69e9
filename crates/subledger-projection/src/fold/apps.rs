//! Folds app events: sender apps and their keys.

use subledger_domain::{AppId, app::AppEvent};

use super::{FoldError, Incoming, Model, Poison, Stamp};
use crate::{
    AppKeyRow, AppRow,
    cache::{Held, Rows},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

#[derive(Default)]
pub(super) struct Apps {
    events: Vec<(Stamp, AppId, AppEvent)>,
    apps: Rows<AppRow>,
    keys: Rows<AppKeyRow>,
}

impl Model for Apps {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        if event.stream.aggregate_type() != "app" {
            return Ok(());
        }
        let id: AppId = event.stream.id().parse().map_err(|_| event.misnamed())?;
        let decoded: AppEvent = event.decode()?;
        if let AppEvent::KeyRevoked(revoked) = &decoded {
            self.keys.want(&(id.clone(), revoked.key.clone()));
        }
        self.events.push((event.stamp, id, decoded));
        Ok(())
    }

    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.keys.need(naming)
    }

    fn load(&mut self, _table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        self.keys.load(rows)
    }

    fn fold(&mut self) -> Result<(), Poison> {
        for (stamp, id, event) in std::mem::take(&mut self.events) {
            self.apply(stamp, id, event).map_err(|error| Poison { position: stamp.position, error })?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        vec![&mut self.apps, &mut self.keys]
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
