//! The relay: a copy of each push goes to the integrator's own back end.
//!
//! WeChat knows one push URL per Mini Program. Whoever needs pushes for something else (chat messages, above all) gets them
//! from here. The URL stands in an event and is shown to everybody who may see the channel, so it must hold no secret.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    command::ChannelError,
    event::{ChannelEvent, SecretRef},
};
use crate::Timestamp;

/// How long a signing secret still signs after it was replaced, in seconds: a day. Meanwhile each request carries two
/// signatures, so the receiver may change its copy at any time in between.
pub const RELAY_SECRET_OVERLAP_S: i64 = 24 * 3_600;

/// What the back end gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayForm {
    /// The body as WeChat wrote it, opened if it was sealed.
    Raw,
    /// JSON of our own, the same for every mode and format.
    Decoded,
}

/// Which pushes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayKind {
    /// The user answered the subscription popup.
    Popup,
    /// The user changed a subscription in the settings.
    Change,
    /// The final result of a send.
    Sent,
    /// Anything else: chat messages, other events.
    Other,
    /// What could not be decoded.
    Undecodable,
}

impl RelayKind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Popup, Self::Change, Self::Sent, Self::Other, Self::Undecodable];
}

/// A signing secret that was replaced and still signs for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Where it is.
    pub secret: SecretRef,
    /// It signs until then.
    pub until: Timestamp,
}

/// Payload of [`ChannelEvent::RelayConfigured`]: the relay as a whole, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayConfigured {
    /// Where to. Holds neither user name nor password nor query.
    pub url: String,
    /// What is sent.
    pub form: RelayForm,
    /// Which pushes; never empty.
    pub kinds: BTreeSet<RelayKind>,
    /// Where the secret is that signs.
    pub secret: SecretRef,
    /// The secret before it, if that still signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
}

/// Why pushes are forwarded no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayStop {
    /// Somebody asked for it.
    Asked,
    /// The back end answered 410 (Gone): it wants no more.
    Gone,
}

/// Payload of [`ChannelEvent::RelayStopped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStopped {
    /// Why.
    pub cause: RelayStop,
}

/// What a relay is to be, as [`super::ChannelCommand::ConfigureRelay`] asks for it.
pub(super) struct Wish {
    pub(super) url: String,
    pub(super) form: RelayForm,
    pub(super) kinds: BTreeSet<RelayKind>,
    pub(super) fresh: SecretRef,
    pub(super) rotate: bool,
}

/// Decides on a wish. A relay that stays as it is makes no event.
pub(super) fn configure(
    current: Option<&RelayConfigured>,
    wish: Wish,
    now: Timestamp,
) -> Result<Vec<ChannelEvent>, ChannelError> {
    if wish.kinds.is_empty() {
        return Err(ChannelError::NothingToRelay);
    }
    let Wish { url, form, kinds, fresh, rotate } = wish;
    let (secret, previous) = match current {
        Some(current) if rotate => {
            let until = now.plus_seconds(RELAY_SECRET_OVERLAP_S);
            (fresh, Some(PreviousSecret { secret: current.secret.clone(), until }))
        }
        Some(current) => {
            let previous = current.previous.clone().filter(|previous| now < previous.until);
            (current.secret.clone(), previous)
        }
        None => (fresh, None),
    };
    let relay = RelayConfigured { url, form, kinds, secret, previous };
    let same = |current: &RelayConfigured| {
        (&current.url, current.form, &current.kinds, &current.secret)
            == (&relay.url, relay.form, &relay.kinds, &relay.secret)
    };
    if current.is_some_and(same) {
        return Ok(Vec::new());
    }
    Ok(vec![ChannelEvent::RelayConfigured(relay)])
}
