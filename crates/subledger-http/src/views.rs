//! What the API shows: one view per thing, with its own words, independent of how rows and events are stored.

mod channels;
mod doctor;
mod events;
mod explanation;
mod findings;
mod ledgers;
mod messages;
mod platforms;
mod pushes;
mod quota;
mod relay;
mod reports;
mod secrets;
mod templates;
mod tokens;
mod users;
mod words;

pub(crate) use channels::{ChannelView, PolicyChangeBody, PolicyView, QueueView};
pub(crate) use doctor::DoctorView;
pub(crate) use events::EventView;
pub(crate) use explanation::ExplanationView;
pub(crate) use findings::{DoubtStateWord, DoubtsView, DriftView, ReportPart};
pub(crate) use ledgers::{EntryView, LedgerView, LotView};
pub(crate) use messages::{DeliveryView, MessageView, is_bulk};
pub(crate) use platforms::{AuthorizationView, PlatformView, qr_svg};
pub(crate) use pushes::{PushBodyView, PushDetailView, PushHealthView, PushView, RedoneView};
pub(crate) use quota::QuotaView;
pub(crate) use relay::{Redriven, RelayBody, RelaySetView, RelayStateView, RelayTestView};
pub(crate) use reports::{ActivityView, GrainWord, LossView, ReachView, ReportFormat, StockView};
pub(crate) use secrets::SecretsView;
pub(crate) use templates::{FindingView, RefreshView, TemplateView};
pub(crate) use tokens::{TokenLeaseView, TokenReplacedView};
pub(crate) use users::{BindResultWord, UserDetailView, UserView};
pub(crate) use words::{
    CallbackFormatWord, CallbackModeWord, ChoiceWord, DeliveryStateWord, DoubtCauseWord, DriftCauseWord,
    LanguageWord, ProgramStateWord, PushKindWord, PushStateWord, RightWord, SkipReasonWord, TapResultWord,
    TokenModeWord, VerdictWord,
};
