//! Recording an erasure in the log `main`, and deleting the userid in the same commit.

use subledger_domain::{
    StreamName, UserRef,
    person::{Erased, Person, PersonCommand},
};
use subledger_store::{Effect, Known, Stage, Stop, StreamRef, Work};

use super::ErasureAnswer;
use crate::EngineError;

/// The record of an erasure.
pub(super) struct Record {
    /// The person's streams: of the userid, of each openid. The first is the one that was asked for.
    pub(super) streams: Vec<StreamName>,
    pub(super) erased: Erased,
    pub(super) forget_user: Option<UserRef>,
    /// Openids that stay because they are shared.
    pub(super) shared: u32,
}

impl Record {
    fn nothing_went(&self) -> bool {
        let erased = &self.erased;
        !erased.userid
            && erased.openids == 0
            && erased.contents == 0
            && erased.pushes == 0
            && erased.retracted == 0
    }
}

impl Work for Record {
    type Answer = ErasureAnswer;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        self.streams.iter().cloned().map(StreamRef::of::<Person>).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<ErasureAnswer, Stop<EngineError>> {
        if let Some(first) = self.streams.first()
            && let Some(before) = stage.state::<Person>(first)?.erased()
            && self.nothing_went()
        {
            return Ok(answer(before, true, self.shared));
        }
        let mut erased = self.erased.clone();
        erased.evidence.at = stage.now();
        for stream in &self.streams {
            let recorded = stage.ask::<Person>(stream, PersonCommand::Erase(erased.clone()))?;
            recorded.map_err(|error| Stop::Refuse(EngineError::internal(error.to_string())))?;
        }
        if let Some(user) = self.forget_user {
            stage.effect(Effect::ForgetUserId { user });
        }
        Ok(answer(&erased, false, self.shared))
    }
}

fn answer(erased: &Erased, already: bool, shared_openids: u32) -> ErasureAnswer {
    ErasureAnswer {
        already,
        channels: erased.channels.clone(),
        userid: erased.userid,
        openids: erased.openids,
        contents: erased.contents,
        pushes: erased.pushes,
        retracted: erased.retracted,
        shared_openids,
        at: erased.evidence.at,
        by: erased.evidence.reference.clone(),
        reason: erased.evidence.reason.clone().unwrap_or_default(),
    }
}

/// Keeps a sealed value again.
pub(super) struct Keep(pub(super) Effect);

impl Work for Keep {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        Vec::new()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        stage.effect(self.0.clone());
        Ok(())
    }
}
