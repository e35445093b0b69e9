//! The channel: one Mini Program set up for sending.
//!
//! The aggregate holds what decides: whether sending is allowed, which templates exist, which policies apply. Secrets are
//! not here; an event carries only the reference under which the secrets vault keeps them.

mod authorization;
mod callback;
mod command;
mod event;
mod policy;
mod quota;
mod relay;
mod state;
mod token;

pub use authorization::{
    Authorization, AuthorizationLoss, AuthorizationState, AuthorizationUpdated, Authorized, Hold,
    NEEDED_PERMISSIONS, Unauthorized,
};
pub use callback::{CallbackChange, CallbackFormat, CallbackMode};
pub use command::{ChannelCommand, ChannelError};
pub use event::{
    CallbackConfigured, ChannelEvent, CredentialsReplaced, Paused, PolicyChanged, Registered, Resumed,
    SecretRef, TemplatesRefreshed,
};
pub use policy::{Policy, PolicyChange};
pub use quota::{BulkHeld, BulkRelease, BulkReleased, QuotaCleared, reserved};
pub use relay::{
    PreviousSecret, RELAY_SECRET_OVERLAP_S, RelayConfigured, RelayForm, RelayKind, RelayStop, RelayStopped,
};
pub use state::{Channel, TemplateState};
pub use token::{
    TOKEN_CONFLICT_QUIET_S, TokenConflictSuspected, TokenForced, TokenLeased, TokenMode, TokenSourceChanged,
};

/// The most templates a Mini Program may hold. WeChat's console says 50, an older error text 25; we accept more than
/// either, because the list is WeChat's and not ours to cut.
pub const MAX_TEMPLATES: usize = 200;

crate::decide::aggregate!(Channel, "channel", ChannelCommand, ChannelEvent, ChannelError);
