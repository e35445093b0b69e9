//! The calls to WeChat, one module each.
//!
//! Each module owns the wire shape of its call, both ways, and nothing else: sending, classifying and reporting are the
//! client's. Pushes from WeChat are another direction and do not belong here.

pub(crate) mod login;
pub(crate) mod quota;
pub(crate) mod send;
pub(crate) mod templates;
pub(crate) mod token;
