//! Comparing the live rows of one database with rows built in another.
//!
//! [`crate::verify`] builds its comparison beside the live rows, which needs a store that may write. An auditor looks at a
//! database without changing it: the live rows are digested where they are ([`live_digests`]), and the log is replayed into
//! a scratch store that is thrown away ([`Comparison`]). Digests are the same on both databases, so the scratch store is always
//! a SQLite file, whatever is audited.

use std::sync::Arc;

use subledger_domain::LogName;
use subledger_store::{Database, Position, Recorded, Store, StoreError};

use crate::{
    Digest, Pause, ProjectionError, ProjectionName,
    batch::{self, Applied},
    checkpoint::{self, Checkpoint, Purpose},
    database::Snapshot,
    hand::Hand,
    verify::{digest_at, digest_of},
};

/// The live rows of one projection, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDigest {
    /// The projection.
    pub projection: ProjectionName,
    /// The digest, with the position applied.
    pub digest: Digest,
    /// Whether it is stopped at an event it cannot apply.
    pub pause: Option<Pause>,
}

/// The digests of the live projections of a log, all as of one moment. Projections that have not begun are left out.
pub async fn live_digests(database: &Database, log: &LogName) -> Result<Vec<LiveDigest>, StoreError> {
    let mut snapshot = Snapshot::of(database, "reading rows of a projection").await?;
    let mut digests = Vec::new();
    for live in checkpoint::live_in(&mut snapshot, log).await? {
        let digest = digest_of(&mut snapshot, &live).await?;
        digests.push(LiveDigest { projection: live.projection, digest, pause: live.pause });
    }
    Ok(digests)
}

/// Projections of one log under construction in a scratch store.
pub struct Comparison<'a> {
    scratch: &'a Store,
    hand: Hand,
    log: LogName,
    built: Vec<(Checkpoint, Position)>,
}

impl<'a> Comparison<'a> {
    /// Begins empty projections of a log, each to be built up to a position.
    pub async fn begin(
        scratch: &'a Store,
        log: &LogName,
        targets: &[(ProjectionName, Position)],
    ) -> Result<Self, StoreError> {
        let mut built = Vec::with_capacity(targets.len());
        for (projection, up_to) in targets {
            built.push((checkpoint::begin(scratch, log, *projection, Purpose::Verify).await?, *up_to));
        }
        Ok(Self { scratch, hand: Hand::open(scratch)?, log: log.clone(), built })
    }

    /// Applies the next events of the log, each projection as far as its position. A projection that meets an event it
    /// cannot apply stops there; [`Self::finish`] says so.
    pub async fn apply(&mut self, events: &[Recorded]) -> Result<(), ProjectionError> {
        for (built, up_to) in &mut self.built {
            let end = events.partition_point(|event| event.position <= *up_to);
            if end == 0 || built.pause.is_some() {
                continue;
            }
            let events = Arc::new(events[..end].to_vec());
            match batch::apply(self.scratch, &self.hand, vec![built.clone()], events).await? {
                Applied::Moved(moved) => {
                    if let Some(to) = moved.into_iter().next() {
                        *built = to;
                    }
                }
                Applied::Displaced => {
                    let (log, projection) = (self.log.clone(), built.projection);
                    return Err(ProjectionError::Displaced { log, projection });
                }
            }
        }
        Ok(())
    }

    /// What the log leads to: a digest of each projection, or the event it cannot apply.
    pub async fn finish(self) -> Result<Vec<(ProjectionName, Result<Digest, Pause>)>, ProjectionError> {
        let mut digests = Vec::with_capacity(self.built.len());
        for (built, _) in &self.built {
            let outcome = match &built.pause {
                Some(pause) => Err(pause.clone()),
                None => Ok(digest_at(self.scratch, &self.log, built).await?),
            };
            digests.push((built.projection, outcome));
        }
        Ok(digests)
    }
}
