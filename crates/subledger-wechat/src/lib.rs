//! The WeChat adapter.
//!
//! Calls out to WeChat for one Mini Program at a time (access tokens, subscription message sending, the template list, login)
//! or as a third-party platform, and pushes in. It speaks WeChat's wire format and hands back typed outcomes; it knows no other crate of this workspace, keeps
//! nothing on disk and decides no business question. Its one promise above all others: it never guesses whether WeChat
//! got a message. What is provably unsent is [`SendOutcome::NotSent`], what WeChat answered is `Accepted`, `Refused` or
//! `TryAgain`, and everything else is [`SendOutcome::Unknown`].
//!
//! Start with [`WeChatClient`] (one per process, it owns the connection pool), a [`TokenKeeper`] (one per process) and a
//! [`ChannelClient`] per Mini Program, which joins the two and handles tokens WeChat no longer accepts. The calls of a
//! third-party platform are in [`component`]. What WeChat sends by itself is read by [`push`], which does no I/O.

mod answer;
mod calls;
mod channel;
mod client;
mod clock;
mod codes;
pub mod component;
mod config;
mod keeper;
mod metric_definitions;
mod outcome;
mod patterns;
pub mod push;
mod reach;
mod retry_times;
mod transport;

pub use answer::{MESSAGE_CAP_CHARS, REDACTED};
pub use calls::login::LoginIdentity;
pub use calls::quota::{ApiQuota, RateLimit};
pub use calls::send::{Accepted, Lang, MiniprogramState, SendData, SendRequest};
pub use calls::templates::{TemplateInfo, TemplateKey, TemplateKind, TemplateList};
pub use calls::token::TokenGrant;
pub use channel::{Advice, ChannelClient, ChannelError, Probe, TokenConflict};
pub use client::{Api, SetupError, WeChatClient};
pub use clock::{Clock, SystemClock};
pub use codes::{CodeClass, CodeEntry, CodeSource, RefusalClass, all_codes, classify, lookup};
pub use config::{DEFAULT_BASE_URL, WeChatConfig};
pub use keeper::fetcher::{
    AppSecretFetcher, TokenFetcher, TokenFuture, TokenObserver, TokenSource, TokenSuspicion,
};
pub use keeper::secret::{SecretFuture, SecretSource, SecretUnavailable};
pub use keeper::shelf::{
    InMemoryShelf, ShelfAnswer, ShelfAsk, ShelfClaim, ShelfFuture, ShelfTurn, ShelfUnreachable, ShelfWish,
    ShelvedToken, TokenShelf,
};
pub use keeper::{
    FORCED_APART, FORCED_PER_DAY, IssuedToken, KeeperSettings, SourceFailure, TokenError, TokenFailure,
    TokenKeeper, TokenKey, TokenMode,
};
pub use metric_definitions::describe_metrics;
pub use outcome::{CallError, ConnectFailure, NotSentReason, SendOutcome, UnknownReason};
pub use patterns::{caller_ip, template_keys};
pub use reach::{Answered, Reach, ReachFailure};
pub use retry_times::{RetryHint, retry_not_before};
