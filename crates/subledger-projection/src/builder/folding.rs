//! The thread that folds: takes chunks of the scan, hands over what is to be written.

use subledger_domain::{ALL_KINDS, LogName, StreamName};
use subledger_store::{Chunk, Position, Scan, StoreError};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use super::RebuildLimits;
use crate::{
    Pause, ProjectionError,
    batch::with_causes,
    desk::{Desk, Flush, Stuck, Trouble},
    fold::{About, Incoming},
};

pub(super) struct Folding {
    pub(super) log: LogName,
    pub(super) limits: RebuildLimits,
    pub(super) desk: Desk,
    pub(super) sender: mpsc::Sender<Flush>,
    /// How many were handed over.
    pub(super) sent: u64,
    /// How many are written.
    pub(super) written: watch::Receiver<u64>,
    /// The last event taken.
    pub(super) last: Position,
    /// Tells how far the folds have come.
    pub(super) reached: watch::Sender<Position>,
    pub(super) runtime: Handle,
}

/// Streams by number, as the scan names them.
type Streams = Vec<Option<(StreamName, About)>>;

enum Stop {
    Error(ProjectionError),
    /// Nobody takes what is handed over any more: the reason is told there.
    GivenUp,
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
    /// Folds until the end of the scan. Gives the desk back, which has everything up to there in memory.
    pub(super) fn run(mut self, scan: Scan, to: Position) -> (Desk, Result<(), ProjectionError>) {
        let result = match self.fold_all(scan, to) {
            Ok(()) | Err(Stop::GivenUp) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
        };
        (self.desk, result)
    }

    fn fold_all(&mut self, mut scan: Scan, to: Position) -> Result<(), Stop> {
        let known = known_kinds();
        let mut streams: Streams = Vec::new();
        let mut since = 0;
        while let Some(chunk) = scan.blocking_next() {
            let chunk = chunk?;
            learn(&mut streams, &chunk);
            self.take(&chunk, &streams, &known)?;
            self.fold(&chunk, &streams)?;
            self.reached.send_replace(self.last);
            since += chunk.events.len() as u64;
            if since >= self.limits.flush_events || self.desk.bytes() > self.limits.cache_bytes {
                since = 0;
                self.flush()?;
                self.desk.make_room(self.limits.cache_bytes);
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
        self.desk.tick();
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
            self.desk.take(&incoming).map_err(|stuck| poison(&self.log, stuck, chunk, streams))?;
        }
        Ok(())
    }

    fn fold(&mut self, chunk: &Chunk, streams: &Streams) -> Result<(), Stop> {
        let (sent, written, runtime) = (self.sent, &mut self.written, &self.runtime);
        // What is on its way into the database has to be there before it is read.
        let arrived = || match runtime.block_on(written.wait_for(|written| *written >= sent)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Halt::GivenUp),
        };
        self.desk.fold(arrived).map_err(|halt| match halt {
            Halt::GivenUp => Stop::GivenUp,
            Halt::Trouble(Trouble::Store(error)) => error.into(),
            Halt::Trouble(Trouble::Stuck(stuck)) => poison(&self.log, stuck, chunk, streams).into(),
        })
    }

    /// Hands over everything that changed, and the checkpoints it leads to.
    fn flush(&mut self) -> Result<(), Stop> {
        let Some(flush) = self.desk.changes(self.last, &[])? else { return Ok(()) };
        self.sent += 1;
        self.sender.blocking_send(flush).map_err(|_| Stop::GivenUp)
    }
}

enum Halt {
    GivenUp,
    Trouble(Trouble),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
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

fn poison(log: &LogName, stuck: Stuck, chunk: &Chunk, streams: &Streams) -> ProjectionError {
    let position = stuck.poison.position;
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
        error: with_causes(&stuck.poison.error),
    };
    ProjectionError::poison(log, stuck.projection, pause)
}
