//! The thread that folds: takes chunks of the scan, hands over what is to be written.

use subledger_domain::{ALL_KINDS, LogName, StreamName};
use subledger_store::{Chunk, Position, Scan, Store, StoreError};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use super::{Part, RebuildLimits};
use crate::{
    Pause, ProjectionError,
    batch::{unreadable, with_causes},
    checkpoint::Checkpoint,
    database::{ask, of_table},
    fold::{About, FoldError, Incoming},
    sheet::Sheet,
};

/// Rows that were not looked at for this many batches go first when memory is short.
const COLD_BATCHES: u32 = 16;

/// What is to be written together.
pub(super) struct Flush {
    pub(super) sheets: Vec<Sheet>,
    /// Checkpoints, from where to where.
    pub(super) moves: Vec<(Checkpoint, Checkpoint)>,
}

pub(super) struct Folding {
    pub(super) store: Store,
    pub(super) log: LogName,
    pub(super) limits: RebuildLimits,
    pub(super) parts: Vec<Part>,
    pub(super) sender: mpsc::Sender<Flush>,
    /// How many were handed over.
    pub(super) sent: u64,
    /// How many are written.
    pub(super) written: watch::Receiver<u64>,
    /// The last event taken.
    pub(super) last: Position,
    pub(super) runtime: Handle,
}

/// Streams by number, as the scan names them.
type Streams = Vec<Option<(StreamName, About)>>;

/// Nobody takes what is handed over any more: the reason is told there.
struct GivenUp;

enum Stop {
    Error(ProjectionError),
    GivenUp,
}

impl From<GivenUp> for Stop {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

impl From<ProjectionError> for Stop {
    fn from(error: ProjectionError) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl Folding {
    /// Folds until the end of the scan. Gives the parts back, which have everything up to there in memory.
    pub(super) fn run(mut self, scan: Scan, to: Position) -> (Vec<Part>, Result<(), ProjectionError>) {
        let result = match self.fold_all(scan, to) {
            Ok(()) | Err(Stop::GivenUp) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
        };
        (self.parts, result)
    }

    fn fold_all(&mut self, mut scan: Scan, to: Position) -> Result<(), Stop> {
        let known = known_kinds();
        let mut streams: Streams = Vec::new();
        let mut since = 0;
        while let Some(chunk) = scan.blocking_next() {
            let chunk = chunk?;
            learn(&mut streams, &chunk);
            self.take(&chunk, &streams, &known)?;
            self.load()?;
            self.fold(&chunk, &streams)?;
            since += chunk.events.len() as u64;
            if since >= self.limits.flush_events || self.bytes() > self.limits.cache_bytes {
                since = 0;
                self.flush()?;
                self.make_room();
            }
        }
        self.flush()?;
        if self.last < to {
            let missing = format!("log {} ends at position {}, not at {to}", self.log, self.last);
            return Err(StoreError::Corrupt(missing).into());
        }
        Ok(())
    }

    /// Every model takes the events that come after its checkpoint and not after its end.
    fn take(&mut self, chunk: &Chunk, streams: &Streams, known: &[bool]) -> Result<(), Stop> {
        for part in &mut self.parts {
            part.model.tables().into_iter().for_each(|table| table.tick());
        }
        for event in &chunk.events {
            if event.position.0 != self.last.0 + 1 {
                let gap = format!("log {}: after position {} comes {}", self.log, self.last, event.position);
                return Err(StoreError::Corrupt(gap).into());
            }
            self.last = event.position;
            let Some((stream, about)) = named(streams, event.stream) else { continue };
            if !known.get(usize::from(event.kind)).copied().unwrap_or_default() {
                return Err(ProjectionError::UnknownKind {
                    log: self.log.clone(),
                    position: event.position,
                    stream: stream.to_string(),
                    kind: event.kind,
                }
                .into());
            }
            let parts = (event.position, event.kind, event.schema, event.recorded_at);
            let incoming = Incoming::new(&self.log, stream, about.clone(), parts, chunk.payload(event));
            for part in &mut self.parts {
                if event.position <= part.at.position || part.until < event.position {
                    continue;
                }
                if let Err(error) = part.model.take(&incoming) {
                    return Err(poison(&self.log, part, event.position, chunk, streams, &error).into());
                }
            }
        }
        Ok(())
    }

    /// Loads rows that the models need and that are not in memory.
    fn load(&mut self) -> Result<(), Stop> {
        for at in 0..self.parts.len() {
            while let Some(need) = self.parts[at].model.need() {
                // What is on its way into the database has to be there before it is read.
                let sent = self.sent;
                let arrived =
                    self.runtime.block_on(self.written.wait_for(|written| *written >= sent)).is_ok();
                if !arrived {
                    return Err(Stop::GivenUp);
                }
                let part = &mut self.parts[at];
                let params = [self.log.as_str().into(), part.at.generation.into(), need.keys.into()];
                let load = of_table(need.table, |sql| sql.load);
                let rows: Vec<(String,)> =
                    self.runtime.block_on(ask(&self.store, "reading rows of projections", load, &params))?;
                let rows = rows.into_iter().map(|(row,)| row).collect();
                let loaded = part.model.load(need.table, rows);
                loaded.map_err(|error| unreadable(part.at.projection, &error))?;
            }
        }
        Ok(())
    }

    fn fold(&mut self, chunk: &Chunk, streams: &Streams) -> Result<(), Stop> {
        for part in &mut self.parts {
            if let Err(found) = part.model.fold() {
                return Err(poison(&self.log, part, found.position, chunk, streams, &found.error).into());
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> usize {
        let parts = self.parts.iter_mut();
        parts.flat_map(|part| part.model.tables()).map(|table| table.bytes()).sum()
    }

    /// Hands over everything that changed, and the checkpoints it leads to.
    fn flush(&mut self) -> Result<(), Stop> {
        let mut flush = Flush { sheets: Vec::new(), moves: Vec::new() };
        for part in &mut self.parts {
            let reached = self.last.min(part.until);
            if reached <= part.at.position {
                continue;
            }
            for table in part.model.tables() {
                let sheet = table.take_changes(self.log.as_str(), part.at.generation);
                flush.sheets.extend(sheet.map_err(|error| unreadable(part.at.projection, &error))?);
            }
            let to = Checkpoint { position: reached, ..part.at.clone() };
            flush.moves.push((std::mem::replace(&mut part.at, to.clone()), to));
        }
        if flush.moves.is_empty() {
            return Ok(());
        }
        self.sent += 1;
        self.sender.blocking_send(flush).map_err(|_| GivenUp.into())
    }

    /// Drops rows if there are too many: those that nobody looked at lately, or else nearly all.
    fn make_room(&mut self) {
        for batches in [COLD_BATCHES, 1] {
            if self.bytes() <= self.limits.cache_bytes / 2 {
                return;
            }
            for part in &mut self.parts {
                part.model.tables().into_iter().for_each(|table| table.evict(batches));
            }
        }
    }
}

fn named(streams: &Streams, number: u64) -> Option<&(StreamName, About)> {
    streams.get(usize::try_from(number).ok()?)?.as_ref()
}

fn learn(streams: &mut Streams, chunk: &Chunk) {
    if chunk.forget {
        streams.clear();
    }
    for (number, name) in &chunk.streams {
        let Ok(at) = usize::try_from(*number) else { continue };
        if streams.len() <= at {
            streams.resize(at + 1, None);
        }
        streams[at] = Some((name.clone(), About::of(name)));
    }
}

/// Which kind numbers this version knows.
fn known_kinds() -> Vec<bool> {
    let numbers = || ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).map(|kind| usize::from(kind.number));
    let mut known = vec![false; numbers().max().map_or(0, |max| max + 1)];
    numbers().for_each(|number| known[number] = true);
    known
}

fn poison(
    log: &LogName,
    part: &Part,
    position: Position,
    chunk: &Chunk,
    streams: &Streams,
    error: &FoldError,
) -> ProjectionError {
    let event = chunk.events.iter().find(|event| event.position == position);
    let stream = event.and_then(|event| named(streams, event.stream));
    let kind = event.map(|event| {
        subledger_domain::kind_by_number(event.kind)
            .map_or_else(|| format!("unknown.{}", event.kind), |kind| kind.name.to_owned())
    });
    let pause = Pause {
        position,
        stream: stream.map(|(stream, _)| stream.to_string()).unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        error: with_causes(error),
    };
    ProjectionError::poison(log, part.at.projection, pause)
}
