//! Folds binding events: which openid a user has.

use subledger_domain::{UserRef, binding::BindingEvent};

use super::{FoldError, Incoming, Model, Poison, Stamp};
use crate::{
    BindingRow,
    cache::{Held, Rows},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

#[derive(Default)]
pub(super) struct Bindings {
    events: Vec<(Stamp, UserRef, BindingEvent)>,
    rows: Rows<BindingRow>,
}

impl Model for Bindings {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        if event.stream.aggregate_type() != "binding" {
            return Ok(());
        }
        let user = event.stream.binding_user().ok_or_else(|| event.misnamed())?;
        self.rows.want(&user);
        self.events.push((event.stamp, user, event.decode()?));
        Ok(())
    }

    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.rows.need(naming)
    }

    fn load(&mut self, _table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        self.rows.load(rows)
    }

    fn fold(&mut self) -> Result<(), Poison> {
        for (stamp, user, event) in std::mem::take(&mut self.events) {
            self.apply(stamp, user, &event).map_err(|error| Poison { position: stamp.position, error })?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        vec![&mut self.rows]
    }
}

impl Bindings {
    fn apply(&mut self, stamp: Stamp, user: UserRef, event: &BindingEvent) -> Result<(), FoldError> {
        if let BindingEvent::Bound(bound) = event {
            let moved_at = self.rows.get(&user).and_then(|row| row.moved_at);
            self.rows.put(BindingRow {
                user_ref: user,
                subject: Some(bound.subject),
                bound_at: stamp.at,
                moved_at,
                unbound_at: None,
            });
            return Ok(());
        }
        let Some(row) = self.rows.edit(&user) else {
            return Err(FoldError::Contradiction(format!("user {user} was never bound")));
        };
        match event {
            BindingEvent::Bound(_) => {}
            BindingEvent::Moved(moved) => {
                row.subject = Some(moved.subject);
                row.moved_at = Some(stamp.at);
            }
            BindingEvent::Unbound(_) => {
                row.subject = None;
                row.unbound_at = Some(stamp.at);
            }
        }
        Ok(())
    }
}
