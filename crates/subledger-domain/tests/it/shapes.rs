//! The shape of every payload and of every state, recorded: what a deserializer is asked for, field by field.
//!
//! A payload must not change its shape under one schema number, because stored events do not change with it; a state must
//! not under one mark, because stored snapshots do not. `shapes.txt` holds what each was when it was first written. Shapes
//! are found by reading the stored examples through a deserializer that notes what it is asked for; names of Rust types
//! are not part of them. Where a payload flattens another (`<…>`), only what the examples hold is seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
        Visitor, value::StrDeserializer,
    },
};
use serde_json::{Error, Value, json};
use subledger_domain::{
    Decide, StoredEvent,
    app::{App, AppEvent},
    binding::{Binding, BindingEvent},
    channel::{Channel, ChannelEvent},
    ledger::{Ledger, LedgerEvent},
    message::{Message, MessageEvent},
    person::{Person, PersonEvent},
    platform::{Platform, PlatformEvent},
};

use crate::golden::examples;

/// What a deserializer was asked for at one place.
#[derive(Debug, Default)]
enum Shape {
    /// Nothing yet: no example has a value here.
    #[default]
    Unseen,
    Leaf(&'static str),
    Optional(Box<Shape>),
    List(Box<Shape>),
    /// A map, or a struct with a flattened part: the keys that were met.
    Keys(BTreeMap<String, Shape>),
    Fields(BTreeMap<String, Shape>),
    Variants(BTreeMap<String, Shape>),
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |parts: &BTreeMap<String, Self>| {
            parts.iter().map(|(name, shape)| format!("{name}:{shape}")).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Unseen => f.write_str("_"),
            Self::Leaf(name) => f.write_str(name),
            Self::Optional(inner) => write!(f, "?{inner}"),
            Self::List(inner) => write!(f, "[{inner}]"),
            Self::Keys(parts) => write!(f, "<{}>", list(parts)),
            Self::Fields(parts) => write!(f, "{{{}}}", list(parts)),
            Self::Variants(parts) => {
                // Whether an example uses a word is no matter of shape.
                let word = |(name, shape): (&String, &Self)| match shape {
                    Self::Unseen | Self::Leaf("unit") => name.clone(),
                    inside => format!("{name}:{inside}"),
                };
                write!(f, "({})", parts.iter().map(word).collect::<Vec<_>>().join("|"))
            }
        }
    }
}

impl Shape {
    fn optional(&mut self) -> &mut Self {
        if !matches!(self, Self::Optional(_)) {
            *self = Self::Optional(Box::default());
        }
        let Self::Optional(inner) = self else { unreachable!() };
        inner
    }

    fn list(&mut self) -> &mut Self {
        if !matches!(self, Self::List(_)) {
            *self = Self::List(Box::default());
        }
        let Self::List(inner) = self else { unreachable!() };
        inner
    }

    fn keys(&mut self) -> &mut BTreeMap<String, Self> {
        if !matches!(self, Self::Keys(_)) {
            *self = Self::Keys(BTreeMap::new());
        }
        let Self::Keys(parts) = self else { unreachable!() };
        parts
    }

    fn fields(&mut self, names: &[&str]) -> &mut BTreeMap<String, Self> {
        if !matches!(self, Self::Fields(_)) {
            *self = Self::Fields(names.iter().map(|name| ((*name).to_owned(), Self::Unseen)).collect());
        }
        let Self::Fields(parts) = self else { unreachable!() };
        parts
    }

    fn variants(&mut self, names: &[&str]) -> &mut BTreeMap<String, Self> {
        if !matches!(self, Self::Variants(_)) {
            *self = Self::Variants(names.iter().map(|name| ((*name).to_owned(), Self::Unseen)).collect());
        }
        let Self::Variants(parts) = self else { unreachable!() };
        parts
    }
}

/// Reads `value` and notes in `shape` what it is asked for.
struct Trace<'a> {
    value: &'a Value,
    shape: &'a mut Shape,
}

macro_rules! leaves {
    ($($method:ident $name:literal)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            *self.shape = Shape::Leaf($name);
            self.value.clone().$method(visitor)
        }
    )* };
}

impl<'de> Deserializer<'de> for Trace<'_> {
    type Error = Error;

    leaves! {
        deserialize_bool "bool" deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32" deserialize_i64 "i64"
        deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32" deserialize_u64 "u64"
        deserialize_f32 "f32" deserialize_f64 "f64" deserialize_char "char" deserialize_str "text"
        deserialize_string "text" deserialize_bytes "bytes" deserialize_byte_buf "bytes" deserialize_unit "unit"
        deserialize_identifier "name" deserialize_ignored_any "ignored"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.shape = Shape::Leaf(match self.value {
            Value::Null => "any null",
            Value::Bool(_) => "any bool",
            Value::Number(_) => "any number",
            Value::String(_) => "any text",
            Value::Array(_) => "any list",
            Value::Object(_) => "any object",
        });
        self.value.clone().deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let shape = self.shape.optional();
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(Trace { value: self.value, shape })
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        visitor.visit_seq(Items { items, shape: self.shape.list() })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Entries::of(self.value, self.shape.keys()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Entries::of(self.value, self.shape.fields(fields)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Tagged { value: self.value, variants: self.shape.variants(variants) })
    }
}

struct Items<'a> {
    items: &'a [Value],
    shape: &'a mut Shape,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((value, rest)) = self.items.split_first() else { return Ok(None) };
        self.items = rest;
        seed.deserialize(Trace { value, shape: &mut *self.shape }).map(Some)
    }
}

struct Entries<'a> {
    entries: Vec<(&'a str, &'a Value)>,
    current: Option<(&'a str, &'a Value)>,
    parts: &'a mut BTreeMap<String, Shape>,
}

impl<'a> Entries<'a> {
    fn of(value: &'a Value, parts: &'a mut BTreeMap<String, Shape>) -> Self {
        // Last first; the tag of an event comes before its payload.
        let mut entries: Vec<_> =
            value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        entries.sort_by_key(|(name, _)| (*name != "data", *name != "kind", std::cmp::Reverse(*name)));
        Self { entries, current: None, parts }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.pop();
        let Some((name, _)) = self.current else { return Ok(None) };
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.current.take().unwrap();
        let shape = self.parts.entry(name.to_owned()).or_default();
        seed.deserialize(Trace { value, shape })
    }
}

struct Tagged<'a> {
    value: &'a Value,
    variants: &'a mut BTreeMap<String, Shape>,
}

impl<'de, 'a> EnumAccess<'de> for Tagged<'a> {
    type Error = Error;
    type Variant = Trace<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Trace<'a>), Error> {
        let (name, value) = match self.value {
            Value::Object(tagged) => {
                tagged.iter().next().map(|(name, value)| (name.as_str(), value)).unwrap()
            }
            other => (other.as_str().unwrap_or_default(), &Value::Null),
        };
        let tag: StrDeserializer<'_, Error> = name.into_deserializer();
        let tag = seed.deserialize(tag)?;
        Ok((tag, Trace { value, shape: self.variants.entry(name.to_owned()).or_default() }))
    }
}

impl<'de> VariantAccess<'de> for Trace<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        *self.shape = Shape::Leaf("unit");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// The shape of `T`, as far as these values show it.
fn shape_of<'de, T: Deserialize<'de>>(values: &[Value]) -> Shape {
    let mut shape = Shape::default();
    for value in values {
        if let Err(error) = T::deserialize(Trace { value, shape: &mut shape }) {
            panic!("{value}: {error}");
        }
    }
    shape
}

/// Every kind's line: number, name, schema, shape.
fn payload_lines<E: StoredEvent>() -> Vec<(String, String)> {
    let line = |kind: &subledger_domain::EventKind| {
        let newest = |(_, example): (String, Value)| {
            let fits = example["number"] == kind.number && example["schema"] == kind.schema;
            fits.then(|| json!({ "kind": kind.name, "data": example["payload"] }))
        };
        let examples: Vec<Value> = examples().into_iter().filter_map(newest).collect();
        let shape = match shape_of::<E>(&examples) {
            Shape::Fields(mut parts) => parts.remove("data").unwrap_or_default(),
            other => panic!("{}: {other}", kind.name),
        };
        (format!("{} {} {}", kind.number, kind.name, kind.schema), shape.to_string())
    };
    E::KINDS.iter().map(line).collect()
}

/// A state's line: the aggregate, its mark, the shape of states that the stored examples lead to.
fn state_line<A: Decide>() -> (String, String) {
    let mut states = Vec::new();
    let mut state = A::default();
    for (_, example) in examples() {
        let (number, schema) = (&example["number"], &example["schema"]);
        let payload = serde_json::to_vec(&example["payload"]).unwrap();
        let number = u16::try_from(number.as_u64().unwrap()).unwrap();
        let schema = u16::try_from(schema.as_u64().unwrap()).unwrap();
        if let Ok(event) = A::Event::decode(number, schema, &payload) {
            state.apply(event);
            states.push(serde_json::to_value(&state).unwrap());
        }
    }
    (format!("state {} {}", A::TYPE, A::STATE), merge_maps(shape_of::<A>(&states)).to_string())
}

/// The keys of a state's maps are data; only what they lead to is shape.
fn merge_maps(shape: Shape) -> Shape {
    let inside =
        |parts: BTreeMap<String, Shape>| parts.into_iter().map(|(n, s)| (n, merge_maps(s))).collect();
    match shape {
        Shape::Keys(parts) => {
            let values: BTreeSet<String> =
                parts.into_values().map(|value| merge_maps(value).to_string()).collect();
            let longest = values.into_iter().max_by_key(String::len).unwrap_or_default();
            Shape::Keys(BTreeMap::from([("*".to_owned(), Shape::Leaf(longest.leak()))]))
        }
        Shape::Fields(parts) => Shape::Fields(inside(parts)),
        Shape::Variants(parts) => Shape::Variants(inside(parts)),
        Shape::Optional(inner) => Shape::Optional(Box::new(merge_maps(*inner))),
        Shape::List(inner) => Shape::List(Box::new(merge_maps(*inner))),
        other => other,
    }
}

/// The recorded lines, by what they are about.
fn recorded() -> BTreeMap<String, String> {
    let line = |line: &str| {
        let mut parts = line.splitn(4, ' ');
        let about: Vec<&str> = parts.by_ref().take(3).collect();
        (about.join(" "), parts.next().unwrap_or_default().to_owned())
    };
    let lines = include_str!("shapes.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.map(line).collect();
    let count = lines.len();
    let recorded: BTreeMap<_, _> = lines.into_iter().collect();
    assert_eq!(recorded.len(), count, "shapes.txt names something twice");
    recorded
}

#[test]
fn no_payload_changes_its_shape_under_the_same_schema() {
    let recorded = recorded();
    let found = [
        payload_lines::<ChannelEvent>(),
        payload_lines::<BindingEvent>(),
        payload_lines::<LedgerEvent>(),
        payload_lines::<MessageEvent>(),
        payload_lines::<AppEvent>(),
        payload_lines::<PersonEvent>(),
        payload_lines::<PlatformEvent>(),
    ];
    let mut wrong = Vec::new();
    for (about, shape) in found.into_iter().flatten() {
        if recorded.get(&about) != Some(&shape) {
            wrong.push(format!("{about} {shape}"));
        }
        let mut parts = about.split(' ');
        let (number, name) = (parts.next().unwrap(), parts.next().unwrap());
        let schema: u16 = parts.next().unwrap().parse().unwrap();
        for older in 1..schema {
            assert!(
                recorded.contains_key(&format!("{number} {name} {older}")),
                "{name}: the line of schema {older}"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "these payloads are not what tests/it/shapes.txt says. Stored events did not change with them.\n\
         * A new kind, or a new schema number: add its line as printed below.\n\
         * A new optional field whose absence means what it always meant: add an example that has it, and put the line \
         below in place of the old one.\n\
         * Anything else (another name, type, meaning, a field gone, one more word in a set): give the kind the next \
         schema number and an upcaster, keep the old line and the old examples. See docs/adding-an-event.md.\n{}\n",
        wrong.join("\n")
    );
}

#[test]
fn no_state_changes_its_shape_under_the_same_mark() {
    let recorded = recorded();
    let found = [
        state_line::<Channel>(),
        state_line::<Binding>(),
        state_line::<Ledger>(),
        state_line::<Message>(),
        state_line::<App>(),
        state_line::<Person>(),
        state_line::<Platform>(),
    ];
    let lines: Vec<_> = found
        .into_iter()
        .filter(|(about, shape)| recorded.get(about) != Some(shape))
        .map(|(about, shape)| format!("{about} {shape}"))
        .collect();
    assert!(
        lines.is_empty(),
        "these states are not what tests/it/shapes.txt says, so snapshots and the ledgers read model hold others. Raise \
         `Decide::STATE` of the aggregate and add its line as printed here; operators rebuild the read models. See \
         docs/adding-an-event.md, \"State that remembers more\".\n{}\n",
        lines.join("\n")
    );
}

#[test]
fn the_tracing_sees_what_it_must_see() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Before {
        lot: u64,
        #[serde(default)]
        note: Option<String>,
        how: How,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    #[serde(rename_all = "snake_case")]
    enum How {
        Tap,
        Import { count: u32 },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Wider {
        lot: u64,
        #[serde(default)]
        note: Option<String>,
        how: WiderHow,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    #[serde(rename_all = "snake_case")]
    enum WiderHow {
        Tap,
        Import { count: u32 },
        Gift,
    }
    let values =
        [json!({ "lot": 1, "how": "tap" }), json!({ "lot": 1, "how": { "import": { "count": 2 } } })];
    let before = shape_of::<Before>(&values).to_string();
    assert_eq!(before, "{how:(import:{count:u32}|tap),lot:u64,note:_}");
    // One more word in a set is seen even though no example uses it.
    assert_eq!(shape_of::<Wider>(&values).to_string(), "{how:(gift|import:{count:u32}|tap),lot:u64,note:_}");
}
