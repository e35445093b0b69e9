//! A history that has everything: every kind of end, what is open, two logs, receipts.

use subledger_domain::{
    ChannelCode, Decide, DeliveryId, Evidence, EvidenceSource, LogName, MessageId, StreamName, SubjectId,
    TemplateId, TemplateKind, UserRef,
    app::{App, AppCommand, Created, KeyAdded, Right},
    binding::{Binding, BindingCommand},
    channel::{Channel, ChannelCommand, Policy, Registered, SecretRef, TokenMode},
    ledger::{
        Answer, AttemptOutcome, Choice, DoubtCause, Ledger, LedgerCommand, LedgerEvent, RefusedSend,
        ReleaseRequest, Taps, UnknownBalance, Verdict,
    },
    message::{Accepted, Message, MessageCommand, Planned, Skip, SkipReason},
};
use subledger_store::{
    Cause, Effect, Executor, ExecutorConfig, Known, Position, QueueRow, ReceiptKey, Recorded, Stage, Stop,
    Store, StreamRef, Submission, Work,
};

use crate::support::{Place, StoppedClock, catch_up};

pub(crate) fn log() -> LogName {
    let code: ChannelCode = "wechatmp123".parse().unwrap();
    LogName::channel(&code)
}

pub(crate) fn template() -> TemplateId {
    "template-once".parse().unwrap()
}

fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n + 1; 16])
}

pub(crate) fn delivery(message: u8, index: u32) -> DeliveryId {
    DeliveryId::new(MessageId::from_bytes([message; 16]), index)
}

pub(crate) enum Ask {
    Channel(ChannelCommand),
    Binding(UserRef, BindingCommand),
    Ledger(u8, LedgerCommand),
    Message(u8, MessageCommand),
    App(AppCommand),
}

fn stream(ask: &Ask) -> StreamRef {
    match ask {
        Ask::Channel(_) => StreamRef::of::<Channel>(StreamName::channel()),
        Ask::Binding(user, _) => StreamRef::of::<Binding>(StreamName::binding(*user)),
        Ask::Ledger(who, _) => StreamRef::of::<Ledger>(StreamName::ledger(subject(*who), &template())),
        Ask::Message(id, _) => {
            StreamRef::of::<Message>(StreamName::message(MessageId::from_bytes([*id; 16])))
        }
        Ask::App(_) => StreamRef::of::<App>(StreamName::app(&"shop".parse().unwrap())),
    }
}

struct Script(Vec<Ask>);

fn put<A: Decide>(
    stage: &mut Stage<'_>,
    name: &StreamName,
    ask: &A::Ask,
) -> Result<Vec<A::Event>, Stop<String>>
where
    A::Ask: Clone,
{
    stage.ask::<A>(name, ask.clone())?.map_err(|refusal| Stop::Refuse(refusal.to_string()))
}

impl Work for Script {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        self.0.iter().map(stream).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        for ask in &self.0 {
            let name = stream(ask).name;
            match ask {
                Ask::Channel(ask) => drop(put::<Channel>(stage, &name, ask)?),
                Ask::Binding(_, ask) => drop(put::<Binding>(stage, &name, ask)?),
                Ask::Message(_, ask) => drop(put::<Message>(stage, &name, ask)?),
                Ask::App(ask) => drop(put::<App>(stage, &name, ask)?),
                Ask::Ledger(who, ask) => {
                    for event in put::<Ledger>(stage, &name, ask)? {
                        queue(stage, *who, &event);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The queue follows the ledger, as in the service.
fn queue(stage: &mut Stage<'_>, who: u8, event: &LedgerEvent) {
    let effect = match event {
        LedgerEvent::Reserved(e) => Effect::Enqueue(QueueRow {
            delivery: e.delivery,
            subject: subject(who),
            template: template(),
            due_at: stage.now(),
            expires_at: stage.now().plus_seconds(3_600),
            attempts: 0,
            bulk: false,
        }),
        LedgerEvent::Started(e) => Effect::MarkStarted(e.delivery),
        LedgerEvent::Postponed(e) => Effect::Requeue { delivery: e.delivery, due_at: e.until },
        LedgerEvent::Doubted(e) => Effect::MarkInDoubt(e.delivery),
        LedgerEvent::Consumed(e) => Effect::Dequeue(e.delivery),
        LedgerEvent::Released(e) => Effect::Dequeue(e.delivery),
        LedgerEvent::Denied(e) => Effect::Dequeue(e.delivery),
        LedgerEvent::Forfeited(e) => Effect::Dequeue(e.delivery),
        LedgerEvent::SettledLate(e) => Effect::Dequeue(e.delivery),
        _ => return,
    };
    stage.effect(effect);
}

/// A node that carries out what it is asked.
pub(crate) struct Node {
    pub(crate) clock: StoppedClock,
    pub(crate) store: Store,
    executor: Executor,
    asked: std::sync::atomic::AtomicU32,
}

impl Node {
    pub(crate) async fn on(place: &Place) -> Self {
        let clock = StoppedClock::new();
        let store = place.open(&clock).await;
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        Self { clock, store, executor, asked: 0.into() }
    }

    pub(crate) async fn ask(&self, log: &LogName, asks: Vec<Ask>) -> Position {
        self.clock.pass_seconds(1);
        let number = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let submission = Submission {
            log: log.clone(),
            receipt: Some(ReceiptKey { id: format!("test:shop:{number}"), fingerprint: [1; 32] }),
            cause: Cause { by: "app:shop".into(), command: "test".into(), request: None },
            work: Script(asks),
        };
        self.executor.submit(submission).await.unwrap().position
    }

    pub(crate) async fn close(self) {
        self.executor.shutdown().await;
        self.store.close().await;
    }

    fn evidence(&self, source: EvidenceSource) -> Evidence {
        use subledger_store::Clock;
        Evidence::new(source, "ref-1", self.clock.now())
    }

    pub(crate) fn tap(&self, who: u8) -> Ask {
        let evidence = self.evidence(EvidenceSource::ClientReport);
        let (choice, word, kind) = (Choice::Accept, "acceptWithAlert".to_owned(), TemplateKind::OneTime);
        Ask::Ledger(
            who,
            LedgerCommand::RecordChoice { choice, word, kind, taps: Taps::default(), window: 300, evidence },
        )
    }

    pub(crate) fn accept(&self, message: u8, targeted: u32) -> Ask {
        use subledger_store::Clock;
        let accepted = Accepted {
            app: "shop".parse().unwrap(),
            template: template(),
            kind: TemplateKind::OneTime,
            targeted,
            // An hour from when it is asked, a second from now: as its queue rows have it.
            expires_at: self.clock.now().plus_seconds(3_601),
        };
        Ask::Message(message, MessageCommand::Accept(accepted))
    }

    fn start(&self, message: u8, who: u8) -> Ask {
        use subledger_store::Clock;
        let expires_at = self.clock.now().plus_seconds(3_600);
        Ask::Ledger(who, LedgerCommand::Start { delivery: delivery(message, u32::from(who)), expires_at })
    }
}

pub(crate) fn reserve(message: u8, index: u32, who: u8) -> Ask {
    Ask::Ledger(
        who,
        LedgerCommand::Reserve {
            delivery: delivery(message, index),
            kind: TemplateKind::OneTime,
            unknown_balance: UnknownBalance::Refuse,
            user: None,
        },
    )
}

pub(crate) fn plan(message: u8, reserved: u32, skipped: Vec<Skip>) -> Ask {
    Ask::Message(message, MessageCommand::Plan(Planned { from: 0, reserved, skipped }))
}

fn settle(message: u8, who: u8, attempt: u16, outcome: AttemptOutcome) -> Ask {
    Ask::Ledger(
        who,
        LedgerCommand::Settle {
            delivery: delivery(message, u32::from(who)),
            attempt,
            refused_send: RefusedSend::default(),
            outcome,
        },
    )
}

/// What was told, to tamper with: the events of the channel's log.
pub(crate) struct Told {
    pub(crate) events: Vec<Recorded>,
}

impl Told {
    /// The first event of this kind, if it is about this text.
    pub(crate) fn first(&self, kind: &str, about: &str) -> &Recorded {
        let about = |event: &&Recorded| {
            event.kind_name() == kind
                && (event.stream.as_str().contains(about)
                    || String::from_utf8_lossy(&event.data).contains(about))
        };
        self.events.iter().find(about).unwrap()
    }

    pub(crate) fn end(&self) -> i64 {
        i64::try_from(self.events.last().unwrap().position.0).unwrap()
    }
}

/// Message 1 to ten recipients: sent, refused, failed, retracted, not sent, in doubt, drift, started, waiting, and one who
/// is skipped; one more is not planned. It ends with three events of the channel that concern nobody else.
pub(crate) async fn tell(place: &Place) -> Told {
    let node = Node::on(place).await;
    tell_on(&node).await;
    catch_up(&node.store).await;
    let events = node.store.read_log(&log(), Position(0), 10_000).await.unwrap();
    node.close().await;
    Told { events }
}

pub(crate) async fn tell_on(node: &Node) {
    let registered = Registered {
        appid: "wx0123456789abcdef".into(),
        name: "取餐提醒".into(),
        secret: Some(SecretRef("s1".into())),
        token_mode: TokenMode::Stable,
        token_url: None,
        policy: Policy::default(),
    };
    node.ask(&log(), vec![Ask::Channel(ChannelCommand::Register(registered))]).await;
    let evidence = node.evidence(EvidenceSource::Integrator);
    let bind = BindingCommand::Bind { subject: subject(1), evidence };
    node.ask(&log(), vec![Ask::Binding(UserRef::from_bytes([1; 16]), bind)]).await;
    for who in 0..9 {
        node.ask(&log(), vec![node.tap(who)]).await;
    }
    let skip = Skip { index: 9, reason: SkipReason::NotBound, user: None, subject: None };
    let mut asks = vec![node.accept(1, 11)];
    asks.extend((0..9).map(|who| reserve(1, u32::from(who), who)));
    asks.push(plan(1, 9, vec![skip]));
    node.ask(&log(), asks).await;
    for who in [0, 1, 2, 4, 5, 6, 7] {
        node.ask(&log(), vec![node.start(1, who)]).await;
    }
    outcomes(node).await;
    let created = Created { name: "门店".into(), rights: [Right::Send].into(), channels: None };
    let key = KeyAdded { key: "k1".into(), hash: "hash".into() };
    node.ask(
        &LogName::main(),
        vec![Ask::App(AppCommand::Create(created)), Ask::App(AppCommand::AddKey(key))],
    )
    .await;
    let why = || "maintenance".to_owned();
    node.ask(&log(), vec![Ask::Channel(ChannelCommand::Pause { reason: why() })]).await;
    node.ask(&log(), vec![Ask::Channel(ChannelCommand::Resume { reason: why() })]).await;
    node.ask(&log(), vec![Ask::Channel(ChannelCommand::Pause { reason: why() })]).await;
}

async fn outcomes(node: &Node) {
    use subledger_store::Clock;
    let answer = |code, class: &str| Answer { code: Some(code), rid: None, class: class.into() };
    let postponed = AttemptOutcome::Postponed {
        answer: answer(-1, "busy"),
        until: node.clock.now().plus_seconds(30),
        max_attempts: 1,
    };
    let unknown = || AttemptOutcome::Unknown { cause: DoubtCause::Timeout };
    let retract = LedgerCommand::Release { delivery: delivery(1, 3), request: ReleaseRequest::Retract };
    let evidence = node.evidence(EvidenceSource::Operator);
    let not_sent = LedgerCommand::Resolve { delivery: delivery(1, 4), verdict: Verdict::NotSent, evidence };
    let steps = [
        settle(1, 0, 1, AttemptOutcome::Accepted { wechat_msgid: Some("33".into()) }),
        settle(1, 1, 1, AttemptOutcome::Refused { answer: answer(47003, "argument") }),
        settle(1, 2, 1, postponed),
        Ask::Ledger(3, retract),
        settle(1, 4, 1, unknown()),
        Ask::Ledger(4, not_sent),
        settle(1, 5, 1, unknown()),
        settle(1, 6, 1, AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") }),
    ];
    for step in steps {
        node.ask(&log(), vec![step]).await;
    }
}
