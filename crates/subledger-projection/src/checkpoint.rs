//! How far a generation of a projection has come, and the steps that move it.
//!
//! A generation is one complete set of rows of a projection. One is live; a rebuild or a verification has its own beside
//! it. Generations are small numbers that are used again once their rows are gone.

use serde::{Deserialize, Serialize};
use subledger_domain::{LogName, Timestamp};
use subledger_store::{Position, Store, StoreError};

use crate::{
    ProjectionName,
    database::{Param, Snapshot, Statement, Step, ask, int, of_table, statement, write},
    table::Table,
};

/// A projection is stopped at an event it cannot apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The event.
    pub position: Position,
    /// Why it cannot be applied.
    pub error: String,
}

/// A generation and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) projection: ProjectionName,
    pub(crate) generation: i64,
    pub(crate) position: Position,
    pub(crate) pause: Option<Pause>,
}

type CheckpointTuple = (String, i64, i64, Option<i64>, Option<String>);

/// Why a generation is under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To become the live one.
    Rebuild,
    /// To be compared and dropped.
    Verify,
}

/// Rows deleted in one transaction when a generation is dropped: enough to be quick, few enough not to hold up others.
const DROP_CHUNK: i64 = 5_000;

/// A generation under construction that made no progress for this long was left behind by a process that ended.
const ABANDONED_AFTER_SECONDS: i64 = 15 * 60;

/// Makes sure that every projection of a log has a live generation.
pub(crate) async fn ensure(store: &Store, log: &LogName) -> Result<(), StoreError> {
    let now = store.clock().now().micros();
    let steps: Vec<_> = ProjectionName::of_log(log)
        .iter()
        .map(|projection| {
            let params = vec![log.as_str().into(), projection.as_str().into(), now.into()];
            Step::new(statement!(checkpoints::ENSURE), params)
        })
        .collect();
    write(store, "preparing projections", &steps).await.map(|_| ())
}

/// The live generations of a log, by name.
pub(crate) async fn live(store: &Store, log: &LogName) -> Result<Vec<Checkpoint>, StoreError> {
    let rows =
        ask(store, "reading checkpoints", statement!(checkpoints::LIVE), &[log.as_str().into()]).await?;
    known(log, rows)
}

/// The live generations of a log, by name, as of a snapshot.
pub(crate) async fn live_in(snapshot: &mut Snapshot, log: &LogName) -> Result<Vec<Checkpoint>, StoreError> {
    let rows =
        snapshot.rows("reading checkpoints", statement!(checkpoints::LIVE), &[log.as_str().into()]).await?;
    known(log, rows)
}

/// One generation as of a snapshot, unless it is gone.
pub(crate) async fn one_in(
    snapshot: &mut Snapshot,
    log: &LogName,
    projection: ProjectionName,
    generation: i64,
) -> Result<Option<Checkpoint>, StoreError> {
    let params = key(log, projection, generation);
    let rows = snapshot.rows("reading a checkpoint", statement!(checkpoints::ONE), &params).await?;
    Ok(known(log, rows)?.pop())
}

/// Projections of a newer version are none of our business; their rows are left alone.
fn known(log: &LogName, rows: Vec<CheckpointTuple>) -> Result<Vec<Checkpoint>, StoreError> {
    let mut checkpoints = Vec::with_capacity(rows.len());
    for (name, generation, position, paused_position, paused_error) in rows {
        let Some(projection) = ProjectionName::from_name(&name) else { continue };
        let pause = match paused_position {
            Some(at) => Some(Pause {
                position: positive(log, projection, at)?,
                error: paused_error.unwrap_or_default(),
            }),
            None => None,
        };
        let position = positive(log, projection, position)?;
        checkpoints.push(Checkpoint { projection, generation, position, pause });
    }
    Ok(checkpoints)
}

fn positive(log: &LogName, projection: ProjectionName, value: i64) -> Result<Position, StoreError> {
    u64::try_from(value).map(Position).map_err(|_| {
        StoreError::Corrupt(format!("the checkpoint of projection {projection} of log {log} is negative"))
    })
}

fn key(log: &LogName, projection: ProjectionName, generation: i64) -> Vec<Param> {
    vec![log.as_str().into(), projection.as_str().into(), generation.into()]
}

/// The step that moves a checkpoint, and takes the transaction back if somebody else moved it first.
pub(crate) fn advance(log: &LogName, from: &Checkpoint, to: &Checkpoint, now: Timestamp) -> Step {
    let mut params = key(log, from.projection, from.generation);
    params.push(int(from.position.0).into());
    params.push(int(to.position.0).into());
    params.push(Param::MaybeInt(to.pause.as_ref().map(|pause| int(pause.position.0))));
    params.push(Param::MaybeText(to.pause.as_ref().map(|pause| pause.error.clone())));
    params.push(now.micros().into());
    Step::guard(statement!(checkpoints::ADVANCE), params)
}

/// Begins an empty generation beside the live one.
pub(crate) async fn begin(
    store: &Store,
    log: &LogName,
    projection: ProjectionName,
    purpose: Purpose,
) -> Result<Checkpoint, StoreError> {
    let purpose = match purpose {
        Purpose::Rebuild => "rebuild",
        Purpose::Verify => "verify",
    };
    loop {
        let params = [log.as_str().into(), projection.as_str().into()];
        let taken: Vec<(i64,)> =
            ask(store, "choosing a generation", statement!(checkpoints::GENERATIONS), &params).await?;
        let free = (1..).find(|n| !taken.contains(&(*n,))).unwrap_or(1);
        let mut params = key(log, projection, free);
        params.push(purpose.into());
        params.push(store.clock().now().micros().into());
        let steps = [Step::guard(statement!(checkpoints::BEGIN), params)];
        if write(store, "beginning a generation", &steps).await?.is_some() {
            return Ok(Checkpoint { projection, generation: free, position: Position(0), pause: None });
        }
    }
}

/// Makes a rebuilt generation the live one, unless the live one is further. The old one is left to be dropped.
pub(crate) async fn swap(store: &Store, log: &LogName, built: &Checkpoint) -> Result<bool, StoreError> {
    let params = key(log, built.projection, built.generation);
    let steps = [
        Step::guard(statement!(checkpoints::DEMOTE), params.clone()),
        Step::guard(statement!(checkpoints::PROMOTE), params),
    ];
    Ok(write(store, "swapping generations", &steps).await?.is_some())
}

/// Gives a generation under construction up and drops its rows.
pub(crate) async fn give_up(store: &Store, log: &LogName, built: &Checkpoint) -> Result<(), StoreError> {
    let params = key(log, built.projection, built.generation);
    write(store, "giving a generation up", &[Step::new(statement!(checkpoints::GIVE_UP), params)]).await?;
    drop_rows(store, log, built.projection, built.generation).await
}

/// Drops every generation that was replaced, given up, or left behind by a process that ended.
pub(crate) async fn sweep(
    store: &Store,
    log: &LogName,
    projection: ProjectionName,
) -> Result<(), StoreError> {
    let since = store.clock().now().plus_seconds(-ABANDONED_AFTER_SECONDS);
    let params = [log.as_str().into(), projection.as_str().into(), since.micros().into()];
    let left: Vec<(i64,)> =
        ask(store, "looking for old generations", statement!(checkpoints::ABANDONED), &params).await?;
    for (generation,) in left {
        let params = key(log, projection, generation);
        write(store, "giving a generation up", &[Step::new(statement!(checkpoints::GIVE_UP), params)])
            .await?;
        drop_rows(store, log, projection, generation).await?;
    }
    Ok(())
}

/// Deletes in chunks, each holding the generation, so that its number cannot be used again under our hands.
async fn drop_rows(
    store: &Store,
    log: &LogName,
    projection: ProjectionName,
    generation: i64,
) -> Result<(), StoreError> {
    let mut hold = key(log, projection, generation);
    hold.push(store.clock().now().micros().into());
    for table in Table::of(projection) {
        let chunk: Statement = of_table(*table, |sql| sql.drop);
        let params = vec![log.as_str().into(), generation.into(), DROP_CHUNK.into()];
        let steps =
            [Step::guard(statement!(checkpoints::HOLD_DROPPING), hold.clone()), Step::new(chunk, params)];
        loop {
            match write(store, "dropping a generation", &steps).await? {
                Some(touched) if touched.last() == Some(&0) => break,
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }
    let params = key(log, projection, generation);
    write(store, "forgetting a generation", &[Step::new(statement!(checkpoints::FORGET), params)]).await?;
    Ok(())
}
