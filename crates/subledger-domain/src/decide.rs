//! How an aggregate decides.
//!
//! cqrs-es gives the vocabulary, but its `handle` is async because its aggregates may call services. Ours call
//! nothing, so the decision is the synchronous [`Decide::decide`] and `handle` merely forwards to it. That is what lets
//! the executor decide hundreds of commands inside one database transaction without ever yielding.

use cqrs_es::Aggregate;

use crate::{StoredEvent, Timestamp};

/// A command together with the moment at which it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<C> {
    /// The time handed to the decision; the only clock the domain knows.
    pub now: Timestamp,
    /// What is asked.
    pub command: C,
}

impl<C> At<C> {
    /// `command` decided at `now`.
    pub fn new(now: Timestamp, command: C) -> Self {
        Self { now, command }
    }
}

/// An aggregate whose decision is a pure function of its state and a command.
pub trait Decide:
    Aggregate<Services = (), Command = At<Self::Ask>, Event: StoredEvent, Error: Send> + Clone + 'static
{
    /// Which meaning the state has, from 1: what a stored state (a snapshot) is marked with. Raise it whenever the state
    /// begins to remember or to mean something else; stored states with another mark are not used, and the events are
    /// folded anew. That is what keeps a snapshot a mere baseline.
    const STATE: u16 = 1;

    /// The command, without the time.
    type Ask: Send;

    /// The events that `ask` leads to, or why it is refused. Never changes `self`; an empty list means that
    /// there is nothing to do.
    fn decide(&self, ask: Self::Ask, now: Timestamp) -> Result<Vec<Self::Event>, Self::Error>;
}

/// Implements [`cqrs_es::Aggregate`] by forwarding to [`Decide::decide`] and an inherent `fold(&mut self, &Event)`.
macro_rules! aggregate {
    ($type:ty, $name:literal, $ask:ty, $event:ty, $error:ty) => {
        impl cqrs_es::Aggregate for $type {
            const TYPE: &'static str = $name;
            type Command = $crate::At<$ask>;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                _services: &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in $crate::Decide::decide(self, command.command, command.now)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.fold(&event);
            }
        }
    };
}
pub(crate) use aggregate;
