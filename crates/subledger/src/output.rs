//! What commands print: a table for people, JSON for programs.

use anyhow::Context;
use serde::Serialize;
use subledger_domain::Timestamp;

/// Prints a value as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value).context("the answer could not be written as JSON")?);
    Ok(())
}

/// A moment as people and programs read it: RFC 3339, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros())
        .map_or_else(|_| at.micros().to_string(), |at| format!("{at:.6}"))
}

/// A moment as people read it: RFC 3339 with the offset of a zone.
pub(crate) fn time_in(at: Timestamp, zone: &str) -> String {
    let zoned = jiff::Timestamp::from_microsecond(at.micros()).and_then(|at| at.in_tz(zone));
    zoned.map_or_else(
        |_| time(at),
        |zoned| format!("{:.6}", zoned.timestamp().display_with_offset(zoned.offset())),
    )
}

/// Prints rows under a heading, columns aligned; says so when there are none.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>], empty: &str) {
    if rows.is_empty() {
        println!("{empty}");
        return;
    }
    let width = |text: &str| text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, title)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(cell))
                .chain([width(title)])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width_of)| {
            let pad = width_of.saturating_sub(width(cell));
            format!("{cell}{}", " ".repeat(pad))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heading: Vec<String> = heading.iter().map(|title| (*title).to_owned()).collect();
    println!("{}", line(&heading));
    for row in rows {
        println!("{}", line(row));
    }
}
