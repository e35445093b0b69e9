//! Where every projection stands, read from the database: true for all nodes, not only for this one.

use subledger_store::Store;

use crate::{Lag, ProjectionError, checkpoint};

/// Where the projections of every log stand, by log and name. Logs whose projections have not begun are left out.
pub async fn status(store: &Store) -> Result<Vec<Lag>, ProjectionError> {
    let mut found = Vec::new();
    for head in store.heads().await? {
        for live in checkpoint::live(store, &head.log).await? {
            found.push(Lag {
                log: head.log.clone(),
                projection: live.projection,
                position: live.position,
                head: head.position,
                unknown: live.unknown,
                paused: live.pause,
            });
        }
    }
    Ok(found)
}
