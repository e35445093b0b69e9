//! The log as a [`cqrs_es::EventStore`], so that `CqrsFramework` runs on it.
//!
//! Optimistic, as that interface wants it: the state is loaded, decided upon outside, and committed if the stream has
//! not moved meanwhile. Our own use cases hand a [`Work`] to the executor instead, which never conflicts.

use std::{collections::HashMap, marker::PhantomData};

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};
use subledger_domain::{Decide, LogName, StreamName};

use crate::{Cause, Executor, Known, Recorded, Stage, Stop, Store, StreamRef, Submission, SubmitError, Work};

/// Events read at a time.
const PAGE: u32 = 1_000;

/// One aggregate type in one log. The aggregate id is what follows the first slash of the stream name.
#[derive(Debug, Clone)]
pub struct LogEventStore<A> {
    store: Store,
    executor: Executor,
    log: LogName,
    by: String,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Decide> LogEventStore<A> {
    /// The aggregates `A` of a log; `by` is what [`Cause::by`] will say.
    pub fn new(store: Store, executor: Executor, log: LogName, by: impl Into<String>) -> Self {
        Self { store, executor, log, by: by.into(), aggregate: PhantomData }
    }

    fn stream(aggregate_id: &str) -> StreamName {
        StreamName::new(A::TYPE, aggregate_id)
    }
}

/// An aggregate as it was loaded.
#[derive(Debug, Clone)]
pub struct LogContext<A> {
    aggregate_id: String,
    aggregate: A,
    version: u64,
}

impl<A: Decide> AggregateContext<A> for LogContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

/// Appends decided events if the stream still stands at the version they were decided on.
struct Commit<A: Decide> {
    stream: StreamName,
    version: u64,
    events: Vec<A::Event>,
}

impl<A: Decide> Work for Commit<A> {
    type Answer = ();
    type Refusal = ();

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<A>(self.stream.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<()>> {
        if stage.version::<A>(&self.stream)? != self.version {
            return Err(Stop::Refuse(()));
        }
        Ok(stage.append::<A>(&self.stream, &self.events)?)
    }
}

impl<A: Decide> EventStore<A> for LogEventStore<A> {
    type AC = LogContext<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let stream = Self::stream(aggregate_id);
        let mut envelopes = Vec::new();
        loop {
            let page = self
                .store
                .read_stream(&self.log, &stream, envelopes.len() as u64, PAGE)
                .await
                .map_err(|error| AggregateError::DatabaseConnectionError(error.into()))?;
            for event in &page {
                envelopes.push(envelope(aggregate_id, event)?);
            }
            if page.len() < PAGE as usize {
                return Ok(envelopes);
            }
        }
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<LogContext<A>, AggregateError<A::Error>> {
        let (aggregate, version) = self
            .store
            .load::<A>(&self.log, &Self::stream(aggregate_id))
            .await
            .map_err(|error| AggregateError::DatabaseConnectionError(error.into()))?;
        Ok(LogContext { aggregate_id: aggregate_id.to_owned(), aggregate, version })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: LogContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let LogContext { aggregate_id, version, .. } = context;
        let stream = Self::stream(&aggregate_id);
        let cause = Cause {
            by: self.by.clone(),
            command: metadata.get("command").cloned().unwrap_or_else(|| A::TYPE.to_owned()),
            request: metadata.get("request").cloned(),
        };
        let work = Commit::<A> { stream, version, events: events.clone() };
        let submission = Submission { log: self.log.clone(), receipt: None, cause, work };
        match self.executor.submit(submission).await {
            Ok(_) => {}
            Err(SubmitError::Refused(())) => return Err(AggregateError::AggregateConflict),
            Err(SubmitError::Fault(what)) => return Err(AggregateError::UnexpectedError(what.into())),
            Err(error) => return Err(AggregateError::DatabaseConnectionError(error.to_string().into())),
        }
        let envelope = |(at, payload)| EventEnvelope {
            aggregate_id: aggregate_id.clone(),
            sequence: version as usize + at + 1,
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().enumerate().map(envelope).collect())
    }
}

fn envelope<A: Decide>(
    aggregate_id: &str,
    event: &Recorded,
) -> Result<EventEnvelope<A>, AggregateError<A::Error>> {
    let payload =
        event.decode::<A::Event>().map_err(|error| AggregateError::DeserializationError(error.into()))?;
    let metadata: Cause = serde_json::from_slice(&event.cause)
        .map_err(|error| AggregateError::DeserializationError(error.into()))?;
    let mut named = HashMap::from([("by".to_owned(), metadata.by), ("command".to_owned(), metadata.command)]);
    named.extend(metadata.request.map(|request| ("request".to_owned(), request)));
    Ok(EventEnvelope {
        aggregate_id: aggregate_id.to_owned(),
        sequence: event.version as usize,
        payload,
        metadata: named,
    })
}
