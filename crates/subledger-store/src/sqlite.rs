//! The statements for SQLite.
//!
//! Same files and same function names as [`crate::postgres`]: a reader of one knows the other. What the
//! executor writes goes through one prepared statement a row, on a thread of its own ([`writer`]): taking JSON arrays
//! apart cost a third of that thread. Everything else reads or writes sets as `json_each` arrays (see
//! [`crate::json_rows`]). Nothing here decides anything.

pub(crate) mod append;
pub(crate) mod by_stream;
pub(crate) mod connect;
pub(crate) mod erasure;
pub(crate) mod head;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod look;
pub(crate) mod migrate;
pub(crate) mod past;
pub(crate) mod platform;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod quota;
pub(crate) mod read;
pub(crate) mod receipt;
pub(crate) mod relay;
pub(crate) mod reseal;
pub(crate) mod retention;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod token;
pub(crate) mod vault;
pub(crate) mod writer;

use crate::StoreError;

/// Bits of a number that is a log's number before one of its own: an event's `place` is (log, position), the key of
/// `stream_tip` is (log, stream number).
const OWN_BITS: u32 = 40;
/// The largest number of a log's own, of an event or a stream.
pub(crate) const MAX_OWN: i64 = (1 << OWN_BITS) - 1;

/// The log's number before one of its own, as a bound of a search: what lies outside is taken for the nearest.
pub(crate) fn bound(log: i64, own: i64) -> i64 {
    (log << OWN_BITS) | own.clamp(0, MAX_OWN)
}

/// The log's number before one of its own, to be written.
pub(crate) fn packed(log: i64, own: i64) -> Result<i64, StoreError> {
    if (0..=MAX_OWN).contains(&own) && (0..1 << (62 - OWN_BITS)).contains(&log) {
        Ok(bound(log, own))
    } else {
        Err(StoreError::Corrupt(format!("log {log} has no room for number {own}")))
    }
}

/// The number of its own in a packed number.
pub(crate) const fn own(packed: i64) -> i64 {
    packed & MAX_OWN
}
