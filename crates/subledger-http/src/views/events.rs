//! An event as the feed shows it.

use serde::Serialize;
use serde_json::value::RawValue;
use subledger_store::Recorded;
use utoipa::ToSchema;

use crate::{moment::Moment, problem::ApiError};

/// One event of a log. With the log's name these are all fields that its link covers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// The log: a channel's code, or `main`.
    #[schema(example = "wechatmp123")]
    log: String,
    /// Its place in the log: dense, from 1.
    position: u64,
    /// The stream it belongs to.
    #[schema(example = "ledger/9f86d081884c7d659a2feaa0c55ad015/TPL_order")]
    stream: String,
    /// Its place in the stream, from 1.
    version: u64,
    /// What happened. A consumer must pass over kinds it does not know.
    #[schema(example = "ledger.granted")]
    kind: String,
    /// The schema of the payload.
    schema: u16,
    /// When it was recorded.
    recorded_at: Moment,
    /// The payload, byte for byte as stored.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
    /// Who asked and why, byte for byte as stored.
    #[schema(value_type = Object)]
    cause: Box<RawValue>,
    /// Its link of the hash chain, hexadecimal.
    link: String,
}

impl EventView {
    /// The view of an event; an error if what is stored is not JSON.
    pub(crate) fn new(event: &Recorded) -> Result<Self, ApiError> {
        let broken = || {
            ApiError::internal(format!(
                "the event at position {} of log {} is not JSON",
                event.position, event.log
            ))
        };
        let raw = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| broken())?;
            RawValue::from_string(text).map_err(|_| broken())
        };
        Ok(Self {
            log: event.log.to_string(),
            position: event.position.0,
            stream: event.stream.to_string(),
            version: event.version,
            kind: event.kind_name(),
            schema: event.schema,
            recorded_at: event.recorded_at.into(),
            data: raw(&event.data)?,
            cause: raw(&event.cause)?,
            link: hex::encode(event.link.0),
        })
    }
}
