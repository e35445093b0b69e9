//! What happens to every request before and after its handler, one concern per file.

pub(crate) mod auth;
pub(crate) mod limits;
pub(crate) mod request;
mod security;
