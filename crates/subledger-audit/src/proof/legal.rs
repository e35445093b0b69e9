//! Which event may follow which state.
//!
//! Decisions change from version to version; what was legal when it was recorded must stay so. So events are not decided
//! anew here: what is judged are the transitions that no version may ever make, such as a delivery that ends without
//! having begun, a lot that is spent twice, a start while another attempt is unresolved. Each rule answers with what it
//! expected.

use subledger_domain::{
    DeliveryId,
    app::{App, AppEvent},
    binding::{Binding, BindingEvent},
    channel::{Channel, ChannelEvent},
    ledger::{Choice, Funding, LateOutcome, Ledger, LedgerEvent, Phase, ReleaseReason},
    message::{Message, MessageEvent},
    person::{Person, PersonEvent},
    platform::{Platform, PlatformEvent},
};

/// What a rule expected of the state before an event.
pub(super) type Verdict = Result<(), String>;

fn ensure(holds: bool, expected: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(expected()) }
}

/// Whether the event may happen to this channel.
pub(super) fn channel(state: &Channel, event: &ChannelEvent) -> Verdict {
    let registered = state.registered().is_some();
    if let ChannelEvent::Registered(_) = event {
        return ensure(!registered, || "a channel that is not registered yet".to_owned());
    }
    ensure(registered, || "a registered channel".to_owned())?;
    match event {
        ChannelEvent::Paused(_) => ensure(!state.is_paused(), || "a channel that is not paused".to_owned()),
        ChannelEvent::Resumed(_) => ensure(state.is_paused(), || "a paused channel".to_owned()),
        ChannelEvent::TemplatesRefreshed(e) => {
            let listed = |id| state.template(id).is_some_and(|known| known.listed);
            let gone = e.vanished.iter().find(|id| !listed(id));
            ensure(gone.is_none(), || "only listed templates to vanish".to_owned())
        }
        ChannelEvent::RelayStopped(_) => {
            ensure(state.relay().is_some(), || "a channel whose pushes are relayed".to_owned())
        }
        ChannelEvent::AuthorizationUpdated(_) | ChannelEvent::Unauthorized(_) => {
            let stands = state.authorization().is_some_and(|state| state.lost.is_none());
            ensure(stands, || "an authorization that stands".to_owned())
        }
        ChannelEvent::Registered(_)
        | ChannelEvent::Authorized(_)
        | ChannelEvent::RelayConfigured(_)
        | ChannelEvent::CredentialsReplaced(_)
        | ChannelEvent::CallbackConfigured(_)
        | ChannelEvent::TokenSourceChanged(_)
        | ChannelEvent::TokenConflictSuspected(_)
        | ChannelEvent::TokenLeased(_)
        | ChannelEvent::TokenForced(_)
        | ChannelEvent::PolicyChanged(_)
        | ChannelEvent::BulkHeld(_)
        | ChannelEvent::BulkReleased(_)
        | ChannelEvent::QuotaCleared(_) => Ok(()),
    }
}

/// Whether the event may happen to this binding.
pub(super) fn binding(state: &Binding, event: &BindingEvent) -> Verdict {
    let at = |subject: Option<_>| {
        ensure(state.subject() == subject, || match subject {
            Some(subject) => format!("a user bound to {subject}"),
            None => "a user who is not bound".to_owned(),
        })
    };
    match event {
        BindingEvent::Bound(_) => at(None),
        BindingEvent::Moved(e) => at(Some(e.from)),
        BindingEvent::Unbound(e) => at(Some(e.subject)),
    }
}

/// Whether the event may happen to this app.
pub(super) fn app(state: &App, event: &AppEvent) -> Verdict {
    match event {
        AppEvent::Created(_) => {
            ensure(state.created().is_none(), || "an app that is not there yet".to_owned())
        }
        AppEvent::KeyAdded(e) => {
            ensure(state.created().is_some(), || "an app that was created".to_owned())?;
            ensure(!state.keys().contains_key(&e.key), || "a key the app does not have".to_owned())
        }
        AppEvent::KeyRevoked(e) => {
            ensure(state.keys().contains_key(&e.key), || "a key the app has".to_owned())
        }
    }
}

/// Whether the event may happen to this person: somebody who comes back may be erased again.
pub(super) fn person(_state: &Person, event: &PersonEvent) -> Verdict {
    match event {
        PersonEvent::Erased(e) => {
            ensure(!e.channels.is_empty(), || "an erasure from at least one channel".to_owned())?;
            ensure(e.evidence.reason.is_some(), || "an erasure with a reason".to_owned())
        }
    }
}

/// Whether the event may happen to this platform.
pub(super) fn platform(state: &Platform, event: &PlatformEvent) -> Verdict {
    match event {
        PlatformEvent::Configured(_) => Ok(()),
        PlatformEvent::SecretsReplaced(_) | PlatformEvent::TicketPushStarted(_) => {
            ensure(state.configured().is_some(), || "a platform that was configured".to_owned())
        }
    }
}

/// Whether the event may happen to this message.
pub(super) fn message(state: &Message, event: &MessageEvent) -> Verdict {
    let accepted = state.accepted();
    match event {
        MessageEvent::Accepted(e) => {
            ensure(accepted.is_none(), || "a message that is not accepted yet".to_owned())?;
            ensure(e.targeted > 0, || "at least one recipient".to_owned())
        }
        MessageEvent::Planned(e) => {
            let targeted = accepted.ok_or_else(|| "a message that was accepted".to_owned())?.targeted;
            let end = u64::from(e.from) + u64::from(e.reserved) + e.skipped.len() as u64;
            ensure(e.from == state.planned(), || format!("a plan that goes on from {}", state.planned()))?;
            ensure(end <= u64::from(targeted), || format!("a plan of at most {targeted} recipients"))?;
            let inside = |index: u32| index >= e.from && u64::from(index) < end;
            ensure(e.skipped.iter().all(|skip| inside(skip.index)), || {
                format!("skips among the recipients {} to {end}", e.from)
            })
        }
        MessageEvent::Retracted(_) => ensure(accepted.is_some(), || "a message that was accepted".to_owned()),
    }
}

/// Whether the event may happen to this ledger.
pub(super) fn ledger(state: &Ledger, event: &LedgerEvent) -> Verdict {
    match event {
        LedgerEvent::Granted(e) => next_lot(state, e.lot),
        LedgerEvent::Opened(e) => {
            ensure(e.count > 0, || "at least one lot".to_owned())?;
            next_lot(state, e.first_lot)
        }
        LedgerEvent::Rejected(e) => {
            ensure(e.choice != Choice::Accept, || "a choice that is no accept".to_owned())
        }
        LedgerEvent::Consented(_) | LedgerEvent::Suspended(_) => Ok(()),
        LedgerEvent::Reserved(e) => {
            begins(state, e.delivery)?;
            let oldest = state.lots().first().map(|lot| lot.id);
            ensure(oldest == Some(e.lot), || match oldest {
                Some(oldest) => format!("the oldest open lot, {oldest}"),
                None => "an open lot".to_owned(),
            })
        }
        LedgerEvent::Admitted(e) => begins(state, e.delivery),
        LedgerEvent::Started(e) => {
            under_way(state, e.delivery, &[Phase::Reserved])?;
            let (attempts, funding) = state
                .outstanding()
                .get(&e.delivery)
                .map_or((0, Funding::Void), |known| (known.attempts, known.funding));
            let next = attempts.saturating_add(1);
            ensure(e.attempt == next, || format!("attempt {next}"))?;
            ensure(funding != Funding::Void, || "a delivery whose grant is not void".to_owned())?;
            let other = state.unresolved();
            ensure(other.is_none(), || "no other attempt of the ledger to be unresolved".to_owned())
        }
        LedgerEvent::Postponed(e) => under_way(state, e.delivery, &[Phase::Started, Phase::InDoubt]),
        LedgerEvent::Consumed(e) => under_way(state, e.delivery, &[Phase::Started]),
        LedgerEvent::Released(e) => match e.reason {
            ReleaseReason::Refused { .. } | ReleaseReason::RetriesExhausted { .. } => {
                under_way(state, e.delivery, &[Phase::Started, Phase::InDoubt])
            }
            ReleaseReason::Retracted
            | ReleaseReason::Expired
            | ReleaseReason::Suspended
            | ReleaseReason::NoGrant => under_way(state, e.delivery, &[Phase::Reserved]),
        },
        LedgerEvent::Doubted(e) => under_way(state, e.delivery, &[Phase::Started]),
        LedgerEvent::SettledLate(e) => {
            let corrects = matches!(e.outcome, LateOutcome::Sent { .. })
                && !state.outstanding().contains_key(&e.delivery)
                && is_suspect(state, e.delivery);
            if corrects { Ok(()) } else { under_way(state, e.delivery, &[Phase::InDoubt]) }
        }
        LedgerEvent::Denied(e) => under_way(state, e.delivery, &[Phase::Started, Phase::InDoubt]),
        LedgerEvent::Forfeited(e) => under_way(state, e.delivery, &[Phase::Started, Phase::InDoubt]),
        LedgerEvent::DriftFound(e) => {
            under_way(state, e.delivery, &[Phase::Started, Phase::InDoubt])?;
            believed(state, &e.lots)
        }
        LedgerEvent::Cleared(e) => believed(state, &e.lots),
        LedgerEvent::Adjusted(e) => {
            ensure(e.evidence.reason.is_some(), || "a correction with a reason".to_owned())?;
            ensure(e.added.is_some() || !e.removed.is_empty(), || "a correction of something".to_owned())?;
            let open = |id: &u64| state.lots().iter().any(|lot| lot.id == *id);
            ensure(e.removed.iter().all(open), || "only open lots to be taken away".to_owned())?;
            e.added.map_or(Ok(()), |added| {
                ensure(added.count > 0, || "at least one lot".to_owned())?;
                next_lot(state, added.first_lot)
            })
        }
        LedgerEvent::Corroborated(e) => {
            let granted = state.totals().granted;
            ensure(e.lot.is_none_or(|lot| (1..=granted).contains(&lot)), || {
                "a lot that was granted".to_owned()
            })
        }
        // A sent event is quicker than the answer, or comes after the end.
        LedgerEvent::Confirmed(e) => answered_or_started(state, e.delivery),
        LedgerEvent::Undelivered(e) => {
            ensure(e.code != 0, || "a code that is no success".to_owned())?;
            answered_or_started(state, e.delivery)
        }
        LedgerEvent::TapNoted(_) | LedgerEvent::StrangerReported(_) => Ok(()),
    }
}

/// Whether all these lots are open or held.
fn believed(state: &Ledger, lots: &[u64]) -> Verdict {
    let believed = |id: u64| {
        let held =
            state.outstanding().values().any(|o| matches!(o.funding, Funding::Lot(lot) if lot.id == id));
        held || state.lots().iter().any(|lot| lot.id == id)
    };
    let gone = lots.iter().find(|id| !believed(**id));
    ensure(gone.is_none(), || "only lots that were open or held to become void".to_owned())
}

fn answered_or_started(state: &Ledger, delivery: DeliveryId) -> Verdict {
    match state.outstanding().get(&delivery) {
        Some(_) => under_way(state, delivery, &[Phase::Started]),
        None => Ok(()),
    }
}

fn next_lot(state: &Ledger, lot: u64) -> Verdict {
    let next = state.totals().granted + 1;
    ensure(lot == next, || format!("lot {next}"))
}

fn begins(state: &Ledger, delivery: DeliveryId) -> Verdict {
    ensure(state.suspension().is_none(), || "a ledger that is not suspended".to_owned())?;
    ensure(!state.outstanding().contains_key(&delivery), || {
        format!("delivery {delivery} not to be under way yet")
    })
}

fn under_way(state: &Ledger, delivery: DeliveryId, phases: &[Phase]) -> Verdict {
    let phase = state.outstanding().get(&delivery).map(|known| known.phase);
    ensure(phase.is_some_and(|phase| phases.contains(&phase)), || {
        let words: Vec<&str> = phases.iter().map(|phase| word(*phase)).collect();
        let is = phase.map_or("not under way", word);
        format!("delivery {delivery} to be {}; it is {is}", words.join(" or "))
    })
}

const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Reserved => "reserved",
        Phase::Started => "started",
        Phase::InDoubt => "in doubt",
    }
}

/// Whether a lot still carries the doubt about this delivery.
fn is_suspect(state: &Ledger, delivery: DeliveryId) -> bool {
    let held = state.outstanding().values().filter_map(|known| match known.funding {
        Funding::Lot(lot) => Some(lot),
        _ => None,
    });
    state.lots().iter().copied().chain(held).any(|lot| lot.doubted_by == Some(delivery))
}

#[cfg(test)]
mod tests;
