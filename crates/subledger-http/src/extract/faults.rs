//! What a deserializer complains about, as a field and a rule.

use serde_path_to_error::{Path, Segment};
use subledger_engine::FieldError;

/// A token of a JSON pointer (RFC 6901 §3).
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } | Segment::Enum { variant: key } => escape(key),
            Segment::Unknown => continue,
        };
        pointer = format!("{pointer}/{token}");
    }
    pointer
}

/// The text between the first pair of back-ticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// The field and rule behind a message of serde, found while reading at `path`.
pub(super) fn field_error(path: &Path, message: &str) -> FieldError {
    // serde_json adds the place, which the pointer says better.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let rules = [
        ("unknown field", "unknown_field"),
        ("missing field", "required"),
        ("duplicate field", "duplicate_field"),
        ("unknown variant", "not_allowed"),
        ("invalid type", "type"),
        ("invalid length", "length"),
    ];
    let rule =
        rules.into_iter().find(|(prefix, _)| message.starts_with(prefix)).map_or("invalid", |(_, rule)| rule);
    let mut pointer = pointer(path);
    if matches!(rule, "unknown_field" | "required" | "duplicate_field")
        && let Some(name) = quoted(message)
        && !pointer.ends_with(&format!("/{}", escape(name)))
    {
        pointer = format!("{pointer}/{}", escape(name));
    }
    FieldError { pointer, rule: rule.to_owned(), detail: message.to_owned() }
}
