//! Applies a batch of events to generations of projections, whatever is in it: an event that cannot be applied, or a value
//! that the database refuses, stops its projection there and no other.
//!
//! Rows are read, folded and written in one transaction with the checkpoints, which are compared. So whoever loses a race
//! changes nothing and learns where things stand; holding no lock while it folds, it never makes the writer of the log
//! wait for more than the write itself. The usual way is the runner's desk, which keeps its rows in memory; this is how
//! it goes on where a desk got stuck.

use std::sync::Arc;

use subledger_domain::kind_by_number;
use subledger_store::{Position, Recorded, Store, StoreError};

use crate::{
    ProjectionName,
    checkpoint::{self, Checkpoint, Pause},
    database::is_refusal_of_data,
    desk::{Desk, Flush, Stuck, Trouble},
    hand::Hand,
    tuples::Unreadable,
};

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Applied {
    /// The targets stand here now, in the order they were given.
    Moved(Vec<Checkpoint>),
    /// The checkpoints did not stand where they were believed to; nothing is changed.
    Displaced,
}

/// Applies `events` (dense, in order) to each of the targets, as far as they come after its checkpoint.
pub(crate) async fn apply(
    store: &Store,
    hand: &Hand,
    targets: Vec<Checkpoint>,
    events: Arc<Vec<Recorded>>,
) -> Result<Applied, StoreError> {
    let (store, hand) = (store.clone(), hand.clone());
    blocking(move || apply_now(&store, &hand, &targets, &events)).await?
}

/// Runs on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Corrupt("the work on read models was cancelled".to_owned())),
    }
}

/// [`apply`] for a thread that may block.
pub(crate) fn apply_now(
    store: &Store,
    hand: &Hand,
    targets: &[Checkpoint],
    events: &[Recorded],
) -> Result<Applied, StoreError> {
    match try_apply(store, hand, targets, events) {
        Err(error) if is_refusal_of_data(&error) => isolate(store, hand, targets, events, &error),
        result => result,
    }
}

/// The database refused a value. Finds the one event of the one projection it comes from and stops that projection there.
fn isolate(
    store: &Store,
    hand: &Hand,
    targets: &[Checkpoint],
    events: &[Recorded],
    refusal: &StoreError,
) -> Result<Applied, StoreError> {
    if let [target] = targets {
        let rest = after(events, target.position);
        return match rest {
            [] => Ok(Applied::Moved(targets.to_vec())),
            [poison] => {
                let pause = Some(pause_at(poison, with_causes(refusal)));
                let to = Checkpoint { pause, ..target.clone() };
                let step = checkpoint::advance(target, &to, store.clock().now());
                Ok(if hand.write(&[], &[step])? { Applied::Moved(vec![to]) } else { Applied::Displaced })
            }
            _ => apply_now(store, hand, targets, &rest[..rest.len().div_ceil(2)]),
        };
    }
    let mut moved = Vec::with_capacity(targets.len());
    for target in targets {
        match apply_now(store, hand, std::slice::from_ref(target), events)? {
            Applied::Moved(checkpoints) => moved.extend(checkpoints),
            Applied::Displaced => return Ok(Applied::Displaced),
        }
    }
    Ok(Applied::Moved(moved))
}

fn try_apply(
    store: &Store,
    hand: &Hand,
    targets: &[Checkpoint],
    events: &[Recorded],
) -> Result<Applied, StoreError> {
    let (mut sheets, mut steps) = (Vec::new(), Vec::new());
    let mut moved = Vec::with_capacity(targets.len());
    for target in targets {
        let (flush, to) = fold(hand, target, after(events, target.position))?;
        if to != *target {
            sheets.extend(flush.into_iter().flat_map(|flush| flush.sheets));
            steps.push(checkpoint::advance(target, &to, store.clock().now()));
        }
        moved.push(to);
    }
    if !steps.is_empty() && !hand.write(&sheets, &steps)? {
        return Ok(Applied::Displaced);
    }
    Ok(Applied::Moved(moved))
}

/// The events that come next after a position; none if they begin later.
pub(crate) fn after(events: &[Recorded], position: Position) -> &[Recorded] {
    let from = events.partition_point(|event| event.position <= position);
    match &events[from..] {
        [next, ..] if next.position.0 != position.0 + 1 => &[],
        rest => rest,
    }
}

/// Folds events until the end or until one that cannot be applied.
fn fold(
    hand: &Hand,
    target: &Checkpoint,
    events: &[Recorded],
) -> Result<(Option<Flush>, Checkpoint), StoreError> {
    let mut events = events;
    let mut pause: Option<Pause> = None;
    let flush = loop {
        match build(hand, target, events) {
            Ok(flush) => break flush,
            Err(Trouble::Store(error)) => return Err(error),
            // What was folded before the poison is lost with the desk; fold again without it.
            Err(Trouble::Stuck(Stuck { poison, .. })) => {
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
    let unknown = target.unknown + unknown(events).len() as u64;
    let to = Checkpoint { position, pause, unknown, ..target.clone() };
    Ok((flush, to))
}

fn build(hand: &Hand, target: &Checkpoint, events: &[Recorded]) -> Result<Option<Flush>, Trouble> {
    let mut desk = Desk::new(hand.clone(), [target.clone()]);
    for event in events {
        desk.take(&event.into()).map_err(Trouble::Stuck)?;
    }
    desk.fold(|| Ok::<(), Trouble>(()))?;
    let reached = events.last().map_or(target.position, |event| event.position);
    Ok(desk.changes(reached, &[])?)
}

/// The events that are of a kind that this version does not know.
pub(crate) fn unknown(events: &[Recorded]) -> Vec<Position> {
    let unknown = events.iter().filter(|event| kind_by_number(event.kind).is_none());
    unknown.map(|event| event.position).collect()
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
pub(crate) fn unreadable(projection: ProjectionName, error: &Unreadable) -> StoreError {
    StoreError::Corrupt(format!("rows of projection {projection} cannot be read; rebuild it: {error}"))
}
