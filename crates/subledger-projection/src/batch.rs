//! Applies a batch of events to generations of projections: read, fold, write if nobody else was quicker.
//!
//! Rows and checkpoints are read in one snapshot and written in one transaction that also compares the checkpoints. So
//! whoever loses a race changes nothing and learns where things stand; holding no lock while it folds, it never makes the
//! writer of the log wait for more than the write itself.

use subledger_domain::{LogName, kind_by_number};
use subledger_store::{Position, Recorded, Store, StoreError};

use crate::{
    ProjectionName,
    checkpoint::{self, Checkpoint, Pause},
    database::{Snapshot, Step, is_refusal_of_data, of_table, write},
    fold::{Model, Poison, model},
};

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Applied {
    /// The targets stand here now, in the order they were given.
    Moved(Vec<Checkpoint>),
    /// The checkpoints did not stand where they were believed to; nothing is changed.
    Displaced,
}

struct Folded {
    to: Checkpoint,
    steps: Vec<Step>,
}

/// Applies `events` (dense, in order) to each of the targets, as far as they come after its checkpoint.
pub(crate) async fn apply(
    store: &Store,
    log: &LogName,
    targets: &[Checkpoint],
    events: &[Recorded],
) -> Result<Applied, StoreError> {
    match try_apply(store, log, targets, events).await {
        Err(error) if is_refusal_of_data(&error) => isolate(store, log, targets, events, &error).await,
        result => result,
    }
}

/// The database refused a value. Finds the one event of the one projection it comes from and stops that projection there.
async fn isolate(
    store: &Store,
    log: &LogName,
    targets: &[Checkpoint],
    events: &[Recorded],
    refusal: &StoreError,
) -> Result<Applied, StoreError> {
    if let [target] = targets {
        let rest = after(events, target.position);
        return match rest {
            [] => Ok(Applied::Moved(targets.to_vec())),
            [poison] => stop(store, log, target, poison, with_causes(refusal)).await,
            _ => Box::pin(apply(store, log, targets, &rest[..rest.len().div_ceil(2)])).await,
        };
    }
    let mut moved = Vec::with_capacity(targets.len());
    for target in targets {
        match Box::pin(apply(store, log, std::slice::from_ref(target), events)).await? {
            Applied::Moved(checkpoints) => moved.extend(checkpoints),
            Applied::Displaced => return Ok(Applied::Displaced),
        }
    }
    Ok(Applied::Moved(moved))
}

async fn stop(
    store: &Store,
    log: &LogName,
    target: &Checkpoint,
    event: &Recorded,
    error: String,
) -> Result<Applied, StoreError> {
    let to = Checkpoint { pause: Some(pause_at(event, error)), ..target.clone() };
    let steps = [checkpoint::advance(log, target, &to, store.clock().now())];
    match write(store, "pausing a projection", &steps).await? {
        Some(_) => Ok(Applied::Moved(vec![to])),
        None => Ok(Applied::Displaced),
    }
}

async fn try_apply(
    store: &Store,
    log: &LogName,
    targets: &[Checkpoint],
    events: &[Recorded],
) -> Result<Applied, StoreError> {
    let mut snapshot = Snapshot::take(store, "reading rows of projections").await?;
    let mut folded = Vec::with_capacity(targets.len());
    for target in targets {
        let stands = checkpoint::one_in(&mut snapshot, log, target.projection, target.generation).await?;
        if stands.is_none_or(|stands| stands.position != target.position) {
            return Ok(Applied::Displaced);
        }
        folded.push(fold(store, log, &mut snapshot, target, after(events, target.position)).await?);
    }
    drop(snapshot);
    let mut steps = Vec::new();
    let mut moved = Vec::with_capacity(folded.len());
    for (target, one) in targets.iter().zip(folded) {
        if one.to != *target {
            steps.extend(one.steps);
        }
        moved.push(one.to);
    }
    if !steps.is_empty() && write(store, "writing rows of projections", &steps).await?.is_none() {
        return Ok(Applied::Displaced);
    }
    Ok(Applied::Moved(moved))
}

/// The events that come next after a position; none if they begin later.
fn after(events: &[Recorded], position: Position) -> &[Recorded] {
    let from = events.partition_point(|event| event.position <= position);
    match &events[from..] {
        [next, ..] if next.position.0 != position.0 + 1 => &[],
        rest => rest,
    }
}

/// Folds events until the end or until one that cannot be applied.
async fn fold(
    store: &Store,
    log: &LogName,
    snapshot: &mut Snapshot,
    target: &Checkpoint,
    events: &[Recorded],
) -> Result<Folded, StoreError> {
    let mut events = events;
    let mut pause: Option<Pause> = None;
    let model = loop {
        match build(log, snapshot, target, events).await? {
            Ok(model) => break model,
            // What was folded before the poison is lost with the model; fold again without it.
            Err(poison) => {
                let sound = events.partition_point(|event| event.position < poison.position);
                pause = events.get(sound).map(|event| pause_at(event, with_causes(&poison.error)));
                events = &events[..sound];
            }
        }
    };
    let position = events.last().map_or(target.position, |event| event.position);
    if events.is_empty() && pause.is_none() {
        pause.clone_from(&target.pause);
    }
    let passed = events.iter().filter(|event| kind_by_number(event.kind).is_none()).count() as u64;
    let to = Checkpoint { position, pause, unknown: target.unknown + passed, ..target.clone() };
    let mut steps = vec![checkpoint::advance(log, target, &to, store.clock().now())];
    for change in model.changes().map_err(|error| unreadable(target.projection, &error))? {
        let params = vec![log.as_str().into(), target.generation.into(), change.rows.into()];
        steps.push(Step::new(of_table(change.table, |sql| sql.upsert), params));
    }
    Ok(Folded { to, steps })
}

async fn build(
    log: &LogName,
    snapshot: &mut Snapshot,
    target: &Checkpoint,
    events: &[Recorded],
) -> Result<Result<Box<dyn Model>, Poison>, StoreError> {
    let mut model = model(target.projection);
    for event in events {
        if let Err(error) = model.take(&event.into()) {
            return Ok(Err(Poison { position: event.position, error }));
        }
    }
    while let Some(need) = model.need() {
        let params = [log.as_str().into(), target.generation.into(), need.keys.into()];
        let rows: Vec<(String,)> = snapshot
            .rows("reading rows of projections", of_table(need.table, |sql| sql.load), &params)
            .await?;
        let rows = rows.into_iter().map(|(row,)| row).collect();
        model.load(need.table, rows).map_err(|error| unreadable(target.projection, &error))?;
    }
    Ok(model.fold().map(|()| model))
}

fn pause_at(event: &Recorded, error: String) -> Pause {
    Pause { position: event.position, stream: event.stream.to_string(), kind: event.kind_name(), error }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Rows that are not what this version writes: tampered with, or left by another version. A rebuild cures it.
pub(crate) fn unreadable(projection: ProjectionName, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("rows of projection {projection} cannot be read; rebuild it: {error}"))
}
