//! Reading payloads of older schemas.
//!
//! An [`Upcaster`] leads from one schema to the next. It works on JSON and not on today's types, because those change: the
//! step from 1 to 2 must mean the same when there is a schema 9. The newest schema, which is nearly every event, is parsed
//! straight into its type and never becomes a `Value`.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::DecodeError;

/// Brings a payload of one schema to the next. Pure and for ever: what the old event did not know becomes a value that says
/// so, never a guess. The error says what the payload lacks.
pub type Upcaster = fn(Value) -> Result<Value, String>;

/// The payload of a kind, whichever schema it was stored under. `older[0]` leads from schema 1 to 2, and so on.
pub(crate) fn payload<T: DeserializeOwned>(
    kind: &'static str,
    older: &[Upcaster],
    schema: u16,
    payload: &[u8],
) -> Result<T, DecodeError> {
    let broken = |source| DecodeError::Payload { kind, schema, source };
    let steps = match usize::from(schema).checked_sub(1) {
        Some(from) if from == older.len() => return serde_json::from_slice(payload).map_err(broken),
        Some(from) => older.get(from..).ok_or_else(|| DecodeError::NewerSchema {
            kind,
            found: schema,
            newest: u16::try_from(older.len() + 1).unwrap_or(u16::MAX),
        })?,
        None => return Err(DecodeError::NoSchema { kind }),
    };
    let mut value: Value = serde_json::from_slice(payload).map_err(broken)?;
    for (at, step) in (schema..).zip(steps) {
        value = step(value).map_err(|reason| DecodeError::Upcast { kind, schema: at, reason })?;
    }
    serde_json::from_value(value).map_err(broken)
}
