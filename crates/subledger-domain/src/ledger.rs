//! The ledger: the subscription quota of one (channel, openid, template).
//!
//! A tap on "allow" buys exactly one message. The ledger keeps each such grant as a *lot*, spends the oldest first and
//! lets every delivery name the lot that pays for it: reserve, then consume or release — the two-phase transfer of
//! accounting databases. What WeChat's answer leaves open stays *in doubt* and keeps its lot.
//!
//! Invariant, kept by [`Ledger::totals`] and tested as a property:
//! `granted = open + reserved + in doubt + consumed + voided`.
//!
//! The ledger's own events carry the whole life of a delivery (reserved, started, postponed, settled). The message
//! aggregate only knows what was asked and who was skipped, so that settling one of a thousand recipients never
//! touches a thousand-recipient state.

mod command;
mod decision;
mod error;
mod event;
mod memory;
mod policy;
mod pushes;
mod state;

pub use command::{Answer, AttemptOutcome, DoubtCause, LedgerCommand, ReleaseRequest, Verdict};
pub use error::LedgerError;
pub use event::{
    Added, Adjusted, Admitted, Basis, Choice, Cleared, Confirmed, Consented, Consumed, Corroborated, Denied,
    Doubted, DriftFound, Forfeited, Granted, LateOutcome, LedgerEvent, Opened, Postponed, Rejected,
    ReleaseReason, Released, Reserved, SettledLate, Started, StrangerReported, Suspended, TapNoted,
    Undelivered,
};
pub use policy::{DoubtVerdict, RefusedSend, SettingsOff, Taps, UnknownBalance};
pub use state::{Funding, Ledger, LedgerParts, Lot, Outstanding, Phase, Suspension, Totals};

/// The most open grants one ledger may hold. Users tap a few times a day; ten thousand is a fault of the caller.
pub const MAX_OPEN_LOTS: usize = 10_000;

/// The most attempts one delivery may take before it ends as `retries_exhausted`, whatever the caller asks.
pub const MAX_ATTEMPTS: u16 = 50;

/// How many ended deliveries a ledger remembers, so that a repeated request to reserve is refused. Repetitions come
/// soon; later ones meet the receipts of the store.
pub const MAX_REMEMBERED_ENDS: usize = 16;

/// How many taps a ledger remembers that only one source has told of. What the other source says of an older one is taken
/// for another tap.
pub const MAX_REMEMBERED_TAPS: usize = 32;

/// How many sends, and sent events that no send explains, a ledger remembers for WeChat's word on them.
pub const MAX_REMEMBERED_SENDS: usize = 16;

/// The longest `ErrorStatus` of a sent event that is kept, in characters.
pub const MAX_STATUS_CHARS: usize = 64;

crate::decide::aggregate!(Ledger, "ledger", LedgerCommand, LedgerEvent, LedgerError);
