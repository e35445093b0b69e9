//! Building the projections of a log anew beside the live ones.
//!
//! The new generations are written from the first event on while the live ones go on serving and growing. When one is as
//! far as its live one they are swapped in one transaction, and the old rows are dropped in small pieces. A rebuild that
//! is interrupted leaves its generations and their checkpoints; the next one goes on there, unless it is of a version with
//! other folds. One at a time: a lease per log keeps two rebuilds from writing the same generation.

mod guard;

use subledger_domain::LogName;
use subledger_store::{Position, Store};

use self::guard::Guard;
use crate::{
    ProjectionError, ProjectionName,
    builder::{Builder, Progress, RebuildLimits},
    checkpoint::{self, Checkpoint, Purpose},
};

/// The live generations are held when no more than so many events came in during a round.
const HOLD_WITHIN: u64 = 20_000;
/// How long they are held at most: many times what the last round takes.
const HOLD_MICROS: i64 = 2_000_000;

/// Rebuilds the projections of `logs` (all, if none are named), log by log, while the service runs.
///
/// Stops at the first error; logs that were done before stay rebuilt. An event that cannot be applied or is unknown drops
/// what is under construction; any other failure leaves it for the next rebuild to go on with. The live rows are untouched
/// until the swap.
pub async fn rebuild(
    store: &Store,
    logs: Option<&[LogName]>,
    progress: impl FnMut(Progress) + Send,
) -> Result<(), ProjectionError> {
    rebuild_within(store, logs, RebuildLimits::default(), progress).await
}

/// [`rebuild`] with limits of the caller's own.
pub async fn rebuild_within(
    store: &Store,
    logs: Option<&[LogName]>,
    limits: RebuildLimits,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), ProjectionError> {
    for log in named(store, logs).await? {
        let guard = Guard::take(store, &log).await?;
        let rebuilt = rebuild_one(store, &log, limits, &guard, &mut progress).await;
        guard.release().await;
        rebuilt?;
    }
    Ok(())
}

/// The logs named, or all there are.
pub(crate) async fn named(store: &Store, logs: Option<&[LogName]>) -> Result<Vec<LogName>, ProjectionError> {
    match logs {
        Some(logs) => Ok(logs.to_vec()),
        None => Ok(store.heads().await?.into_iter().map(|head| head.log).collect()),
    }
}

async fn rebuild_one(
    store: &Store,
    log: &LogName,
    limits: RebuildLimits,
    guard: &Guard,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    checkpoint::ensure(store, log).await?;
    let head = store.head(log).await?.position;
    let mut generations = Vec::new();
    for projection in ProjectionName::of_log(log) {
        checkpoint::sweep(store, log, *projection).await?;
        generations.push(match checkpoint::resume(store, log, *projection, head).await? {
            Some(unfinished) => unfinished,
            None => checkpoint::begin(store, log, *projection, Purpose::Rebuild).await?,
        });
    }
    let mut builder = Builder::new(store, log, limits, generations)?;
    let built = catch_up(store, log, &mut builder, guard, progress).await;
    let left: Vec<Checkpoint> = builder.generations().cloned().collect();
    if let Err(ProjectionError::Poison { .. } | ProjectionError::UnknownKind { .. }) = &built {
        // Going on would end at the same event.
        for generation in &left {
            abandon(store, log, generation).await;
        }
    }
    built?;
    for projection in ProjectionName::of_log(log) {
        checkpoint::sweep(store, log, *projection).await?;
    }
    Ok(())
}

/// Applies the log up to where it ends, again and again, until every generation is as far as the live one and took its place.
///
/// Each round has less to do than the one before, but with a log that never rests there is always something. So once the
/// rest is small the live generations are held where they stand, for the moment that the last round takes.
async fn catch_up(
    store: &Store,
    log: &LogName,
    builder: &mut Builder<'_>,
    guard: &Guard,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    let result = rounds(store, log, builder, guard, progress).await;
    let left: Vec<ProjectionName> = builder.generations().map(|one| one.projection).collect();
    if !left.is_empty()
        && let Err(error) = checkpoint::hold_live(store, log, &left, 0).await
    {
        tracing::debug!(error = %error, "held projections go on a moment later");
    }
    result
}

async fn rounds(
    store: &Store,
    log: &LogName,
    builder: &mut Builder<'_>,
    guard: &Guard,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    loop {
        let head = store.head(log).await?.position;
        builder.advance(|_| head, || guard.is_held(), progress).await?;
        let generations: Vec<Checkpoint> = builder.generations().cloned().collect();
        for generation in &generations {
            if checkpoint::swap(store, log, generation).await? {
                builder.remove(generation.projection);
            }
        }
        let left: Vec<ProjectionName> = builder.generations().map(|one| one.projection).collect();
        if left.is_empty() {
            return Ok(());
        }
        if store.head(log).await?.position.0.saturating_sub(head.0) <= HOLD_WITHIN {
            checkpoint::hold_live(store, log, &left, HOLD_MICROS).await?;
        }
    }
}

/// Removes a generation after a failure. Failing here too is no new failure: the next rebuild sweeps.
pub(crate) async fn abandon(store: &Store, log: &LogName, built: &Checkpoint) {
    if let Err(error) = checkpoint::give_up(store, built).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(%log, projection = built.projection.as_str(), error, "unfinished rows could not be dropped yet");
    }
}

/// Builds generations for a comparison, each up to its own position.
pub(crate) async fn build_for_comparison(
    store: &Store,
    log: &LogName,
    generations: Vec<Checkpoint>,
    until: impl Fn(ProjectionName) -> Position,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    let mut builder = Builder::new(store, log, RebuildLimits::default(), generations)?;
    builder.advance(until, || true, progress).await
}
