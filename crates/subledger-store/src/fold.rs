//! From stored events to a state: snapshots as a base, events on top.

use std::sync::Arc;

use subledger_domain::{LogName, StreamName};

use crate::{
    NewerEvent, Position, StoreError,
    rows::{Frozen, StreamEvent, small},
    work::{AnyState, StreamRef, Versioned},
};

/// Versions between two snapshots of a stream whose state takes so many bytes: loading never applies more events than about
/// this many, and a snapshot costs little beside the events since the last.
pub(crate) const fn snapshot_every(bytes: usize) -> u64 {
    if bytes <= 4_096 { 32 } else { 128 }
}

/// A state under construction.
pub(crate) struct Base {
    pub(crate) version: u64,
    /// Not shared before it is frozen.
    pub(crate) state: Arc<dyn AnyState>,
}

impl Base {
    pub(crate) fn freeze(self) -> Versioned {
        Versioned { version: self.version, state: self.state }
    }
}

/// The state in a snapshot, or the empty state. A snapshot that does not fit this version of the program is a shortcut
/// lost, not an error: all events are still there.
pub(crate) fn thaw(stream: &StreamRef, snapshot: Option<&Frozen>) -> Base {
    if let Some(snapshot) = snapshot {
        match ((stream.thaw)(snapshot.state.as_bytes()), u64::try_from(snapshot.version)) {
            (Ok(Some(state)), Ok(version)) => return Base { version, state },
            (Ok(None), _) => tracing::debug!(
                stream.id = stream.name.as_str(),
                stream.version = snapshot.version,
                "a snapshot is of another version of the program; all events are read instead"
            ),
            _ => tracing::warn!(
                stream.id = stream.name.as_str(),
                stream.version = snapshot.version,
                "a snapshot does not fit this version of the program; all events are read instead"
            ),
        }
    }
    Base { version: 0, state: (stream.empty)() }
}

/// Why a stream has no state that this process can tell.
#[derive(Debug, Clone)]
pub(crate) enum Unfolded {
    /// A newer version of the program wrote one of its events.
    Newer(NewerEvent),
    /// What is stored cannot be what was written.
    Broken(String),
}

impl From<String> for Unfolded {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl From<Unfolded> for StoreError {
    fn from(unfolded: Unfolded) -> Self {
        match unfolded {
            Unfolded::Newer(event) => Self::Newer(event),
            Unfolded::Broken(what) => Self::Corrupt(what),
        }
    }
}

/// Applies events of one stream, which must follow each other without a gap.
pub(crate) fn fold(
    base: &mut Base,
    log: &LogName,
    stream: &StreamName,
    events: &[StreamEvent],
) -> Result<(), Unfolded> {
    for (_, _, version, position, kind, schema, data) in events {
        let expected = base.version + 1;
        if u64::try_from(*version).ok() != Some(expected) {
            return Err(format!("stream {stream}: version {expected} should follow, found {version}").into());
        }
        let (Ok(kind), Ok(schema)) = (small(*kind), small(*schema)) else {
            return Err(format!("stream {stream}: version {version} has an impossible kind").into());
        };
        let Some(state) = Arc::get_mut(&mut base.state) else {
            return Err(format!("stream {stream}: its state is shared while it is folded").into());
        };
        state.fold(kind, schema, data).map_err(|error| {
            let position = Position(u64::try_from(*position).unwrap_or_default());
            NewerEvent::of(log, position, &error).map_or_else(
                || format!("stream {stream}: version {version}: {error}").into(),
                Unfolded::Newer,
            )
        })?;
        base.version = expected;
    }
    Ok(())
}
