//! The balances of a log, folded from its events and kept nowhere: how fast the books themselves can be read, and a figure to
//! hold against any read model.

use subledger_domain::{
    LogName, StoredEvent,
    ledger::{Ledger, LedgerEvent, Totals},
};
use subledger_store::{NewerEvent, Position, Scan, Store, StoreError};

use crate::{ProjectionError, batch::with_causes};

/// Events read at a time.
const BATCH: usize = 4_096;

/// Where all grants of a log are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balances {
    /// The position up to which the log was read: as many events, because positions are dense.
    pub position: Position,
    /// How many ledgers there are.
    pub ledgers: u64,
    /// The sums over all ledgers.
    pub totals: Totals,
}

/// Folds every ledger of a log, from its first event to its end. Takes memory for every ledger.
pub async fn rebuild_balances(store: &Store, log: &LogName) -> Result<Balances, ProjectionError> {
    let head = store.head(log).await?.position;
    let scan = store.scan(log, Position(0), head, BATCH).await?;
    let log = log.clone();
    match tokio::task::spawn_blocking(move || fold(&log, scan, head)).await {
        Ok(balances) => balances,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Corrupt("the reading was cancelled".to_owned()).into()),
    }
}

fn fold(log: &LogName, mut scan: Scan, head: Position) -> Result<Balances, ProjectionError> {
    // By number, because the numbers of an aggregate have gaps: other aggregates' lie between.
    let last = LedgerEvent::KINDS.iter().map(|kind| usize::from(kind.number)).max().unwrap_or_default();
    let mut concerns = vec![false; last + 1];
    LedgerEvent::KINDS.iter().for_each(|kind| concerns[usize::from(kind.number)] = true);
    // Streams are numbered densely: a table by number is the quickest map there is. Zero is "no ledger".
    let mut places: Vec<u32> = Vec::new();
    let mut ledgers: Vec<Ledger> = Vec::new();
    let mut position = Position(0);
    while let Some(chunk) = scan.blocking_next() {
        let chunk = chunk?;
        for event in &chunk.events {
            position = event.position;
            if !concerns.get(usize::from(event.kind)).copied().unwrap_or_default() {
                continue;
            }
            let decoded = LedgerEvent::decode(event.kind, event.schema, chunk.payload(event));
            let decoded = decoded.map_err(|error| match NewerEvent::of(log, position, &error) {
                Some(event) => StoreError::Newer(event),
                None => {
                    StoreError::Corrupt(format!("log {log}, position {position}: {}", with_causes(&error)))
                }
            })?;
            let number = usize::try_from(event.stream).unwrap_or_default();
            if places.len() <= number {
                places.resize(number + 1, 0);
            }
            if places[number] == 0 {
                ledgers.push(Ledger::default());
                places[number] = u32::try_from(ledgers.len()).unwrap_or(u32::MAX);
            }
            if let Some(ledger) = ledgers.get_mut(places[number] as usize - 1) {
                ledger.tally(&decoded);
            }
        }
    }
    if position != head {
        return Err(
            StoreError::Corrupt(format!("log {log} ends at position {position}, not at {head}")).into()
        );
    }
    let mut totals = Totals::default();
    for one in ledgers.iter().map(Ledger::totals) {
        totals.granted += one.granted;
        totals.open += one.open;
        totals.reserved += one.reserved;
        totals.in_doubt += one.in_doubt;
        totals.consumed += one.consumed;
        totals.voided += one.voided;
    }
    Ok(Balances { position, ledgers: ledgers.len() as u64, totals })
}
