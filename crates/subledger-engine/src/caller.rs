//! Who asks.

use subledger_domain::AppId;
use subledger_store::Cause;

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// A sender app with its API key.
    App,
    /// A person at the command line.
    Operator,
    /// A user's own device, with a token that a sender app asked for.
    UserToken,
}

/// The authenticated caller of a use case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The sender app, or the operator's own name for commands of the command line.
    pub app: AppId,
    /// How the caller came in.
    pub kind: CallerKind,
    /// The HTTP request id, where there was one.
    pub request: Option<String>,
}

impl Caller {
    /// A sender app.
    pub fn app(app: AppId, request: Option<String>) -> Self {
        Self { app, kind: CallerKind::App, request }
    }

    /// A person at the command line.
    pub fn operator(name: AppId) -> Self {
        Self { app: name, kind: CallerKind::Operator, request: None }
    }

    /// A user with a token; `app` asked for it.
    pub fn user_token(app: AppId, request: Option<String>) -> Self {
        Self { app, kind: CallerKind::UserToken, request }
    }

    /// Whether a person at the command line asks.
    pub fn is_operator(&self) -> bool {
        self.kind == CallerKind::Operator
    }

    /// What events say about who asked: `app:<id>`, `operator:<name>`, or `user-token:<id of the app>`.
    pub fn who(&self) -> String {
        let kind = match self.kind {
            CallerKind::App => "app",
            CallerKind::Operator => "operator",
            CallerKind::UserToken => "user-token",
        };
        format!("{kind}:{}", self.app)
    }

    pub(crate) fn cause(&self, command: &str) -> Cause {
        Cause { by: self.who(), command: command.to_owned(), request: self.request.clone() }
    }
}
