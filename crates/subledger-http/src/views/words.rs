//! The words of the API for closed sets. Each is tied to the set it stands for, so that a new member does not compile until
//! it has a word here.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    TemplateKind,
    app::Right,
    channel::{CallbackFormat, CallbackMode, RelayForm, RelayKind, RelayStop, TokenMode},
    ledger::{Basis, Choice, DoubtCause, DoubtVerdict, RefusedSend, SettingsOff, Taps, UnknownBalance},
    message::SkipReason,
    template_values::Severity,
};
use subledger_engine::{doubts::ManualVerdict, grants::TapResult, users::BindResult};
use subledger_projection::{DeliveryState, DoubtEnd, DoubtOutcome, DriftCause, LotState};
use subledger_store::{PushFormat, PushKind, PushMode, PushState, RelayState};
use utoipa::ToSchema;

macro_rules! words {
    ($( $(#[$meta:meta])* $name:ident is $inner:ty { $( $(#[$member_meta:meta])* $member:ident ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $name { $( $(#[$member_meta])* $member ),* }

        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                match inner { $( <$inner>::$member => Self::$member ),* }
            }
        }

        impl From<$name> for $inner {
            fn from(word: $name) -> Self {
                match word { $( $name::$member => Self::$member ),* }
            }
        }
    )* };
}
pub(crate) use words;

words! {
    /// What most likely explains drift; the first that fits counts. `settings_changed`: WeChat told of a change in the user's
    /// settings at or after the newest grant. `stranger`: somebody else sent while a void grant was on the books.
    /// `not_tapped`: a void grant had been imported, or added by an operator. `wrong_verdict`: the same answer proved that a
    /// delivery settled as not sent had been sent. `old_grant`: the newest grant was 90 days old or older. `unexplained`.
    DriftCauseWord is DriftCause {
        SettingsChanged, Stranger, NotTapped, WrongVerdict, OldGrant, Unexplained,
    }

    /// What hid WeChat's answer: no answer in time, a `connection_broken`, an `unintelligible` answer that is not WeChat's, or
    /// a `node_lost` during the call.
    DoubtCauseWord is DoubtCause { Timeout, ConnectionBroken, Unintelligible, NodeLost }

    /// What ended a doubt, or corrected the verdict on it: WeChat's `sent_event`, a `late_answer` of the call, a person
    /// (`by_hand`), the channel's `deadline`; a correction also WeChat's `no_permission` (43101) to a later delivery.
    DoubtEndWord is DoubtEnd { SentEvent, LateAnswer, ByHand, Deadline, NoPermission }

    /// What became of a delivery when its doubt ended. `postponed`: WeChat had asked to try again, and it waits.
    DoubtOutcomeWord is DoubtOutcome { Sent, NotSent, Refused, Failed, Postponed }

    /// What a key may do: `manage` channels, `bind` users, report taps (`grant`), `send` and retract, `read`, `settle` doubts,
    /// be lent access tokens (`token`).
    RightWord is Right { Manage, Bind, Grant, Send, Read, Settle, Token }

    /// How access tokens are obtained. `stable` coexists with other systems; `normal` retires the token before; `external` asks
    /// the company's own token server; `platform` uses the third-party platform that was authorized.
    #[derive(Default)]
    TokenModeWord is TokenMode { #[default] Stable, Normal, External, Platform }

    /// How pushes are protected: `plaintext` (not at all), `compatible` or `secure`.
    #[derive(Default)]
    CallbackModeWord is CallbackMode { Plaintext, Compatible, #[default] Secure }

    /// How pushes are spelled.
    #[derive(Default)]
    CallbackFormatWord is CallbackFormat { #[default] Json, Xml }

    /// What was pushed: an answer to the `popup`, a `change` of settings, the result of a send (`sent`), something `other`, or
    /// what cannot be read (`undecodable`).
    PushKindWord is PushKind { Popup, Change, Sent, Other, Undecodable }

    /// What became of a push: `pending` (to be tried again by itself), `acted`, `ignored` (there was nothing to do),
    /// `undecodable` or `failed`.
    PushStateWord is PushState { Pending, Acted, Ignored, Undecodable, Failed }

    /// How a push was protected.
    PushModeWord is PushMode { Plaintext, Compatible, Secure }

    /// How a push is spelled.
    PushFormatWord is PushFormat { Xml, Json, Unknown }

    /// How far a push is on its way to the integrator's back end.
    RelayStateWord is RelayState { None, Waiting, Leased, Done, GivenUp }

    /// Sends to users without a grant on the books: `refuse` them, or `attempt` once and learn from the answer.
    #[derive(Default)]
    UnknownBalanceWord is UnknownBalance { #[default] Refuse, Attempt }

    /// Whose word for a tap is a grant: `both` (told by both it is one), `client_only` (reports) or `push_only` (WeChat's
    /// pushes); the other source then only corroborates.
    #[derive(Default)]
    TapsWord is Taps { #[default] Both, ClientOnly, PushOnly }

    /// How a doubt is closed that nobody settled in time: `assume_sent`, or `release` the grant.
    #[derive(Default)]
    DoubtVerdictWord is DoubtVerdict { #[default] AssumeSent, Release }

    /// Whether a send that WeChat refuses uses up a grant: `release` (no) or `consume` (yes).
    #[derive(Default)]
    RefusedSendWord is RefusedSend { #[default] Release, Consume }

    /// What becomes of the grants of a user who switches messages off: `keep` or `clear`.
    #[derive(Default)]
    SettingsOffWord is SettingsOff { #[default] Keep, Clear }

    /// What the books made of a tap: `counted`, `corroborated` (WeChat's push told of it before: one tap, one grant) or
    /// `noted` (the channel counts WeChat's pushes only).
    TapResultWord is TapResult { Counted, Corroborated, Noted }

    /// `one_time`: one accepted tap buys one message. `long_term`: one consent, many messages.
    TemplateKindWord is TemplateKind { OneTime, LongTerm }

    /// What the user chose in the popup.
    ChoiceWord is Choice { Accept, Reject, Ban, Filter }

    /// Why a recipient is skipped.
    SkipReasonWord is SkipReason { NotBound, NoGrant, Suspended, Duplicate }

    /// Where a delivery is. All but `queued`, `started` and `in_doubt` are final.
    DeliveryStateWord is DeliveryState {
        Queued, Started, InDoubt, Sent, Refused, Failed, Expired, Retracted, NotSent, Skipped,
    }

    /// Where a grant is.
    LotStateWord is LotState { Open, Reserved, InDoubt, Consumed, Void }

    /// On what a delivery without a grant of its own rests.
    BasisWord is Basis { LongTerm, UnknownBalance }

    /// What binding changed.
    BindResultWord is BindResult { Bound, Moved, Unchanged }

    /// How a person settles a doubt: `sent` spends the grant, `not_sent` opens it again.
    VerdictWord is ManualVerdict { Sent, NotSent }

    /// What a back end gets: WeChat's body as it is (`raw`), or JSON of one shape (`decoded`).
    RelayFormWord is RelayForm { Raw, Decoded }

    /// Which pushes: answers to the popup, changed settings, results of sends, others (chat messages above all), and what could
    /// not be decoded.
    #[derive(PartialOrd, Ord)]
    RelayKindWord is RelayKind { Popup, Change, Sent, Other, Undecodable }

    /// Why pushes are relayed no more: somebody `asked`, or the back end answered 410 (`gone`).
    RelayStopWord is RelayStop { Asked, Gone }

    /// Whether a finding stops a send.
    SeverityWord is Severity { Blocking, Advisory }
}

/// Which version of the Mini Program the card opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgramStateWord {
    Developer,
    Trial,
    #[default]
    Formal,
}

/// The language of the card's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) enum LanguageWord {
    #[default]
    #[serde(rename = "zh_CN")]
    ZhCn,
    #[serde(rename = "en_US")]
    EnUs,
    #[serde(rename = "zh_HK")]
    ZhHk,
    #[serde(rename = "zh_TW")]
    ZhTw,
}
