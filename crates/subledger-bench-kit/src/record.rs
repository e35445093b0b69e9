//! The line that a measured program prints: one JSON object per figure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One figure of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What kind of measurement: `executor`, `grants`, `pushes`, `rebuild`, `lag`, `size`, `memory`, `floor`.
    pub scenario: String,
    /// Whose code: `subledger`, or the name of a peer.
    pub subject: String,
    /// `sqlite`, `postgres`, or `none`.
    pub database: String,
    /// Which of the scenario's figures, such as `many-10` or `noop`.
    pub variant: String,
    /// Microseconds added to every fsync.
    #[serde(default)]
    pub fsync_extra_us: u64,
    /// Which round, from 1.
    pub round: u32,
    /// Callers or connections; 0 where there are none.
    #[serde(default)]
    pub callers: u64,
    /// Streams written to; 0 where it means nothing.
    #[serde(default)]
    pub streams: u64,
    /// Events of each stream when the measurement began.
    #[serde(default)]
    pub events_per_stream: u64,
    /// The figure.
    pub value: f64,
    /// Its unit: `commands/s`, `events/s`, `bytes`, `MiB`, `ms`, `us`.
    pub unit: String,
    /// Operations measured.
    #[serde(default)]
    pub operations: u64,
    /// How long it was measured.
    #[serde(default)]
    pub seconds: f64,
    /// Latency of one operation, where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// Whatever else a reader must know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// Of a hundred, the second worst.
    pub p99: u64,
    /// The worst.
    pub max: u64,
}

impl Latency {
    /// Of latencies in microseconds, in any order; sorts them.
    pub fn of(values: &mut [u32]) -> Self {
        values.sort_unstable();
        let at = |hundredths| crate::percentile(values, hundredths).map_or(0, u64::from);
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// What the lines of one process have in common.
#[derive(Debug, Clone)]
pub struct Labels {
    /// Whose code.
    pub subject: &'static str,
    /// Which round, from 1.
    pub round: u32,
    /// Microseconds added to every fsync.
    pub fsync_extra_us: u64,
}

impl Labels {
    /// A line with nothing measured yet.
    pub fn record(&self, scenario: &str, database: &str, variant: &str) -> Record {
        Record {
            scenario: scenario.to_owned(),
            subject: self.subject.to_owned(),
            database: database.to_owned(),
            variant: variant.to_owned(),
            fsync_extra_us: self.fsync_extra_us,
            round: self.round,
            callers: 0,
            streams: 0,
            events_per_stream: 0,
            value: 0.0,
            unit: String::new(),
            operations: 0,
            seconds: 0.0,
            latency_us: None,
            settings: BTreeMap::new(),
        }
    }
}

impl Record {
    /// The same with this figure.
    #[must_use]
    pub fn value(mut self, value: f64, unit: &str) -> Self {
        self.value = value;
        self.unit = unit.to_owned();
        self
    }

    /// The same with one more thing a reader must know.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// The line as JSON.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// A line of a program's output, if it is a figure; other output is none of ours.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was() {
        let labels = Labels { subject: "subledger", round: 2, fsync_extra_us: 1_000 };
        let record = labels.record("executor", "sqlite", "hot").value(1.5, "commands/s").setting("seed", 7);
        assert_eq!(Record::parse(&record.line().unwrap()), Some(record));
    }

    #[test]
    fn other_output_is_no_figure() {
        for line in ["", "warning: unused", "{}", "[1]", "{\"scenario\":\"executor\"}"] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_in_another_language_may_leave_out_what_it_does_not_have() {
        let line = r#"{"scenario":"executor","subject":"emmett","database":"postgres","variant":"many-10",
                       "round":1,"value":2.0,"unit":"commands/s"}"#;
        assert_eq!(Record::parse(line).unwrap().callers, 0);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(Latency::of(&mut values), Latency { p50: 50, p99: 99, max: 100 });
        assert_eq!(Latency::of(&mut []), Latency { p50: 0, p99: 0, max: 0 });
        assert_eq!(Latency::of(&mut [7]), Latency { p50: 7, p99: 7, max: 7 });
    }
}
