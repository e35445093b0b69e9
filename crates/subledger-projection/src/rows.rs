//! The rows of the read models, as queries return them.
//!
//! How a row stands in the database is told in [`crate::table`]. A digest is taken over its JSON, so a field renamed or added
//! here changes every digest from then on. No row holds an openid, a userid or a secret.

mod ages;
mod apps;
mod bindings;
mod channels;
pub(crate) mod codes;
mod findings;
mod flag;
mod ledgers;
mod messages;
mod reports;

pub(crate) use ages::OLD_GRANT_MICROS;
pub use ages::{AgeClasses, DOUBT_AGES, GRANT_AGES};
pub use apps::{AppKeyRow, AppRow};
pub use bindings::BindingRow;
pub use channels::{CallbackRow, ChannelRow, PlatformRow, RelayRow, TemplateRow, TokenConflictRow, TokenRow};
pub(crate) use findings::StrangerRow;
pub use findings::{DOUBT_CAUSES, DoubtEnd, DoubtOutcome, DoubtRow, DriftCause, DriftRow, doubt_cause_word};
pub(crate) use flag::deserialize as flag;
pub use ledgers::{LedgerRow, LotRow, LotState};
pub use messages::{DeliveryCounts, DeliveryRow, DeliveryState, MessageRow};
pub use reports::{BUCKET_MICROS, Holdings, Measure, ReportTemplateRow};
pub(crate) use reports::{ReportClosing, ReportCount, bucket_of};
