//! A command behind a vtable, so that one executor can batch commands of all kinds.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use subledger_domain::LogName;
use tokio::sync::oneshot;

use crate::{
    Done, Known, NewerEvent, Position, ReceiptKey, Stage, Stop, StoreError, StreamRef, Submission,
    SubmitError, Work, work::ReceiptDigest,
};

/// What came out of one decision.
pub(super) enum Verdict {
    /// Accepted. The answer as JSON, if there is a receipt to keep it in.
    Accepted(Option<String>),
    /// Refused; the reason waits inside the job.
    Refused,
    /// More streams are needed.
    Need(Vec<StreamRef>),
    /// A defect.
    Fault(String),
}

/// How a command ended.
pub(super) enum Ending {
    /// As decided.
    Decided(Position),
    /// Refused.
    Refused,
    /// As an earlier one with the same id: its answer as JSON.
    Replayed(String, Position),
    /// The id was used with another body.
    Conflict,
    /// The database failed.
    Failed { source: StoreError, maybe_recorded: bool },
    /// A stream it needs holds what a newer version of the program wrote.
    Newer(NewerEvent),
    /// A defect.
    Fault(String),
}

/// One command that waits for its turn.
/// `Sync` because a batch is looked at across awaits.
pub(super) trait Job: Send + Sync {
    fn log(&self) -> &LogName;
    /// What its receipt is found by, if it is to have one.
    fn receipt(&self) -> Option<ReceiptDigest>;
    /// The cause as JSON.
    fn cause(&self) -> &Arc<str>;
    fn streams(&self, known: &Known<'_>) -> Result<Vec<StreamRef>, String>;
    fn decide(&mut self, stage: &mut Stage<'_>) -> Verdict;
    fn end(self: Box<Self>, ending: Ending);
}

/// What a caller gets.
pub(super) type Reply<W> = Result<Done<<W as Work>::Answer>, SubmitError<<W as Work>::Refusal>>;

struct Typed<W: Work> {
    submission: Submission<W>,
    receipt: Option<ReceiptDigest>,
    cause: Arc<str>,
    /// What the newest decision came to; an earlier one may have been undone with its batch.
    /// In a mutex only to be `Sync`; it is never locked.
    decided: Mutex<Option<Result<W::Answer, W::Refusal>>>,
    reply: oneshot::Sender<Reply<W>>,
}

/// A job, and where its answer will come.
pub(super) struct Ticket<W: Work> {
    pub(super) job: Box<dyn Job>,
    pub(super) answer: oneshot::Receiver<Reply<W>>,
}

/// The longest command id, in bytes; see [`ReceiptKey::id`].
const MAX_RECEIPT_ID_BYTES: usize = 300;

/// The job behind a submission.
pub(super) fn job<W: Work>(submission: Submission<W>) -> Result<Ticket<W>, String> {
    let cause = serde_json::to_string(&submission.cause).map_err(|error| format!("the cause: {error}"))?;
    let receipt = submission.receipt.as_ref().map(digest).transpose()?;
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Typed { submission, receipt, cause: cause.into(), decided: Mutex::new(None), reply });
    Ok(Ticket { job, answer })
}

fn digest(key: &ReceiptKey) -> Result<ReceiptDigest, String> {
    let length = key.id.len();
    if length == 0 || length > MAX_RECEIPT_ID_BYTES || key.id.contains('\0') {
        return Err(format!(
            "a command id of {length} bytes; it needs 1 to {MAX_RECEIPT_ID_BYTES}, none of them NUL"
        ));
    }
    Ok(ReceiptDigest::from(key))
}

impl<W: Work> Job for Typed<W> {
    fn log(&self) -> &LogName {
        &self.submission.log
    }

    fn receipt(&self) -> Option<ReceiptDigest> {
        self.receipt
    }

    fn cause(&self) -> &Arc<str> {
        &self.cause
    }

    fn streams(&self, known: &Known<'_>) -> Result<Vec<StreamRef>, String> {
        catch_unwind(AssertUnwindSafe(|| self.submission.work.streams(known))).map_err(|panic| said(&*panic))
    }

    // A panic can leave nothing half-done behind: the stage is a set of copies and is dropped with it.
    fn decide(&mut self, stage: &mut Stage<'_>) -> Verdict {
        let answer = match catch_unwind(AssertUnwindSafe(|| self.submission.work.decide(stage))) {
            Ok(Ok(answer)) => answer,
            Ok(Err(Stop::Refuse(refusal))) => {
                *self.decided.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Err(refusal));
                return Verdict::Refused;
            }
            Ok(Err(Stop::Need(streams))) => return Verdict::Need(streams),
            Ok(Err(Stop::Fault(what))) => return Verdict::Fault(what),
            Err(panic) => return Verdict::Fault(said(&*panic)),
        };
        let json = match self.receipt.map(|_| serde_json::to_string(&answer)).transpose() {
            Ok(json) => json,
            Err(error) => return Verdict::Fault(format!("the answer: {error}")),
        };
        *self.decided.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Ok(answer));
        Verdict::Accepted(json)
    }

    fn end(self: Box<Self>, ending: Ending) {
        let reply = match (ending, self.decided.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            (Ending::Decided(position), Some(Ok(answer))) => Ok(Done { answer, position, replayed: false }),
            (Ending::Refused, Some(Err(refusal))) => Err(SubmitError::Refused(refusal)),
            (Ending::Decided(_) | Ending::Refused, _) => {
                Err(SubmitError::Fault("nothing was decided".to_owned()))
            }
            (Ending::Replayed(json, position), _) => match serde_json::from_str(&json) {
                Ok(answer) => Ok(Done { answer, position, replayed: true }),
                Err(error) => Err(SubmitError::Fault(format!("the stored answer does not parse: {error}"))),
            },
            (Ending::Conflict, _) => Err(SubmitError::ReceiptConflict),
            (Ending::Failed { source, maybe_recorded }, _) => {
                Err(SubmitError::Store { source, maybe_recorded })
            }
            (Ending::Newer(event), _) => Err(SubmitError::Newer(event)),
            (Ending::Fault(what), _) => Err(SubmitError::Fault(what)),
        };
        // The caller may have gone; what was recorded stays recorded.
        let _ = self.reply.send(reply);
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the decision panicked: {}", said.as_deref().unwrap_or("without a message"))
}
