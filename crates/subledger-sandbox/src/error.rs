//! Why a control call was refused. WeChat's own refusals are not errors here: they are answers.

/// A refused control call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// What was named does not exist (HTTP 404).
    #[error("no such {what}")]
    NotFound {
        /// The kind of thing: `app`, `user`, `template`, `fault`, `platform`, `authorization`.
        what: &'static str,
    },
    /// It exists already (HTTP 409).
    #[error("{what} exists already")]
    Conflict {
        /// The kind of thing.
        what: &'static str,
    },
    /// A value is unusable (HTTP 400).
    #[error("{field}: {reason}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// WeChat would not do it (HTTP 409).
    #[error("WeChat refuses{}: {reason}", .errcode.map(|code| format!(" ({code})")).unwrap_or_default())]
    Refused {
        /// The code it has for that, if it has one.
        errcode: Option<i64>,
        /// Why.
        reason: String,
    },
}

impl ControlError {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn refused(errcode: impl Into<Option<i64>>, reason: impl Into<String>) -> Self {
        Self::Refused { errcode: errcode.into(), reason: reason.into() }
    }
}
