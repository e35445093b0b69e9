//! What commands print: a table for people, JSON for programs.

use std::io::IsTerminal;

use anyhow::Context;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
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

/// Modules of margin around a QR code. Four are asked for; two are read just as well, and leave the code of a long link
/// within the 80 columns of a usual terminal.
const QR_MARGIN: usize = 2;

/// A QR code as lines of text, two rows of modules a line; `None` if the text does not fit into one. On a terminal it is
/// painted black on white, whatever the colours of the terminal are: not every scanner reads a negative.
pub(crate) fn qr(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(false)
        .build();
    Some(framed(&drawn, code.width(), std::io::stdout().is_terminal()))
}

fn framed(drawn: &str, width: usize, painted: bool) -> Vec<String> {
    let paint = |line: String| if painted { format!("\u{1b}[30;47m{line}\u{1b}[0m") } else { line };
    let margin = " ".repeat(QR_MARGIN);
    let blank = " ".repeat(width + 2 * QR_MARGIN);
    let above_and_below = QR_MARGIN.div_ceil(2);
    let middle = drawn.lines().map(|line| format!("{margin}{line}{margin}"));
    std::iter::repeat_n(blank.clone(), above_and_below)
        .chain(middle)
        .chain(std::iter::repeat_n(blank, above_and_below))
        .map(paint)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The modules of a drawn code, dark is true, without its margin.
    fn modules(lines: &[String]) -> Vec<Vec<bool>> {
        let rows = lines.iter().flat_map(|line| {
            let halves = |upper: bool| {
                let dark = move |c: char| match c {
                    '█' => true,
                    '▀' => upper,
                    '▄' => !upper,
                    _ => false,
                };
                line.chars().map(dark).collect::<Vec<bool>>()
            };
            [halves(true), halves(false)]
        });
        rows.collect()
    }

    #[test]
    fn a_code_is_drawn_as_it_is_with_a_margin() {
        for text in ["x", &format!("https://open.weixin.qq.com/{}", "a".repeat(420))] {
            let code = QrCode::with_error_correction_level(text, EcLevel::L).unwrap();
            let lines = qr(text).unwrap();
            let drawn = modules(&lines);
            let width = code.width();
            assert!(drawn.iter().all(|row| row.len() == width + 2 * QR_MARGIN && row.len() <= 80));
            let colors = code.to_colors();
            for (y, row) in drawn.iter().enumerate() {
                for (x, dark) in row.iter().enumerate() {
                    let at = |n: usize| n.checked_sub(QR_MARGIN).filter(|n| *n < width);
                    let expected = match (at(x), at(y)) {
                        (Some(x), Some(y)) => colors[y * width + x] == qrcode::Color::Dark,
                        _ => false,
                    };
                    assert_eq!(*dark, expected, "{x} {y}");
                }
            }
        }
    }

    #[test]
    fn what_fits_into_no_code_is_not_drawn() {
        assert_eq!(qr(&"a".repeat(3000)), None);
    }
}
