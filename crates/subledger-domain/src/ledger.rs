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
mod state;

pub use command::{
    Answer, AttemptOutcome, DoubtCause, LedgerCommand, ReleaseRequest, UnknownBalance, Verdict,
};
pub use error::LedgerError;
pub use event::{
    Admitted, Basis, Choice, Consented, Consumed, Denied, Doubted, DriftFound, Granted, LateOutcome,
    LedgerEvent, Opened, Postponed, Rejected, ReleaseReason, Released, Reserved, SettledLate, Started,
    Suspended,
};
pub use state::{Funding, Ledger, LedgerParts, Lot, Outstanding, Phase, Suspension, Totals};

/// The most open grants one ledger may hold. Users tap a few times a day; ten thousand is a fault of the caller.
pub const MAX_OPEN_LOTS: usize = 10_000;

/// The most attempts one delivery may take before it ends as `retries_exhausted`, whatever the caller asks.
pub const MAX_ATTEMPTS: u16 = 50;

/// How many ended deliveries a ledger remembers, so that a repeated request to reserve is refused. Repetitions come
/// soon; later ones meet the receipts of the store.
pub const MAX_REMEMBERED_ENDS: usize = 16;

crate::decide::aggregate!(Ledger, "ledger", LedgerCommand, LedgerEvent, LedgerError);
