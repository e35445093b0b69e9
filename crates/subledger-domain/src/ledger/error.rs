//! Why a ledger refuses a command.

use thiserror::Error;

use crate::{DeliveryId, Timestamp};

/// A refusal; nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// No open grant is left.
    #[error(
        "no grant is left: {granted} granted, {consumed} consumed, {reserved} reserved, {in_doubt} in doubt"
    )]
    NoGrant {
        /// Grants ever recorded.
        granted: u64,
        /// Grants spent.
        consumed: u64,
        /// Grants set aside for deliveries under way.
        reserved: u64,
        /// Grants held by deliveries in doubt.
        in_doubt: u64,
    },
    /// Sends are refused until a newer accept.
    #[error("the user's permission is suspended since {}", since.micros())]
    Suspended {
        /// Since when.
        since: Timestamp,
    },
    /// The ledger holds as many open grants as allowed.
    #[error("a ledger holds at most {limit} open grants")]
    TooManyLots {
        /// [`super::MAX_OPEN_LOTS`].
        limit: usize,
    },
    /// The delivery already has a reservation.
    #[error("delivery {0} is already reserved")]
    AlreadyReserved(DeliveryId),
    /// The delivery has ended; a delivery ends once.
    #[error("delivery {0} has already ended")]
    AlreadyEnded(DeliveryId),
    /// The delivery is not under way in this ledger (never reserved, or already ended).
    #[error("delivery {0} is not under way")]
    NotUnderWay(DeliveryId),
    /// The delivery was already handed to WeChat.
    #[error("delivery {0} was already started")]
    AlreadyStarted(DeliveryId),
    /// The delivery was not handed to WeChat, so there is nothing to settle.
    #[error("delivery {0} was not started")]
    NotStarted(DeliveryId),
    /// The outcome is of another attempt than the newest; it was recorded before.
    #[error("attempt {attempt} of delivery {delivery} is over")]
    StaleAttempt {
        /// The delivery.
        delivery: DeliveryId,
        /// The attempt named.
        attempt: u16,
    },
    /// The delivery is not in doubt, so there is nothing to resolve.
    #[error("delivery {0} is not in doubt")]
    NotInDoubt(DeliveryId),
    /// Another attempt of this user and template is unresolved; only one may be.
    #[error("delivery {0} of the same user and template is unresolved")]
    Busy(DeliveryId),
    /// A count of zero.
    #[error("an opening balance is at least 1")]
    EmptyOpening,
    /// A correction by 0.
    #[error("a correction adds or takes at least 1")]
    EmptyAdjustment,
    /// A correction that nobody explains.
    #[error("a correction needs a reason")]
    NoReason,
    /// A correction that takes more than there is.
    #[error("{asked} grants cannot be taken: {open} are open")]
    NotEnoughOpen {
        /// Open grants.
        open: u64,
        /// How many were to be taken.
        asked: u64,
    },
}

impl LedgerError {
    /// The stable word for callers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoGrant { .. } => "no_grant",
            Self::Suspended { .. } => "suspended",
            Self::TooManyLots { .. } => "too_many_grants",
            Self::AlreadyReserved(_) => "already_reserved",
            Self::AlreadyEnded(_) => "already_ended",
            Self::NotUnderWay(_) => "not_under_way",
            Self::AlreadyStarted(_) => "already_started",
            Self::NotStarted(_) => "not_started",
            Self::StaleAttempt { .. } => "stale_attempt",
            Self::NotInDoubt(_) => "not_in_doubt",
            Self::Busy(_) => "unresolved_attempt",
            Self::EmptyOpening => "empty_opening",
            Self::EmptyAdjustment => "empty_adjustment",
            Self::NoReason => "no_reason",
            Self::NotEnoughOpen { .. } => "not_enough_open",
        }
    }
}
