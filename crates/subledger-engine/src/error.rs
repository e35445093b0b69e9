//! Why a use case refuses, in words a caller can act on.
//!
//! One error type for all use cases: a stable `code`, a kind that an adapter maps to its own status, a sentence, and the
//! fields at fault. What a database or a defect said stays in `cause`, is logged once at the boundary, and never reaches a
//! caller.

use std::{error::Error, fmt, time::Duration};

use subledger_domain::IdError;
use subledger_projection::QueryError;
use subledger_store::{StoreError, SubmitError};

/// What a caller is asked to wait where this node is too old to answer: nothing but another node or an upgrade helps.
const NEWER_RETRY_AFTER: Duration = Duration::from_secs(30);

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request breaks a rule.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// It does not fit the present state.
    Conflict,
    /// The caller lacks the right.
    Forbidden,
    /// The caller is not known.
    Unauthenticated,
    /// WeChat was not reached or did not answer.
    Upstream,
    /// Too often: try again after a pause.
    TooOften,
    /// Try again shortly.
    Unavailable,
    /// A defect of ours.
    Internal,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the request: `/recipients/3/openid`.
    pub pointer: String,
    /// The rule, as a stable word.
    pub rule: String,
    /// The rule and what was found, for people.
    pub detail: String,
}

/// A refused use case. Nothing was recorded, unless `maybe_recorded`.
#[derive(Debug)]
pub struct EngineError {
    /// What sort.
    pub kind: ErrorKind,
    /// The stable word for programs.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
    /// The fields at fault.
    pub fields: Vec<FieldError>,
    /// WeChat's answer, if it was WeChat that refused.
    pub wechat: Option<Box<WechatSaid>>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For the log only.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// WeChat's refusal and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WechatSaid {
    /// WeChat's `errcode`, if it answered.
    pub errcode: Option<i64>,
    /// WeChat's `errmsg`, verbatim.
    pub errmsg: String,
    /// WeChat's request id.
    pub rid: Option<String>,
    /// What to do, in English.
    pub advice_en: String,
    /// What to do, in Chinese.
    pub advice_zh: String,
    /// The address WeChat saw us call from, if it named one.
    pub caller_ip: Option<String>,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl EngineError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            wechat: None,
            retry_after: None,
            cause: None,
        }
    }

    /// The request breaks a rule.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, detail)
    }

    /// What the request names does not exist.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, detail)
    }

    /// The request does not fit the present state.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, detail)
    }

    /// One field breaks a rule.
    pub fn field(code: &'static str, pointer: &str, rule: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let field = FieldError { pointer: pointer.to_owned(), rule: rule.to_owned(), detail: detail.clone() };
        Self { fields: vec![field], ..Self::invalid(code, detail) }
    }

    /// A defect of ours; `what` goes to the log.
    pub fn internal(what: impl Into<String>) -> Self {
        Self {
            cause: Some(what.into().into()),
            ..Self::new(ErrorKind::Internal, "internal", "an internal error; the log has the details")
        }
    }

    /// A text that is not the identifier it should be, found at `pointer`.
    pub fn bad_id(code: &'static str, pointer: &str, error: &IdError) -> Self {
        Self::field(code, pointer, code, error.to_string())
    }

    /// There is no such channel.
    pub fn unknown_channel() -> Self {
        Self::not_found("unknown_channel", "there is no channel with this code")
    }

    fn unavailable(source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            cause: Some(Box::new(source)),
            ..Self::new(
                ErrorKind::Unavailable,
                "database_unavailable",
                "the database does not answer; try again shortly",
            )
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Unavailable { .. } => Self::unavailable(error),
            // Another node may be new enough; this one is not before somebody has upgraded it.
            StoreError::Newer(_) => Self {
                retry_after: Some(NEWER_RETRY_AFTER),
                cause: Some(Box::new(error)),
                ..Self::new(ErrorKind::Unavailable, "newer_version", detail)
            },
            _ => Self { cause: Some(Box::new(error)), ..Self::internal("") },
        }
    }
}

impl From<QueryError> for EngineError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Cursor => Self::field("bad_cursor", "/cursor", "bad_cursor", error.to_string()),
            QueryError::Limit => Self::field("bad_limit", "/limit", "bad_limit", error.to_string()),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<SubmitError<EngineError>> for EngineError {
    fn from(error: SubmitError<EngineError>) -> Self {
        match error {
            SubmitError::Refused(refusal) => refusal,
            SubmitError::ReceiptConflict => Self::invalid(
                "idempotency_key_reused",
                "this Idempotency-Key or id was used before with another body; use a new one",
            ),
            SubmitError::Overloaded => Self {
                retry_after: Some(Duration::from_secs(1)),
                ..Self::new(
                    ErrorKind::Unavailable,
                    "overloaded",
                    "too many commands are waiting; try again shortly",
                )
            },
            SubmitError::ShuttingDown => Self {
                retry_after: Some(Duration::from_secs(2)),
                ..Self::new(ErrorKind::Unavailable, "shutting_down", "the service is stopping; try again")
            },
            SubmitError::Store { source, maybe_recorded } => {
                let mut error = Self::from(source);
                if maybe_recorded {
                    error.code = "commit_unknown";
                    error.kind = ErrorKind::Unavailable;
                    error.detail = "the database was lost during the commit; \
                                    repeat the request with the same Idempotency-Key to learn the outcome"
                        .to_owned();
                }
                error
            }
            SubmitError::Newer(event) => StoreError::Newer(event).into(),
            SubmitError::Fault(what) => Self::internal(what),
        }
    }
}
