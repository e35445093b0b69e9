//! How far a generation of a projection has come, and the steps that move it.
//!
//! A generation is one complete set of rows of a projection of a log. One is live; a rebuild or a verification has its own
//! beside it. Its number is its own in the whole database and is never used again.

use serde::{Deserialize, Serialize};
use subledger_domain::{LogName, Timestamp};
use subledger_store::{Position, Store, StoreError};

use crate::{
    ProjectionName,
    database::{Param, Snapshot, Step, ask, int, number, statement, write},
    table::Table,
};

/// A projection is stopped at an event it cannot apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The event.
    pub position: Position,
    /// Its stream; empty if it was not noted.
    pub stream: String,
    /// The name of its kind, or `unknown.<number>`; empty if it was not noted.
    pub kind: String,
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
    /// Events of kinds that this version does not know and that were passed over.
    pub(crate) unknown: u64,
}

impl Checkpoint {
    /// A generation without rows.
    pub(crate) const fn empty(projection: ProjectionName, generation: i64) -> Self {
        Self { projection, generation, position: Position(0), pause: None, unknown: 0 }
    }
}

type Text = Option<String>;
type CheckpointTuple = (String, i64, i64, Option<i64>, Text, Text, Text, i64);

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

/// A generation under verification that made no progress for this long was left behind by a process that ended.
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

/// The live generations of every log.
pub(crate) async fn all_live(store: &Store) -> Result<Vec<(LogName, Checkpoint)>, StoreError> {
    type Row = (String, String, i64, i64, Option<i64>, Text, Text, Text, i64);
    let rows: Vec<Row> = ask(store, "reading checkpoints", statement!(checkpoints::ALL_LIVE), &[]).await?;
    let mut all = Vec::with_capacity(rows.len());
    for (log, name, generation, position, at, stream, kind, error, unknown) in rows {
        let log = LogName::new(log);
        let one = known(&log, vec![(name, generation, position, at, stream, kind, error, unknown)])?;
        all.extend(one.into_iter().map(|one| (log.clone(), one)));
    }
    Ok(all)
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
    generation: i64,
) -> Result<Option<Checkpoint>, StoreError> {
    let params = [generation.into()];
    let rows = snapshot.rows("reading a checkpoint", statement!(checkpoints::ONE), &params).await?;
    Ok(known(log, rows)?.pop())
}

/// Projections of a newer version are none of our business; their rows are left alone.
fn known(log: &LogName, rows: Vec<CheckpointTuple>) -> Result<Vec<Checkpoint>, StoreError> {
    let mut checkpoints = Vec::with_capacity(rows.len());
    for (name, generation, position, paused_position, stream, kind, error, unknown) in rows {
        let Some(projection) = ProjectionName::from_name(&name) else { continue };
        let pause = match paused_position {
            Some(at) => Some(Pause {
                position: positive(log, projection, at)?,
                stream: stream.unwrap_or_default(),
                kind: kind.unwrap_or_default(),
                error: error.unwrap_or_default(),
            }),
            None => None,
        };
        let position = positive(log, projection, position)?;
        let unknown = u64::try_from(unknown).unwrap_or_default();
        checkpoints.push(Checkpoint { projection, generation, position, pause, unknown });
    }
    Ok(checkpoints)
}

fn positive(log: &LogName, projection: ProjectionName, value: i64) -> Result<Position, StoreError> {
    u64::try_from(value).map(Position).map_err(|_| {
        StoreError::Corrupt(format!("the checkpoint of projection {projection} of log {log} is negative"))
    })
}

/// The step that moves a checkpoint, and takes the transaction back if somebody else moved it first.
pub(crate) fn advance(from: &Checkpoint, to: &Checkpoint, now: Timestamp) -> Step {
    let mut params = vec![from.generation.into(), int(from.position.0).into()];
    params.push(int(to.position.0).into());
    params.push(Param::MaybeInt(to.pause.as_ref().map(|pause| int(pause.position.0))));
    let text = |of: fn(&Pause) -> &String| Param::MaybeText(to.pause.as_ref().map(of).cloned());
    params.extend([text(|pause| &pause.stream), text(|pause| &pause.kind), text(|pause| &pause.error)]);
    params.push(now.micros().into());
    params.push(int(to.unknown).into());
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
    let params = [
        log.as_str().into(),
        projection.as_str().into(),
        purpose.into(),
        store.clock().now().micros().into(),
        projection.schema().into(),
    ];
    let generation = number(store, "beginning a generation", statement!(checkpoints::BEGIN), &params).await?;
    Ok(Checkpoint::empty(projection, generation))
}

/// The furthest generation that a rebuild left unfinished and that this version can go on with; every other unfinished one
/// is dropped. Only for whoever holds the lease of rebuilding this log.
pub(crate) async fn resume(
    store: &Store,
    log: &LogName,
    projection: ProjectionName,
    head: Position,
) -> Result<Option<Checkpoint>, StoreError> {
    let params = [log.as_str().into(), projection.as_str().into()];
    let unfinished: Vec<(i64, i64, i64)> =
        ask(store, "looking for unfinished rebuilds", statement!(checkpoints::UNFINISHED), &params).await?;
    let mut found = None;
    for (generation, position, schema) in unfinished {
        let position = positive(log, projection, position)?;
        let usable = schema == projection.schema() && position <= head;
        if usable && found.is_none() {
            found = Some(Checkpoint { position, ..Checkpoint::empty(projection, generation) });
        } else {
            give_up(store, &Checkpoint::empty(projection, generation)).await?;
        }
    }
    Ok(found)
}

/// Keeps the live generations of a log where they stand for `micros`, so that a rebuild can become as far as they are. Whoever
/// wants to move them meanwhile is told that they do not stand where he believed, and looks again.
pub(crate) async fn hold_live(
    store: &Store,
    log: &LogName,
    projections: &[ProjectionName],
    micros: i64,
) -> Result<(), StoreError> {
    let now = store.clock().now().micros();
    let hold = |projection: &ProjectionName| {
        let params = vec![log.as_str().into(), projection.as_str().into(), now.into(), micros.into()];
        Step::new(statement!(checkpoints::HOLD_LIVE), params)
    };
    let steps: Vec<_> = projections.iter().map(hold).collect();
    write(store, "holding projections", &steps).await.map(|_| ())
}

/// Makes a rebuilt generation the live one, unless the live one is further. The old one is left to be dropped.
pub(crate) async fn swap(store: &Store, log: &LogName, built: &Checkpoint) -> Result<bool, StoreError> {
    let demote = vec![log.as_str().into(), built.projection.as_str().into(), built.generation.into()];
    let steps = [
        Step::guard(statement!(checkpoints::DEMOTE), demote),
        Step::guard(statement!(checkpoints::PROMOTE), vec![built.generation.into()]),
    ];
    Ok(write(store, "swapping generations", &steps).await?.is_some())
}

/// Gives a generation under construction up and drops its rows.
pub(crate) async fn give_up(store: &Store, built: &Checkpoint) -> Result<(), StoreError> {
    let steps = [Step::new(statement!(checkpoints::GIVE_UP), vec![built.generation.into()])];
    write(store, "giving a generation up", &steps).await?;
    drop_rows(store, built.projection, built.generation).await
}

/// Drops every generation that was replaced, given up, or left behind by a verification that ended badly. Unfinished
/// rebuilds are kept: see [`resume`].
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
        give_up(store, &Checkpoint::empty(projection, generation)).await?;
    }
    Ok(())
}

/// Deletes in chunks, each holding the generation, so that it stands in the way of nobody for long.
async fn drop_rows(store: &Store, projection: ProjectionName, generation: i64) -> Result<(), StoreError> {
    let hold = vec![generation.into(), store.clock().now().micros().into()];
    for table in Table::of(projection) {
        let chunk = table.drop_rows();
        let params = vec![generation.into(), DROP_CHUNK.into()];
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
    let steps = [Step::new(statement!(checkpoints::FORGET), vec![generation.into()])];
    write(store, "forgetting a generation", &steps).await?;
    Ok(())
}
