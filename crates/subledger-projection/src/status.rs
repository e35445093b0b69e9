//! Where every projection stands, read from the database: true for all nodes, not only for this one.

use subledger_domain::LogName;
use subledger_store::{Position, Store};

use crate::{Lag, ProjectionError, checkpoint};

/// Where the projections of every log stand, by log and name. Logs whose projections have not begun are left out.
pub async fn status(store: &Store) -> Result<Vec<Lag>, ProjectionError> {
    let heads = store.heads().await?;
    let mut found = Vec::new();
    for (log, live) in checkpoint::all_live(store).await? {
        let Some(head) = heads.iter().find(|head| head.log == log) else { continue };
        found.push(Lag {
            log,
            projection: live.projection,
            position: live.position,
            head: head.position.max(live.position),
            unknown: live.unknown,
            paused: live.pause,
            oldest: None,
        });
    }
    let next = |one: &Lag| Position(one.position.0 + 1);
    let behind: Vec<(LogName, Position)> =
        found.iter().filter(|one| one.behind() > 0).map(|one| (one.log.clone(), next(one))).collect();
    let recorded = store.times_of(&behind).await?;
    for one in found.iter_mut().filter(|one| one.behind() > 0) {
        let oldest = recorded.iter().find(|event| event.log == one.log && event.position == next(one));
        one.oldest = oldest.map(|event| event.recorded_at);
    }
    Ok(found)
}
