//! Generations of one log on the way through events: their folds, the rows those look at, and how far they have come.
//!
//! A rebuild and the runner work at the same kind of desk: take events, load the rows they are about that are not in
//! memory, fold, hand over what changed. Rows stay from batch to batch, within bounds.

use subledger_store::{Position, StoreError};

use crate::{
    ProjectionName,
    batch::unreadable,
    checkpoint::Checkpoint,
    fold::{FoldError, Incoming, Model, Poison, model},
    hand::Hand,
    terms::Terms,
    tuples::{Naming, Sheet},
};

/// Rows that were not looked at for this many batches go first when memory is short.
const COLD_BATCHES: u32 = 16;

/// One projection.
pub(crate) struct Part {
    /// Where its rows in memory stand.
    pub(crate) at: Checkpoint,
    /// Where it is to end.
    pub(crate) until: Position,
    model: Box<dyn Model>,
}

/// An event that one of the folds cannot apply. The desk is of no use any more.
pub(crate) struct Stuck {
    /// Which fold.
    pub(crate) projection: ProjectionName,
    pub(crate) poison: Poison,
}

/// Why work at a desk ended. The desk is of no use any more.
pub(crate) enum Trouble {
    Stuck(Stuck),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What is to be written together.
pub(crate) struct Flush {
    pub(crate) sheets: Vec<Sheet>,
    /// Checkpoints, from where to where.
    pub(crate) moves: Vec<(Checkpoint, Checkpoint)>,
}

pub(crate) struct Desk {
    pub(crate) parts: Vec<Part>,
    terms: Terms,
    hand: Hand,
}

impl Desk {
    /// A desk for these generations, each as it stands in the database.
    pub(crate) fn new(hand: Hand, generations: impl IntoIterator<Item = Checkpoint>) -> Self {
        let part = |at: Checkpoint| {
            let mut model = model(at.projection);
            if at.position == Position(0) {
                model.tables().into_iter().for_each(|table| table.begin_empty());
            }
            Part { until: Position(u64::MAX), model, at }
        };
        Self { parts: generations.into_iter().map(part).collect(), terms: Terms::default(), hand }
    }

    /// Another batch begins.
    pub(crate) fn tick(&mut self) {
        for part in &mut self.parts {
            part.model.tables().into_iter().for_each(|table| table.tick());
        }
    }

    /// Hands an event to every fold that it comes next for.
    pub(crate) fn take(&mut self, event: &Incoming<'_>) -> Result<(), Stuck> {
        let position = event.stamp.position;
        for part in &mut self.parts {
            if position <= part.at.position || part.until < position {
                continue;
            }
            part.model.take(event).map_err(|error| part.stuck(position, error))?;
        }
        Ok(())
    }

    /// Loads the rows that the events taken are about, and folds. `arrived` makes sure, before anything is read, that what was
    /// handed over is in the database.
    pub(crate) fn fold<E: From<Trouble>>(
        &mut self,
        mut arrived: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        for part in &mut self.parts {
            loop {
                let mut naming = Naming::Numbers { terms: &self.terms, missing: Vec::new() };
                let need = part.model.need(&mut naming);
                if let Naming::Numbers { missing, .. } = naming
                    && !missing.is_empty()
                {
                    self.hand.number(&mut self.terms, &missing).map_err(Trouble::Store)?;
                    continue;
                }
                let Some(need) = need else { break };
                arrived()?;
                let rows = self.hand.load(part.at.generation, &need).map_err(Trouble::Store)?;
                let loaded = part.model.load(need.table, &rows);
                loaded.map_err(|error| Trouble::Store(unreadable(part.at.projection, &error)))?;
            }
            let projection = part.at.projection;
            part.model.fold().map_err(|poison| Trouble::Stuck(Stuck { projection, poison }))?;
        }
        Ok(())
    }

    /// Everything that changed and the checkpoints it leads to, all events up to a position having been folded; nothing if there
    /// is nothing to move. `unknown` are events among them that were passed over because this version does not know them.
    pub(crate) fn changes(
        &mut self,
        reached: Position,
        unknown: &[Position],
    ) -> Result<Option<Flush>, StoreError> {
        let sheets = loop {
            let mut naming = Naming::Numbers { terms: &self.terms, missing: Vec::new() };
            let mut sheets = Vec::new();
            for part in &mut self.parts {
                let generation = part.at.generation;
                let tables = part.model.tables().into_iter();
                sheets.extend(tables.filter_map(|table| table.changes(generation, &mut naming)));
            }
            match naming {
                Naming::Numbers { missing, .. } if !missing.is_empty() => {
                    self.hand.number(&mut self.terms, &missing)?;
                }
                _ => break sheets,
            }
        };
        let mut moves = Vec::new();
        for part in &mut self.parts {
            part.model.tables().into_iter().for_each(|table| table.settle());
            let reached = reached.min(part.until);
            if part.at.position < reached {
                let passed = unknown.iter().filter(|one| part.at.position < **one && **one <= reached);
                let unknown = part.at.unknown + passed.count() as u64;
                let to = Checkpoint { position: reached, unknown, ..part.at.clone() };
                moves.push((std::mem::replace(&mut part.at, to.clone()), to));
            }
        }
        Ok((!moves.is_empty()).then_some(Flush { sheets, moves }))
    }

    /// About how many bytes the rows take.
    pub(crate) fn bytes(&mut self) -> usize {
        let parts = self.parts.iter_mut();
        parts.flat_map(|part| part.model.tables()).map(|table| table.bytes()).sum()
    }

    /// Drops rows if they take more than this: those that nobody looked at lately, or else nearly all. Only when nothing is
    /// changed that was not handed over.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        if self.bytes() <= bytes {
            return;
        }
        for batches in [COLD_BATCHES, 1] {
            if self.bytes() <= bytes / 2 {
                return;
            }
            for part in &mut self.parts {
                part.model.tables().into_iter().for_each(|table| table.evict(batches));
            }
        }
    }
}

impl Part {
    fn stuck(&self, position: Position, error: FoldError) -> Stuck {
        Stuck { projection: self.at.projection, poison: Poison { position, error } }
    }
}
