//! Small commands for the tests, made of the domain's own aggregates.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subledger_domain::{
    Decide, DeliveryId, Evidence, EvidenceSource, LogName, MessageId, StreamName, SubjectId, TemplateId,
    TemplateKind, Timestamp, UserRef,
    binding::{Binding, BindingCommand},
    ledger::{Choice, Ledger, LedgerCommand, SettingsOff, Taps, UnknownBalance},
};
use subledger_store::{
    Cause, Done, Effect, Executor, Known, QueueRow, ReceiptKey, Recorded, Stage, Stop, Store, StreamRef,
    Submission, SubmitError, Work,
};

pub const TEMPLATE: &str = "template-0001";

pub fn log(name: &str) -> LogName {
    LogName::new(name)
}

pub fn template() -> TemplateId {
    TEMPLATE.parse().unwrap()
}

pub fn subject(number: u128) -> SubjectId {
    SubjectId::from_bytes(number.to_be_bytes())
}

pub fn user(number: u128) -> UserRef {
    UserRef::from_bytes(number.to_be_bytes())
}

pub fn delivery(message: u128, index: u32) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes(message.to_be_bytes()), index)
}

pub fn ledger(number: u128) -> StreamName {
    StreamName::ledger(subject(number), &template())
}

pub fn evidence(reference: &str) -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, reference, crate::fixture::START)
}

pub fn cause(command: &str) -> Cause {
    Cause { by: "app:test".into(), command: command.into(), request: None }
}

pub fn receipt(id: &str, body: u8) -> ReceiptKey {
    ReceiptKey { id: id.into(), fingerprint: [body; 32] }
}

/// Records one accepted tap; the answer is the balance after it.
#[derive(Clone)]
pub struct Grant(pub StreamName);

impl Work for Grant {
    type Answer = u64;
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.0.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<u64, Stop<String>> {
        let ask = LedgerCommand::RecordChoice {
            choice: Choice::Accept,
            word: "accept".into(),
            kind: TemplateKind::OneTime,
            taps: Taps::default(),
            window: 300,
            evidence: evidence("report-1"),
        };
        stage.ask::<Ledger>(&self.0, ask)?.map_err(|error| Stop::Refuse(error.to_string()))?;
        Ok(stage.state::<Ledger>(&self.0)?.balance())
    }
}

/// Sets a grant aside; refused if none is left. The answer is the lots that are left.
#[derive(Clone)]
pub struct Reserve(pub StreamName, pub DeliveryId);

impl Work for Reserve {
    type Answer = u64;
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.0.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<u64, Stop<String>> {
        let ask = LedgerCommand::Reserve {
            delivery: self.1,
            kind: TemplateKind::OneTime,
            unknown_balance: UnknownBalance::Refuse,
            user: None,
        };
        stage.ask::<Ledger>(&self.0, ask)?.map_err(|error| Stop::Refuse(error.code().to_owned()))?;
        Ok(stage.state::<Ledger>(&self.0)?.balance())
    }
}

/// Binds a user, then grants to whom the user is bound: the ledger is known only when the binding is.
pub struct GrantByUser(pub UserRef);

impl GrantByUser {
    fn bound(binding: Option<&Binding>) -> Option<StreamName> {
        Some(StreamName::ledger(binding?.subject()?, &template()))
    }
}

impl Work for GrantByUser {
    type Answer = u64;
    type Refusal = String;

    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef> {
        let binding = StreamName::binding(self.0);
        let ledger = Self::bound(known.state::<Binding>(&binding));
        let ledger = ledger.map(StreamRef::of::<Ledger>);
        std::iter::once(StreamRef::of::<Binding>(binding)).chain(ledger).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<u64, Stop<String>> {
        let binding = stage.state::<Binding>(&StreamName::binding(self.0))?;
        let ledger = Self::bound(Some(binding)).ok_or_else(|| Stop::Refuse("unbound".into()))?;
        Grant(ledger).decide(stage)
    }
}

/// Binds a user.
pub struct Bind(pub UserRef, pub SubjectId);

impl Work for Bind {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Binding>(StreamName::binding(self.0))]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let ask = BindingCommand::Bind { subject: self.1, evidence: evidence("bind") };
        let asked = stage.ask::<Binding>(&StreamName::binding(self.0), ask)?;
        asked.map(drop).map_err(|error| Stop::Refuse(error.to_string()))
    }
}

/// Writes rows and no events.
#[derive(Clone)]
pub struct Effects(pub Vec<Effect>);

impl Work for Effects {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        Vec::new()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        self.0.iter().cloned().for_each(|effect| stage.effect(effect));
        Ok(())
    }
}

type Decision<A> = dyn Fn(&mut Stage<'_>) -> Result<A, Stop<String>> + Send + Sync;

/// Whatever a test wants to decide.
pub struct Custom<A> {
    pub streams: Vec<StreamRef>,
    pub decide: Arc<Decision<A>>,
}

impl<A> Custom<A> {
    pub fn new(
        streams: Vec<StreamRef>,
        decide: impl Fn(&mut Stage<'_>) -> Result<A, Stop<String>> + Send + Sync + 'static,
    ) -> Self {
        Self { streams, decide: Arc::new(decide) }
    }
}

impl<A: Serialize + for<'a> Deserialize<'a> + Send + 'static> Work for Custom<A> {
    type Answer = A;
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        self.streams.clone()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<A, Stop<String>> {
        (self.decide)(stage)
    }
}

pub type Outcome<W> = Result<Done<<W as Work>::Answer>, SubmitError<<W as Work>::Refusal>>;

pub async fn submit<W: Work>(executor: &Executor, name: &str, work: W) -> Outcome<W> {
    submit_with(executor, name, None, work).await
}

pub async fn submit_with<W: Work>(
    executor: &Executor,
    name: &str,
    receipt: Option<ReceiptKey>,
    work: W,
) -> Outcome<W> {
    executor.submit(Submission { log: log(name), receipt, cause: cause("test"), work }).await
}

pub fn row(id: DeliveryId, whose: u128, due_at: Timestamp) -> QueueRow {
    QueueRow {
        delivery: id,
        subject: subject(whose),
        template: template(),
        due_at,
        expires_at: due_at.plus_seconds(3600),
        attempts: 0,
        bulk: false,
    }
}

/// All events of a log.
pub async fn all(store: &Store, name: &str) -> Vec<Recorded> {
    store.read_log(&log(name), subledger_store::Position(0), 1_000_000).await.unwrap()
}

/// The state of a stream by folding every event anew.
pub async fn replay<A: Decide>(store: &Store, name: &str, stream: &StreamName) -> A {
    let mut state = A::default();
    for event in store.read_stream(&log(name), stream, 0, 1_000_000).await.unwrap() {
        state.apply(event.decode().unwrap());
    }
    state
}

/// Submits commands so that they form one batch: the executor is held up by a command before them until all wait.
pub async fn in_one_batch<F: Future>(executor: &Executor, name: &str, commands: Vec<F>) -> Vec<F::Output> {
    let (entered, was_entered) = tokio::sync::oneshot::channel();
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((Some(entered), opened));
    let gate = Custom::new(Vec::new(), move |_| {
        let mut gate = gate.lock().unwrap();
        if let Some(entered) = gate.0.take() {
            entered.send(()).unwrap();
            gate.1.recv().unwrap();
        }
        Ok(())
    });
    let executor = executor.clone();
    let name = name.to_owned();
    let held = tokio::spawn(async move { submit(&executor, &name, gate).await.unwrap() });
    was_entered.await.unwrap();
    let mut commands = std::pin::pin!(futures::future::join_all(commands));
    assert!(futures::poll!(&mut commands).is_pending());
    open.send(()).unwrap();
    held.await.unwrap();
    commands.await
}

/// Two taps in one command.
pub struct GrantTwice(pub StreamName);

impl Work for GrantTwice {
    type Answer = u64;
    type Refusal = String;

    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef> {
        Grant(self.0.clone()).streams(known)
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<u64, Stop<String>> {
        Grant(self.0.clone()).decide(stage)?;
        Grant(self.0.clone()).decide(stage)
    }
}

/// A tap whose evidence is far too long.
pub struct Oversized;

impl Work for Oversized {
    type Answer = u64;
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(ledger(1))]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<u64, Stop<String>> {
        let ask = LedgerCommand::Suspend {
            settings_off: SettingsOff::default(),
            evidence: evidence(&"x".repeat(2 << 20)),
        };
        stage.ask::<Ledger>(&ledger(1), ask)?.map_err(|error| Stop::Refuse(error.to_string()))?;
        Ok(0)
    }
}
