//! `subledger report drift` and `subledger report doubts`.

use serde_json::{Value, json};
use subledger_domain::{Timestamp, ledger::DoubtCause};
use subledger_projection::{
    DoubtEnd, DoubtFilter, DoubtReport, DoubtRow, DoubtState, DriftCause, DriftFilter, DriftReport, DriftRow,
    MAX_PAGE, PageRequest, ReportDays, ReportTable, doubt_cause_word,
};

use super::{Printer, Reporter};
use crate::{
    cli::{DoubtCauseWord, DoubtStateWord, DriftCauseWord, Period},
    output,
};

const DRIFT_COUNTS: &[&str] = &["by", "of", "found", "grants"];
const DRIFT: &[&str] = &["found_at", "template_id", "cause", "age", "grants", "msgid", "index"];
const DOUBT_COUNTS: &[&str] = &["by", "of", "doubts", "open", "corrected"];
const DOUBTS: &[&str] =
    &["began_at", "template_id", "cause", "age", "end", "outcome", "corrected", "msgid", "index"];
/// Entries shown to people; programs get all.
const SHOWN: u32 = 20;

impl From<DriftCauseWord> for DriftCause {
    fn from(word: DriftCauseWord) -> Self {
        match word {
            DriftCauseWord::SettingsChanged => Self::SettingsChanged,
            DriftCauseWord::Stranger => Self::Stranger,
            DriftCauseWord::NotTapped => Self::NotTapped,
            DriftCauseWord::WrongVerdict => Self::WrongVerdict,
            DriftCauseWord::OldGrant => Self::OldGrant,
            DriftCauseWord::Unexplained => Self::Unexplained,
        }
    }
}

impl From<DoubtCauseWord> for DoubtCause {
    fn from(word: DoubtCauseWord) -> Self {
        match word {
            DoubtCauseWord::Timeout => Self::Timeout,
            DoubtCauseWord::ConnectionBroken => Self::ConnectionBroken,
            DoubtCauseWord::Unintelligible => Self::Unintelligible,
            DoubtCauseWord::NodeLost => Self::NodeLost,
        }
    }
}

impl From<DoubtStateWord> for DoubtState {
    fn from(word: DoubtStateWord) -> Self {
        match word {
            DoubtStateWord::Open => Self::Open,
            DoubtStateWord::Ended => Self::Ended,
            DoubtStateWord::SentEvent => Self::EndedBy(DoubtEnd::SentEvent),
            DoubtStateWord::LateAnswer => Self::EndedBy(DoubtEnd::LateAnswer),
            DoubtStateWord::ByHand => Self::EndedBy(DoubtEnd::ByHand),
            DoubtStateWord::Deadline => Self::EndedBy(DoubtEnd::Deadline),
            DoubtStateWord::Corrected => Self::Corrected,
        }
    }
}

impl Reporter {
    pub(super) async fn drift(
        &self,
        period: &Period,
        filter: &DriftFilter,
        counts: bool,
    ) -> anyhow::Result<()> {
        let days = self.days(period)?;
        let mut page = self.entries();
        let mut printer = Printer::new(self.output, DRIFT, "");
        loop {
            let report = self.queries.report_drift(&self.channel, &days, filter, &page).await?;
            self.known(filter.template.as_ref(), !report.value.recorded).await?;
            let grouped = ReportTable::of_drift_counts(&report, &self.channel, &days);
            let frame = || self.drift_frame(&report, &days, counts);
            if self.for_people() {
                if report.value.entries.is_empty() {
                    println!("No such drift was found in these days.");
                } else {
                    self.groups(grouped, DRIFT_COUNTS)?;
                }
                if !counts {
                    let table = ReportTable::of_drift(&report, &self.channel, &days);
                    list(&mut printer, table, frame, report.value.next.is_some())?;
                }
                println!("{}", self.stand(Some(&days), None, report.position, report.recorded_at));
                return Ok(());
            }
            let table = if counts { grouped } else { ReportTable::of_drift(&report, &self.channel, &days) };
            printer.page(table, frame)?;
            page.after = report.value.next;
            if counts || page.after.is_none() {
                return Ok(());
            }
        }
    }

    pub(super) async fn doubts(
        &self,
        period: &Period,
        filter: &DoubtFilter,
        counts: bool,
    ) -> anyhow::Result<()> {
        let days = self.days(period)?;
        let as_of = self.store.clock().now();
        let mut page = self.entries();
        let mut printer = Printer::new(self.output, DOUBTS, "");
        loop {
            let report = self.queries.report_doubts(&self.channel, &days, filter, as_of, &page).await?;
            self.known(filter.template.as_ref(), !report.value.recorded).await?;
            let grouped = ReportTable::of_doubt_counts(&report, &self.channel, &days, as_of);
            let listed = || ReportTable::of_doubts(&report, &self.channel, &days, as_of);
            let frame = || self.doubts_frame(&report, &days, as_of, counts);
            if self.for_people() {
                if report.value.entries.is_empty() {
                    println!("No such doubt began in these days.");
                } else {
                    self.groups(grouped, DOUBT_COUNTS)?;
                }
                if !counts {
                    list(&mut printer, listed(), frame, report.value.next.is_some())?;
                }
                println!("{}", self.stand(Some(&days), None, report.position, report.recorded_at));
                return Ok(());
            }
            printer.page(if counts { grouped } else { listed() }, frame)?;
            page.after = report.value.next;
            if counts || page.after.is_none() {
                return Ok(());
            }
        }
    }

    const fn for_people(&self) -> bool {
        !self.output.json && !self.output.csv
    }

    fn entries(&self) -> PageRequest {
        PageRequest::first(if self.for_people() { SHOWN } else { MAX_PAGE })
    }

    /// Counts, without the groups that have none.
    fn groups(&self, table: ReportTable, shown: &'static [&'static str]) -> anyhow::Result<()> {
        let mut printer = Printer::new(self.output, shown, "");
        printer.page(table, || Value::Null)?;
        printer.rows.retain(|row| row.get(2).is_none_or(|amount| amount != "0"));
        printer.print();
        Ok(())
    }

    fn drift_frame(&self, report: &DriftReport, days: &ReportDays, counts: bool) -> Value {
        let entry = |row: &DriftRow| {
            json!({
                "found_at": output::time(row.found_at), "template_id": row.template, "cause": row.cause,
                "age": row.age(), "age_seconds": row.age_micros().map(seconds), "grants": row.grants,
                "explained": row.explained, "last_grant_at": row.last_grant_at.map(output::time),
                "last_settings_at": row.last_settings_at.map(output::time), "msgid": row.message,
                "index": row.index, "subject": row.subject, "found_position": row.position,
            })
        };
        let entries: Vec<Value> = report.value.entries.iter().filter(|_| !counts).map(entry).collect();
        json!({
            "channel": self.channel, "zone": days.zone, "from": days.days.first().map(|day| &day.date),
            "to": days.days.last().map(|day| &day.date), "counts": report.value.counts, "entries": entries,
            "position": report.position, "recorded_at": report.recorded_at.map(output::time),
        })
    }

    fn doubts_frame(&self, report: &DoubtReport, days: &ReportDays, as_of: Timestamp, counts: bool) -> Value {
        let entry = |row: &DoubtRow| {
            json!({
                "began_at": output::time(row.began_at), "ended_at": row.ended_at.map(output::time),
                "template_id": row.template, "cause": doubt_cause_word(row.cause), "age": row.age(as_of),
                "age_seconds": seconds(row.age_micros(as_of)), "end": row.ended, "outcome": row.outcome,
                "corrected": row.corrected, "corrected_at": row.corrected_at.map(output::time),
                "msgid": row.message, "index": row.index, "attempt": row.attempt, "subject": row.subject,
                "began_position": row.position,
            })
        };
        let entries: Vec<Value> = report.value.entries.iter().filter(|_| !counts).map(entry).collect();
        json!({
            "channel": self.channel, "zone": days.zone, "from": days.days.first().map(|day| &day.date),
            "to": days.days.last().map(|day| &day.date), "as_of": output::time(as_of),
            "counts": report.value.counts, "entries": entries, "position": report.position,
            "recorded_at": report.recorded_at.map(output::time),
        })
    }
}

/// The newest entries, and that there are more.
fn list(
    printer: &mut Printer,
    table: ReportTable,
    frame: impl FnOnce() -> Value,
    more: bool,
) -> anyhow::Result<()> {
    if table.rows.is_empty() {
        return Ok(());
    }
    printer.page(table, frame)?;
    println!();
    printer.print();
    if more {
        println!("These are the newest {SHOWN}; --csv or --json has all.");
    }
    Ok(())
}

fn seconds(micros: i64) -> i64 {
    micros.div_euclid(Timestamp::MICROS_PER_SECOND)
}
