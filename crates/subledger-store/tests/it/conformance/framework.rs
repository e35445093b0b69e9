//! cqrs-es on our log.

use cqrs_es::{AggregateError, CqrsFramework, EventStore};
use subledger_domain::{
    At, StreamName, TemplateKind,
    binding::{Binding, BindingCommand, BindingError},
    ledger::{Choice, Ledger, LedgerCommand, Taps},
};
use subledger_store::LogEventStore;

use crate::{
    fixture::{Db, START},
    works::{TEMPLATE, all, evidence, ledger, log, subject, user},
};

fn accept() -> At<LedgerCommand> {
    let evidence = evidence("report-1");
    let kind = TemplateKind::OneTime;
    At::new(
        START,
        LedgerCommand::RecordChoice {
            choice: Choice::Accept,
            word: "accept".into(),
            kind,
            taps: Taps::default(),
            window: 300,
            evidence,
        },
    )
}

pub async fn cqrs_es_runs_a_ledger_and_a_binding(db: Db) {
    let (store, executor) = db.node().await;
    let ledgers = LogEventStore::<Ledger>::new(store.clone(), executor.clone(), log("mp"), "app:test");
    let framework = CqrsFramework::new(ledgers.clone(), vec![], ());
    let id = format!("{}/{TEMPLATE}", subject(1));
    for _ in 0..3 {
        framework.execute(&id, accept()).await.unwrap();
    }
    assert_eq!(store.load::<Ledger>(&log("mp"), &ledger(1)).await.unwrap().0.balance(), 3);
    let envelopes = ledgers.load_events(&id).await.unwrap();
    assert_eq!(envelopes.iter().map(|envelope| envelope.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(envelopes[0].metadata["by"], "app:test");

    let bindings = LogEventStore::<Binding>::new(store.clone(), executor, log("mp"), "app:test");
    let framework = CqrsFramework::new(bindings, vec![], ());
    let id = user(1).to_string();
    let bind = BindingCommand::Bind { subject: subject(1), evidence: evidence("bind") };
    framework.execute(&id, At::new(START, bind)).await.unwrap();
    let unbind = || At::new(START, BindingCommand::Unbind { evidence: evidence("unbind") });
    framework.execute(&id, unbind()).await.unwrap();
    let again = framework.execute(&id, unbind()).await;
    assert!(matches!(again, Err(AggregateError::UserError(BindingError::NotBound))));
    let binding = StreamName::binding(user(1));
    assert_eq!(store.load::<Binding>(&log("mp"), &binding).await.unwrap(), (Binding::default(), 2));
    assert_eq!(all(&store, "mp").await.len(), 5);
}

pub async fn an_optimistic_commit_on_an_old_version_conflicts(db: Db) {
    let (store, executor) = db.node().await;
    let ledgers = LogEventStore::<Ledger>::new(store.clone(), executor, log("mp"), "app:test");
    let id = format!("{}/{TEMPLATE}", subject(1));
    CqrsFramework::new(ledgers.clone(), vec![], ()).execute(&id, accept()).await.unwrap();
    let events: Vec<_> =
        ledgers.load_events(&id).await.unwrap().into_iter().map(|envelope| envelope.payload).collect();
    let (one, two) = (ledgers.load_aggregate(&id).await.unwrap(), ledgers.load_aggregate(&id).await.unwrap());
    ledgers.commit(events.clone(), one, Default::default()).await.unwrap();
    let late = ledgers.commit(events, two, Default::default()).await;
    assert!(matches!(late, Err(AggregateError::AggregateConflict)));
    assert_eq!(all(&store, "mp").await.len(), 2);
}
