//! Work: one command as the executor sees it.
//!
//! A [`Work`] names the streams it needs, then decides on a [`Stage`]: copies of their states on which the events of
//! this and of earlier commands of the batch are already applied. Whatever it appends, and every [`Effect`], is written
//! in one transaction together with its receipt, or not at all.
//!
//! `decide` may run more than once for one submission: after a batch is halved, or when it asks for a stream that was
//! not loaded. It must therefore be a pure function of the stage, and it gets `&self`.

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use subledger_domain::{Decide, DecodeError, LogName, StoredEvent, StreamName, Timestamp};

use crate::{Cause, Effect, Position};

/// A state of any aggregate, behind a vtable small enough to cache.
pub trait AnyState: Any + Send + Sync {
    /// A copy that may be changed.
    fn boxed_clone(&self) -> Box<dyn AnyState>;
    /// As [`Any`], to downcast.
    fn as_any(&self) -> &dyn Any;
    /// As mutable [`Any`], to downcast.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// Applies one stored event.
    fn fold(&mut self, kind: u16, schema: u16, data: &[u8]) -> Result<(), DecodeError>;
    /// The state as text, for a snapshot: its mark ([`Decide::STATE`]), a space, JSON.
    fn snapshot(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// About how many bytes the state takes: as many as its snapshot. One that cannot be written weighs nothing.
    fn weight(&self) -> usize {
        self.snapshot().map_or(0, |text| text.len())
    }
}

impl<A: Decide> AnyState for A {
    fn boxed_clone(&self) -> Box<dyn AnyState> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn fold(&mut self, kind: u16, schema: u16, data: &[u8]) -> Result<(), DecodeError> {
        self.apply(A::Event::decode(kind, schema, data)?);
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = format!("{} ", A::STATE).into_bytes();
        serde_json::to_writer(&mut text, self)?;
        Ok(text)
    }
}

/// The state in a snapshot of the same mark; none in any other. The mark stands before the JSON and not inside it, so that
/// a version that knows of no marks cannot take such a snapshot for a state with all its fields missing.
fn thawed<A: Decide>(snapshot: &[u8]) -> Result<Option<Box<dyn AnyState>>, serde_json::Error> {
    let mark = format!("{} ", A::STATE);
    let Some(json) = snapshot.strip_prefix(mark.as_bytes()) else { return Ok(None) };
    Ok(Some(Box::new(serde_json::from_slice::<A>(json)?)))
}

/// Makes a state from a snapshot, if the snapshot is of this version's kind of state.
pub(crate) type Thaw = fn(&[u8]) -> Result<Option<Box<dyn AnyState>>, serde_json::Error>;

/// A stream a work needs, and how to build its state.
#[derive(Clone)]
pub struct StreamRef {
    /// The stream.
    pub name: StreamName,
    /// The state before the first event.
    pub(crate) empty: fn() -> Box<dyn AnyState>,
    /// The state in a snapshot.
    pub(crate) thaw: Thaw,
}

impl StreamRef {
    /// The stream `name`, which holds an aggregate `A`.
    pub fn of<A: Decide>(name: StreamName) -> Self {
        Self { name, empty: || Box::new(A::default()), thaw: thawed::<A> }
    }
}

impl fmt::Debug for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// Why a decision stops.
#[derive(Debug)]
pub enum Stop<R> {
    /// The command is refused; nothing is recorded.
    Refuse(R),
    /// These streams are needed as well; load them and decide again.
    Need(Vec<StreamRef>),
    /// A defect: an event that cannot be encoded, a stream of another type.
    Fault(String),
}

/// What [`Stage::state`] and [`Stage::ask`] may fail with; converts into any [`Stop`].
#[derive(Debug)]
pub enum StageError {
    /// The stream is not loaded.
    Missing(StreamRef),
    /// A defect.
    Fault(String),
}

impl<R> From<StageError> for Stop<R> {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Missing(stream) => Self::Need(vec![stream]),
            StageError::Fault(what) => Self::Fault(what),
        }
    }
}

/// One command: what it needs and what it decides.
pub trait Work: Send + Sync + 'static {
    /// What the caller gets, also when the command is repeated: it is kept in the receipt.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Why it may be refused.
    type Refusal: Send + 'static;

    /// The streams it needs, as far as can be told from what is `known`. Called once before and once after the first
    /// load, so a work may name a binding first and, knowing it, the ledger behind it.
    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef>;

    /// Decides. See the module head: may run more than once.
    fn decide(&self, stage: &mut Stage<'_>) -> Result<Self::Answer, Stop<Self::Refusal>>;
}

/// A command on its way to the executor.
#[derive(Debug)]
pub struct Submission<W> {
    /// The log it writes to.
    pub log: LogName,
    /// Makes a repetition harmless: same id and fingerprint give the stored answer, another fingerprint is refused.
    pub receipt: Option<ReceiptKey>,
    /// Who asks and why.
    pub cause: Cause,
    /// The work.
    pub work: W,
}

/// The identity of a command, for idempotency within its log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiptKey {
    /// The command id, scoped by the caller's app: `send:<app>:<idempotency key>`. At most 300 bytes. Kept as a hash.
    pub id: String,
    /// BLAKE3 of the canonical body, of which the first half is kept.
    pub fingerprint: [u8; 32],
}

/// The first half of a BLAKE3 hash. Two texts that share it are not found by chance, nor by anybody who is given one of them.
pub(crate) type Digest = [u8; 16];

/// A [`ReceiptKey`] as it is stored and compared: ids are up to twenty times as long as their digests, and every receipt
/// stands in a table and in its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiptDigest {
    /// Of the command id.
    pub(crate) key: Digest,
    /// Of the body.
    pub(crate) fingerprint: Digest,
}

impl From<&ReceiptKey> for ReceiptDigest {
    fn from(key: &ReceiptKey) -> Self {
        Self { key: half(blake3::hash(key.id.as_bytes()).as_bytes()), fingerprint: half(&key.fingerprint) }
    }
}

fn half(hash: &[u8; 32]) -> Digest {
    std::array::from_fn(|at| hash[at])
}

/// A command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    /// The answer.
    pub answer: T,
    /// The newest position of the log when this command was recorded: wait for it to read your own write.
    pub position: Position,
    /// Whether this is the stored answer of an earlier, identical command.
    pub replayed: bool,
}

/// An event decided but not written yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) stream: StreamName,
    pub(crate) version: u64,
    pub(crate) kind: u16,
    pub(crate) schema: u16,
    pub(crate) data: Vec<u8>,
}

/// A state and the version it stands at.
#[derive(Clone)]
pub(crate) struct Versioned {
    pub(crate) version: u64,
    pub(crate) state: Arc<dyn AnyState>,
}

/// The states known to the executor for one log, by stream.
pub(crate) type States = HashMap<StreamName, Versioned>;

/// A view of loaded states, for [`Work::streams`].
pub struct Known<'a> {
    pub(crate) states: &'a States,
}

impl Known<'_> {
    /// The state of a stream, if it is loaded and holds an `A`.
    pub fn state<A: Decide>(&self, name: &StreamName) -> Option<&A> {
        self.states.get(name)?.state.as_any().downcast_ref()
    }
}

struct Copy {
    version: u64,
    state: Box<dyn AnyState>,
}

/// Where one command decides: copies of the states it touches, and what it appends.
pub struct Stage<'a> {
    now: Timestamp,
    states: &'a States,
    copies: HashMap<StreamName, Copy>,
    drafts: Vec<Draft>,
    effects: Vec<Effect>,
}

/// What one command leaves behind when it is accepted.
pub(crate) struct Staged {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) states: Vec<(StreamName, Versioned)>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(now: Timestamp, states: &'a States) -> Self {
        Self { now, states, copies: HashMap::new(), drafts: Vec::new(), effects: Vec::new() }
    }

    /// The time of this decision; what [`crate::Recorded::recorded_at`] will say.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The state of a stream, with what this command has appended so far.
    pub fn state<A: Decide>(&self, name: &StreamName) -> Result<&A, StageError> {
        let any = match self.copies.get(name) {
            Some(copy) => copy.state.as_any(),
            None => match self.states.get(name) {
                Some(versioned) => versioned.state.as_any(),
                None => return Err(StageError::Missing(StreamRef::of::<A>(name.clone()))),
            },
        };
        any.downcast_ref().ok_or_else(|| wrong_type(name))
    }

    /// The version of a stream, with what this command has appended so far.
    pub(crate) fn version<A: Decide>(&self, name: &StreamName) -> Result<u64, StageError> {
        match (self.copies.get(name), self.states.get(name)) {
            (Some(copy), _) => Ok(copy.version),
            (None, Some(versioned)) => Ok(versioned.version),
            (None, None) => Err(StageError::Missing(StreamRef::of::<A>(name.clone()))),
        }
    }

    /// Lets the aggregate decide and applies its events. The inner result is the aggregate's own: a refusal leaves
    /// the stage unchanged, so a work may go on with the next recipient.
    pub fn ask<A: Decide>(
        &mut self,
        name: &StreamName,
        ask: A::Ask,
    ) -> Result<Result<Vec<A::Event>, A::Error>, StageError> {
        let events = match self.state::<A>(name)?.decide(ask, self.now) {
            Ok(events) => events,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !events.is_empty() {
            self.append::<A>(name, &events)?;
        }
        Ok(Ok(events))
    }

    /// Appends events that were decided elsewhere. Only for [`cqrs_es::EventStore`] and tests; works use [`Self::ask`].
    pub(crate) fn append<A: Decide>(
        &mut self,
        name: &StreamName,
        events: &[A::Event],
    ) -> Result<(), StageError> {
        let encoded: Result<Vec<_>, _> =
            events.iter().map(|event| Ok((event.kind(), event.encode()?))).collect();
        let encoded = encoded.map_err(|error: serde_json::Error| StageError::Fault(error.to_string()))?;
        if !self.copies.contains_key(name) {
            let Some(versioned) = self.states.get(name) else {
                return Err(StageError::Missing(StreamRef::of::<A>(name.clone())));
            };
            let copy = Copy { version: versioned.version, state: versioned.state.boxed_clone() };
            self.copies.insert(name.clone(), copy);
        }
        let Some(copy) = self.copies.get_mut(name) else { return Err(wrong_type(name)) };
        let Some(state) = copy.state.as_any_mut().downcast_mut::<A>() else { return Err(wrong_type(name)) };
        for (event, (kind, data)) in events.iter().zip(encoded) {
            state.apply(event.clone());
            copy.version += 1;
            self.drafts.push(Draft {
                stream: name.clone(),
                version: copy.version,
                kind: kind.number,
                schema: kind.schema,
                data,
            });
        }
        Ok(())
    }

    /// Adds a row to write with the events.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Ends the decision: what is to be written, and the states as they will be.
    pub(crate) fn finish(self) -> Staged {
        let states = self
            .copies
            .into_iter()
            .map(|(name, copy)| (name, Versioned { version: copy.version, state: Arc::from(copy.state) }))
            .collect();
        Staged { drafts: self.drafts, effects: self.effects, states }
    }
}

fn wrong_type(name: &StreamName) -> StageError {
    StageError::Fault(format!("stream {name} holds another aggregate"))
}
