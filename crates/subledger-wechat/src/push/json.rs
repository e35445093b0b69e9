//! JSON to tree.
//!
//! Not by way of a generic JSON value: that one drops all but the last of repeated names, and here a name that repeats must be
//! seen. Whole numbers keep all their digits (a MsgID has 19, a double holds 15).

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::Undecodable;
use super::tree::{Budget, Node};

pub(super) fn parse(text: &str) -> Result<Node, Undecodable> {
    let limits = Limits { budget: RefCell::new(Budget::new()), exceeded: Cell::new(None) };
    let mut json = serde_json::Deserializer::from_str(text);
    let seed = Seed { limits: &limits, depth: 1 };
    let parsed = seed.deserialize(&mut json).and_then(|node| json.end().map(|()| node));
    // serde_json's own words may quote the body; the place is all that is taken from it.
    parsed.map_err(|error| {
        let broken = Undecodable::BrokenJson { line: error.line(), column: error.column() };
        limits.exceeded.get().unwrap_or(broken)
    })
}

struct Limits {
    budget: RefCell<Budget>,
    exceeded: Cell<Option<Undecodable>>,
}

#[derive(Clone, Copy)]
struct Seed<'l> {
    limits: &'l Limits,
    depth: usize,
}

impl Seed<'_> {
    fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let taken = self.limits.budget.borrow_mut().take(self.depth);
        if let Err(reason) = taken {
            self.limits.exceeded.set(Some(reason));
            return Err(D::Error::custom("a limit is exceeded"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Node, E> {
        Ok(Node::Inexact)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.trim().to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inside())? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = entries.next_key()? {
            fields.push((name, entries.next_value_seed(self.inside())?));
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn scalars_become_their_text_and_inexact_numbers_do_not() {
        let Node::Map(fields) =
            parse(r#"{"a":4000000000000000017,"b":-7,"c":" x\u4e2d ","d":true,"e":null,"f":1.0,"g":1e3,"h":99999999999999999999}"#)
                .unwrap()
        else {
            panic!("an object")
        };
        let values: Vec<Node> = fields.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values[..4], [text("4000000000000000017"), text("-7"), text("x中"), text("true")]);
        assert_eq!(values[4..], [Node::Null, Node::Inexact, Node::Inexact, Node::Inexact]);
    }

    #[test]
    fn repeated_names_stay() {
        let node = parse(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(node, Node::Map(vec![("a".to_owned(), text("1")), ("a".to_owned(), text("2"))]));
    }

    #[test]
    fn the_place_of_an_error_is_told() {
        assert_eq!(parse("{\"a\":1,\n}"), Err(Undecodable::BrokenJson { line: 2, column: 1 }));
        for broken in ["{", "{\"a\"}", "{}x", "{\"a\":01}", "{\"a\":\"\\ud800\"}", "{\"a\":NaN}"] {
            assert!(matches!(parse(broken), Err(Undecodable::BrokenJson { .. })), "{broken}");
        }
    }
}
