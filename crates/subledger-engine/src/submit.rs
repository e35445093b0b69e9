//! Handing work to the executor.

use serde::{Serialize, de::DeserializeOwned};
use subledger_domain::LogName;
use subledger_store::{Done, ReceiptKey, StoredReceipt, Submission, SubmitError, Work};

use crate::{Caller, Engine, EngineError};

/// BLAKE3 over the canonical JSON of a request body: what makes "same id, same body" decidable.
pub(crate) fn fingerprint<T: Serialize>(body: &T) -> Result<[u8; 32], EngineError> {
    let bytes = serde_json::to_vec(body).map_err(|error| EngineError::internal(error.to_string()))?;
    Ok(*blake3::hash(&bytes).as_bytes())
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
