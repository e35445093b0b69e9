//! Finding what is known of a person in one channel.
//!
//! Which openids a user had is told by the log. Who else has an openid, which ledgers it has and which deliveries went to
//! it are told by the read models, which must show everything first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use subledger_domain::{
    ChannelCode, DecodeError, DeliveryId, LogName, MessageId, Openid, StreamName, SubjectId, UserRef,
    binding::{Binding, BindingEvent},
    ledger::Phase,
};
use subledger_projection::{DeliveryRow, DeliveryState, PageRequest};
use subledger_store::{KeptContent, NewerEvent, Recorded, StoreError};

use super::{Erasure, Whom, forget::allowed, names_person};
use crate::{Engine, EngineError};

/// Events of a binding read in one go.
const CHUNK: u32 = 1_000;
/// Contents deleted in one command.
const MAX_CONTENTS: usize = 2_000;

/// What is known of a person in one channel.
#[derive(Default)]
pub(super) struct Found {
    /// Whether anything was ever known.
    pub(super) known: bool,
    /// Users to unbind.
    pub(super) bound: Vec<UserRef>,
    /// The person's openids.
    pub(super) targets: Vec<Target>,
    /// Those that are kept, and are to go.
    pub(super) openids: HashMap<SubjectId, Openid>,
    /// Contents to delete, at most [`MAX_CONTENTS`].
    pub(super) contents: Vec<KeptContent>,
    /// How many pushes of WeChat are kept that the openids which are to go had caused.
    pub(super) pushes: u64,
}

/// One openid of a person.
pub(super) struct Target {
    pub(super) subject: SubjectId,
    /// Another user is bound to it: it stays, and only what went to the user who is erased is touched.
    pub(super) shared: bool,
    /// Its ledgers.
    pub(super) ledgers: Vec<StreamName>,
    /// Deliveries to the person that have not ended, and how far they have come.
    pub(super) open: BTreeMap<DeliveryId, Phase>,
}

impl Target {
    /// Whether a delivery that its ledger holds is the person's.
    pub(super) fn owns(&self, delivery: DeliveryId) -> bool {
        !self.shared || self.open.contains_key(&delivery)
    }
}

impl Found {
    /// Refuses what the erasure must be refused for, as far as can be seen without deciding.
    pub(super) fn check(&self, erasure: &Erasure) -> Result<(), EngineError> {
        if self.openids.values().any(|openid| erasure.reason.contains(openid.as_str())) {
            return Err(names_person());
        }
        let open = self.targets.iter().flat_map(|target| &target.open).map(|(id, phase)| (*id, *phase));
        allowed(&open.collect::<Vec<_>>(), erasure.force)
    }

    /// Whether nothing is left to do in this channel.
    pub(super) fn is_clean(&self) -> bool {
        self.bound.is_empty()
            && self.openids.is_empty()
            && self.contents.is_empty()
            && self.pushes == 0
            && self.targets.iter().all(|target| target.open.is_empty())
    }
}

/// How far a delivery has come that has not ended.
fn phase(state: DeliveryState) -> Option<Phase> {
    match state {
        DeliveryState::Queued => Some(Phase::Reserved),
        DeliveryState::Started => Some(Phase::Started),
        DeliveryState::InDoubt => Some(Phase::InDoubt),
        _ => None,
    }
}

impl Engine {
    pub(super) async fn find_person(
        &self,
        code: &ChannelCode,
        erasure: &Erasure,
        user: Option<UserRef>,
    ) -> Result<Found, EngineError> {
        let log = LogName::channel(code);
        self.read_models_of(&log).await?;
        let mut found = Found::default();
        let subjects = match (&erasure.whom, user) {
            (Whom::Openid(openid), _) => {
                let subject = self.store().subject_of(code, openid);
                let bound = self.queries().bindings_of_subject(code, subject).await?.value;
                found.bound = bound.into_iter().map(|row| row.user_ref).collect();
                found.known = !found.bound.is_empty();
                BTreeSet::from([subject])
            }
            (Whom::Userid(_), Some(user)) => {
                let subjects = self.subjects_of(&log, user).await?;
                found.known = !subjects.is_empty();
                let (binding, _) = self.store().load::<Binding>(&log, &StreamName::binding(user)).await?;
                found.bound = binding.subject().map(|_| user).into_iter().collect();
                subjects
            }
            (Whom::Userid(_), None) => BTreeSet::new(),
        };
        for subject in subjects {
            self.find_openid(code, subject, user, &mut found).await?;
        }
        let wanted: Vec<SubjectId> =
            found.targets.iter().filter(|target| !target.shared).map(|target| target.subject).collect();
        if !wanted.is_empty() {
            found.openids = self.store().openids(&log, &wanted).await?;
            found.pushes = self.store().count_pushes_of(&log, &wanted).await?;
        }
        found.known |= !found.openids.is_empty() || found.pushes > 0;
        Ok(found)
    }

    /// Every openid a user ever had in a channel.
    async fn subjects_of(&self, log: &LogName, user: UserRef) -> Result<BTreeSet<SubjectId>, EngineError> {
        let stream = StreamName::binding(user);
        let mut subjects = BTreeSet::new();
        let mut after = 0;
        loop {
            let events = self.store().read_stream(log, &stream, after, CHUNK).await?;
            let Some(last) = events.last() else { return Ok(subjects) };
            after = last.version;
            for event in &events {
                let decoded = event.decode::<BindingEvent>();
                match decoded.map_err(|error| undecoded(event, &error))? {
                    BindingEvent::Bound(e) => subjects.insert(e.subject),
                    BindingEvent::Moved(e) => subjects.insert(e.from) | subjects.insert(e.subject),
                    BindingEvent::Unbound(e) => subjects.insert(e.subject),
                };
            }
        }
    }

    async fn find_openid(
        &self,
        code: &ChannelCode,
        subject: SubjectId,
        user: Option<UserRef>,
        found: &mut Found,
    ) -> Result<(), EngineError> {
        let queries = self.queries();
        let holders = queries.bindings_of_subject(code, subject).await?.value;
        let shared = user.is_some_and(|user| holders.iter().any(|row| row.user_ref != user));
        let ledgers = queries.ledgers_of(code, subject).await?.value;
        found.known |= !ledgers.is_empty();
        let mut target = Target {
            subject,
            shared,
            ledgers: ledgers.iter().map(|row| StreamName::ledger(subject, &row.template)).collect(),
            open: BTreeMap::new(),
        };
        let mut page = PageRequest::first(subledger_projection::MAX_PAGE);
        loop {
            let answer = queries.deliveries_of_subject(code, subject, &page).await?;
            let mut rows = answer.items;
            rows.retain(|row| !shared || row.user_ref == user);
            target.open.extend(rows.iter().filter_map(|row| Some((row.id(), phase(row.state)?))));
            if found.contents.len() < MAX_CONTENTS && !rows.is_empty() {
                self.find_contents(code, &rows, found).await?;
            }
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        found.targets.push(target);
        Ok(())
    }

    /// The contents of these deliveries that are the person's: its own values, and what is shared where nobody else was to
    /// get it.
    async fn find_contents(
        &self,
        code: &ChannelCode,
        rows: &[DeliveryRow],
        found: &mut Found,
    ) -> Result<(), EngineError> {
        let mine: BTreeSet<DeliveryId> = rows.iter().map(DeliveryRow::id).collect();
        let messages: BTreeSet<MessageId> = rows.iter().map(|row| row.message).collect();
        let messages: Vec<MessageId> = messages.into_iter().collect();
        let kept = self.store().kept_contents(&LogName::channel(code), &messages).await?;
        let shared: Vec<MessageId> = kept
            .iter()
            .filter(|content| content.recipient.is_none())
            .map(|content| content.message)
            .collect();
        let mut alone = BTreeSet::new();
        if !shared.is_empty() {
            let rows = self.queries().messages_by_id(code, &shared).await?.value;
            let single = |row: &&subledger_projection::MessageRow| row.targeted == row.counts.skipped + 1;
            alone.extend(rows.iter().filter(single).map(|row| row.id));
        }
        found.contents.extend(kept.into_iter().filter(|content| match content.recipient {
            Some(index) => mine.contains(&DeliveryId::new(content.message, index)),
            None => alone.contains(&content.message),
        }));
        Ok(())
    }
}

fn undecoded(event: &Recorded, error: &DecodeError) -> EngineError {
    match NewerEvent::of(&event.log, event.position, error) {
        Some(newer) => StoreError::Newer(newer).into(),
        None => EngineError::internal(format!("{}: {error}", event.stream)),
    }
}
