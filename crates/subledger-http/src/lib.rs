//! The HTTP adapter: the native API under `/api/v1`, its description and reader, health and metrics.
//!
//! This crate turns requests into use cases of the engine and answers of the engine into JSON. It decides nothing, holds no
//! SQL and never talks to WeChat. What it adds is what belongs to HTTP: keys and rights, strict parsing, problem documents
//! (RFC 9457), paging, limits, request ids, and an OpenAPI document that is generated from the handlers themselves, so that
//! neither can drift from the other.
//!
//! Every request passes, from outside to inside: `middleware::request` (id, span, metrics, problem rendering, security
//! headers, a catch for panics); where a key or a user token is needed `middleware::limits` (load shedding, time limit) and
//! `middleware::auth` (key or token, rate); and then a handler in `routes`, whose first argument names the right that it needs.

mod context;
mod cursor;
mod extract;
mod feed;
mod meters;
mod metric_definitions;
mod middleware;
mod moment;
mod openapi;
mod people;
mod problem;
mod rate_limit;
mod reply;
mod router;
mod routes;
mod settings;
mod views;

pub use metric_definitions::describe_metrics;
#[cfg(feature = "noop")]
pub use router::noop_router;
pub use router::{openapi, router};
pub use settings::HttpSettings;
