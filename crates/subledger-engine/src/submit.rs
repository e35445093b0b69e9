//! Handing work to the executor.

use serde::Serialize;
use subledger_domain::LogName;
use subledger_store::{Done, ReceiptKey, Submission, Work};

use crate::{Caller, Engine, EngineError};

/// BLAKE3 over the canonical JSON of a request body: what makes "same id, same body" decidable.
pub(crate) fn fingerprint<T: Serialize>(body: &T) -> Result<[u8; 32], EngineError> {
    let bytes = serde_json::to_vec(body).map_err(|error| EngineError::internal(error.to_string()))?;
    Ok(*blake3::hash(&bytes).as_bytes())
}

impl Engine {
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
