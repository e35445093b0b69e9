//! Proof that the live rows are what the log says.
//!
//! The live rows are digested in one snapshot, at whatever position they stand; then the log is applied up to exactly that
//! position to a generation of its own, which is digested and dropped. So nothing has to stand still, and equal digests mean
//! that not one byte of one row differs.

use subledger_domain::LogName;
use subledger_store::{Position, Store, StoreError};

use crate::{
    Progress, ProjectionError, ProjectionName,
    checkpoint::{self, Checkpoint, Purpose},
    database::Snapshot,
    rebuild::{abandon, build_for_comparison, named},
    table::{Kind, Table},
    tuples::Tuples,
};

/// A fingerprint of all rows of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The position up to which the log was applied.
    pub position: Position,
    /// BLAKE3 over the rows in key order, in an encoding that is the same on both databases; hexadecimal.
    pub digest: String,
    /// How many rows.
    pub rows: u64,
}

/// The result of verifying one projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The log.
    pub log: LogName,
    /// The projection.
    pub projection: ProjectionName,
    /// The position at which both were compared.
    pub position: Position,
    /// Of the live rows.
    pub live_digest: String,
    /// Of the rows built from the log for this comparison.
    pub rebuilt_digest: String,
    /// How many rows the log leads to.
    pub rows: u64,
    /// Whether the digests are equal.
    pub equal: bool,
}

/// The digest of the live rows of one projection; of no rows at position zero if it has not begun.
pub async fn digest(
    store: &Store,
    log: &LogName,
    projection: ProjectionName,
) -> Result<Digest, ProjectionError> {
    let mut snapshot = Snapshot::take(store, "reading rows of a projection").await?;
    let live = checkpoint::live_in(&mut snapshot, log).await?;
    let live = live.into_iter().find(|one| one.projection == projection);
    let none = Checkpoint::empty(projection, 0);
    Ok(digest_of(&mut snapshot, &live.unwrap_or(none)).await?)
}

/// Verifies the projections of `logs` (all, if none are named), log by log, while the service runs.
pub async fn verify(
    store: &Store,
    logs: Option<&[LogName]>,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Vec<Verification>, ProjectionError> {
    let mut verified = Vec::new();
    for log in named(store, logs).await? {
        checkpoint::ensure(store, &log).await?;
        verified.extend(verify_log(store, &log, &mut progress).await?);
    }
    Ok(verified)
}

async fn verify_log(
    store: &Store,
    log: &LogName,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Verification>, ProjectionError> {
    let mut compared = Vec::new();
    for projection in ProjectionName::of_log(log) {
        checkpoint::sweep(store, log, *projection).await?;
        let live = digest(store, log, *projection).await?;
        let built = checkpoint::begin(store, log, *projection, Purpose::Verify).await?;
        compared.push((live, built));
    }
    let generations = compared.iter().map(|(_, built)| built.clone()).collect();
    let until = |projection| {
        let live = compared.iter().find(|(_, built)| built.projection == projection);
        live.map_or(Position(0), |(live, _)| live.position)
    };
    let mut verified = match build_for_comparison(store, log, generations, until, progress).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    for (live, built) in &compared {
        if let Ok(results) = &mut verified {
            match digest_at(store, log, built).await {
                Ok(rebuilt) => results.push(Verification {
                    log: log.clone(),
                    projection: built.projection,
                    position: live.position,
                    equal: live.digest == rebuilt.digest && live.position == rebuilt.position,
                    live_digest: live.digest.clone(),
                    rebuilt_digest: rebuilt.digest,
                    rows: rebuilt.rows,
                }),
                Err(error) => verified = Err(error),
            }
        }
        abandon(store, log, built).await;
    }
    verified
}

pub(crate) async fn digest_at(
    store: &Store,
    log: &LogName,
    built: &Checkpoint,
) -> Result<Digest, ProjectionError> {
    let mut snapshot = Snapshot::take(store, "reading rows of a projection").await?;
    let stands = checkpoint::one_in(&mut snapshot, log, built.generation).await?;
    match stands {
        Some(stands) => Ok(digest_of(&mut snapshot, &stands).await?),
        None => Err(ProjectionError::Displaced { log: log.clone(), projection: built.projection }),
    }
}

/// Each table by name, each row by its length and its canonical encoding, so that no two sets of rows run together alike.
pub(crate) async fn digest_of(snapshot: &mut Snapshot, of: &Checkpoint) -> Result<Digest, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut rows = 0;
    for table in Table::of(of.projection) {
        hasher.update(table.name().as_bytes());
        hasher.update(&[0]);
        let kinds: Vec<Kind> = table.columns().iter().map(|column| column.kind).collect();
        let add = |found: &Tuples| {
            for row in found.iter(kinds.len()) {
                // What cannot be read is no row of ours: it counts as it is, and differs.
                let canonical = table.canonical(&mut row.clone()).unwrap_or_else(|_| row.rest().to_vec());
                hasher.update(&(canonical.len() as u64).to_le_bytes());
                hasher.update(&canonical);
                rows += 1;
            }
            Ok(())
        };
        let params = [of.generation.into()];
        snapshot.each("reading rows of a projection", &table.scan(), &params, &kinds, add).await?;
    }
    Ok(Digest { position: of.position, digest: hasher.finalize().to_hex().to_string(), rows })
}
