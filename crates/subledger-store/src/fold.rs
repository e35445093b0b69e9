//! From stored events to a state: snapshots as a base, events on top.

use std::sync::Arc;

use crate::{
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

/// Applies events of one stream, which must follow each other without a gap.
pub(crate) fn fold(
    base: &mut Base,
    stream: &subledger_domain::StreamName,
    events: &[StreamEvent],
) -> Result<(), String> {
    for (_, _, version, kind, schema, data) in events {
        let expected = base.version + 1;
        if u64::try_from(*version).ok() != Some(expected) {
            return Err(format!("stream {stream}: version {expected} should follow, found {version}"));
        }
        let (Ok(kind), Ok(schema)) = (small(*kind), small(*schema)) else {
            return Err(format!("stream {stream}: version {version} has an impossible kind"));
        };
        let Some(state) = Arc::get_mut(&mut base.state) else {
            return Err(format!("stream {stream}: its state is shared while it is folded"));
        };
        state
            .fold(kind, schema, data)
            .map_err(|error| format!("stream {stream}: version {version}: {error}"))?;
        base.version = expected;
    }
    Ok(())
}
