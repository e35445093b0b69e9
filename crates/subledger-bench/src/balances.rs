//! Balances alone: the log folded into one number per ledger, in memory, with typed decoding.

use std::collections::HashMap;

use subledger_domain::{
    Decide, LogName, StreamName,
    ledger::{Ledger, LedgerEvent},
};
use subledger_store::{Position, Store};

/// Events read at a time.
const PAGE: u32 = 10_000;

/// The balance of every ledger of a log.
pub(crate) async fn fold(store: &Store, log: &LogName) -> anyhow::Result<HashMap<StreamName, u64>> {
    let mut ledgers: HashMap<StreamName, Ledger> = HashMap::new();
    let mut after = Position(0);
    loop {
        let events = store.read_log(log, after, PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.position;
        for event in events {
            if event.stream.aggregate_type() == "ledger" {
                let decoded = event.decode::<LedgerEvent>()?;
                apply(ledgers.entry(event.stream).or_default(), decoded);
            }
        }
    }
    Ok(ledgers.into_iter().map(|(name, ledger)| (name, ledger.balance())).collect())
}

fn apply<A: Decide>(state: &mut A, event: A::Event) {
    state.apply(event);
}
