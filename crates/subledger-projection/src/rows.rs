//! The rows of the read models, as queries return them.
//!
//! The field names are the column names, because rows cross into and out of both databases as JSON; a digest is taken
//! over the same encoding. So a field renamed here is a column renamed in the migrations, and a field added is part of
//! every digest from then on. No row holds an openid, a userid or a secret.

mod apps;
mod bindings;
mod channels;
mod flag;
mod ledgers;
mod messages;
mod reports;

pub use apps::{AppKeyRow, AppRow};
pub use bindings::BindingRow;
pub use channels::{ChannelRow, TemplateRow};
pub(crate) use flag::deserialize as flag;
pub use ledgers::{LedgerRow, LotRow, LotState};
pub use messages::{DeliveryCounts, DeliveryRow, DeliveryState, MessageRow};
pub use reports::{BUCKET_MICROS, Holdings, Measure, ReportTemplateRow};
pub(crate) use reports::{ReportBook, ReportClosing, ReportCount, ReportSend, bucket_of};
