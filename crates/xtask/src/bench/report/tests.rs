//! The report of a few lines, whole.

#![allow(clippy::unwrap_used)]

use expect_test::expect;
use subledger_bench_kit::{Labels, Latency};

use super::*;

fn machine() -> Machine {
    Machine {
        cores: 2,
        processor: "Some processor".to_owned(),
        memory_gib: 23.5,
        kernel: "Linux 6.1".to_owned(),
        rustc: "rustc 1.95.0".to_owned(),
        date: "2026-11-23".to_owned(),
    }
}

fn executor(subject: &'static str, round: u32, value: f64, p99: u64) -> Record {
    let labels = Labels { subject, round, fsync_extra_us: 0 };
    let record = labels.record("executor", "sqlite", "many-10").value(value, "commands/s");
    let latency_us = Some(Latency { p50: p99 / 2, p99, max: p99 * 2 });
    let record = Record { callers: 256, streams: 10_000, operations: 100_000, latency_us, ..record };
    record.setting("version", "3.51.3").setting("durability", "WAL, synchronous=FULL")
}

fn results() -> Results {
    let floor = Labels { subject: "subledger", round: 1, fsync_extra_us: 0 };
    Results::new(vec![
        floor.record("floor", "sqlite", "fdatasync").value(812.0, "us"),
        executor("subledger", 1, 61_000.0, 9_100),
        executor("subledger", 2, 65_000.0, 8_000),
        executor("subledger", 3, 59_000.0, 14_000),
        executor("cqrs-es", 1, 1_000.0, 400_000),
    ])
}

fn section(text: &str, from: &str, to: &str) -> String {
    let (_, rest) = text.split_once(from).unwrap();
    rest.split_once(to).unwrap().0.trim().to_owned()
}

#[test]
fn the_head_says_what_was_measured_on() {
    let text = write(&machine(), &results(), "SKIPPED: the peer emmett: node is not there", "");
    expect![[r"
        Written by `cargo xtask bench`; only the notes are by hand. Figures of one machine: trust ratios, not absolutes.

        | | |
        |---|---|
        | date | 2026-11-23 |
        | machine | 2 cores (Some processor), 24 GiB, Linux 6.1 |
        | compiler | rustc 1.95.0, `--release` |
        | SQLite | 3.51.3, WAL, synchronous=FULL |
        | PostgreSQL | not measured, on the same machine; fsync not measured, synchronous_commit not measured, not measured |
        | the machine's own floor | 4 KiB append and fdatasync 812 µs; bare commit of a row: SQLite – µs, PostgreSQL – µs |
        | the same, 1 ms added to fsync | 4 KiB append and fdatasync – µs; bare commit of a row: SQLite – µs, PostgreSQL – µs |

        Not everything was measured:

        * SKIPPED: the peer emmett: node is not there"]]
    .assert_eq(&section(&text, "# Benchmarks", "## Targets"));
}

#[test]
fn a_target_stands_beside_its_median_and_verdict() {
    let text = write(&machine(), &results(), "", "");
    let targets = section(&text, "## Targets", "## Notes");
    let lines: Vec<_> =
        targets.lines().take(4).chain(targets.lines().filter(|line| line.contains("p99 at 256"))).collect();
    expect![[r"
        | what | database | unit | at least (aim) | median | least – most | met |
        |---|---|---|---|---|---|---|
        | executor, 10,000 streams of 10, 256 callers | SQLite | commands/s | ≥ 60,000 (100,000) | 61,000 | 59,000 – 65,000 | yes |
        | the same over the best published crate | SQLite | times | ≥ 8 (12) | 61.0 | one round | yes |
        | executor, p99 at 256 callers | SQLite | ms | < 12 (6) | 9.10 | 8.00 – 14.0 | yes |
        | executor, p99 at 256 callers | PostgreSQL | ms | < 12 (6) | – | – | not measured |"]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn peers_stand_beside_ours_and_every_round_is_raw() {
    let text = write(&machine(), &results(), "", "");
    expect![[r"
        Commands/s · p99. 10,000 streams that begin with 10 events, one event per command.

        | | 1 caller | 32 callers | 64 callers | 256 callers |
        |---|---|---|---|---|
        | subledger, SQLite | – | – | – | 61,000 · 9.10 ms |
        | cqrs-es, SQLite | – | – | – | 1,000 · 400 ms |
        | subledger over cqrs-es, SQLite | – | – | – | 61.0 times |"]]
    .assert_eq(&section(&text, "## The executor and its peers", "Other shapes"));
    assert!(
        text.contains("| 256 | 0 | 61,000; 65,000; 59,000 | commands/s | 4550 / 9100 / 18200 |"),
        "{text}"
    );
}

#[test]
fn what_a_person_wrote_survives() {
    let first = write(&machine(), &results(), "", "");
    assert!(first.contains("belongs here"));
    let edited = first.replace(NO_NOTES, "\nThe disk is the bound.\n\n| a | b |\n");
    let second = write(&machine(), &Results::default(), "", &edited);
    assert!(second.contains("<!-- notes:begin -->\nThe disk is the bound.\n\n| a | b |\n<!-- notes:end -->"));
    assert!(!second.contains("belongs here") && !second.contains("61,000"));
}
