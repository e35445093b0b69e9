//! What the push effects of a batch come to for one log.
//!
//! A push that is kept and settled in one batch, as most are, is one row inserted in its final state.

use std::collections::hash_map::Entry;

use subledger_domain::SubjectId;

use crate::{
    MAX_PUSH_BYTES, PushKey, PushRow, PushState,
    rows::push::{PushInsert, PushSettle, PushWrites},
    store::place,
    vault::Vault,
    work::Map,
};

/// The longest effect, in bytes. It is short JSON; anything longer is a defect of the work.
const MAX_EFFECT_BYTES: usize = 4096;
/// The most characters of WeChat's word for a push.
const MAX_EVENT_CHARS: usize = 64;

/// Push effects, as far as they have come.
#[derive(Default)]
pub(super) struct Pushes {
    forget: Vec<SubjectId>,
    changes: Map<PushKey, Change>,
    order: Vec<PushKey>,
}

#[derive(Default)]
struct Change {
    insert: Option<PushInsert>,
    /// Of a push that this batch does not insert.
    settle: Option<(PushState, String)>,
}

impl Pushes {
    /// Seals a push and keeps it. Answers with the bytes of the sealed body.
    pub(super) fn keep(
        &mut self,
        vault: &Vault,
        (log, name): (i64, &str),
        row: PushRow,
    ) -> Result<usize, String> {
        if row.body.len() > MAX_PUSH_BYTES {
            return Err(format!("a push of {} bytes; at most {MAX_PUSH_BYTES}", row.body.len()));
        }
        let sealed = vault.seal(&place::push(name, row.key.as_bytes()), &row.body);
        let sealed = sealed.map_err(|error| error.to_string())?;
        let bytes = sealed.len();
        self.insert(PushInsert {
            log,
            key: row.key,
            subject: row.subject,
            received_at: row.received_at.micros(),
            kind: row.kind,
            mode: row.mode,
            format: row.format,
            state: PushState::Pending,
            relay_due_at: row.relay_due_at.map(|due| due.micros()),
            event: row.event.chars().filter(|c| !c.is_control()).take(MAX_EVENT_CHARS).collect(),
            effect: None,
            sealed,
        });
        Ok(bytes)
    }

    /// Settles a push.
    pub(super) fn settle(&mut self, key: PushKey, state: PushState, effect: String) -> Result<(), String> {
        if effect.len() > MAX_EFFECT_BYTES || effect.contains('\0') {
            let length = effect.len();
            return Err(format!("an effect of {length} bytes; at most {MAX_EFFECT_BYTES}, none of them NUL"));
        }
        self.set(key, state, effect);
        Ok(())
    }

    /// Deletes a subject's pushes, those of this batch included.
    pub(super) fn forget(&mut self, subject: SubjectId) {
        let theirs = |change: &Change| change.insert.as_ref().is_some_and(|row| row.subject == Some(subject));
        self.changes.retain(|_, change| !theirs(change));
        self.order.retain(|key| self.changes.contains_key(key));
        self.forget.push(subject);
    }

    /// Takes in what a later command leaves behind.
    pub(super) fn append(&mut self, mut later: Self) {
        later.forget.into_iter().for_each(|subject| self.forget(subject));
        for key in later.order {
            let Some(Change { insert, settle }) = later.changes.remove(&key) else { continue };
            if let Some(row) = insert {
                self.insert(row);
            }
            if let Some((state, effect)) = settle {
                self.set(key, state, effect);
            }
        }
    }

    /// Adds what is to be written.
    pub(super) fn collect(&mut self, log: i64, writes: &mut PushWrites) {
        writes.forget.extend(self.forget.drain(..).map(|subject| (log, *subject.as_bytes())));
        for key in self.order.drain(..) {
            let Some(Change { insert, settle }) = self.changes.remove(&key) else { continue };
            writes.insert.extend(insert);
            writes.settle.extend(settle.map(|(state, effect)| PushSettle { log, key, state, effect }));
        }
    }

    fn insert(&mut self, row: PushInsert) {
        let change = self.change(row.key);
        match &mut change.insert {
            None => change.insert = Some(row),
            // The second of a key is not kept. But it may have come settled.
            Some(first) if row.state != PushState::Pending => {
                (first.state, first.effect) = (row.state, row.effect);
            }
            Some(_) => {}
        }
    }

    fn set(&mut self, key: PushKey, state: PushState, effect: String) {
        let change = self.change(key);
        match &mut change.insert {
            Some(row) => (row.state, row.effect) = (state, Some(effect)),
            None => change.settle = Some((state, effect)),
        }
    }

    fn change(&mut self, key: PushKey) -> &mut Change {
        match self.changes.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.order.push(key);
                entry.insert(Change::default())
            }
        }
    }
}
