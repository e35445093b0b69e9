//! Many rows as two parameters of one SQLite statement.
//!
//! `json_each` unpacks an array of arrays. Only numbers and short texts travel as JSON; long or binary values travel in
//! one blob beside it, and the row carries their place: `substr(?2, value ->> 7, value ->> 8)`. That spares escaping
//! JSON inside JSON and hexadecimal, which cost more than the insert itself.

use std::fmt::Write;

/// Rows under construction.
#[derive(Debug, Default)]
pub(crate) struct JsonRows {
    text: String,
    blob: Vec<u8>,
}

impl JsonRows {
    /// Rows from items; `fill` adds the values of one.
    pub(crate) fn of<T>(
        items: impl IntoIterator<Item = T>,
        mut fill: impl for<'r> FnMut(Row<'r>, T) -> Row<'r>,
    ) -> Self {
        let mut rows = Self::default();
        rows.text.push('[');
        for item in items {
            if rows.text.len() > 1 {
                rows.text.push(',');
            }
            rows.text.push('[');
            fill(Row { rows: &mut rows }, item);
            if rows.text.ends_with(',') {
                rows.text.pop();
            }
            rows.text.push(']');
        }
        rows.text.push(']');
        rows
    }

    /// The two parameters: the JSON and the blob.
    pub(crate) fn into_parts(self) -> (String, Vec<u8>) {
        (self.text, self.blob)
    }

    /// The JSON alone, for rows without blob values.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// One row under construction.
pub(crate) struct Row<'a> {
    rows: &'a mut JsonRows,
}

impl Row<'_> {
    /// A number: one value.
    pub(crate) fn int(self, number: i64) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.rows.text, "{number},");
        self
    }

    /// A short text: one value.
    pub(crate) fn text(self, text: &str) -> Self {
        self.rows.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.rows.text.extend(['\\', c]),
                c if (c as u32) < 0x20 => {
                    let _ = write!(self.rows.text, "\\u{:04x}", c as u32);
                }
                c => self.rows.text.push(c),
            }
        }
        self.rows.text.push_str("\",");
        self
    }

    /// Bytes in the blob: two values, the place (from 1) and the length.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let place = self.rows.blob.len() + 1;
        self.rows.blob.extend_from_slice(bytes);
        let _ = write!(self.rows.text, "{place},{},", bytes.len());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json_and_bytes_are_found_by_place_and_length() {
        let rows = JsonRows::of([("a\"\\\n", &b"xy"[..]), ("b", b"")], |row, (name, bytes)| {
            row.int(-7).text(name).bytes(bytes)
        });
        let (text, blob) = rows.into_parts();
        assert_eq!(text, r#"[[-7,"a\"\\\u000a",1,2],[-7,"b",3,0]]"#);
        assert_eq!(blob, b"xy");
        assert_eq!(JsonRows::of([0; 0], |row, n| row.int(n)).into_text(), "[]");
    }
}
