//! A message as it was, with its deliveries.
//!
//! What became of a recipient stands in its ledger, and the message does not say which ledgers those are. But the
//! reservations are recorded before the plan that counts them, in practice in one commit right before it. So the log is
//! read backwards from each plan until as many are found as it counts; from there each ledger is read on.

use std::collections::BTreeMap;

use subledger_domain::{
    LogName, MessageId, StreamName,
    ledger::LedgerEvent,
    message::{MessageEvent, Planned},
};
use subledger_projection::{ProjectionName, Replay, ReplayError};
use subledger_store::{Position, Recorded};

use super::{
    HistoryError,
    states::{History, PastMessage},
};

/// Events read backwards in one go.
const BACK: u32 = 1_000;

/// A part of the log that holds reservations of a message.
struct Stretch {
    /// Not at or before this position.
    after: Position,
    /// Up to this position.
    until: Position,
    /// How many, once the plan that counts them is reached.
    wanted: Option<u32>,
}

impl History {
    /// One message; none where it had not been accepted.
    pub async fn message(
        &self,
        log: &LogName,
        id: MessageId,
        at: Position,
    ) -> Result<Option<PastMessage>, HistoryError> {
        // Later plans, too: they bound the search for reservations that were recorded before them.
        let own = self.all_events(log, &StreamName::message(id), Position(u64::MAX)).await?;
        let then = own.partition_point(|event| event.position <= at);
        if then == 0 {
            return Ok(None);
        }
        let mut ledgers: BTreeMap<StreamName, u64> = BTreeMap::new();
        for stretch in stretches(&own, at)? {
            for reservation in self.reservations(log, id, &stretch).await? {
                let before = reservation.version.saturating_sub(1);
                let after = ledgers.entry(reservation.stream).or_insert(before);
                *after = before.min(*after);
            }
        }
        let ledgers: Vec<(StreamName, u64)> = ledgers.into_iter().collect();
        let mut events: Vec<Recorded> = own.into_iter().take(then).collect();
        self.each(log, &ledgers, at, |event| {
            if named(&event, id)?.is_some() {
                events.push(event);
            }
            Ok(())
        })
        .await?;
        events.sort_by_key(|event| event.position);
        let mut replay = Replay::new(ProjectionName::Messages);
        replay.apply(&events)?;
        let row = replay.messages().into_iter().next();
        Ok(row.map(|row| PastMessage { row, deliveries: replay.deliveries(), events }))
    }

    /// The events of ledgers that begin deliveries of this message.
    async fn reservations(
        &self,
        log: &LogName,
        id: MessageId,
        stretch: &Stretch,
    ) -> Result<Vec<Recorded>, HistoryError> {
        let wanted = stretch.wanted.map_or(usize::MAX, |wanted| wanted as usize);
        let mut found = Vec::new();
        let mut from = stretch.until;
        while found.len() < wanted && from > stretch.after {
            // One commit: as many events as reservations are left, and the plan or the acceptance beside them.
            let left = u32::try_from(wanted - found.len()).unwrap_or(BACK).saturating_add(1);
            let events = self.store.read_back(log, from, left.min(BACK)).await?;
            let Some(oldest) = events.last().map(|event| event.position) else { break };
            for event in events.into_iter().filter(|event| event.position > stretch.after) {
                if matches!(named(&event, id)?, Some(LedgerEvent::Reserved(_) | LedgerEvent::Admitted(_))) {
                    found.push(event);
                }
            }
            from = Position(oldest.0.saturating_sub(1));
        }
        match stretch.wanted {
            Some(wanted) if found.len() < wanted as usize => {
                Err(HistoryError::Replay(ReplayError::NotApplicable {
                    position: stretch.until,
                    reason: format!(
                        "the plan of message {id} counts {wanted} reservations, the log before it holds {}",
                        found.len()
                    ),
                }))
            }
            _ => Ok(found),
        }
    }
}

/// Where the reservations of a message stand that were recorded up to a position.
fn stretches(own: &[Recorded], at: Position) -> Result<Vec<Stretch>, HistoryError> {
    let mut stretches = Vec::new();
    let mut after = own.first().map_or(at, |event| event.position);
    let mut planned = false;
    for event in own {
        let Some(Planned { reserved, .. }) = plan(event)? else { continue };
        planned = true;
        if after >= at {
            break;
        }
        // In the middle of a plan nobody knows yet how many there will be.
        let (until, wanted) =
            if event.position <= at { (event.position, Some(reserved)) } else { (at, None) };
        stretches.push(Stretch { after, until, wanted });
        after = event.position;
    }
    if !planned && after < at {
        stretches.push(Stretch { after, until: at, wanted: None });
    }
    Ok(stretches)
}

fn plan(event: &Recorded) -> Result<Option<Planned>, HistoryError> {
    match event.decode::<MessageEvent>() {
        Ok(MessageEvent::Planned(planned)) => Ok(Some(planned)),
        Ok(_) => Ok(None),
        Err(error) => Err(unreadable(event, &error)),
    }
}

/// The event, if it is a ledger's and about a delivery of this message. Others are not even decoded.
fn named(event: &Recorded, id: MessageId) -> Result<Option<LedgerEvent>, HistoryError> {
    let name = id.to_string();
    let mentions = event.data.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    if !mentions || event.stream.aggregate_type() != "ledger" {
        return Ok(None);
    }
    let event: LedgerEvent = event.decode().map_err(|error| unreadable(event, &error))?;
    Ok(Some(event).filter(|event| event.delivery().is_some_and(|delivery| delivery.message == id)))
}

pub(super) fn unreadable(event: &Recorded, error: &subledger_domain::DecodeError) -> HistoryError {
    HistoryError::Replay(ReplayError::undecoded(event, error))
}
