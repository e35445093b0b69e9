//! Planning a message inside the executor: who gets a grant set aside, who is skipped, and why.

use std::collections::{BTreeSet, HashSet};

use subledger_domain::{
    AppId, ChannelCode, DeliveryId, MessageId, StreamName, SubjectId, Template, Timestamp, UserRef,
    binding::Binding,
    channel::Channel,
    ledger::{Ledger, LedgerCommand, LedgerError, UnknownBalance},
    message::{Accepted, Message, MessageCommand, Planned, Skip, SkipReason},
    template_values::{self, Severity},
};
use subledger_store::{Effect, Known, QueueRow, Stage, Stop, StreamRef, Work};

use super::{Recipient, RecipientPlan, SendAnswer, SendRequest, To, Warning};
use crate::{
    Caller, Engine, EngineError, FieldError,
    contents::{OwnContents, SharedContents, Values, encode},
    limits,
    submit::pointer_step,
};

/// The most warnings in one answer; a thousand recipients with the same odd value need not say so a thousand times.
pub(super) const MAX_WARNINGS: usize = 20;
/// The most fields at fault in one error.
const MAX_FIELDS: usize = 50;

type Refused = Stop<EngineError>;

/// A recipient as the log knows it.
enum Target {
    User(UserRef),
    Subject(SubjectId),
}

/// A send request on its way through the executor.
pub(super) struct Plan {
    app: AppId,
    msgid: MessageId,
    request: SendRequest,
    targets: Vec<Target>,
}

impl Plan {
    pub(super) fn new(engine: &Engine, caller: &Caller, channel: &ChannelCode, request: SendRequest) -> Self {
        let store = engine.store();
        let target = |recipient: &Recipient| match &recipient.to {
            To::Userid(userid) => Target::User(store.user_ref_of(userid)),
            To::Openid(openid) => Target::Subject(store.subject_of(channel, openid)),
        };
        let targets = request.recipients.iter().map(target).collect();
        let msgid = MessageId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        Self { app: caller.app.clone(), msgid, request, targets }
    }
}

impl Work for Plan {
    type Answer = SendAnswer;
    type Refusal = EngineError;

    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![
            StreamRef::of::<Channel>(StreamName::channel()),
            StreamRef::of::<Message>(StreamName::message(self.msgid)),
        ];
        for target in &self.targets {
            let subject = match target {
                Target::Subject(subject) => Some(*subject),
                Target::User(user) => {
                    let name = StreamName::binding(*user);
                    let subject = known.state::<Binding>(&name).and_then(Binding::subject);
                    streams.push(StreamRef::of::<Binding>(name));
                    subject
                }
            };
            let ledger =
                |subject| StreamRef::of::<Ledger>(StreamName::ledger(subject, &self.request.template));
            streams.extend(subject.map(ledger));
        }
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<SendAnswer, Refused> {
        let (template, unknown_balance) = self.template(stage)?;
        let warnings = self.lint(&template)?;
        let subjects = self.resolve(stage)?;
        let expires_at = self.request.expiry(stage.now());
        self.accept(stage, &template, expires_at)?;

        let mut plans = Vec::with_capacity(self.targets.len());
        let mut skipped = Vec::new();
        let mut seen = HashSet::new();
        for (index, subject) in (0_u32..).zip(&subjects) {
            let plan = match subject {
                None => Err(SkipReason::NotBound),
                Some(subject) if !seen.insert(*subject) => Err(SkipReason::Duplicate),
                Some(subject) => {
                    self.reserve(stage, index, *subject, &template, unknown_balance, expires_at)?
                }
            };
            plans.push(match plan {
                Ok(()) => RecipientPlan::Accepted,
                Err(reason) => {
                    skipped.push(Skip { index, reason, user: self.user(index), subject: *subject });
                    RecipientPlan::Skipped { reason }
                }
            });
        }
        let skips = u32::try_from(skipped.len()).unwrap_or(u32::MAX);
        let targeted = count(&self.targets);
        let planned = Planned { from: 0, reserved: targeted - skips, skipped };
        self.message(stage, MessageCommand::Plan(planned))?;
        if skips < targeted {
            self.keep_contents(stage, &plans)?;
        }
        Ok(SendAnswer {
            msgid: self.msgid,
            targeted,
            accepted: targeted - skips,
            skipped: skips,
            recipients: plans,
            warnings,
        })
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

impl Plan {
    fn user(&self, index: u32) -> Option<UserRef> {
        match self.targets.get(index as usize) {
            Some(Target::User(user)) => Some(*user),
            _ => None,
        }
    }

    fn template(&self, stage: &Stage<'_>) -> Result<(Template, UnknownBalance), Refused> {
        let channel = stage.state::<Channel>(&StreamName::channel())?;
        if channel.registered().is_none() {
            return Err(Stop::Refuse(EngineError::unknown_channel()));
        }
        let wrong = |rule: &'static str, detail: &str| {
            let error = EngineError::field(rule, "/template_id", rule, detail);
            Stop::Refuse(error)
        };
        match channel.template(&self.request.template) {
            None => Err(wrong(
                "unknown_template",
                "the channel's template list does not have this template; refresh the list if it was added at WeChat",
            )),
            Some(known) if !known.listed => Err(wrong(
                "template_vanished",
                "WeChat no longer lists this template: it was deleted there, or its category was removed",
            )),
            Some(known) => Ok((known.template.clone(), channel.policy().unknown_balance)),
        }
    }

    /// Blocking findings refuse the request; advisory ones come back as warnings.
    fn lint(&self, template: &Template) -> Result<Vec<Warning>, Refused> {
        let mut linter = Linter { template, fields: Vec::new(), warnings: Vec::new() };
        let plain = self.request.recipients.iter().any(|recipient| recipient.data.is_empty());
        if plain {
            linter.check(None, &self.request.data);
        }
        for (index, recipient) in
            self.request.recipients.iter().enumerate().filter(|(_, r)| !r.data.is_empty())
        {
            let mut values = self.request.data.clone();
            values.extend(recipient.data.clone());
            linter.check(Some((index, &recipient.data)), &values);
        }
        if linter.fields.is_empty() {
            return Ok(linter.warnings);
        }
        let detail = "some values cannot be sent: they are missing, empty or too long for the template";
        Err(Stop::Refuse(EngineError { fields: linter.fields, ..EngineError::invalid("bad_values", detail) }))
    }

    /// The openid of each recipient, where it has one.
    fn resolve(&self, stage: &Stage<'_>) -> Result<Vec<Option<SubjectId>>, Refused> {
        let mut missing = Vec::new();
        let mut subjects = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            match target {
                Target::Subject(subject) => subjects.push(Some(*subject)),
                Target::User(user) => {
                    let name = StreamName::binding(*user);
                    match stage.state::<Binding>(&name) {
                        Ok(binding) => subjects.push(binding.subject()),
                        Err(_) => missing.push(StreamRef::of::<Binding>(name)),
                    }
                }
            }
        }
        if !missing.is_empty() {
            return Err(Stop::Need(missing));
        }
        if subjects.iter().all(Option::is_none) {
            let field = |index: usize| FieldError {
                pointer: format!("/recipients/{index}/userid"),
                rule: "unknown_user".to_owned(),
                detail: "not bound in this channel".to_owned(),
            };
            let fields = (0..subjects.len().min(MAX_FIELDS)).map(field).collect();
            let detail = "no recipient is bound in this channel; bind the users first";
            return Err(Stop::Refuse(EngineError { fields, ..EngineError::invalid("unknown_user", detail) }));
        }
        self.require_ledgers(stage, &subjects)?;
        Ok(subjects)
    }

    /// Asks for every ledger that is not loaded at once, rather than one by one.
    fn require_ledgers(&self, stage: &Stage<'_>, subjects: &[Option<SubjectId>]) -> Result<(), Refused> {
        let names: BTreeSet<StreamName> = subjects
            .iter()
            .flatten()
            .map(|subject| StreamName::ledger(*subject, &self.request.template))
            .collect();
        let absent = |name: &StreamName| stage.state::<Ledger>(name).is_err();
        let missing: Vec<StreamRef> = names.into_iter().filter(absent).map(StreamRef::of::<Ledger>).collect();
        if missing.is_empty() { Ok(()) } else { Err(Stop::Need(missing)) }
    }

    fn accept(
        &self,
        stage: &mut Stage<'_>,
        template: &Template,
        expires_at: Timestamp,
    ) -> Result<(), Refused> {
        let accepted = Accepted {
            app: self.app.clone(),
            template: template.id.clone(),
            kind: template.kind,
            targeted: count(&self.targets),
            expires_at,
        };
        self.message(stage, MessageCommand::Accept(accepted))
    }

    fn message(&self, stage: &mut Stage<'_>, command: MessageCommand) -> Result<(), Refused> {
        stage
            .ask::<Message>(&StreamName::message(self.msgid), command)?
            .map(drop)
            .map_err(|error| Stop::Refuse(EngineError::internal(error.to_string())))
    }

    fn reserve(
        &self,
        stage: &mut Stage<'_>,
        index: u32,
        subject: SubjectId,
        template: &Template,
        unknown_balance: UnknownBalance,
        expires_at: Timestamp,
    ) -> Result<Result<(), SkipReason>, Refused> {
        let delivery = DeliveryId::new(self.msgid, index);
        let command =
            LedgerCommand::Reserve { delivery, kind: template.kind, unknown_balance, user: self.user(index) };
        match stage.ask::<Ledger>(&StreamName::ledger(subject, &template.id), command)? {
            Ok(_) => {}
            Err(LedgerError::NoGrant { .. }) => return Ok(Err(SkipReason::NoGrant)),
            Err(LedgerError::Suspended { .. }) => return Ok(Err(SkipReason::Suspended)),
            Err(error) => {
                return Err(Stop::Refuse(EngineError::conflict("ledger_refused", error.to_string())));
            }
        }
        stage.effect(Effect::Enqueue(QueueRow {
            delivery,
            subject,
            template: template.id.clone(),
            due_at: stage.now(),
            expires_at,
            attempts: 0,
            bulk: self.targets.len() > limits::BULK_OVER,
        }));
        let recipient = self.request.recipients.get(index as usize);
        if let Some(Recipient { to: To::Openid(openid), .. }) = recipient {
            stage.effect(Effect::KeepOpenid { subject, openid: openid.clone() });
        }
        Ok(Ok(()))
    }

    fn keep_contents(&self, stage: &mut Stage<'_>, plans: &[RecipientPlan]) -> Result<(), Refused> {
        let shared = SharedContents {
            page: self.request.page.clone(),
            state: self.request.state,
            lang: self.request.lang,
            data: self.request.data.clone(),
        };
        let contents = encode(&shared).map_err(Stop::Refuse)?;
        let delivery = DeliveryId::new(self.msgid, 0);
        stage.effect(Effect::KeepContent { delivery, shared: true, contents });
        for (index, (recipient, plan)) in (0_u32..).zip(self.request.recipients.iter().zip(plans)) {
            if recipient.data.is_empty() || *plan != RecipientPlan::Accepted {
                continue;
            }
            let contents = encode(&OwnContents { data: recipient.data.clone() }).map_err(Stop::Refuse)?;
            let delivery = DeliveryId::new(self.msgid, index);
            stage.effect(Effect::KeepContent { delivery, shared: false, contents });
        }
        Ok(())
    }
}

struct Linter<'a> {
    template: &'a Template,
    fields: Vec<FieldError>,
    warnings: Vec<Warning>,
}

impl Linter<'_> {
    fn check(&mut self, own: Option<(usize, &Values)>, values: &Values) {
        for finding in template_values::lint(&self.template.keys, values) {
            let step = pointer_step(&finding.key);
            let pointer = match own {
                Some((index, own))
                    if own.contains_key(&finding.key) || !values.contains_key(&finding.key) =>
                {
                    format!("/recipients/{index}/data/{step}")
                }
                _ => format!("/data/{step}"),
            };
            let rule = finding.rule.code().to_owned();
            let detail = finding.to_string();
            match finding.severity {
                Severity::Blocking if self.fields.len() < MAX_FIELDS => {
                    self.fields.push(FieldError { pointer, rule, detail });
                }
                Severity::Advisory if self.warnings.len() < MAX_WARNINGS => {
                    let warning = Warning { pointer, rule, detail };
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                _ => {}
            }
        }
    }
}
