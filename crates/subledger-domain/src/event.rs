//! What it takes for an event to be stored for ever.
//!
//! On disk an event is a small kind number, a schema number and the JSON of its payload. Numbers and names are
//! never reused; a changed payload gets a new schema number and an upcaster in `decode`. The registry
//! [`ALL_KINDS`] is what the golden-file test walks, so a kind cannot be added without a stored example.

use thiserror::Error;

/// One kind of event, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// The number in the `event` table. Never reused.
    pub number: u16,
    /// The name shown to people and in exports, `<aggregate>.<past tense>`.
    pub name: &'static str,
    /// The newest schema of the payload; older ones are upcast when read.
    pub schema: u16,
}

/// Why stored bytes are not an event.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The number belongs to no kind this version knows for this aggregate.
    #[error("event kind {number} is unknown to this version for aggregate {aggregate}")]
    UnknownKind {
        /// The kind number found.
        number: u16,
        /// The aggregate that was being read.
        aggregate: &'static str,
    },
    /// The schema is newer than this version.
    #[error("event {kind} has schema {found}; this version reads up to {newest}")]
    UnknownSchema {
        /// The kind's name.
        kind: &'static str,
        /// The schema found.
        found: u16,
        /// The newest schema this version reads.
        newest: u16,
    },
    /// The payload does not parse.
    #[error("payload of event {kind} does not parse")]
    Payload {
        /// The kind's name.
        kind: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// An event that can be written to and read from the log.
pub trait StoredEvent: cqrs_es::DomainEvent {
    /// The kinds of this aggregate.
    const KINDS: &'static [EventKind];

    /// This event's kind.
    fn kind(&self) -> EventKind;

    /// The payload as JSON, without the kind.
    fn encode(&self) -> Result<Vec<u8>, serde_json::Error>;

    /// The event stored under `number` and `schema`.
    fn decode(number: u16, schema: u16, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// Every kind of event of every aggregate, in order of number.
pub const ALL_KINDS: &[&[EventKind]] = &[
    crate::channel::ChannelEvent::KINDS,
    crate::binding::BindingEvent::KINDS,
    crate::ledger::LedgerEvent::KINDS,
    crate::message::MessageEvent::KINDS,
    crate::app::AppEvent::KINDS,
];

/// The kind with this number, if this version knows it.
pub fn kind_by_number(number: u16) -> Option<EventKind> {
    ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.number == number).copied()
}

/// The kind with this name, if this version knows it.
pub fn kind_by_name(name: &str) -> Option<EventKind> {
    ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.name == name).copied()
}

/// Declares an aggregate's events: one variant per kind, each with its number, name and schema.
macro_rules! stored_events {
    (
        $(#[$meta:meta])*
        $name:ident of $aggregate:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $number:literal, $kind:literal, $schema:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind", content = "data")]
        pub enum $name {
            $( $(#[$variant_meta])* #[serde(rename = $kind)] $variant($variant), )*
        }

        impl $crate::StoredEvent for $name {
            const KINDS: &'static [$crate::EventKind] = &[
                $( $crate::EventKind { number: $number, name: $kind, schema: $schema }, )*
            ];

            fn kind(&self) -> $crate::EventKind {
                match self {
                    $( Self::$variant(_) => $crate::EventKind { number: $number, name: $kind, schema: $schema }, )*
                }
            }

            fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $( Self::$variant(payload) => serde_json::to_vec(payload), )*
                }
            }

            fn decode(number: u16, schema: u16, payload: &[u8]) -> Result<Self, $crate::DecodeError> {
                match number {
                    $( $number => {
                        if schema != $schema {
                            return Err($crate::DecodeError::UnknownSchema { kind: $kind, found: schema, newest: $schema });
                        }
                        serde_json::from_slice(payload)
                            .map(Self::$variant)
                            .map_err(|source| $crate::DecodeError::Payload { kind: $kind, source })
                    } )*
                    _ => Err($crate::DecodeError::UnknownKind { number, aggregate: $aggregate }),
                }
            }
        }

        impl cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                $crate::StoredEvent::kind(self).name.to_owned()
            }

            fn event_version(&self) -> String {
                $crate::StoredEvent::kind(self).schema.to_string()
            }
        }
    };
}
pub(crate) use stored_events;
