//! Rows in memory: those a batch looks at, or, in a rebuild, all that fit.
//!
//! In a rebuild rows stay from batch to batch and are written back together, each once however often it changed. While
//! nothing was dropped from a generation that began empty, what is not here does not exist, and nothing is read at all.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use serde_json::Value;

use crate::{
    sheet::{Sheet, Tuples},
    table::{Change, Need, Row},
};

/// A fast hash for keys that are hashes themselves or were chosen by the operator: nobody gains by collisions.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        for byte in chunks.remainder() {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(26) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

struct Slot<R> {
    row: R,
    /// Differs from what the database holds.
    dirty: bool,
    /// The database holds a row with this key.
    stored: bool,
    /// When it was last looked at, in batches.
    used: u32,
}

/// The rows of one table.
pub(crate) struct Rows<R: Row> {
    rows: HashMap<R::Key, Slot<R>, BuildHasherDefault<Quick>>,
    wanted: BTreeSet<R::Key>,
    /// What is not here does not exist.
    complete: bool,
    /// Counts batches.
    now: u32,
}

impl<R: Row> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: HashMap::default(), wanted: BTreeSet::new(), complete: false, now: 0 }
    }
}

impl<R: Row> Rows<R> {
    /// The row with this key will be looked at.
    pub(crate) fn want(&mut self, key: R::Key) {
        if !self.complete && !self.rows.contains_key(&key) {
            self.wanted.insert(key);
        }
    }

    /// [`Self::want`] for a key that is only copied if it has to be.
    pub(crate) fn want_ref(&mut self, key: &R::Key) {
        if !self.complete && !self.rows.contains_key(key) {
            self.wanted.insert(key.clone());
        }
    }

    /// What to load, once; nothing if no key is wanted.
    pub(crate) fn need(&mut self) -> Option<Need> {
        if self.wanted.is_empty() {
            return None;
        }
        let wanted = std::mem::take(&mut self.wanted);
        let keys = Value::Array(wanted.iter().map(R::columns).collect()).to_string();
        Some(Need { table: R::TABLE, keys })
    }

    /// Takes loaded rows in.
    pub(crate) fn load(&mut self, stored: Vec<String>) -> Result<(), serde_json::Error> {
        for row in stored {
            let row: R = serde_json::from_str(&row)?;
            let slot = Slot { dirty: false, stored: true, used: self.now, row };
            self.rows.insert(slot.row.key(), slot);
        }
        Ok(())
    }

    /// The row, to look at.
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key).map(|slot| &slot.row)
    }

    /// The row, to change.
    pub(crate) fn edit(&mut self, key: &R::Key) -> Option<&mut R> {
        let slot = self.rows.get_mut(key)?;
        slot.dirty = true;
        slot.used = self.now;
        Some(&mut slot.row)
    }

    /// A new row, or another in place of the one with its key.
    pub(crate) fn put(&mut self, row: R) {
        let stored = self.rows.get(&row.key()).is_some_and(|slot| slot.stored);
        self.rows.insert(row.key(), Slot { row, dirty: true, stored, used: self.now });
    }

    /// What to write; nothing if nothing changed.
    pub(crate) fn change(&self) -> Result<Option<Change>, serde_json::Error> {
        let mut changed: Vec<_> = self.rows.iter().filter(|(_, slot)| slot.dirty).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        changed.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let rows: Vec<&R> = changed.into_iter().map(|(_, slot)| &slot.row).collect();
        Ok(Some(Change { table: R::TABLE, rows: serde_json::to_string(&rows)? }))
    }
}

/// The rows of a table, whatever they are.
pub(crate) trait Held: Send {
    /// From now on, what is not here does not exist (the generation is empty), or has to be looked up.
    fn set_complete(&mut self, complete: bool);
    /// Another batch begins.
    fn tick(&mut self);
    /// About how many bytes the rows take.
    fn bytes(&self) -> usize;
    /// The changed rows, in order of their key, as they go into the database; they count as written from now on.
    fn take_changes(&mut self, log: &str, generation: i64) -> Result<Option<Sheet>, serde_json::Error>;
    /// Drops rows that were not looked at in the last `batches`, except changed ones. What is missing has to be looked up
    /// from now on.
    fn evict(&mut self, batches: u32);
}

impl<R: Row> Held for Rows<R> {
    fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    fn tick(&mut self) {
        self.now = self.now.wrapping_add(1);
    }

    fn bytes(&self) -> usize {
        // The bucket, the key's and the row's texts.
        self.rows.capacity() * (size_of::<R::Key>() + size_of::<Slot<R>>()) + self.rows.len() * R::HEAP_BYTES
    }

    fn take_changes(&mut self, log: &str, generation: i64) -> Result<Option<Sheet>, serde_json::Error> {
        let mut changed: Vec<_> = self.rows.iter_mut().filter(|(_, slot)| slot.dirty).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        changed.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut sheet = Sheet::new(R::TABLE);
        for (_, slot) in changed {
            let tuples: &mut Tuples = if slot.stored { &mut sheet.known } else { &mut sheet.fresh };
            tuples.push(R::TABLE, log, generation, &slot.row)?;
            slot.dirty = false;
            slot.stored = true;
        }
        Ok(Some(sheet))
    }

    fn evict(&mut self, batches: u32) {
        let now = self.now;
        self.rows.retain(|_, slot| slot.dirty || now.wrapping_sub(slot.used) < batches);
        self.rows.shrink_to_fit();
        self.complete = false;
    }
}
