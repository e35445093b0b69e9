//! What can be asked of a third-party platform, and why it may refuse.

use thiserror::Error;

use super::event::{Configured, SecretsReplaced, TicketPushStarted};

/// What can be asked of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformCommand {
    /// Set it up, or change how it is set up. What is as it was makes no event.
    Configure {
        /// All settings.
        settings: Configured,
        /// New secrets; each is needed once.
        secrets: SecretsReplaced,
    },
    /// WeChat has promised to push tickets again.
    NoteTicketPush(TicketPushStarted),
}

/// Why a platform refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PlatformError {
    /// There is no such platform.
    #[error("there is no such platform")]
    NotConfigured,
    /// No AppSecret yet.
    #[error("a platform needs its AppSecret")]
    NoSecret,
    /// No push token yet.
    #[error("a platform needs the token of its pushes")]
    NoToken,
    /// No push key yet.
    #[error("a platform needs the EncodingAESKey of its pushes")]
    NoKey,
}
