//! The rules of subledger: who may be written to, what a tap bought, what a send spent.
//!
//! Everything here is a function of state, command and facts handed in. There is no I/O, no clock, no randomness,
//! no SQL and no HTTP type in this crate, and none may come in: the same decision must fall out of the same
//! history on every node and in every replay.
//!
//! Four aggregates live in a channel's log ([`channel`], [`binding`], [`ledger`], [`message`]) and three in the log
//! `main` ([`app`], [`person`], [`platform`]). Each is a [`Decide`]: a [`cqrs_es::Aggregate`] whose decision is synchronous and pure.
//! [`template_values`] holds WeChat's rules for the values of a template.

pub mod app;
pub mod binding;
pub mod channel;
mod decide;
mod event;
mod evidence;
mod ids;
pub mod ledger;
pub mod message;
pub mod person;
pub mod platform;
mod stream;
mod template;
pub mod template_values;
mod time;

pub use decide::{At, Decide};
pub use event::{ALL_KINDS, DecodeError, EventKind, StoredEvent, Upcaster, kind_by_name, kind_by_number};
pub use evidence::{Evidence, EvidenceSource};
pub use ids::{
    AppId, ChannelCode, DeliveryId, IdError, LotId, MessageId, Openid, ReportId, SubjectId, TemplateId,
    UserId, UserRef,
};
pub use stream::{LogName, StreamName};
pub use template::{Template, TemplateKey, TemplateKind};
pub use time::Timestamp;
