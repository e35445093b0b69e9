//! The small numbers that stand for words in the tables. They are part of the layout: never used again for another word.

use subledger_domain::{
    EvidenceSource, TemplateKind,
    ledger::{Basis, Choice, DoubtCause},
};

use crate::{DeliveryState, DoubtEnd, DoubtOutcome, DriftCause, LotState};

/// A word that is stored as a number.
pub(crate) trait Coded: Sized + Copy {
    /// Its number.
    fn code(self) -> i64;
    /// The word with this number.
    fn from_code(code: i64) -> Option<Self>;
}

macro_rules! coded {
    ($($word:ident { $($name:ident = $code:literal),+ $(,)? })+) => {
        $(impl Coded for $word {
            fn code(self) -> i64 {
                match self { $(Self::$name => $code),+ }
            }

            fn from_code(code: i64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }
        })+
    };
}

coded! {
    TemplateKind { OneTime = 0, LongTerm = 1 }
    Choice { Accept = 0, Reject = 1, Ban = 2, Filter = 3 }
    Basis { LongTerm = 0, UnknownBalance = 1 }
    LotState { Open = 0, Reserved = 1, InDoubt = 2, Consumed = 3, Void = 4 }
    EvidenceSource {
        Integrator = 0, ClientReport = 1, WechatPush = 2, WechatAnswer = 3, Import = 4, Operator = 5, Policy = 6,
    }
    DeliveryState {
        Queued = 0, Started = 1, InDoubt = 2, Sent = 3, Refused = 4, Failed = 5, Expired = 6, Retracted = 7, NotSent = 8,
        Skipped = 9,
    }
    DriftCause {
        SettingsChanged = 0, Stranger = 1, NotTapped = 2, WrongVerdict = 3, OldGrant = 4, Unexplained = 5,
    }
    DoubtCause { Timeout = 0, ConnectionBroken = 1, Unintelligible = 2, NodeLost = 3 }
    DoubtEnd { SentEvent = 1, LateAnswer = 2, ByHand = 3, Deadline = 4, NoPermission = 5 }
    DoubtOutcome { Sent = 0, NotSent = 1, Refused = 2, Failed = 3, Postponed = 4 }
}

impl Coded for bool {
    fn code(self) -> i64 {
        self.into()
    }

    fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}
