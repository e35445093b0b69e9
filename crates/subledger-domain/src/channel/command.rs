//! What can be asked of a channel, and why it may refuse.

use thiserror::Error;

use super::{
    callback::CallbackChange,
    event::{Registered, SecretRef},
    policy::{Policy, PolicyChange},
};
use crate::Template;

/// What can be asked of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelCommand {
    /// Set the Mini Program up. WeChat has accepted the credentials.
    Register(Registered),
    /// Use another AppSecret. WeChat has accepted it.
    ReplaceCredentials {
        /// Where it is.
        secret: SecretRef,
    },
    /// Take WeChat's template list over.
    RefreshTemplates {
        /// The whole list.
        listed: Vec<Template>,
    },
    /// Stop sending.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on sending.
    Resume {
        /// Why.
        reason: String,
    },
    /// Set all policies.
    ChangePolicy {
        /// The policies from now on.
        policy: Policy,
    },
    /// Change some policies.
    AmendPolicy {
        /// Which, and to what.
        change: PolicyChange,
    },
    /// Set how WeChat pushes to the channel.
    ConfigureCallback {
        /// What changes.
        change: CallbackChange,
    },
    /// A verified push named the Mini Program.
    LearnOriginalId {
        /// `gh_…`, as the push has it.
        original_id: String,
    },
}

/// Why a channel refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// The code is taken.
    #[error("the channel is already set up")]
    AlreadyRegistered,
    /// There is no such channel.
    #[error("there is no such channel")]
    NotRegistered,
    /// More templates than a channel can hold.
    #[error("WeChat listed {found} templates; at most {limit} are kept")]
    TooManyTemplates {
        /// How many were listed.
        found: usize,
        /// [`super::MAX_TEMPLATES`].
        limit: usize,
    },
    /// It is paused already.
    #[error("the channel is already paused")]
    AlreadyPaused,
    /// It is not paused.
    #[error("the channel is not paused")]
    NotPaused,
    /// Pushes are signed with a token, and there is none yet.
    #[error("pushes need a token")]
    NoCallbackToken,
    /// The mode encrypts, and there is no key.
    #[error("compatible and secure mode need an EncodingAESKey")]
    NoCallbackKey,
    /// No original id.
    #[error("an original id is gh_ and 1 to 64 letters, digits, - and _")]
    BadOriginalId,
    /// Nothing was configured that could learn.
    #[error("no callback is configured")]
    NoCallback,
    /// A number of a policy is out of its bounds.
    #[error("policy {policy} must be {least} to {most}; found {found}")]
    PolicyOutOfBounds {
        /// Which policy.
        policy: &'static str,
        /// What was asked for.
        found: u32,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
}
