//! What can be asked of a channel, and why it may refuse.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    authorization::{Authorization, AuthorizationLoss},
    callback::CallbackChange,
    event::{Registered, SecretRef},
    policy::{Policy, PolicyChange},
    quota::{BulkHeld, BulkRelease},
    relay::{RelayForm, RelayKind, RelayStop},
    token::{TokenForced, TokenLeased, TokenMode, TokenSourceChanged},
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
    /// Take access tokens from elsewhere. A token was had from there.
    ChangeTokenSource {
        /// The source as a whole.
        source: TokenSourceChanged,
    },
    /// WeChat refused a token long before its end. Told of at most once in [`super::TOKEN_CONFLICT_QUIET_S`].
    SuspectTokenConflict {
        /// How it was obtained.
        mode: TokenMode,
        /// WeChat's answer.
        code: i64,
        /// How old it was, in seconds.
        age_s: u32,
        /// How long it should have lived, in seconds.
        life_s: u32,
    },
    /// Note that the token is lent to another system.
    NoteTokenLease {
        /// To whom, and which.
        lease: TokenLeased,
    },
    /// Note that an operator had the token replaced.
    NoteTokenForced {
        /// Which it is now.
        forced: TokenForced,
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
    /// WeChat says what the Mini Program's administrator has granted to a third-party platform. Sets the channel up if that
    /// was not done yet.
    Authorize(Authorization),
    /// The Mini Program is not authorized to this platform any more.
    LoseAuthorization {
        /// The platform's appid.
        platform: String,
        /// How it was noticed.
        loss: AuthorizationLoss,
    },
    /// Forward pushes to the integrator's back end, from now on like this.
    ConfigureRelay {
        /// Where to. It has been checked.
        url: String,
        /// What is sent.
        form: RelayForm,
        /// Which pushes; at least one kind.
        kinds: BTreeSet<RelayKind>,
        /// A new signing secret. Used if there is none yet, or if the present one is to be replaced.
        fresh: SecretRef,
        /// Whether the present secret is to be replaced.
        rotate: bool,
    },
    /// Forward pushes no more.
    StopRelay {
        /// Why.
        cause: RelayStop,
        /// Only if pushes go to this URL; otherwise nothing happens.
        only: Option<String>,
    },
    /// Hold bulk deliveries. Nothing happens if they are held that long already, or if there is no reserve.
    HoldBulk(BulkHeld),
    /// Let held deliveries go on. Nothing happens if none are held.
    ReleaseBulk {
        /// Why.
        cause: BulkRelease,
        /// Sends left.
        remaining: u64,
    },
    /// WeChat has set the day's counts back.
    ClearQuota {
        /// Why, in the operator's words.
        reason: String,
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
    /// What the mode needs is missing, or something is there that it has no use for.
    #[error("{}", match mode {
        TokenMode::Stable | TokenMode::Normal => "the modes stable and normal need an AppSecret and no URL",
        TokenMode::External => "the mode external needs a URL and a credential for it",
        TokenMode::Platform => "the mode platform has neither a secret nor a URL",
    })]
    TokenSourceDoesNotFit {
        /// The mode asked for.
        mode: TokenMode,
    },
    /// A platform channel has no secret that could be replaced.
    #[error("the channel is authorized through a platform and has no secret of its own")]
    NoSecretInUse,
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
    /// Another Mini Program was authorized than the channel's.
    #[error("the channel is of the Mini Program {own}; {authorized} was authorized")]
    OtherMiniProgram {
        /// The channel's appid.
        own: String,
        /// The appid that WeChat named.
        authorized: String,
    },
    /// A relay of no kind of push.
    #[error("a relay needs at least one kind of push")]
    NothingToRelay,
    /// There is no relay to stop.
    #[error("pushes of this channel are not relayed")]
    NotRelayed,
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
