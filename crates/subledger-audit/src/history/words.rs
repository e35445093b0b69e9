//! Every text an auditor reads, once per language.
//!
//! [`Phrase`] lists what can be said; each language is one match over it, and over the events themselves, without a
//! catch-all. So a text that is missing in a language, or an event nobody has words for, does not compile.

mod en;
mod zh;

use subledger_domain::{
    Evidence, EvidenceSource, app::AppEvent, binding::BindingEvent, channel::ChannelEvent,
    ledger::LedgerEvent, message::MessageEvent, person::PersonEvent, platform::PlatformEvent,
};
use subledger_projection::{DeliveryState, LedgerRow, LotState, MessageRow, TemplateRow};

use super::explain::{FindingKind, NumberName, Paid, Sum};

/// A language of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

impl Language {
    /// The language of a locale such as `zh_CN.UTF-8`; English where it is none of ours.
    pub fn of_locale(locale: &str) -> Self {
        if locale.to_ascii_lowercase().starts_with("zh") { Self::Zh } else { Self::En }
    }

    pub(super) fn say(self, phrase: &Phrase<'_>) -> String {
        match self {
            Self::En => en::say(phrase),
            Self::Zh => zh::say(phrase),
        }
    }
}

/// An event of any aggregate.
pub(super) enum Told {
    Channel(ChannelEvent),
    Binding(BindingEvent),
    Ledger(LedgerEvent),
    Message(MessageEvent),
    App(AppEvent),
    Person(PersonEvent),
    Platform(PlatformEvent),
}

/// Something to say. Times are texts already: the speaker knows the zone.
pub(super) enum Phrase<'a> {
    Event(&'a Told),
    LedgerTitle {
        subject: &'a str,
        template: &'a str,
        channel: &'a str,
    },
    MessageTitle {
        msgid: &'a str,
        template: &'a str,
        channel: &'a str,
    },
    UserTitle {
        channel: &'a str,
    },
    TemplatesTitle {
        channel: &'a str,
    },
    /// The point in time of the answer.
    AsOf {
        position: u64,
        time: Option<&'a str>,
    },
    Openid(Option<&'a str>),
    Userid(Option<&'a str>),
    /// The record of an erasure.
    ErasedBy {
        at: &'a str,
        by: &'a str,
        reason: &'a str,
    },
    NothingYet,
    NoLedger,
    Totals(&'a LedgerRow),
    Suspended {
        since: &'a str,
    },
    Counts(&'a MessageRow),
    Complete {
        complete: bool,
        expires_at: &'a str,
    },
    Recipient {
        index: u32,
        /// A userid, or what else names the person.
        who: Option<&'a str>,
        state: DeliveryState,
        reason: Option<&'a str>,
    },
    BoundTo {
        subject: &'a str,
    },
    NotBound,
    NeverBound,
    NotRegistered,
    NoTemplates,
    Template {
        row: &'a TemplateRow,
        changed_at: &'a str,
        vanished_at: Option<&'a str>,
    },
    Timeline,
    NumbersTitle,
    Number {
        name: NumberName,
        value: u64,
    },
    Omitted {
        count: usize,
        change: Option<i64>,
    },
    Tapped {
        source: EvidenceSource,
        reference: &'a str,
        at: &'a str,
    },
    Answered {
        class: &'a str,
        code: Option<i64>,
        rid: Option<&'a str>,
    },
    Msgid(&'a str),
    By(&'a str),
    Sum(&'a Sum),
    DeliveriesTitle,
    Delivery {
        id: &'a str,
        state: DeliveryState,
        paid: Paid,
        lot: Option<u64>,
    },
    TapsTitle,
    Tap {
        lot: u64,
        word: Option<&'a str>,
        /// Without a word: added by an operator rather than imported.
        by_hand: bool,
    },
    Went {
        state: LotState,
        delivery: Option<(&'a str, Option<DeliveryState>)>,
        position: u64,
        at: &'a str,
    },
    VoidBecause {
        found_by: &'a str,
        position: u64,
        /// WeChat's answer, in words.
        answer: &'a str,
    },
    /// A grant was cleared, or taken away by hand.
    TakenAway(&'a Evidence),
    MaybeSpentBy(&'a str),
    FindingsTitle,
    NoFindings,
    Finding {
        kind: &'a FindingKind,
        position: Option<u64>,
    },
    Unreadable {
        kind: &'a str,
        data: &'a str,
    },
}
