//! The calls to WeChat for a Mini Program, one module each; those of a third-party platform are in `component`.
//!
//! Each module owns the wire shape of its call, both ways, and nothing else: sending, classifying and reporting are the
//! client's. Pushes from WeChat are another direction and do not belong here.

pub(crate) mod login;
pub(crate) mod quota;
pub(crate) mod send;
pub(crate) mod templates;
pub(crate) mod token;
