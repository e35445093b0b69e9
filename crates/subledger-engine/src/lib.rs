//! The use cases of subledger: set up, bind, grant, send, dispatch, settle.
//!
//! This crate joins the rules (domain), the log (store), the read models (projection) and WeChat (the adapter). It holds no
//! SQL and no HTTP; every change goes through the executor as a [`subledger_store::Work`], and WeChat is never called inside
//! one. Each use case is a file; [`dispatch`] is the loop that hands deliveries to WeChat.

pub mod apps;
pub mod callback;
mod caller;
pub mod channels;
mod contents;
pub mod corrections;
pub mod dispatch;
pub mod doctor;
pub mod doubts;
mod engine;
pub mod erasure;
mod error;
pub mod gateway;
pub mod grants;
pub mod intake;
pub mod limits;
pub mod messages;
mod metric_definitions;
pub mod platform;
pub mod quota;
pub mod relay;
pub mod retention;
pub mod secrets;
pub mod send;
mod submit;
mod text;
pub mod tokens;
pub mod user_tokens;
pub mod users;

pub use caller::{Caller, CallerKind};
pub use contents::{Language, ProgramState, Values};
pub use engine::{Engine, EngineSettings, PauseReason, PausedModel, Readiness, Undone};
pub use error::{EngineError, ErrorKind, FieldError};
pub use metric_definitions::describe_metrics;
