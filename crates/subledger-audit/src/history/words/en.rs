//! English.

use std::collections::BTreeSet;

use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, TemplateKind,
    app::AppEvent,
    binding::BindingEvent,
    channel::{AuthorizationLoss, BulkRelease, CallbackMode, ChannelEvent, RelayStop, TokenMode},
    ledger::{Answer, Basis, Choice, DoubtCause, LateOutcome, LedgerEvent, ReleaseReason},
    message::MessageEvent,
    person::PersonEvent,
    platform::{PlatformEvent, TicketAsk},
};
use subledger_projection::{DeliveryState, LotState};

use super::{Phrase, Told};
use crate::history::explain::{FindingKind, NumberName, Paid};

pub(super) fn say(phrase: &Phrase<'_>) -> String {
    match phrase {
        Phrase::Event(told) => event(told),
        Phrase::LedgerTitle { subject, template, channel } => {
            format!("Ledger of subject {subject}, template {template}, channel {channel}")
        }
        Phrase::MessageTitle { msgid, template, channel } => {
            format!("Message {msgid}, template {template}, channel {channel}")
        }
        Phrase::UserTitle { channel } => format!("User of channel {channel}"),
        Phrase::TemplatesTitle { channel } => format!("Templates of channel {channel}"),
        Phrase::AsOf { position, time: Some(time) } => {
            format!("as of position {position}, recorded {time}")
        }
        Phrase::AsOf { position, time: None } => {
            format!("as of position {position}, before the first event")
        }
        Phrase::Openid(Some(openid)) => format!("openid {openid}"),
        Phrase::Openid(None) => "openid erased".to_owned(),
        Phrase::Userid(Some(userid)) => format!("userid {userid}"),
        Phrase::Userid(None) => "userid erased".to_owned(),
        Phrase::ErasedBy { at, by, reason } => format!("Erased at {at} by {by}: {reason}."),
        Phrase::NothingYet => "Nothing is known yet: nothing had been recorded by then.".to_owned(),
        Phrase::NoLedger => "No ledger yet: no tap was reported and nothing was sent.".to_owned(),
        Phrase::Totals(row) => format!(
            "balance {}   reserved {}   in doubt {}   |   granted {} = consumed {} + void {} + held {}",
            row.balance,
            row.reserved,
            row.in_doubt,
            row.granted,
            row.consumed,
            row.voided,
            row.balance + row.reserved + row.in_doubt
        ),
        Phrase::Suspended { since } => {
            format!("suspended since {since}: sends are refused until a newer accept")
        }
        Phrase::Counts(row) => {
            let states = DeliveryState::ALL.into_iter().filter(|state| row.counts.of(*state) > 0);
            let terms: Vec<String> =
                states.map(|state| format!("{} {}", row.counts.of(state), delivery_state(state))).collect();
            let unplanned = if row.unplanned() > 0 {
                format!(" + {} not planned yet", row.unplanned())
            } else {
                String::new()
            };
            format!("targeted {} = {}{unplanned}", row.targeted, sum_of(&terms))
        }
        Phrase::Complete { complete, expires_at } => {
            let state = if *complete { "complete" } else { "not complete" };
            format!("{state}; what is not handed over by {expires_at} expires")
        }
        Phrase::Recipient { index, who, state, reason } => {
            let who = who.map(|who| format!(", {who}")).unwrap_or_default();
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("Recipient {index}{who}: {}{reason}", delivery_state(*state))
        }
        Phrase::BoundTo { subject } => format!("bound to subject {subject}"),
        Phrase::NotBound => "not bound".to_owned(),
        Phrase::NeverBound => "Nothing is known yet: this user had not been bound by then.".to_owned(),
        Phrase::NotRegistered => "Nothing is known yet: the channel had not been set up by then.".to_owned(),
        Phrase::NoTemplates => "No template yet: the list had not been read from WeChat.".to_owned(),
        Phrase::Template { row, changed_at, vanished_at } => {
            let listed = match vanished_at {
                Some(vanished_at) => format!("not listed since {vanished_at}"),
                None => format!("listed, as it is since {changed_at}"),
            };
            let keys: Vec<&str> = row.keys.iter().map(|key| key.key.as_str()).collect();
            format!("{}  {}  {}  {}  {listed}", row.id, row.title, template_kind(row.kind), keys.join(" "))
        }
        Phrase::Timeline => "Timeline".to_owned(),
        Phrase::NumbersTitle => "Every number and the events behind it".to_owned(),
        Phrase::Number { name, value } => format!("{} {value}", number(*name)),
        Phrase::Omitted { count, change: Some(change) } => {
            format!("{count} earlier events, together {change:+}")
        }
        Phrase::Omitted { count, change: None } => format!("{count} earlier ones are left out"),
        Phrase::Tapped { source: from, reference, at } => format!("{} {reference}, {at}", source(*from)),
        Phrase::Answered { class, code, rid } => {
            let code = code.map(|code| format!("WeChat answered {code} ")).unwrap_or_default();
            let rid = rid.map(|rid| format!(", rid {rid}")).unwrap_or_default();
            format!("{code}({class}{rid})")
        }
        Phrase::Msgid(msgid) => format!("WeChat's msgid {msgid}"),
        Phrase::By(by) => format!("by {by}"),
        Phrase::Sum(sum) => format!(
            "{} tapped + {} opened - {} consumed - {} void - {} reserved - {} in doubt = {} open{}",
            sum.taps,
            sum.opened,
            sum.consumed,
            sum.voided,
            sum.reserved,
            sum.in_doubt,
            sum.balance,
            if sum.holds { "" } else { "   WRONG" }
        ),
        Phrase::DeliveriesTitle => "Each delivery and the tap that paid for it".to_owned(),
        Phrase::Delivery { id, state, paid: how, lot } => {
            format!("delivery {id}: {}; {}", delivery_state(*state), paid(*how, *lot))
        }
        Phrase::TapsTitle => "Each tap and what it paid for".to_owned(),
        Phrase::Tap { lot, word: Some(word), .. } => format!("lot {lot}, {word}"),
        Phrase::Tap { lot, word: None, by_hand: true } => format!("lot {lot}, added by hand"),
        Phrase::Tap { lot, word: None, by_hand: false } => format!("lot {lot}, imported"),
        Phrase::Went { state, delivery, position, at } => {
            let by = delivery.map(|(id, outcome)| {
                let outcome = outcome.map(|state| format!(", {}", delivery_state(state))).unwrap_or_default();
                format!(" by delivery {id}{outcome}")
            });
            match state {
                LotState::Open => "still open".to_owned(),
                LotState::Reserved | LotState::InDoubt | LotState::Consumed => {
                    format!("{}{} (position {position}, {at})", lot_state(*state), by.unwrap_or_default())
                }
                LotState::Void => format!("void (position {position}, {at})"),
            }
        }
        Phrase::VoidBecause { found_by, position, answer } => {
            format!("delivery {found_by} proved at position {position} that it was not there: {answer}")
        }
        Phrase::TakenAway(evidence) => format!("taken away ({})", by(evidence)),
        Phrase::MaybeSpentBy(delivery) => {
            format!("may have been spent by delivery {delivery}, which was settled as not sent")
        }
        Phrase::FindingsTitle => "FINDINGS: the books do not agree".to_owned(),
        Phrase::NoFindings => "Everything agrees.".to_owned(),
        Phrase::Finding { kind, position } => {
            let at = position.map(|position| format!("position {position}: ")).unwrap_or_default();
            format!("{at}{}", finding(kind))
        }
        Phrase::Unreadable { kind, data } => format!("{kind} {data}"),
    }
}

fn sum_of(terms: &[String]) -> String {
    if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") }
}

fn finding(kind: &FindingKind) -> String {
    match kind {
        FindingKind::Sum { terms, balance } => {
            format!("the terms come to {terms}, the balance is {balance}")
        }
        FindingKind::Number { number: name, events, ledger } => {
            format!("{}: the events come to {events}, the ledger says {ledger}", number(*name))
        }
        FindingKind::ReadModel { number: name, events, shown } => {
            format!(
                "{}: the events come to {events}, the read model shows {shown}; rebuild it",
                number(*name)
            )
        }
        FindingKind::ReadModelRow => {
            "the read model shows another ledger than the events up to the same position; rebuild it"
                .to_owned()
        }
        FindingKind::Lot { lot } => format!("the event uses lot {lot}, which was not there to be used"),
        FindingKind::Delivery { delivery } => {
            format!("the event is about delivery {delivery}, which was not under way")
        }
    }
}

const fn number(name: NumberName) -> &'static str {
    match name {
        NumberName::Balance => "balance",
        NumberName::Reserved => "reserved",
        NumberName::InDoubt => "in doubt",
        NumberName::Granted => "granted",
        NumberName::Consumed => "consumed",
        NumberName::Voided => "void",
        NumberName::Rejected => "rejected",
        NumberName::Suspended => "suspended",
    }
}

fn paid(paid: Paid, lot: Option<u64>) -> String {
    let lot = lot.map(|lot| format!("lot {lot}")).unwrap_or_else(|| "its lot".to_owned());
    match paid {
        Paid::Held => format!("{lot} is set aside for it"),
        Paid::Spent => format!("paid for by {lot}"),
        Paid::Returned => format!("{lot} was given back"),
        Paid::Void => format!("{lot} was found void, or spent by another delivery"),
        Paid::LongTerm => "rests on the long-term consent".to_owned(),
        Paid::UnknownBalance => "rests on the policy for unknown balances".to_owned(),
        Paid::Nothing => "sent, and no grant was left on the books for it".to_owned(),
    }
}

const fn delivery_state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Queued => "queued",
        DeliveryState::Started => "started",
        DeliveryState::InDoubt => "in doubt",
        DeliveryState::Sent => "sent",
        DeliveryState::Refused => "refused",
        DeliveryState::Failed => "failed",
        DeliveryState::Expired => "expired",
        DeliveryState::Retracted => "retracted",
        DeliveryState::NotSent => "not sent",
        DeliveryState::Skipped => "skipped",
    }
}

const fn lot_state(state: LotState) -> &'static str {
    match state {
        LotState::Open => "open",
        LotState::Reserved => "reserved",
        LotState::InDoubt => "in doubt, held",
        LotState::Consumed => "consumed",
        LotState::Void => "void",
    }
}

const fn template_kind(kind: TemplateKind) -> &'static str {
    match kind {
        TemplateKind::OneTime => "one-time",
        TemplateKind::LongTerm => "long-term",
    }
}

fn event(told: &Told) -> String {
    match told {
        Told::Channel(event) => channel(event),
        Told::Binding(event) => binding(event),
        Told::Ledger(event) => ledger(event),
        Told::Message(event) => message(event),
        Told::App(event) => app(event),
        Told::Person(event) => person(event),
        Told::Platform(event) => platform(event),
    }
}

fn by(evidence: &Evidence) -> String {
    let reason = evidence.reason.as_ref().map(|reason| format!(", reason: {reason}")).unwrap_or_default();
    format!("{} {}{reason}", source(evidence.source), evidence.reference)
}

const fn source(source: EvidenceSource) -> &'static str {
    match source {
        EvidenceSource::Integrator => "integrator",
        EvidenceSource::ClientReport => "client report",
        EvidenceSource::WechatPush => "WeChat's push",
        EvidenceSource::WechatAnswer => "WeChat's answer",
        EvidenceSource::Import => "import",
        EvidenceSource::Operator => "operator",
        EvidenceSource::Policy => "policy",
    }
}

fn said(answer: &Answer) -> String {
    say(&Phrase::Answered { class: &answer.class, code: answer.code, rid: answer.rid.as_deref() })
}

const fn choice(choice: Choice) -> &'static str {
    match choice {
        Choice::Accept => "accept",
        Choice::Reject => "reject",
        Choice::Ban => "ban: WeChat has banned the template",
        Choice::Filter => "filter: hidden behind another template of the same title",
    }
}

const fn cause(cause: DoubtCause) -> &'static str {
    match cause {
        DoubtCause::Timeout => "no answer in time",
        DoubtCause::ConnectionBroken => "the connection broke",
        DoubtCause::Unintelligible => "an answer that is not WeChat's",
        DoubtCause::NodeLost => "the node that made the call was lost",
    }
}

fn ledger(event: &LedgerEvent) -> String {
    match event {
        LedgerEvent::Granted(e) => {
            format!("+1: the user chose {}; lot {} ({})", e.word, e.lot, by(&e.evidence))
        }
        LedgerEvent::Opened(e) => {
            format!("+{}: opening balance; lots from {} ({})", e.count, e.first_lot, by(&e.evidence))
        }
        LedgerEvent::Consented(e) => {
            format!("consent to a long-term template: {} ({})", e.word, by(&e.evidence))
        }
        LedgerEvent::Rejected(e) => {
            format!("no grant: the user's choice was {} ({})", choice(e.choice), by(&e.evidence))
        }
        LedgerEvent::Suspended(e) => format!("sends are refused until a newer accept ({})", by(&e.evidence)),
        LedgerEvent::Reserved(e) => format!("lot {} set aside for delivery {}", e.lot, e.delivery),
        LedgerEvent::Admitted(e) => {
            let basis = match e.basis {
                Basis::LongTerm => "the long-term consent",
                Basis::UnknownBalance => "the policy for unknown balances",
            };
            format!("delivery {} let in on {basis}", e.delivery)
        }
        LedgerEvent::Started(e) => format!("delivery {} handed to WeChat, attempt {}", e.delivery, e.attempt),
        LedgerEvent::Postponed(e) => {
            format!("delivery {} must be tried again: {}", e.delivery, said(&e.answer))
        }
        LedgerEvent::Consumed(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("none given");
            format!("delivery {} accepted by WeChat, its msgid {msgid}; the lot is spent", e.delivery)
        }
        LedgerEvent::Released(e) => {
            format!("delivery {} ended unsent: {}; its lot is open again", e.delivery, why(&e.reason))
        }
        LedgerEvent::Doubted(e) => {
            format!(
                "delivery {} in doubt ({}): WeChat's answer is unknown, the lot stays set aside",
                e.delivery,
                cause(e.cause)
            )
        }
        LedgerEvent::SettledLate(e) => {
            let outcome = match &e.outcome {
                LateOutcome::Sent { .. } => "was sent; the lot is spent",
                LateOutcome::NotSent => "was not sent; the lot is open again",
            };
            format!("the doubt about delivery {} is settled: it {outcome} ({})", e.delivery, by(&e.evidence))
        }
        LedgerEvent::Denied(e) => {
            format!("delivery {} ended: WeChat holds no permission, {}", e.delivery, said(&e.answer))
        }
        LedgerEvent::DriftFound(e) => {
            format!(
                "drift: lots {:?} are void, WeChat knows of none (delivery {}, {})",
                e.lots,
                e.delivery,
                said(&e.answer)
            )
        }
        LedgerEvent::Corroborated(e) => {
            let tap =
                e.lot.map_or_else(|| choice(e.choice).to_owned(), |lot| format!("the one of lot {lot}"));
            format!("a second source tells of a tap that is on the books: {tap} ({})", by(&e.evidence))
        }
        LedgerEvent::TapNoted(e) => {
            format!(
                "noted, no grant: the user's choice was {}; the channel does not count this source ({})",
                choice(e.choice),
                by(&e.evidence)
            )
        }
        LedgerEvent::Confirmed(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("none given");
            format!("delivery {} confirmed by WeChat, its msgid {msgid} ({})", e.delivery, by(&e.evidence))
        }
        LedgerEvent::Undelivered(e) => format!(
            "delivery {} failed at WeChat after it was accepted: {} {}; the lot stays spent ({})",
            e.delivery,
            e.code,
            e.status,
            by(&e.evidence)
        ),
        LedgerEvent::StrangerReported(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("none given");
            format!("WeChat tells of a send that is none of ours, its msgid {msgid} ({})", by(&e.evidence))
        }
        LedgerEvent::Adjusted(e) => {
            let added = e.added.map(|added| format!("+{}, lots from {}", added.count, added.first_lot));
            let removed = (!e.removed.is_empty()).then(|| format!("lots {:?} are void", e.removed));
            let what: Vec<_> = added.into_iter().chain(removed).collect();
            format!("corrected by hand: {} ({})", what.join("; "), by(&e.evidence))
        }
        LedgerEvent::Cleared(e) => {
            format!("the user switched messages off: lots {:?} are void ({})", e.lots, by(&e.evidence))
        }
        LedgerEvent::Forfeited(e) => {
            format!("delivery {} refused, its lot counts as spent: {}", e.delivery, said(&e.answer))
        }
    }
}

fn why(reason: &ReleaseReason) -> String {
    match reason {
        ReleaseReason::Refused { answer } => format!("refused, {}", said(answer)),
        ReleaseReason::RetriesExhausted { answer } => {
            format!("tried as often as allowed, last {}", said(answer))
        }
        ReleaseReason::Retracted => "retracted by the caller".to_owned(),
        ReleaseReason::Expired => "its time was over".to_owned(),
        ReleaseReason::Suspended => "the user's permission was suspended".to_owned(),
        ReleaseReason::NoGrant => "its grant was found void".to_owned(),
    }
}

fn binding(event: &BindingEvent) -> String {
    match event {
        BindingEvent::Bound(e) => format!("bound to subject {} ({})", e.subject, by(&e.evidence)),
        BindingEvent::Moved(e) => {
            format!("moved from subject {} to {} ({})", e.from, e.subject, by(&e.evidence))
        }
        BindingEvent::Unbound(e) => format!("unbound from subject {} ({})", e.subject, by(&e.evidence)),
    }
}

fn person(event: &PersonEvent) -> String {
    match event {
        PersonEvent::Erased(e) => {
            let channels: Vec<&str> = e.channels.iter().map(ChannelCode::as_str).collect();
            let userid = if e.userid { ", the userid" } else { "" };
            let pushes = if e.pushes > 0 { format!(", {} pushes", e.pushes) } else { String::new() };
            let (channels, by) = (channels.join(", "), by(&e.evidence));
            format!(
                "erased from {channels}: {} openids, {} contents{pushes}{userid} ({by})",
                e.openids, e.contents
            )
        }
    }
}

fn message(event: &MessageEvent) -> String {
    match event {
        MessageEvent::Accepted(e) => {
            format!("accepted from app {}: template {}, {} recipients", e.app, e.template, e.targeted)
        }
        MessageEvent::Planned(e) => {
            format!("planned: {} with a grant, {} skipped", e.reserved, e.skipped.len())
        }
        MessageEvent::Retracted(e) => {
            format!("retracted by app {}: {} deliveries taken back", e.app, e.released)
        }
    }
}

fn channel(event: &ChannelEvent) -> String {
    match event {
        ChannelEvent::Registered(e) => format!("set up: {}, AppID {}", e.name, e.appid),
        ChannelEvent::CredentialsReplaced(_) => "the AppSecret was replaced".to_owned(),
        ChannelEvent::TemplatesRefreshed(e) => format!(
            "templates read from WeChat: {} listed; {} new, {} changed, {} vanished",
            e.listed,
            e.added.len(),
            e.changed.len(),
            e.vanished.len()
        ),
        ChannelEvent::Paused(e) => format!("paused: {}", e.reason),
        ChannelEvent::Resumed(e) => format!("resumed: {}", e.reason),
        ChannelEvent::PolicyChanged(_) => "policies changed".to_owned(),
        ChannelEvent::BulkHeld(e) => format!(
            "bulk is held until midnight in China: {} of today's {} sends are left, and {} % are kept for single sends",
            e.remaining, e.limit, e.reserve
        ),
        ChannelEvent::BulkReleased(e) => match e.cause {
            BulkRelease::Policy => {
                format!("bulk goes on: the reserve is smaller now, {} sends are left", e.remaining)
            }
            BulkRelease::Quota => format!("bulk goes on: WeChat says that {} sends are left", e.remaining),
        },
        ChannelEvent::QuotaCleared(e) => format!("WeChat set the day's counts back: {}", e.reason),
        ChannelEvent::RelayConfigured(e) => format!("pushes are relayed to {}", e.url),
        ChannelEvent::RelayStopped(e) => match e.cause {
            RelayStop::Asked => "pushes are relayed no more".to_owned(),
            RelayStop::Gone => "pushes are relayed no more: the back end answered 410 (Gone)".to_owned(),
        },
        ChannelEvent::Authorized(e) => format!(
            "the Mini Program's administrator authorized platform {}, permission sets {}{}",
            e.platform,
            sets(&e.permissions),
            lacking(&e.missing)
        ),
        ChannelEvent::AuthorizationUpdated(e) => {
            format!("authorization changed: permission sets {}{}", sets(&e.permissions), lacking(&e.missing))
        }
        ChannelEvent::Unauthorized(e) => {
            let noticed = match e.loss {
                AuthorizationLoss::Pushed => "WeChat pushed it",
                AuthorizationLoss::Refused => "WeChat answered so",
            };
            format!("the authorization is lost ({noticed}); deliveries wait until it is given again")
        }
        ChannelEvent::TokenSourceChanged(e) => match &e.url {
            Some(url) => format!("access tokens come from {url}"),
            None => format!("access tokens come from elsewhere: mode {}", e.mode.as_str()),
        },
        ChannelEvent::TokenConflictSuspected(e) => format!(
            "WeChat refused an access token with {} when it was {} s old and had {} s to live: another system replaces it{}",
            e.code,
            e.age_s,
            e.life_s,
            match e.mode {
                TokenMode::Normal => "; the mode stable avoids that",
                TokenMode::Stable | TokenMode::External | TokenMode::Platform => "",
            }
        ),
        ChannelEvent::TokenLeased(e) => format!("access token {} lent to app {}", e.version, e.app),
        ChannelEvent::TokenForced(e) => {
            format!("an operator had the access token replaced; it is number {} now", e.version)
        }
        ChannelEvent::CallbackConfigured(e) => {
            let id = e.original_id.as_deref().unwrap_or("not known yet");
            match e.learned {
                true => format!("the original id {id} was learned from a push"),
                false => {
                    format!("WeChat's pushes configured: {} mode, original id {id}", callback_mode(e.mode))
                }
            }
        }
    }
}

fn sets(permissions: &BTreeSet<u32>) -> String {
    permissions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn lacking(missing: &BTreeSet<u32>) -> String {
    if missing.is_empty() {
        return String::new();
    }
    format!("; {} missing: deliveries wait until it is granted", sets(missing))
}

fn platform(event: &PlatformEvent) -> String {
    match event {
        PlatformEvent::Configured(e) => {
            format!("third-party platform configured: {}, reached at {}", e.name, e.public_url)
        }
        PlatformEvent::SecretsReplaced(e) => {
            let named = [
                ("AppSecret", e.secret.is_some()),
                ("push token", e.token.is_some()),
                ("EncodingAESKey", e.key.is_some()),
            ];
            let names: Vec<&str> =
                named.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
            format!("secrets set: {}", names.join(", "))
        }
        PlatformEvent::TicketPushStarted(e) => match e.ask {
            TicketAsk::Asked => "WeChat was asked to push tickets".to_owned(),
            TicketAsk::Stale => "WeChat was asked to push tickets, because none came".to_owned(),
        },
    }
}

fn callback_mode(mode: CallbackMode) -> &'static str {
    match mode {
        CallbackMode::Plaintext => "plaintext",
        CallbackMode::Compatible => "compatible",
        CallbackMode::Secure => "secure",
    }
}

fn app(event: &AppEvent) -> String {
    match event {
        AppEvent::Created(e) => format!("sender app created: {}", e.name),
        AppEvent::KeyAdded(e) => format!("API key {} added", e.key),
        AppEvent::KeyRevoked(e) => format!("API key {} revoked", e.key),
    }
}
