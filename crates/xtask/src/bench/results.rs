//! What was measured, by figure: rounds become a median with its least and most.

use std::collections::BTreeMap;

use subledger_bench_kit::{Record, Spread, spread};

/// What makes two lines rounds of the same figure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) scenario: String,
    pub(super) variant: String,
    pub(super) database: String,
    pub(super) fsync_extra_us: u64,
    pub(super) callers: u64,
    pub(super) subject: String,
}

impl Key {
    /// A figure of ours.
    pub(super) fn ours(scenario: &str, database: &str, variant: &str, callers: u64) -> Self {
        Self {
            scenario: scenario.to_owned(),
            variant: variant.to_owned(),
            database: database.to_owned(),
            fsync_extra_us: 0,
            callers,
            subject: "subledger".to_owned(),
        }
    }

    /// The same figure of somebody else.
    pub(super) fn of(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }

    /// The same with so much added to fsync.
    pub(super) fn slowed(self, fsync_extra_us: u64) -> Self {
        Self { fsync_extra_us, ..self }
    }
}

impl From<&Record> for Key {
    fn from(record: &Record) -> Self {
        Self {
            scenario: record.scenario.clone(),
            variant: record.variant.clone(),
            database: record.database.clone(),
            fsync_extra_us: record.fsync_extra_us,
            callers: record.callers,
            subject: record.subject.clone(),
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Results {
    by_key: BTreeMap<Key, Vec<Record>>,
}

impl Results {
    pub(super) fn new(records: Vec<Record>) -> Self {
        let mut by_key: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        for record in records {
            by_key.entry(Key::from(&record)).or_default().push(record);
        }
        for rounds in by_key.values_mut() {
            rounds.sort_by_key(|record| record.round);
        }
        Self { by_key }
    }

    /// Every figure with its rounds.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &[Record])> {
        self.by_key.iter().map(|(key, rounds)| (key, rounds.as_slice()))
    }

    /// The rounds of one figure.
    pub(super) fn rounds(&self, key: &Key) -> &[Record] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The figure.
    pub(super) fn value(&self, key: &Key) -> Option<Spread> {
        self.over(key, |record| Some(record.value))
    }

    /// Its 99th percentile, in milliseconds.
    pub(super) fn p99_ms(&self, key: &Key) -> Option<Spread> {
        self.over(key, |record| Some(record.latency_us?.p99 as f64 / 1_000.0))
    }

    /// One figure in terms of another, round by round: what both had to bear falls out.
    pub(super) fn ratio(&self, of: &Key, to: &Key) -> Option<Spread> {
        let to = self.rounds(to);
        let ratios: Vec<f64> = self
            .rounds(of)
            .iter()
            .filter_map(|one| {
                let other = to.iter().find(|other| other.round == one.round)?;
                (other.value > 0.0).then(|| one.value / other.value)
            })
            .collect();
        spread(&ratios)
    }

    /// The first value of a setting among these figures.
    pub(super) fn setting(&self, database: &str, name: &str) -> Option<&str> {
        let mut records = self.by_key.values().flatten().filter(|record| record.database == database);
        records.find_map(|record| record.settings.get(name)).map(String::as_str)
    }

    fn over(&self, key: &Key, figure: impl Fn(&Record) -> Option<f64>) -> Option<Spread> {
        spread(&self.rounds(key).iter().filter_map(figure).collect::<Vec<_>>())
    }
}

/// One line for the terminal.
pub(super) fn brief(record: &Record) -> String {
    let Record { subject, database, variant, callers, value, unit, .. } = record;
    let callers = if *callers > 0 { format!(" {callers} callers") } else { String::new() };
    let latency = record.latency_us.map(|latency| format!(", p99 {} µs", latency.p99)).unwrap_or_default();
    format!("{subject} {database} {variant}{callers}: {} {unit}{latency}", number(*value))
}

/// A number as people read it: grouped, and with digits behind the point only where they matter.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() < 100.0 {
        let digits = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.digits$}");
    }
    let whole = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use subledger_bench_kit::Labels;

    use super::*;

    fn record(subject: &'static str, round: u32, value: f64) -> Record {
        Labels { subject, round, fsync_extra_us: 0 }
            .record("grants", "sqlite", "served")
            .value(value, "grants/s")
    }

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.514, "0.51"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234.0, "1,234"),
            (1_234_567.8, "1,234,568"),
            (-2_000.0, "-2,000"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn rounds_are_compared_with_the_same_round() {
        let records = vec![
            record("subledger", 1, 10.0),
            record("subledger", 2, 30.0),
            record("subledger", 3, 90.0),
            record("cqrs-es", 3, 30.0),
            record("cqrs-es", 1, 5.0),
        ];
        let results = Results::new(records);
        let ours = Key::ours("grants", "sqlite", "served", 0);
        let ratio = results.ratio(&ours, &ours.clone().of("cqrs-es")).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max, ratio.rounds), (2.5, 2.0, 3.0, 2));
        assert_eq!(results.value(&ours).unwrap().median, 30.0);
        assert!(results.ratio(&ours, &ours.clone().of("emmett")).is_none());
    }
}
