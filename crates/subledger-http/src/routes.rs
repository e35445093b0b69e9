//! The handlers, one file per resource.
//!
//! A handler reads its arguments strictly, asks the engine or the read models once, and returns a view. Routes are made only
//! with `utoipa_axum::routes!`, never with axum's own `route`, so whatever is served is described in `/openapi.json`.

pub(crate) mod authorizations;
pub(crate) mod callbacks;
pub(crate) mod channels;
pub(crate) mod client_reports;
pub(crate) mod corrections;
mod data;
pub(crate) mod deliveries;
pub(crate) mod doctor;
pub(crate) mod erasures;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod ledgers;
pub(crate) mod messages;
mod paths;
mod person;
pub(crate) mod platform_callbacks;
pub(crate) mod platform_start;
pub(crate) mod platforms;
pub(crate) mod push_setup;
pub(crate) mod pushes;
pub(crate) mod quota;
pub(crate) mod relay;
pub(crate) mod reports;
pub(crate) mod secrets;
mod shown;
pub(crate) mod templates;
pub(crate) mod tokens;
pub(crate) mod user_tokens;
pub(crate) mod users;
pub(crate) mod whoami;
