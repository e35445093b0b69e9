//! Time on the wire: RFC 3339 with microseconds, in UTC; any offset is accepted.

use std::borrow::Cow;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use subledger_domain::Timestamp;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// A moment, as `2026-03-01T08:00:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = jiff::Timestamp::from_microsecond(self.0.micros()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&PRINTER.timestamp_to_string(&moment))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<jiff::Timestamp>() {
            Ok(moment) => Ok(Self(Timestamp::from_micros(moment.as_microsecond()))),
            Err(_) => Err(D::Error::custom(
                "invalid value: must be a time as RFC 3339 writes it, with an offset: 2026-03-01T16:00:00+08:00",
            )),
        }
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339 with microseconds, UTC; any offset is accepted"))
            .examples([serde_json::json!("2026-03-01T08:00:00.000000Z")])
            .into()
    }
}

impl ToSchema for Moment {
    fn name() -> Cow<'static, str> {
        "Moment".into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_with_six_digits_in_utc() {
        let text = |micros| serde_json::to_string(&Moment(Timestamp::from_micros(micros))).unwrap();
        assert_eq!(text(0), r#""1970-01-01T00:00:00.000000Z""#);
        assert_eq!(text(1_772_352_000_000_001), r#""2026-03-01T08:00:00.000001Z""#);
    }

    #[test]
    fn any_offset_is_accepted_and_means_the_same_moment() {
        let read = |text: &str| serde_json::from_value::<Moment>(text.into()).unwrap().0.micros();
        let utc = read("2026-03-01T08:00:00Z");
        assert_eq!(utc, 1_772_352_000_000_000);
        assert_eq!(read("2026-03-01T16:00:00+08:00"), utc);
        assert_eq!(read("2026-03-01T03:00:00.000000-05:00"), utc);
        assert_eq!(read("2026-03-01T08:00:00.0000019Z"), utc + 1);
    }

    #[test]
    fn a_time_without_offset_is_refused() {
        for text in ["2026-03-01T08:00:00", "2026-03-01", "tomorrow", "", "1772352000"] {
            let error = serde_json::from_value::<Moment>(text.into()).unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{text}: {error}");
        }
    }
}
