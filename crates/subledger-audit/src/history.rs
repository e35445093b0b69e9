//! Past states, and every number with the events behind it.
//!
//! "What did we know then" is a question about the log alone: [`At`] says when, [`History::point`] finds the position,
//! and the states are folds over the streams concerned up to there, with the folds that the read models use. So a past
//! answer has the shape of a present one and does not depend on read models that may be behind.
//!
//! [`Explanation`] walks a ledger event by event. It shows which event made which number, which tap paid for which
//! delivery, and does its own sums; where they do not agree with the books it says so ([`Finding`]) and hides nothing.
//! [`Speaker`] puts all of it into English or Chinese. Nothing in here prints.

mod at;
mod error;
mod explain;
mod messages;
mod states;
mod tell;
mod tracker;
mod words;

pub use at::{At, AtError, DEFAULT_ZONE, FORMS, Point, default_zone, zone};
pub use error::HistoryError;
pub use explain::{
    Delivery, Explanation, Finding, FindingKind, Listed, Number, NumberName, Paid, Stamp, Step, Sum, Tap,
    Voided,
};
pub use states::{History, PastLedger, PastMessage, PastTemplates};
pub use tell::{Person, Speaker};
pub use words::Language;
