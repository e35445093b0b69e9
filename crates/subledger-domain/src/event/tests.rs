//! Upcasting, proved on a family of events that exists here only: its payload has had three schemas.
//!
//! From 1 to 2 a field was renamed and one was added whose value follows from another; from 2 to 3 one word was split in
//! two. The stored examples are in `golden/`; each says how it reads today.
#![allow(
    clippy::unwrap_used,
    private_interfaces,
    unreachable_pub,
    reason = "a family of events for these tests only"
)]

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{DecodeError, StoredEvent};

stored_events! {
    /// Events of a parcel.
    ParcelEvent of "parcel" {
        /// It was handed over.
        HandedOver = 9_001, "parcel.handed_over", 3, from [handed_over_1, handed_over_2];
        /// It was weighed.
        Weighed = 9_002, "parcel.weighed", 1;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HandedOver {
    recipient: String,
    grams: u64,
    heavy: bool,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    InPerson,
    ToNeighbour,
    /// Schemas 1 and 2 did not tell the two apart.
    HandedOverSomehow,
    Returned,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Weighed {
    grams: u64,
}

/// `to` became `recipient`; `heavy` is what schema 2 computed from `grams` when it wrote.
fn handed_over_1(mut payload: Value) -> Result<Value, String> {
    let fields = payload.as_object_mut().ok_or("not an object")?;
    let recipient = fields.remove("to").ok_or("no field `to`")?;
    let grams = fields.get("grams").and_then(Value::as_u64).ok_or("no number `grams`")?;
    fields.insert("recipient".to_owned(), recipient);
    fields.insert("heavy".to_owned(), Value::Bool(grams > 1_000));
    Ok(payload)
}

/// `done` became `in_person` and `to_neighbour`; the old events do not know which.
fn handed_over_2(mut payload: Value) -> Result<Value, String> {
    let end = payload.get_mut("end").ok_or("no field `end`")?;
    if end == "done" {
        *end = json!("handed_over_somehow");
    }
    Ok(payload)
}

fn examples() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/event/tests/golden");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    };
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
    found.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    found
}

fn decode(schema: u16, payload: &Value) -> Result<ParcelEvent, DecodeError> {
    ParcelEvent::decode(9_001, schema, &serde_json::to_vec(payload).unwrap())
}

#[test]
fn every_schema_ever_reads_as_todays_event() {
    let mut schemas = Vec::new();
    for (file, example) in examples() {
        let schema = u16::try_from(example["schema"].as_u64().unwrap()).unwrap();
        let event = decode(schema, &example["payload"]).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        let today: Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
        assert_eq!(today, example["reads_as"], "{file}");
        assert_eq!(event.kind().schema, 3, "{file}: written anew it has the newest schema");
        schemas.push(schema);
    }
    assert_eq!(schemas, [1, 1, 2, 3]);
}

#[test]
fn a_newer_schema_or_kind_is_told_from_broken_bytes() {
    let sound = json!({ "recipient": "r", "grams": 1, "heavy": false, "end": "returned" });
    let newer = decode(4, &sound).unwrap_err();
    assert!(matches!(newer, DecodeError::NewerSchema { found: 4, newest: 3, .. }) && newer.is_newer());
    let weighed = ParcelEvent::decode(9_002, 2, br#"{"grams":1}"#).unwrap_err();
    assert!(matches!(weighed, DecodeError::NewerSchema { found: 2, newest: 1, .. }), "each kind has its own");
    let unknown = ParcelEvent::decode(9_003, 1, b"{}").unwrap_err();
    assert!(matches!(unknown, DecodeError::UnknownKind { number: 9_003, .. }) && unknown.is_newer());

    let foreign = ParcelEvent::decode(30, 1, b"{}").unwrap_err();
    assert!(
        matches!(foreign, DecodeError::ForeignKind { kind: "ledger.granted", .. }) && !foreign.is_newer()
    );
    let zero = decode(0, &sound).unwrap_err();
    assert!(matches!(zero, DecodeError::NoSchema { .. }) && !zero.is_newer());
    let old_in_new = decode(3, &json!({ "to": "r", "grams": 1, "end": "done" })).unwrap_err();
    assert!(matches!(old_in_new, DecodeError::Payload { schema: 3, .. }) && !old_in_new.is_newer());
    let torn = ParcelEvent::decode(9_001, 1, b"{\"to\":").unwrap_err();
    assert!(matches!(torn, DecodeError::Payload { schema: 1, .. }) && !torn.is_newer());
}

#[test]
fn an_upcaster_that_misses_something_names_the_step() {
    let lacking = decode(1, &json!({ "grams": 1, "end": "done" })).unwrap_err();
    assert!(matches!(&lacking, DecodeError::Upcast { schema: 1, reason, .. } if reason.contains("`to`")));
    let endless = decode(1, &json!({ "to": "r", "grams": 1 })).unwrap_err();
    assert!(matches!(endless, DecodeError::Upcast { schema: 2, .. }), "the second step refused");
    // All steps went well, and what came out is still no event of today.
    let odd = decode(2, &json!({ "recipient": "r", "grams": 1, "heavy": false, "end": "lost" })).unwrap_err();
    assert!(matches!(odd, DecodeError::Payload { schema: 2, .. }));
}
