//! What it takes for an event to be stored for ever.
//!
//! On disk an event is a small kind number, a schema number and the JSON of its payload. Numbers and names are
//! never reused; a changed payload gets a new schema number and one more [`Upcaster`] in the kind's chain, so that every
//! schema ever written stays readable. The registry [`ALL_KINDS`] is what the golden-file test walks, so a kind cannot be
//! added without a stored example.

mod upcast;

use thiserror::Error;

pub use upcast::Upcaster;
pub(crate) use upcast::payload;

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
///
/// What [`Self::is_newer`] says is the one distinction readers act on: an event of a newer version is sound and waits for
/// an upgrade; anything else means that the stored bytes are not what any version wrote.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The number belongs to no kind of any aggregate this version knows.
    #[error(
        "event kind {number} is unknown to this version, found in a stream of aggregate {aggregate}; a newer version wrote it"
    )]
    UnknownKind {
        /// The kind number found.
        number: u16,
        /// The aggregate that was being read.
        aggregate: &'static str,
    },
    /// The kind is known, but belongs to another aggregate.
    #[error("event {kind} cannot stand in a stream of aggregate {aggregate}")]
    ForeignKind {
        /// The kind's name.
        kind: &'static str,
        /// The aggregate that was being read.
        aggregate: &'static str,
    },
    /// The schema is newer than this version.
    #[error("event {kind} has schema {found}; this version reads up to {newest}")]
    NewerSchema {
        /// The kind's name.
        kind: &'static str,
        /// The schema found.
        found: u16,
        /// The newest schema this version reads.
        newest: u16,
    },
    /// Schemas are counted from 1.
    #[error("event {kind} has schema 0; schemas are counted from 1")]
    NoSchema {
        /// The kind's name.
        kind: &'static str,
    },
    /// The payload is not what its schema says.
    #[error("payload of event {kind}, schema {schema}, does not parse")]
    Payload {
        /// The kind's name.
        kind: &'static str,
        /// The schema found.
        schema: u16,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The payload cannot be brought to the next schema.
    #[error("payload of event {kind} cannot be brought from schema {schema} to the next: {reason}")]
    Upcast {
        /// The kind's name.
        kind: &'static str,
        /// The schema whose upcaster refused.
        schema: u16,
        /// What it missed.
        reason: String,
    },
}

impl DecodeError {
    /// Whether a newer version of the program wrote this, so that an upgrade would make it readable. Otherwise the stored
    /// bytes are broken.
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::UnknownKind { .. } | Self::NewerSchema { .. })
    }

    /// The number belongs to no kind of `aggregate`.
    pub(crate) fn no_kind_of(aggregate: &'static str, number: u16) -> Self {
        match kind_by_number(number) {
            Some(kind) => Self::ForeignKind { kind: kind.name, aggregate },
            None => Self::UnknownKind { number, aggregate },
        }
    }
}

/// An event that can be written to and read from the log.
pub trait StoredEvent: cqrs_es::DomainEvent {
    /// The kinds of this aggregate.
    const KINDS: &'static [EventKind];

    /// This event's kind.
    fn kind(&self) -> EventKind;

    /// The payload as JSON, without the kind.
    fn encode(&self) -> Result<Vec<u8>, serde_json::Error>;

    /// The event stored under `number` and `schema`, which may be any schema from 1 to the newest.
    fn decode(number: u16, schema: u16, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// Every kind of event of every aggregate; in order of number within each.
pub const ALL_KINDS: &[&[EventKind]] = &[
    crate::channel::ChannelEvent::KINDS,
    crate::binding::BindingEvent::KINDS,
    crate::ledger::LedgerEvent::KINDS,
    crate::message::MessageEvent::KINDS,
    crate::app::AppEvent::KINDS,
    crate::person::PersonEvent::KINDS,
    crate::platform::PlatformEvent::KINDS,
];

/// The kind with this number, if this version knows it.
pub fn kind_by_number(number: u16) -> Option<EventKind> {
    ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.number == number).copied()
}

/// The kind with this name, if this version knows it.
pub fn kind_by_name(name: &str) -> Option<EventKind> {
    ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.name == name).copied()
}

/// Declares an aggregate's events: one variant per kind, each with its number, name and newest schema.
///
/// A kind whose schema is not 1 lists the upcasters that lead there, oldest first:
/// `Granted = 30, "ledger.granted", 3, from [granted_1, granted_2];` reads schemas 1, 2 and 3.
macro_rules! stored_events {
    (
        $(#[$meta:meta])*
        $name:ident of $aggregate:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $number:literal, $kind:literal, $schema:literal
               $(, from [$($upcaster:path),+ $(,)?])?; )*
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
                        const OLDER: &[$crate::Upcaster] = &[$($($upcaster),+)?];
                        const { assert!(OLDER.len() + 1 == $schema, "one upcaster for each schema before the newest") };
                        $crate::event::payload($kind, OLDER, schema, payload).map(Self::$variant)
                    } )*
                    _ => Err($crate::DecodeError::no_kind_of($aggregate, number)),
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

#[cfg(test)]
mod tests;
