//! Stored examples: an event written by this version must be readable, unchanged, by every later one.
//!
//! At least one file per kind in `golden/`, named after the kind and, where there are several, what is special. Never edit
//! one: a changed payload needs a new schema number, a new example, and an upcaster that still reads the old one.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;
use subledger_domain::{
    ALL_KINDS, DecodeError, EventKind, StoredEvent, app::AppEvent, binding::BindingEvent,
    channel::ChannelEvent, kind_by_name, kind_by_number, ledger::LedgerEvent, message::MessageEvent,
    person::PersonEvent, platform::PlatformEvent,
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

pub fn examples() -> Vec<(String, Value)> {
    let mut found: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), value)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Decodes through the aggregate whose kinds hold `number`, and encodes again.
fn reencode(number: u16, schema: u16, payload: &[u8]) -> Result<(EventKind, Value), DecodeError> {
    fn through<E: StoredEvent>(
        number: u16,
        schema: u16,
        payload: &[u8],
    ) -> Result<(EventKind, Value), DecodeError> {
        let event = E::decode(number, schema, payload)?;
        Ok((event.kind(), serde_json::from_slice(&event.encode().unwrap()).unwrap()))
    }
    let of = |kinds: &[EventKind]| kinds.iter().any(|kind| kind.number == number);
    match () {
        () if of(ChannelEvent::KINDS) => through::<ChannelEvent>(number, schema, payload),
        () if of(BindingEvent::KINDS) => through::<BindingEvent>(number, schema, payload),
        () if of(LedgerEvent::KINDS) => through::<LedgerEvent>(number, schema, payload),
        () if of(MessageEvent::KINDS) => through::<MessageEvent>(number, schema, payload),
        () if of(AppEvent::KINDS) => through::<AppEvent>(number, schema, payload),
        () if of(PlatformEvent::KINDS) => through::<PlatformEvent>(number, schema, payload),
        () => through::<PersonEvent>(number, schema, payload),
    }
}

#[test]
fn every_example_reads_and_the_newest_write_back_to_the_same_json() {
    for (file, example) in examples() {
        let number = u16::try_from(example["number"].as_u64().unwrap()).unwrap();
        let schema = u16::try_from(example["schema"].as_u64().unwrap()).unwrap();
        let payload = serde_json::to_vec(&example["payload"]).unwrap();
        let (kind, again) = reencode(number, schema, &payload).unwrap_or_else(|e| panic!("{file}: {e:?}"));
        // An older schema comes back as today's payload; that it reads is the promise.
        if schema == kind.schema {
            assert_eq!(again, example["payload"], "{file}");
        }
        assert_eq!((kind.number, kind.name), (number, example["name"].as_str().unwrap()), "{file}");
        assert!(file.starts_with(kind.name), "{file} is an example of {}", kind.name);
    }
}

#[test]
fn every_kind_has_an_example_of_every_schema_it_ever_had() {
    let have: BTreeSet<_> = examples()
        .into_iter()
        .map(|(_, example)| (example["number"].as_u64().unwrap(), example["schema"].as_u64().unwrap()))
        .collect();
    for kind in ALL_KINDS.iter().flat_map(|kinds| kinds.iter()) {
        for schema in 1..=kind.schema {
            assert!(
                have.contains(&(kind.number.into(), schema.into())),
                "no example of {} schema {schema}",
                kind.name
            );
        }
    }
}

#[test]
fn numbers_and_names_are_unique_and_in_order() {
    let all: Vec<&EventKind> = ALL_KINDS.iter().flat_map(|kinds| kinds.iter()).collect();
    assert_eq!(
        all.iter().map(|kind| kind.number).collect::<BTreeSet<_>>().len(),
        all.len(),
        "each number once"
    );
    for kinds in ALL_KINDS {
        // An aggregate may have several blocks, so the order is one within the aggregate.
        assert!(
            kinds.windows(2).all(|pair| pair[0].number < pair[1].number),
            "in order of number: {kinds:?}"
        );
    }
    assert_eq!(all.iter().map(|kind| kind.name).collect::<BTreeSet<_>>().len(), all.len(), "each name once");
    for kinds in ALL_KINDS {
        let prefixes: BTreeSet<_> = kinds.iter().map(|kind| kind.name.split_once('.').unwrap().0).collect();
        assert_eq!(prefixes.len(), 1, "one aggregate, one prefix: {prefixes:?}");
    }
    for kind in all {
        assert_eq!(kind_by_number(kind.number), Some(*kind));
        assert_eq!(kind_by_name(kind.name), Some(*kind));
        assert!(kind.schema >= 1);
    }
    assert_eq!(kind_by_number(0), None);
    assert_eq!(kind_by_name("ledger.nothing"), None);
}
