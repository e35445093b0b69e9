//! Strict reading of requests: bodies, query strings, path parameters, and the key's or the token's right to ask at all.
//!
//! Every refusal names the field and the rule. Nothing is guessed: an unknown field or parameter is a typo that would
//! otherwise be ignored in silence.

mod faults;
mod json;
mod past;
mod query;
mod scope;

pub(crate) use faults::escape;
pub(crate) use json::{Json, NoBody, SmallJson};
pub(crate) use past::{ExplanationQuery, PastPageQuery, PastReadQuery, Then, refused};
pub(crate) use query::{
    ChannelsQuery, DeliveriesQuery, LedgersQuery, MessagesQuery, PageQuery, Query, ReadQuery, limit, page,
    position,
};
pub(crate) use scope::{
    Bind, Deployment, Grant, IdempotencyKey, Manage, Own, Read, Scope, Send, Settle, Token, parse_id,
};
