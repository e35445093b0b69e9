//! Building a projection anew beside the live one.
//!
//! The new generation is written from the first event on while the live one goes on serving and growing. When it is as far as
//! the live one they are swapped in one transaction, and the old rows are dropped in small pieces. A rebuild that is
//! interrupted leaves nothing but rows nobody sees; the next one removes them.

use subledger_domain::LogName;
use subledger_store::{Position, Store};

use crate::{
    ProjectionError, ProjectionName,
    batch::{self, Applied},
    checkpoint::{self, Checkpoint, Purpose},
};

/// Events read and applied at a time.
const BATCH: u32 = 1_000;

/// How far a rebuild or a verification has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The log.
    pub log: LogName,
    /// The projection.
    pub projection: ProjectionName,
    /// The position applied.
    pub done: Position,
    /// The position to reach, as far as known now; grows while the service runs.
    pub total: Position,
}

/// Rebuilds the projections of `logs` (all, if none are named), one after the other, while the service runs.
///
/// Stops at the first error; projections that were done before stay rebuilt, the one under construction is dropped and its
/// live rows are untouched.
pub async fn rebuild(
    store: &Store,
    logs: Option<&[LogName]>,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), ProjectionError> {
    for log in named(store, logs).await? {
        checkpoint::ensure(store, &log).await?;
        for projection in ProjectionName::of_log(&log) {
            rebuild_one(store, &log, *projection, &mut progress).await?;
        }
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
    projection: ProjectionName,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    checkpoint::sweep(store, log, projection).await?;
    let mut built = checkpoint::begin(store, log, projection, Purpose::Rebuild).await?;
    let swapped = loop {
        match catch_up(store, log, &mut built, progress).await {
            Ok(true) => break Ok(()),
            // The live one is further: once more, with what came in the meantime, which is less each time.
            Ok(false) => {}
            Err(error) => break Err(error),
        }
    };
    match swapped {
        Ok(()) => Ok(checkpoint::sweep(store, log, projection).await?),
        Err(error) => {
            abandon(store, log, &built).await;
            Err(error)
        }
    }
}

/// Applies the log up to where it ends now, and becomes the live generation if that is as far as the live one is.
async fn catch_up(
    store: &Store,
    log: &LogName,
    built: &mut Checkpoint,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<bool, ProjectionError> {
    let head = store.head(log).await?.position;
    advance(store, log, built, head, progress).await?;
    Ok(checkpoint::swap(store, log, built).await?)
}

/// Removes a generation after a failure. Failing here too is no new failure: the next rebuild sweeps.
pub(crate) async fn abandon(store: &Store, log: &LogName, built: &Checkpoint) {
    if let Err(error) = checkpoint::give_up(store, log, built).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(%log, projection = built.projection.as_str(), error, "unfinished rows could not be dropped yet");
    }
}

/// Applies the log up to `total` to a generation under construction.
pub(crate) async fn advance(
    store: &Store,
    log: &LogName,
    built: &mut Checkpoint,
    total: Position,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), ProjectionError> {
    let projection = built.projection;
    loop {
        progress(Progress { log: log.clone(), projection, done: built.position, total });
        if built.position >= total {
            return Ok(());
        }
        let mut events = store.read_log(log, built.position, BATCH).await?;
        events.retain(|event| event.position <= total);
        if events.is_empty() {
            return Ok(());
        }
        match batch::apply(store, log, std::slice::from_ref(built), &events).await? {
            Applied::Displaced => return Err(ProjectionError::Displaced { log: log.clone(), projection }),
            Applied::Moved(moved) => {
                for to in moved {
                    *built = to;
                }
            }
        }
        if let Some(pause) = &built.pause {
            return Err(ProjectionError::Poison {
                log: log.clone(),
                projection,
                position: pause.position,
                error: pause.error.clone(),
            });
        }
    }
}
