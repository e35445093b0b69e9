//! Forgetting a person in one channel: one commit.

use serde::{Deserialize, Serialize};
use subledger_domain::{
    DeliveryId, Evidence, EvidenceSource, StreamName,
    binding::{Binding, BindingCommand},
    ledger::{Ledger, LedgerCommand, Phase, ReleaseRequest},
};
use subledger_store::{Effect, Known, Stage, Stop, StreamRef, Work};

use super::{Erasure, find::Found};
use crate::{Caller, EngineError, dispatch::queue_effects};

/// The most deliveries named in one refusal.
const MAX_NAMED: usize = 10;

/// The part of an erasure that one channel's log decides.
pub(super) struct Forget {
    found: Found,
    force: bool,
    evidence: Evidence,
}

/// What it came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// Deliveries taken back.
    pub(super) retracted: u32,
}

impl Forget {
    pub(super) fn new(caller: &Caller, erasure: &Erasure, found: Found) -> Self {
        let source = if caller.operator { EvidenceSource::Operator } else { EvidenceSource::Integrator };
        let evidence = Evidence {
            reason: Some(erasure.reason.clone()),
            ..Evidence::new(source, caller.who(), subledger_domain::Timestamp::default())
        };
        Self { found, force: erasure.force, evidence }
    }

    /// The person's deliveries that have not ended, each with its ledger and whether WeChat may have it.
    fn open(&self, stage: &Stage<'_>) -> Result<Vec<(StreamName, DeliveryId, Phase)>, Stop<EngineError>> {
        let mut open = Vec::new();
        for target in &self.found.targets {
            for name in &target.ledgers {
                let ledger = stage.state::<Ledger>(name)?;
                let mine = ledger.outstanding().iter().filter(|(delivery, _)| target.owns(**delivery));
                open.extend(mine.map(|(delivery, outstanding)| (name.clone(), *delivery, outstanding.phase)));
            }
        }
        Ok(open)
    }
}

impl Work for Forget {
    type Answer = Forgotten;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let bindings =
            self.found.bound.iter().map(|user| StreamRef::of::<Binding>(StreamName::binding(*user)));
        let ledgers = self.found.targets.iter().flat_map(|target| &target.ledgers);
        bindings.chain(ledgers.cloned().map(StreamRef::of::<Ledger>)).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Forgotten, Stop<EngineError>> {
        let waiting = self.open(stage)?;
        let phases: Vec<_> = waiting.iter().map(|(_, delivery, phase)| (*delivery, *phase)).collect();
        allowed(&phases, self.force).map_err(Stop::Refuse)?;
        for (ledger, delivery, _) in &waiting {
            let command = LedgerCommand::Release { delivery: *delivery, request: ReleaseRequest::Retract };
            let events = stage
                .ask::<Ledger>(ledger, command)?
                .map_err(|error| Stop::Refuse(EngineError::conflict("ledger_refused", error.to_string())))?;
            queue_effects(stage, &events);
        }
        let evidence = Evidence { at: stage.now(), ..self.evidence.clone() };
        for user in &self.found.bound {
            // Unbound by somebody else since we looked: just as well.
            let command = BindingCommand::Unbind { evidence: evidence.clone() };
            let _ = stage.ask::<Binding>(&StreamName::binding(*user), command)?;
        }
        for target in self.found.targets.iter().filter(|target| !target.shared) {
            stage.effect(Effect::ForgetOpenid { subject: target.subject });
            stage.effect(Effect::ForgetPushes { subject: target.subject });
        }
        for content in &self.found.contents {
            let delivery = DeliveryId::new(content.message, content.recipient.unwrap_or_default());
            stage.effect(Effect::ForgetContent { delivery, shared: content.recipient.is_none() });
        }
        Ok(Forgotten { retracted: u32::try_from(waiting.len()).unwrap_or(u32::MAX) })
    }
}

/// Refuses while deliveries to the person have not ended: always if WeChat has or may have them, and those that wait unless
/// they may be taken back.
pub(super) fn allowed(open: &[(DeliveryId, Phase)], force: bool) -> Result<(), EngineError> {
    let (waiting, handed_over): (Vec<_>, Vec<_>) =
        open.iter().copied().partition(|(_, phase)| *phase == Phase::Reserved);
    if !handed_over.is_empty() {
        let detail = format!(
            "WeChat has, or may have, deliveries to this person: {}. Try again when they have ended; settle those in doubt",
            named(&handed_over)
        );
        return Err(EngineError::conflict("deliveries_under_way", detail));
    }
    if !waiting.is_empty() && !force {
        let detail = format!(
            "deliveries to this person wait: {}. Retract them, let them end, or force the erasure, which takes them back",
            named(&waiting)
        );
        return Err(EngineError::conflict("deliveries_waiting", detail));
    }
    Ok(())
}

fn named(open: &[(DeliveryId, Phase)]) -> String {
    let word = |phase: Phase| match phase {
        Phase::Reserved => "waiting",
        Phase::Started => "under way",
        Phase::InDoubt => "in doubt",
    };
    let mut names: Vec<String> =
        open.iter().take(MAX_NAMED).map(|(id, phase)| format!("{id} ({})", word(*phase))).collect();
    if open.len() > MAX_NAMED {
        names.push(format!("and {} more", open.len() - MAX_NAMED));
    }
    names.join(", ")
}
