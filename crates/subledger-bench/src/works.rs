//! The commands that are measured.

use anyhow::anyhow;
use subledger_domain::{
    AppId, DeliveryId, Evidence, EvidenceSource, LogName, MessageId, StreamName, SubjectId, TemplateId,
    TemplateKind, Timestamp, UserRef,
    binding::{Binding, BindingCommand},
    ledger::{Answer, AttemptOutcome, Choice, Ledger, LedgerCommand, RefusedSend, Taps, UnknownBalance},
    message::{Accepted, Message, MessageCommand, Planned},
};
use subledger_store::{
    Cause, Executor, Known, Position, ReceiptKey, Stage, Stop, StreamRef, Submission, Work,
};

/// The log that is written to.
pub(crate) fn log() -> LogName {
    LogName::new("wechatmp123")
}

/// Submits a command; its number names it, so it must be new in this log.
pub(crate) async fn submit<W: Work<Refusal = String>>(
    executor: &Executor,
    n: u64,
    receipt: bool,
    work: W,
) -> anyhow::Result<Position> {
    let id = format!("bind:bench:{n:016x}");
    let fingerprint = *blake3::hash(id.as_bytes()).as_bytes();
    let receipt = receipt.then_some(ReceiptKey { fingerprint, id });
    let cause = Cause { by: "app:bench".into(), command: "bind".into(), request: None };
    let done = executor.submit(Submission { log: log(), receipt, cause, work }).await;
    Ok(done.map_err(|error| anyhow!("refused: {error:?}"))?.position)
}

fn id(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

fn tap(n: u64, at: Timestamp) -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, format!("report-{n}"), at)
}

fn refused(error: impl std::fmt::Display) -> Stop<String> {
    Stop::Refuse(error.to_string())
}

/// Moves a binding to another openid: one event, and a state that never grows however long a run takes.
pub(crate) struct Move {
    /// Which binding.
    pub(crate) stream: u64,
    /// Which openid.
    pub(crate) to: u64,
}

impl Move {
    fn name(&self) -> StreamName {
        StreamName::binding(UserRef::from_bytes(id(self.stream)))
    }
}

impl Work for Move {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Binding>(self.name())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let evidence = tap(1, stage.now());
        let ask = BindingCommand::Bind { subject: SubjectId::from_bytes(id(self.to)), evidence };
        stage.ask::<Binding>(&self.name(), ask)?.map(drop).map_err(refused)
    }
}

/// Records an accept: one event of the kind the service records most.
pub(crate) struct Tap {
    /// Whose ledger.
    pub(crate) subject: u64,
    /// Which tap.
    pub(crate) n: u64,
    /// Of which template.
    pub(crate) template: TemplateId,
}

impl Tap {
    fn name(&self) -> StreamName {
        StreamName::ledger(SubjectId::from_bytes(id(self.subject)), &self.template)
    }
}

impl Work for Tap {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.name())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let ask = accept(tap(self.n, stage.now()));
        stage.ask::<Ledger>(&self.name(), ask)?.map(drop).map_err(refused)
    }
}

fn accept(evidence: Evidence) -> LedgerCommand {
    let kind = TemplateKind::OneTime;
    LedgerCommand::RecordChoice {
        choice: Choice::Accept,
        word: "accept".to_owned(),
        kind,
        taps: Taps::default(),
        window: 300,
        evidence,
    }
}

/// What one user brings about: bound, two taps, a message of which the first attempt is the last. Of ten users one was
/// refused by WeChat and one was given up by it. The mix that read models are rebuilt from.
pub(crate) struct Journey {
    /// Which user.
    pub(crate) n: u64,
    /// Of which template.
    pub(crate) template: TemplateId,
    /// Who sends.
    pub(crate) app: AppId,
}

/// Events of one [`Journey`] at least.
pub(crate) const JOURNEY_EVENTS: u64 = 8;

impl Journey {
    fn binding(&self) -> StreamName {
        StreamName::binding(self.user())
    }

    fn user(&self) -> UserRef {
        UserRef::from_bytes(id(self.n))
    }

    fn subject(&self) -> SubjectId {
        SubjectId::from_bytes(id(self.n))
    }

    fn ledger(&self) -> StreamName {
        StreamName::ledger(self.subject(), &self.template)
    }

    fn delivery(&self) -> DeliveryId {
        DeliveryId::new(MessageId::from_bytes(id(self.n)), 0)
    }

    fn outcome(&self) -> AttemptOutcome {
        let answer = |code, class: &str| Answer { code: Some(code), rid: None, class: class.to_owned() };
        match self.n % 10 {
            3 => AttemptOutcome::Refused { answer: answer(40_003, "bad_openid") },
            7 => AttemptOutcome::NoPermission { answer: answer(43_101, "no_permission") },
            _ => AttemptOutcome::Accepted { wechat_msgid: Some(format!("{:019}", self.n)) },
        }
    }
}

impl Work for Journey {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![
            StreamRef::of::<Binding>(self.binding()),
            StreamRef::of::<Ledger>(self.ledger()),
            StreamRef::of::<Message>(StreamName::message(self.delivery().message)),
        ]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let now = stage.now();
        let expires_at = now.plus_micros(3_600 * Timestamp::MICROS_PER_SECOND);
        let (delivery, kind) = (self.delivery(), TemplateKind::OneTime);
        let bind = BindingCommand::Bind { subject: self.subject(), evidence: tap(self.n, now) };
        stage.ask::<Binding>(&self.binding(), bind)?.map_err(refused)?;
        let message = StreamName::message(delivery.message);
        let accepted = Accepted {
            app: self.app.clone(),
            template: self.template.clone(),
            kind,
            targeted: 1,
            expires_at,
        };
        let unknown_balance = UnknownBalance::Refuse;
        let ledger = self.ledger();
        for ask in [accept(tap(self.n, now)), accept(tap(self.n, now))] {
            stage.ask::<Ledger>(&ledger, ask)?.map_err(refused)?;
        }
        for ask in [
            MessageCommand::Accept(accepted),
            MessageCommand::Plan(Planned { from: 0, reserved: 1, skipped: Vec::new() }),
        ] {
            stage.ask::<Message>(&message, ask)?.map_err(refused)?;
        }
        for ask in [
            LedgerCommand::Reserve { delivery, kind, unknown_balance, user: Some(self.user()) },
            LedgerCommand::Start { delivery, expires_at },
            LedgerCommand::Settle {
                delivery,
                attempt: 1,
                refused_send: RefusedSend::default(),
                outcome: self.outcome(),
            },
        ] {
            stage.ask::<Ledger>(&ledger, ask)?.map_err(refused)?;
        }
        Ok(())
    }
}
