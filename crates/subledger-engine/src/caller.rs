//! Who asks.

use subledger_domain::AppId;
use subledger_store::Cause;

/// The authenticated caller of a use case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The sender app, or the operator's own name for commands of the command line.
    pub app: AppId,
    /// Whether a person at the command line asks, rather than an app through the API.
    pub operator: bool,
    /// The HTTP request id, where there was one.
    pub request: Option<String>,
}

impl Caller {
    /// A sender app.
    pub fn app(app: AppId, request: Option<String>) -> Self {
        Self { app, operator: false, request }
    }

    /// A person at the command line.
    pub fn operator(name: AppId) -> Self {
        Self { app: name, operator: true, request: None }
    }

    /// What events say about who asked: `app:<id>` or `operator:<name>`.
    pub fn who(&self) -> String {
        format!("{}:{}", if self.operator { "operator" } else { "app" }, self.app)
    }

    pub(crate) fn cause(&self, command: &str) -> Cause {
        Cause { by: self.who(), command: command.to_owned(), request: self.request.clone() }
    }
}
