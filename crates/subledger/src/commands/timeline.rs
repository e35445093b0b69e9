//! One event as a sentence for people.

use subledger_domain::{
    Evidence,
    binding::BindingEvent,
    ledger::{Answer, Basis, LateOutcome, LedgerEvent, ReleaseReason},
    message::MessageEvent,
    person::PersonEvent,
};
use subledger_store::Recorded;

/// What a stored event says; its kind and payload where this version cannot read it.
pub(super) fn sentence(event: &Recorded) -> String {
    match event.stream.aggregate_type() {
        "ledger" => event.decode::<LedgerEvent>().map(|event| ledger(&event)).ok(),
        "binding" => event.decode::<BindingEvent>().map(|event| binding(&event)).ok(),
        "message" => event.decode::<MessageEvent>().map(|event| message(&event)).ok(),
        "user" | "subject" => event.decode::<PersonEvent>().map(|event| person(&event)).ok(),
        _ => None,
    }
    .unwrap_or_else(|| format!("{} {}", event.kind_name(), String::from_utf8_lossy(&event.data)))
}

fn by(evidence: &Evidence) -> String {
    let reason = evidence.reason.as_ref().map(|reason| format!(", reason: {reason}")).unwrap_or_default();
    format!("{} {}{reason}", evidence.source.as_str(), evidence.reference)
}

fn said(answer: &Answer) -> String {
    let code = answer.code.map(|code| format!("WeChat answered {code} ")).unwrap_or_default();
    let rid = answer.rid.as_ref().map(|rid| format!(", rid {rid}")).unwrap_or_default();
    format!("{code}({}{rid})", answer.class)
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
            format!("no grant: the user's choice was {:?} ({})", e.choice, by(&e.evidence))
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
                "delivery {} in doubt ({:?}): WeChat's answer is unknown, the lot stays set aside",
                e.delivery, e.cause
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
            let channels: Vec<&str> = e.channels.iter().map(subledger_domain::ChannelCode::as_str).collect();
            format!(
                "erased from {}: {} openids, {} contents{} ({})",
                channels.join(", "),
                e.openids,
                e.contents,
                if e.userid { ", the userid" } else { "" },
                by(&e.evidence)
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
