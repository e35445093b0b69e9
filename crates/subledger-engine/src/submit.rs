//! Handing work to the executor, and what makes a repetition harmless.

use serde::{Serialize, de::DeserializeOwned};
use subledger_domain::LogName;
use subledger_store::{Done, ReceiptKey, StoredReceipt, Submission, SubmitError, Work};

use crate::{Caller, Engine, EngineError, limits};

/// BLAKE3 over the canonical JSON of a request body: what makes "same id, same body" decidable.
pub(crate) fn fingerprint<T: Serialize>(body: &T) -> Result<[u8; 32], EngineError> {
    let bytes = serde_json::to_vec(body).map_err(|error| EngineError::internal(error.to_string()))?;
    Ok(*blake3::hash(&bytes).as_bytes())
}

/// The same end of a command with another answer.
pub(crate) fn done_with<A, B>(done: Done<A>, answer: B) -> Done<B> {
    Done { answer, position: done.position, replayed: done.replayed }
}

/// The receipt of a command that a caller may repeat, if it gave a key.
pub(crate) fn receipt<T: Serialize>(
    command: &str,
    caller: &Caller,
    key: Option<&str>,
    body: &T,
) -> Result<Option<ReceiptKey>, EngineError> {
    let Some(key) = key else { return Ok(None) };
    let length = key.chars().count();
    if length == 0 || length > limits::MAX_IDEMPOTENCY_KEY_CHARS || !key.bytes().all(|b| b.is_ascii_graphic())
    {
        let rule = format!(
            "must be 1 to {} printable ASCII characters without space; found {length}",
            limits::MAX_IDEMPOTENCY_KEY_CHARS
        );
        return Err(EngineError::field("bad_idempotency_key", "/Idempotency-Key", "idempotency_key", rule));
    }
    Ok(Some(ReceiptKey { id: format!("{command}:{}:{key}", caller.who()), fingerprint: fingerprint(body)? }))
}

/// A key as one step of a JSON pointer (RFC 6901).
pub(crate) fn pointer_step(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl Engine {
    /// The stored answer, if this command was carried out before. For use cases that do something before their command
    /// which must not be done again: ask WeChat, look at a queue that has moved on, compare with the clock.
    pub(crate) async fn answered<T: DeserializeOwned>(
        &self,
        log: &LogName,
        receipt: Option<&ReceiptKey>,
    ) -> Result<Option<Done<T>>, EngineError> {
        let Some(receipt) = receipt else { return Ok(None) };
        match self.store().receipt(log, receipt).await? {
            StoredReceipt::None => Ok(None),
            StoredReceipt::Same(done) => Ok(Some(done)),
            StoredReceipt::OtherBody => Err(SubmitError::ReceiptConflict.into()),
        }
    }

    pub(crate) async fn submit<W: Work<Refusal = EngineError>>(
        &self,
        log: LogName,
        caller: &Caller,
        command: &str,
        receipt: Option<ReceiptKey>,
        work: W,
    ) -> Result<Done<W::Answer>, EngineError> {
        let submission = Submission { log, receipt, cause: caller.cause(command), work };
        Ok(self.executor().submit(submission).await?)
    }
}
