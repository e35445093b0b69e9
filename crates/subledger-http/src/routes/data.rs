//! Template values on the wire.
//!
//! Callers write values as plain strings, as WeChat's own `{"value": …}`, or as numbers. All become text, because that is
//! what WeChat takes. A number that a JSON reader could not hold exactly is refused rather than rounded: order numbers are
//! sent this way.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, RefOr, Schema,
        schema::{AdditionalProperties, Type},
    },
};

/// Whole numbers up to here are exact in any JSON reader's floating point.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Data(pub(crate) BTreeMap<String, String>);

struct Text(String);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of values by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, Text(value))) = map.next_entry::<String, Text>()? {
                    if values.contains_key(&key) {
                        return Err(A::Error::custom(format!("duplicate field `{key}`")));
                    }
                    values.insert(key, value);
                }
                Ok(Data(values))
            }
        }

        deserializer.deserialize_map(Values)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor { wrapped: false }).map(Self)
    }
}

struct TextVisitor {
    /// Whether this is the inside of `{"value": …}` already.
    wrapped: bool,
}

struct Inner(String);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor { wrapped: true }).map(Self)
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.wrapped {
            "a string or a number"
        } else {
            "a string, a number or {\"value\": …}"
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        if number.abs() < MAX_EXACT {
            Ok(number.to_string())
        } else {
            Err(E::custom("invalid value: a number of this size is not exact; send it as a string"))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        if self.wrapped {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let mut value = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "value" {
                return Err(A::Error::custom(format!("unknown field `{key}`, expected `value`")));
            }
            if value.is_some() {
                return Err(A::Error::custom("duplicate field `value`"));
            }
            value = Some(map.next_value::<Inner>()?.0);
        }
        value.ok_or_else(|| A::Error::custom("missing field `value`"))
    }
}

impl PartialSchema for Data {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let wrapped = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("value", ObjectBuilder::new().schema_type(Type::String))
            .required("value")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let value =
            OneOfBuilder::new().item(text).item(ObjectBuilder::new().schema_type(Type::Number)).item(wrapped);
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Values by the template's keys: a string, a number, or WeChat's own `{\"value\": …}`. Write amounts and long \
                 numbers as strings.",
            ))
            .additional_properties(Some(Schema::OneOf(value.build())))
            .examples([serde_json::json!({ "thing1": "牛角面包", "time2": { "value": "2026-03-01 16:00" } })])
            .into()
    }
}

impl ToSchema for Data {
    fn name() -> Cow<'static, str> {
        "Data".into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BTreeMap<String, String>, String> {
        serde_json::from_str::<Data>(json).map(|data| data.0).map_err(|error| error.to_string())
    }

    #[test]
    fn strings_numbers_and_wrapped_values_become_text() {
        let values = read(
            r#"{"a": "x", "b": {"value": "y"}, "c": 7, "d": -3, "e": 19.5, "f": {"value": 12}, "g": 18446744073709551615, "h": ""}"#,
        )
        .unwrap();
        let texts: Vec<&str> = values.values().map(String::as_str).collect();
        assert_eq!(texts, ["x", "y", "7", "-3", "19.5", "12", "18446744073709551615", ""]);
    }

    #[test]
    fn a_number_that_is_not_exact_is_refused() {
        for number in ["18446744073709551616", "1e300", "-9007199254740993.0"] {
            let error = read(&format!(r#"{{"a": {number}}}"#)).unwrap_err();
            assert!(error.contains("send it as a string"), "{number}: {error}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (json, part) in [
            (r#"{"a": null}"#, "invalid type: null"),
            (r#"{"a": true}"#, "invalid type: boolean"),
            (r#"{"a": ["x"]}"#, "invalid type: sequence"),
            (r#"{"a": {"value": {"value": "x"}}}"#, "invalid type: map"),
            (r#"{"a": {}}"#, "missing field `value`"),
            (r##"{"a": {"value": "x", "color": "#f00"}}"##, "unknown field `color`"),
            (r#"{"a": {"value": "x", "value": "y"}}"#, "duplicate field `value`"),
            (r#"{"a": "x", "a": "y"}"#, "duplicate field `a`"),
            (r#"[]"#, "invalid type: sequence"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
