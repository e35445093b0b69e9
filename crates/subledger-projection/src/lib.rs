//! Read models of subledger: what the log says, in the shape that is asked for.
//!
//! A projection is a fold over one log, kept in tables beside it. [`Projections`] follows the logs and applies each
//! batch of events together with its checkpoint in one transaction; [`Queries`] reads the rows; [`rebuild`] builds a
//! projection anew beside the live one and swaps; [`verify`] proves that the live one is what the log says.
//!
//! Nothing here decides anything and nothing here appends. Every row can be dropped: the log is the truth, and a rebuilt
//! projection is the same to the byte on both databases ([`digest`]).
//!
//! How a batch is applied: decode and collect the keys, load those affected rows that are not in memory, fold, write the
//! changed rows in sets and advance the checkpoint only if it still stands where the rows were read. So there is no
//! statement per event, and several runners cannot apply a batch twice.

mod balances;
mod batch;
mod builder;
mod cache;
mod checkpoint;
mod compare;
mod database;
mod desk;
mod error;
mod fold;
mod hand;
mod metric_definitions;
mod names;
mod page;
mod postgres;
mod queries;
mod rebuild;
mod replay;
mod rows;
mod runner;
mod sqlite;
mod status;
mod table;
mod terms;
mod tuples;
mod verify;

pub use balances::{Balances, rebuild_balances};
pub use builder::{Progress, RebuildLimits};
pub use checkpoint::Pause;
pub use compare::{Comparison, LiveDigest, live_digests};
pub use error::{NotYet, ProjectionError, QueryError};
pub use metric_definitions::describe_metrics;
pub use names::ProjectionName;
pub use page::{Answer, MAX_PAGE, Page, PageRequest};
pub use queries::{
    AGES, ActivityCounts, ActivityLine, AppKeyAnswer, DEFAULT_REPORT_DAYS, DEFAULT_ZONE, DoubtCount,
    DoubtCounts, DoubtFilter, DoubtReport, DoubtState, DriftCount, DriftCounts, DriftFilter, DriftReport,
    Entries, Grain, Group, Lines, Loss, LossReason, MAX_REPORT_DAYS, MAX_REPORT_LINES, MAX_REPORT_TEMPLATES,
    MessageFilter, Queries, Reach, ReachAges, ReachBand, Report, ReportDay, ReportDays, ReportError,
    ReportTable, Stock, StockLine, check_report_page,
};
pub use rebuild::{rebuild, rebuild_within};
pub use replay::{Replay, ReplayError};
pub use rows::{
    AgeClasses, AppKeyRow, AppRow, BUCKET_MICROS, BindingRow, CallbackRow, ChannelRow, DOUBT_AGES,
    DOUBT_CAUSES, DeliveryCounts, DeliveryRow, DeliveryState, DoubtEnd, DoubtOutcome, DoubtRow, DriftCause,
    DriftRow, GRANT_AGES, Holdings, LedgerRow, LotRow, LotState, Measure, MessageRow, PlatformRow, RelayRow,
    ReportTemplateRow, TemplateRow, TokenConflictRow, TokenRow, doubt_cause_word,
};
pub use runner::{Lag, Projections, ProjectionsConfig};
pub use status::status;
pub use verify::{Digest, Verification, digest, verify};
