//! An event on its way into the folds: decoded once, however many of them look at it.

use std::{cell::OnceCell, sync::Arc};

use subledger_domain::{
    DecodeError, LogName, MessageId, StoredEvent, StreamName, SubjectId, TemplateId, Timestamp,
    ledger::LedgerEvent, message::MessageEvent,
};
use subledger_store::{Position, Recorded};

use super::{FoldError, Stamp};

/// Whose ledger a stream is.
pub(crate) type LedgerKey = (TemplateId, SubjectId);

/// An event of a ledger, and whose.
type OfLedger<'a> = (&'a Arc<LedgerKey>, &'a Arc<LedgerEvent>);

/// What a stream is about, as far as more than one fold wants to know. Worked out once per stream in a rebuild.
#[derive(Debug, Clone)]
pub(crate) enum About {
    Ledger(Arc<LedgerKey>),
    Message(MessageId),
    /// A ledger or a message by its type, but not named as such streams are.
    Misnamed,
    Other,
}

impl About {
    pub(crate) fn of(stream: &StreamName) -> Self {
        match stream.aggregate_type() {
            "ledger" => match stream.ledger_parts() {
                Some((subject, template)) => Self::Ledger(Arc::new((template, subject))),
                None => Self::Misnamed,
            },
            "message" => stream.message_id().map_or(Self::Misnamed, Self::Message),
            _ => Self::Other,
        }
    }
}

/// An event that is to be folded.
pub(crate) struct Incoming<'a> {
    pub(crate) log: &'a LogName,
    pub(crate) stamp: Stamp,
    pub(crate) stream: &'a StreamName,
    kind: u16,
    schema: u16,
    data: &'a [u8],
    about: About,
    ledger: OnceCell<Arc<LedgerEvent>>,
    message: OnceCell<Arc<MessageEvent>>,
}

impl<'a> Incoming<'a> {
    /// From the parts of a stored event; `event` is (position, kind, schema, recorded at).
    pub(crate) fn new(
        log: &'a LogName,
        stream: &'a StreamName,
        about: About,
        event: (Position, u16, u16, Timestamp),
        data: &'a [u8],
    ) -> Self {
        let (position, kind, schema, at) = event;
        Self {
            log,
            stamp: Stamp { position, at },
            stream,
            kind,
            schema,
            data,
            about,
            ledger: OnceCell::new(),
            message: OnceCell::new(),
        }
    }

    /// The event, decoded as one of aggregate event type `E`; for folds that no other fold shares it with.
    pub(crate) fn decode<E: StoredEvent>(&self) -> Result<E, DecodeError> {
        E::decode(self.kind, self.schema, self.data)
    }

    /// The event of a ledger, and whose.
    pub(crate) fn ledger(&self) -> Result<Option<OfLedger<'_>>, FoldError> {
        match &self.about {
            About::Ledger(key) => Ok(Some((key, self.shared(&self.ledger)?))),
            About::Misnamed if self.stream.aggregate_type() == "ledger" => Err(self.misnamed()),
            _ => Ok(None),
        }
    }

    /// The event of a message, and which.
    pub(crate) fn message(&self) -> Result<Option<(MessageId, &Arc<MessageEvent>)>, FoldError> {
        match &self.about {
            About::Message(id) => Ok(Some((*id, self.shared(&self.message)?))),
            About::Misnamed if self.stream.aggregate_type() == "message" => Err(self.misnamed()),
            _ => Ok(None),
        }
    }

    /// The stream is not named as streams of its aggregate are.
    pub(crate) fn misnamed(&self) -> FoldError {
        FoldError::Stream(self.stream.to_string())
    }

    fn shared<'s, E: StoredEvent>(&self, cell: &'s OnceCell<Arc<E>>) -> Result<&'s Arc<E>, DecodeError> {
        match cell.get() {
            Some(event) => Ok(event),
            None => {
                let event = Arc::new(self.decode()?);
                Ok(cell.get_or_init(|| event))
            }
        }
    }
}

impl<'a> From<&'a Recorded> for Incoming<'a> {
    fn from(recorded: &'a Recorded) -> Self {
        let event = (recorded.position, recorded.kind, recorded.schema, recorded.recorded_at);
        Self::new(&recorded.log, &recorded.stream, About::of(&recorded.stream), event, &recorded.data)
    }
}
