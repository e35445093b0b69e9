//! What is to be reached, and whether it was.

use subledger_bench_kit::Spread;

use super::{
    plan::EXTRA_US,
    results::{Key, Results, number},
};

/// Which side of a target is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// At least this; the aim beyond it.
    AtLeast(f64, Option<f64>),
    /// Less than this; the aim below it.
    Below(f64, Option<f64>),
    /// At most this.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) what: String,
    pub(super) database: &'static str,
    pub(super) unit: &'static str,
    pub(super) bound: Bound,
    pub(super) measured: Option<Spread>,
}

impl Bound {
    /// As text: what, and in brackets the aim.
    pub(super) fn text(self) -> String {
        let (sign, value, aim) = match self {
            Self::AtLeast(value, aim) => ("≥", value, aim),
            Self::Below(value, aim) => ("<", value, aim),
            Self::AtMost(value) => ("≤", value, None),
        };
        let plain = |value: f64| {
            let text = number(value);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let plain = |value: f64| if value.abs() < 100.0 { plain(value) } else { number(value) };
        let aim = aim.map(|aim| format!(" ({})", plain(aim))).unwrap_or_default();
        format!("{sign} {}{aim}", plain(value))
    }

    /// Whether a median is good enough.
    pub(super) fn met(self, median: f64) -> bool {
        match self {
            Self::AtLeast(value, _) => median >= value,
            Self::Below(value, _) => median < value,
            Self::AtMost(value) => median <= value,
        }
    }
}

impl Target {
    /// In one word.
    pub(super) fn verdict(&self) -> &'static str {
        match self.measured {
            None => "not measured",
            Some(measured) if self.bound.met(measured.median) => "yes",
            Some(_) => "**no**",
        }
    }
}

/// Databases as results and as people call them.
pub(super) const DATABASES: [(&str, &str); 2] = [("sqlite", "SQLite"), ("postgres", "PostgreSQL")];
/// The published crates that are peers.
const CRATES: &str = "cqrs-es";

/// Every target, with what was measured.
pub(super) fn targets(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |what: &str, database, unit, bound, measured| {
        targets.push(Target { what: what.to_owned(), database, unit, bound, measured });
    };
    for (database, name) in DATABASES {
        let sqlite = database == "sqlite";
        let executor = |variant: &str, callers| Key::ours("executor", database, variant, callers);
        let many = executor("many-10", 256);
        let rate = "commands/s";
        let value = |key: &Key| results.value(key);
        add(
            "executor, 10,000 streams of 10, 256 callers",
            name,
            rate,
            Bound::AtLeast(60_000.0, Some(100_000.0)),
            value(&many),
        );
        let bound = Bound::AtLeast(8.0, Some(12.0));
        add("the same over the best published crate", name, "times", bound, best_ratio(results, &many));
        let long = results.ratio(&executor("many-100", 256), &many);
        add("streams of 100 over streams of 10", name, "times", Bound::AtLeast(0.8, None), long);
        let hot = value(&executor("hot", 256));
        add("one hot stream, 256 callers", name, rate, Bound::AtLeast(80_000.0, None), hot);
        let slow = value(&many.clone().slowed(EXTRA_US));
        let bound = Bound::AtLeast(30_000.0, Some(60_000.0));
        add("executor, 1 ms added to fsync, 256 callers", name, rate, bound, slow);
        for (callers, bound) in [(32, Bound::Below(4.0, Some(2.0))), (256, Bound::Below(12.0, Some(6.0)))] {
            let p99 = results.p99_ms(&executor("many-10", callers));
            add(&format!("executor, p99 at {callers} callers"), name, "ms", bound, p99);
        }
        let grants = |variant: &str| Key::ours("grants", database, variant, 64);
        let (served, noop) = (grants("served"), grants("noop"));
        let bound = Bound::AtLeast(35_000.0, Some(60_000.0));
        add("grants over HTTP, 64 connections", name, "grants/s", bound, value(&served));
        let half = Bound::AtLeast(0.5, None);
        add("the same over the route without the log", name, "times", half, results.ratio(&served, &noop));
        let peer = results.ratio(&served, &served.clone().of(CRATES));
        add("the same over cqrs-es", name, "times", Bound::AtLeast(5.0, None), peer);
        let rebuild = |variant: &str| value(&Key::ours("rebuild", database, variant, 0));
        let bound = Bound::AtLeast(if sqlite { 300_000.0 } else { 200_000.0 }, None);
        add("rebuild of every projection", name, "events/s", bound, rebuild("all"));
        let bound = Bound::AtLeast(800_000.0, Some(1_000_000.0));
        add("balances alone", name, "events/s", bound, rebuild("balances"));
        let lag = value(&Key::ours("lag", database, "answer-to-read-model", 0));
        add("projection lag, p99", name, "ms", Bound::Below(50.0, None), lag);
        let size = |variant: &str| value(&Key::ours("size", database, variant, 0));
        let bound = Bound::AtMost(if sqlite { 260.0 } else { 340.0 });
        add("disk, an event with its indexes", name, "bytes", bound, size("event"));
        let bound = Bound::Below(1_500.0, None);
        add("disk, a grant and its send, everything", name, "bytes", bound, size("grant-send"));
        let memory = |variant: &str, callers| value(&Key::ours("memory", database, variant, callers));
        add("memory, idle", name, "MiB", Bound::Below(40.0, None), memory("idle", 0));
        add("memory, at work", name, "MiB", Bound::Below(200.0, None), memory("busy", 64));
    }
    targets
}

/// Against the peer that is fastest, on whichever database that is.
fn best_ratio(results: &Results, ours: &Key) -> Option<Spread> {
    let peer = |database: &str| Key { database: database.to_owned(), ..ours.clone().of(CRATES) };
    let median = |key: &Key| results.value(key).map(|spread| spread.median);
    let peers = DATABASES.map(|(database, _)| peer(database));
    let best = peers
        .iter()
        .filter_map(|key| Some((key, median(key)?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    results.ratio(ours, best.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use subledger_bench_kit::{Labels, Record};

    use super::*;

    fn record(subject: &'static str, database: &str, value: f64) -> Record {
        let labels = Labels { subject, round: 1, fsync_extra_us: 0 };
        let record = labels.record("executor", database, "many-10").value(value, "commands/s");
        Record { callers: 256, ..record }
    }

    #[test]
    fn a_bound_is_met_on_its_good_side_only() {
        for (bound, good, bad, text) in [
            (Bound::AtLeast(60_000.0, Some(100_000.0)), 60_000.0, 59_999.0, "≥ 60,000 (100,000)"),
            (Bound::Below(4.0, Some(2.0)), 3.9, 4.0, "< 4 (2)"),
            (Bound::AtMost(260.0), 260.0, 260.5, "≤ 260"),
            (Bound::AtLeast(0.8, None), 0.8, 0.79, "≥ 0.8"),
        ] {
            assert_eq!(bound.text(), text);
            assert!(bound.met(good) && !bound.met(bad), "{text}");
        }
    }

    #[test]
    fn the_best_peer_counts_wherever_it_runs() {
        let results = Results::new(vec![
            record("subledger", "sqlite", 80_000.0),
            record("cqrs-es", "sqlite", 1_000.0),
            record("cqrs-es", "postgres", 8_000.0),
        ]);
        let targets = targets(&results);
        let ratio = targets.iter().find(|target| target.what.contains("published crate")).unwrap();
        assert_eq!((ratio.measured.unwrap().median, ratio.verdict()), (10.0, "yes"));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        for target in targets(&Results::default()) {
            assert_eq!(target.verdict(), "not measured", "{}", target.what);
        }
    }
}
