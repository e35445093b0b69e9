//! The report: the machine, the targets, the figures beside the peers', everything raw.
//!
//! All of it is written anew each time but for what stands between the two markers, which is a person's.

use std::fmt::Write;

use subledger_bench_kit::{Record, Spread};

use super::{
    machine::Machine,
    plan::EXTRA_US,
    results::{Key, Results, number},
    targets::{self, DATABASES},
};

const BEGIN: &str = "<!-- notes:begin -->";
const END: &str = "<!-- notes:end -->";
/// Between the markers of a report that nobody has written into.
const NO_NOTES: &str =
    "\nNothing yet: what bounds a figure that is missed, and what was tried, belongs here.\n";
/// Callers of the executor, as the table lists them.
const CALLERS: [u64; 4] = [1, 32, 64, 256];
const SUBJECTS: [&str; 4] = ["subledger", "cqrs-es", "eventsourcing", "emmett"];

/// The whole report. `notes`: what was left out or failed, a line each. `old`: the report as it was.
pub(super) fn write(machine: &Machine, results: &Results, notes: &str, old: &str) -> String {
    let mut text = String::new();
    head(&mut text, machine, results);
    left_out(&mut text, notes);
    target_table(&mut text, results);
    let _ = write!(text, "\n## Notes\n\n{BEGIN}{}{END}\n", kept(old));
    text.push_str(HOW);
    executor(&mut text, results);
    hot(&mut text, results);
    slow(&mut text, results);
    grants(&mut text, results);
    pushes(&mut text, results);
    rest(&mut text, results);
    raw(&mut text, results);
    text
}

/// What a person wrote into the report, as it stands.
fn kept(old: &str) -> &str {
    let between = old.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    between.map_or(NO_NOTES, |(notes, _)| notes)
}

/// `write!` to a `String` cannot fail, so its result says nothing.
macro_rules! put {
    ($text:expr, $($arg:tt)*) => { let _ = writeln!($text, $($arg)*); };
}

fn head(text: &mut String, machine: &Machine, results: &Results) {
    let Machine { cores, processor, memory_gib, kernel, rustc, date } = machine;
    put!(text, "# Benchmarks\n");
    put!(
        text,
        "Written by `cargo xtask bench`; only the notes are by hand. Figures of one machine: trust ratios, not absolutes.\n"
    );
    put!(text, "| | |\n|---|---|");
    put!(text, "| date | {date} |");
    put!(text, "| machine | {cores} cores ({processor}), {memory_gib:.0} GiB, {kernel} |");
    put!(text, "| compiler | {rustc}, `--release` |");
    let setting = |database, name| results.setting(database, name).unwrap_or("not measured");
    put!(text, "| SQLite | {}, {} |", setting("sqlite", "version"), setting("sqlite", "durability"));
    put!(
        text,
        "| PostgreSQL | {}, on the same machine; fsync {}, synchronous_commit {}, {} |",
        setting("postgres", "server_version"),
        setting("postgres", "fsync"),
        setting("postgres", "synchronous_commit"),
        setting("postgres", "wal_sync_method"),
    );
    let floor = |database, variant, extra| {
        let value = results.value(&Key::ours("floor", database, variant, 0).slowed(extra));
        value.map_or_else(|| "–".to_owned(), |spread| number(spread.median))
    };
    for (what, extra) in [("the machine's own floor", 0), ("the same, 1 ms added to fsync", EXTRA_US)] {
        put!(
            text,
            "| {what} | 4 KiB append and fdatasync {} µs; bare commit of a row: SQLite {} µs, PostgreSQL {} µs |",
            floor("sqlite", "fdatasync", extra),
            floor("sqlite", "commit", extra),
            floor("postgres", "commit", extra),
        );
    }
}

fn left_out(text: &mut String, notes: &str) {
    if !notes.trim().is_empty() {
        put!(text, "\nNot everything was measured:\n");
        for line in notes.lines().filter(|line| !line.trim().is_empty()) {
            put!(text, "* {line}");
        }
    }
}

fn target_table(text: &mut String, results: &Results) {
    put!(text, "\n## Targets\n");
    put!(text, "| what | database | unit | at least (aim) | median | least – most | met |");
    put!(text, "|---|---|---|---|---|---|---|");
    for target in targets::targets(results) {
        let (median, range) = target.measured.map_or(("–".to_owned(), "–".to_owned()), |measured| {
            (number(measured.median), range(measured))
        });
        let (what, database, unit) = (&target.what, target.database, target.unit);
        let (bound, verdict) = (target.bound.text(), target.verdict());
        put!(text, "| {what} | {database} | {unit} | {bound} | {median} | {range} | {verdict} |");
    }
}

fn range(spread: Spread) -> String {
    if spread.rounds == 1 {
        return "one round".to_owned();
    }
    format!("{} – {}", number(spread.min), number(spread.max))
}

/// The figure and its p99, or a dash.
fn cell(results: &Results, key: &Key) -> String {
    let Some(value) = results.value(key) else { return "–".to_owned() };
    let p99 = results.p99_ms(key).map(|p99| format!(" · {} ms", number(p99.median))).unwrap_or_default();
    format!("{}{p99}", number(value.median))
}

fn executor(text: &mut String, results: &Results) {
    put!(text, "\n## The executor and its peers\n");
    put!(text, "Commands/s · p99. 10,000 streams that begin with 10 events, one event per command.\n");
    put!(
        text,
        "| | {} |",
        CALLERS
            .map(|callers| if callers == 1 { "1 caller".to_owned() } else { format!("{callers} callers") })
            .join(" | ")
    );
    put!(text, "|---|---|---|---|---|");
    for (database, name) in DATABASES {
        for subject in SUBJECTS {
            let key = |callers| Key::ours("executor", database, "many-10", callers).of(subject);
            let cells = CALLERS.map(|callers| cell(results, &key(callers)));
            if cells.iter().any(|cell| cell != "–") {
                put!(text, "| {subject}, {name} | {} |", cells.join(" | "));
            }
        }
        for subject in &SUBJECTS[1..] {
            let ours = |callers| Key::ours("executor", database, "many-10", callers);
            let ratio = |callers| results.ratio(&ours(callers), &ours(callers).of(subject));
            let cells = CALLERS.map(|callers| times(ratio(callers)));
            if cells.iter().any(|cell| cell != "–") {
                put!(text, "| subledger over {subject}, {name} | {} |", cells.join(" | "));
            }
        }
    }
}

fn times(ratio: Option<Spread>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} times", number(ratio.median)))
}

fn hot(text: &mut String, results: &Results) {
    put!(text, "\nOther shapes, 256 callers:\n");
    put!(text, "| | streams of 100 | one hot stream |\n|---|---|---|");
    for (database, name) in DATABASES {
        for subject in SUBJECTS {
            let key = |variant: &str| Key::ours("executor", database, variant, 256).of(subject);
            let cells = ["many-100", "hot"].map(|variant| cell(results, &key(variant)));
            if cells.iter().any(|cell| cell != "–") {
                put!(text, "| {subject}, {name} | {} |", cells.join(" | "));
            }
        }
    }
}

fn slow(text: &mut String, results: &Results) {
    put!(text, "\nWith 1 ms added to each fsync, commands/s · p99:\n");
    put!(text, "| | 32 callers | 256 callers |\n|---|---|---|");
    for (database, name) in DATABASES {
        for subject in SUBJECTS {
            let key =
                |callers| Key::ours("executor", database, "many-10", callers).of(subject).slowed(EXTRA_US);
            let cells = [32, 256].map(|callers| cell(results, &key(callers)));
            if cells.iter().any(|cell| cell != "–") {
                put!(text, "| {subject}, {name} | {} |", cells.join(" | "));
            }
        }
    }
}

fn grants(text: &mut String, results: &Results) {
    put!(text, "\n## Grants over HTTP\n");
    put!(text, "| | grants/s · p99 | cores of the server | cores of the client |\n|---|---|---|---|");
    for (database, name) in DATABASES {
        let ours = |variant: &str| Key::ours("grants", database, variant, 64);
        for (what, key) in [
            ("subledger", ours("served")),
            ("subledger, read models stopped", ours("log-only")),
            ("the route without the log", ours("noop")),
            ("cqrs-es", ours("served").of("cqrs-es")),
        ] {
            let rounds = results.rounds(&key);
            let setting = |name: &str| {
                rounds.first().and_then(|record| record.settings.get(name)).map_or("–", String::as_str)
            };
            let (server, client) = (setting("server_cores"), setting("client_cores"));
            if !rounds.is_empty() {
                put!(text, "| {what}, {name} | {} | {server} | {client} |", cell(results, &key));
            }
        }
    }
}

fn pushes(text: &mut String, results: &Results) {
    put!(text, "\n## Pushes over HTTP\n");
    put!(text, "| | connections | pushes/s · p99 | the longest |\n|---|---|---|---|");
    for (database, name) in DATABASES {
        for connections in [64, 256] {
            let key = Key::ours("pushes", database, "secure-json", connections);
            let longest =
                results.rounds(&key).iter().filter_map(|record| record.latency_us).map(|it| it.max).max();
            if let Some(longest) = longest {
                let ms = longest as f64 / 1_000.0;
                put!(text, "| {name} | {connections} | {} | {ms:.0} ms |", cell(results, &key));
            }
        }
    }
}

fn rest(text: &mut String, results: &Results) {
    put!(text, "\n## Read models, disk, memory\n");
    put!(text, "| | unit | SQLite | PostgreSQL |\n|---|---|---|---|");
    for (what, unit, scenario, variant, callers) in [
        ("rebuild of every projection", "events/s", "rebuild", "all", 0),
        ("balances alone", "events/s", "rebuild", "balances", 0),
        ("lag from answer to read model, p99", "ms", "lag", "answer-to-read-model", 0),
        ("an event with its indexes", "bytes", "size", "event", 0),
        ("the same with a receipt", "bytes", "size", "event-receipt", 0),
        ("a grant and its send, everything", "bytes", "size", "grant-send", 0),
        ("memory of an idle service", "MiB", "memory", "idle", 0),
        ("memory at work, the most seen", "MiB", "memory", "busy", 64),
    ] {
        let cells = DATABASES.map(|(database, _)| {
            let value = results.value(&Key::ours(scenario, database, variant, callers));
            value.map_or_else(
                || "–".to_owned(),
                |spread| format!("{} ({})", number(spread.median), range(spread)),
            )
        });
        put!(text, "| {what} | {unit} | {} |", cells.join(" | "));
    }
}

fn raw(text: &mut String, results: &Results) {
    put!(text, "\n## Raw results\n");
    put!(
        text,
        "One line per figure, its rounds in order; latencies are those of the first round, in µs. The lines as they were"
    );
    put!(text, "printed, with every setting, stay in `target/bench/full.jsonl`.\n");
    put!(
        text,
        "| scenario | variant | database | whose | callers | +µs fsync | rounds | unit | p50 / p99 / max | more |"
    );
    put!(text, "|---|---|---|---|---|---|---|---|---|---|");
    for (key, rounds) in results.all() {
        let Some(first) = rounds.first() else { continue };
        let values: Vec<_> = rounds.iter().map(|record| number(record.value)).collect();
        let latency = first.latency_us.map_or_else(
            || "–".to_owned(),
            |latency| format!("{} / {} / {}", latency.p50, latency.p99, latency.max),
        );
        let Key { scenario, variant, database, fsync_extra_us, callers, subject } = key;
        let (values, unit, more) = (values.join("; "), &first.unit, more(first));
        put!(
            text,
            "| {scenario} | {variant} | {database} | {subject} | {callers} | {fsync_extra_us} | {values} | {unit} | {latency} | {more} |"
        );
    }
}

/// Amounts and settings that are not the same everywhere.
fn more(record: &Record) -> String {
    let everywhere =
        ["durability", "server_version", "fsync", "synchronous_commit", "wal_sync_method", "seed"];
    let amounts = [("operations", record.operations), ("streams", record.streams)];
    let amounts =
        amounts.iter().filter(|(_, amount)| *amount > 0).map(|(name, amount)| format!("{name} {amount}"));
    let settings = record.settings.iter().filter(|(name, _)| !everywhere.contains(&name.as_str()));
    let settings = settings.map(|(name, value)| format!("{name} {value}"));
    amounts.chain(settings).collect::<Vec<_>>().join(", ")
}

/// How each figure is taken.
const HOW: &str = include_str!("report/how.md");

#[cfg(test)]
mod tests;
