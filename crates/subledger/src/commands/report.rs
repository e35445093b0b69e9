//! `subledger report`: sums for analysts, from the read models as they stand.

mod findings;

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use subledger_domain::{ChannelCode, MessageId, TemplateId, Timestamp};
use subledger_projection::{
    ActivityCounts, DoubtFilter, DriftFilter, Grain, MAX_REPORT_LINES, MAX_REPORT_TEMPLATES, PageRequest,
    Queries, ReachAges, ReportDays, ReportError, ReportTable,
};
use subledger_store::{Position, Store};

use super::{channel_code, no_channel, settings};
use crate::{
    cli::{Common, Output, Period, Report},
    exit::SettingsError,
    node, output,
};

/// The columns of an activity report that fit a terminal; CSV and JSON have all.
const ACTIVITY: &[&str] = &[
    "template_id",
    "day",
    "asked",
    "accepted",
    "rejected",
    "granted",
    "targeted",
    "skipped",
    "sent",
    "refused",
    "failed",
    "expired",
    "retracted",
    "doubted",
    "drifted",
    "voided",
];
const STOCK: &[&str] =
    &["template_id", "day", "open", "reserved", "in_doubt", "granted", "consumed", "voided"];
const REACH: &[&str] = &["group", "users", "openids", "grants"];
const LOSS: &[&str] = &["step", "outcome", "state", "reason", "recipients"];

pub(super) async fn run(report: Report) -> anyhow::Result<ExitCode> {
    match report {
        Report::Activity { channel, template, period, total, common, output } => {
            let reporter = Reporter::open(&common, &channel, output).await?;
            let grain = if total { Grain::Total } else { Grain::Day };
            reporter.activity(&period, grain, template.as_deref()).await?;
            reporter.store.close().await;
        }
        Report::Stock { channel, template, period, common, output } => {
            let reporter = Reporter::open(&common, &channel, output).await?;
            reporter.stock(&period, template.as_deref()).await?;
            reporter.store.close().await;
        }
        Report::Reach { channel, template, zone, common, output } => {
            let reporter = Reporter::open(&common, &channel, output).await?;
            reporter.reach(&template_id(&template)?, &zone).await?;
            reporter.store.close().await;
        }
        Report::Loss { channel, msgid, common, output } => {
            let msgid = msgid.parse().map_err(|error| SettingsError(format!("the message: {error}")))?;
            let reporter = Reporter::open(&common, &channel, output).await?;
            reporter.loss(msgid).await?;
            reporter.store.close().await;
        }
        Report::Drift { channel, template, cause, counts, period, common, output } => {
            let template = template.as_deref().map(template_id).transpose()?;
            let filter = DriftFilter { template, cause: cause.map(Into::into) };
            let reporter = Reporter::open(&common, &channel, output).await?;
            reporter.drift(&period, &filter, counts).await?;
            reporter.store.close().await;
        }
        Report::Doubts { channel, template, cause, state, counts, period, common, output } => {
            let template = template.as_deref().map(template_id).transpose()?;
            let filter = DoubtFilter { template, cause: cause.map(Into::into), state: state.map(Into::into) };
            let reporter = Reporter::open(&common, &channel, output).await?;
            reporter.doubts(&period, &filter, counts).await?;
            reporter.store.close().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Reporter {
    store: Store,
    queries: Queries,
    channel: ChannelCode,
    output: Output,
}

impl Reporter {
    async fn open(common: &Common, channel: &str, output: Output) -> anyhow::Result<Self> {
        let channel = channel_code(channel)?;
        let store = node::open_store(&settings(common)?.store()?).await?;
        let queries = Queries::new(store.clone());
        if queries.channel(&channel).await?.value.is_none() {
            return Err(no_channel(&channel));
        }
        Ok(Self { store, queries, channel, output })
    }

    fn days(&self, period: &Period) -> anyhow::Result<ReportDays> {
        let now = self.store.clock().now();
        let days = ReportDays::new(period.from.as_deref(), period.to.as_deref(), &period.zone, now);
        Ok(days.map_err(|error| refused(&error))?)
    }

    async fn activity(&self, period: &Period, grain: Grain, template: Option<&str>) -> anyhow::Result<()> {
        let days = self.days(period)?;
        let template = template.map(template_id).transpose()?;
        let mut page = first_page(if grain == Grain::Day { days.days.len() } else { 1 });
        let mut printer = Printer::new(self.output, ACTIVITY, "Nothing was recorded in these days.");
        loop {
            let report =
                self.queries.report_activity(&self.channel, &days, grain, template.as_ref(), &page).await?;
            self.known(template.as_ref(), report.value.templates.is_empty()).await?;
            let line = |line: &subledger_projection::ActivityLine| {
                json!({
                    "template_id": line.template, "day": line.day.map(|day| &days.days[day].date),
                    "counts": ActivityCounts::from(line), "classes": line.classes,
                })
            };
            let lines: Vec<Value> = report.value.lines.iter().map(line).collect();
            let frame = json!({
                "channel": self.channel, "zone": days.zone, "from": days.days.first().map(|day| &day.date),
                "to": days.days.last().map(|day| &day.date), "lines": lines, "position": report.position,
                "recorded_at": report.recorded_at.map(output::time),
            });
            let table = ReportTable::of_activity(&report, &self.channel, &days);
            printer.page(table, || frame)?;
            match report.value.next {
                Some(next) => page.after = Some(next),
                None => {
                    break printer.end(&self.stand(Some(&days), None, report.position, report.recorded_at));
                }
            }
        }
    }

    async fn stock(&self, period: &Period, template: Option<&str>) -> anyhow::Result<()> {
        let days = self.days(period)?;
        let template = template.map(template_id).transpose()?;
        let mut page = first_page(days.days.len());
        let mut printer = Printer::new(self.output, STOCK, "No grant was recorded by the end of these days.");
        loop {
            let report = self.queries.report_stock(&self.channel, &days, template.as_ref(), &page).await?;
            self.known(template.as_ref(), report.value.now.is_empty()).await?;
            let line = |line: &subledger_projection::StockLine| {
                json!({
                    "template_id": line.template, "day": days.days[line.day].date, "closing": line.closing,
                    "granted": line.granted, "consumed": line.consumed, "voided": line.voided,
                })
            };
            let lines: Vec<Value> = report.value.days.lines.iter().map(line).collect();
            let frame = json!({
                "channel": self.channel, "zone": days.zone, "now": report.value.now, "days": lines,
                "position": report.position, "recorded_at": report.recorded_at.map(output::time),
            });
            printer.page(ReportTable::of_stock(&report, &self.channel, &days), || frame)?;
            match report.value.days.next {
                Some(next) => page.after = Some(next),
                None => {
                    break printer.end(&self.stand(Some(&days), None, report.position, report.recorded_at));
                }
            }
        }
    }

    async fn reach(&self, template: &TemplateId, zone: &str) -> anyhow::Result<()> {
        let ages = ReachAges::new(zone, self.store.clock().now()).map_err(|error| refused(&error))?;
        let found = self.queries.report_reach(&self.channel, template, &ages).await?;
        let value =
            found.value.context("the read models of this channel have not begun; start the service once")?;
        self.known(Some(template), !value.recorded).await?;
        let report =
            subledger_projection::Report { value, position: found.position, recorded_at: found.recorded_at };
        let mut printer = Printer::new(self.output, REACH, "");
        let table = ReportTable::of_reach(&report, &self.channel, template, &ages.zone);
        printer.page(table, || {
            json!({
                "channel": self.channel, "template_id": template, "zone": ages.zone, "reach": report.value,
                "position": report.position, "recorded_at": report.recorded_at.map(output::time),
            })
        })?;
        let reach = &report.value;
        let stand = self.stand(None, Some(&ages.zone), report.position, report.recorded_at);
        printer.end(&format!(
            "{} of {} bound users can be reached with {template}, holding {} open grants.\n{stand}",
            reach.users, reach.bound_users, reach.grants
        ))
    }

    async fn loss(&self, msgid: MessageId) -> anyhow::Result<()> {
        let found = self.queries.report_loss(&self.channel, msgid).await?;
        let Some(value) = found.value else {
            bail!("there is no message {msgid} in channel {}", self.channel);
        };
        let report =
            subledger_projection::Report { value, position: found.position, recorded_at: found.recorded_at };
        let mut printer = Printer::new(self.output, LOSS, "");
        printer.page(ReportTable::of_loss(&report, &self.channel), || {
            json!({
                "channel": self.channel, "loss": report.value, "position": report.position,
                "recorded_at": report.recorded_at.map(output::time),
            })
        })?;
        printer.end(&self.stand(None, None, report.position, report.recorded_at))
    }

    /// Refuses a template that the channel does not list and that nothing was recorded about.
    async fn known(&self, template: Option<&TemplateId>, silent: bool) -> anyhow::Result<()> {
        let Some(template) = template.filter(|_| silent) else { return Ok(()) };
        match self.queries.template(&self.channel, template).await?.value {
            Some(_) => Ok(()),
            None => bail!(
                "channel {} neither lists template {template} nor has anything recorded about it",
                self.channel
            ),
        }
    }

    /// What the report is of and where it stands, in one sentence; its time is that of the report's zone, if it has one.
    fn stand(
        &self,
        days: Option<&ReportDays>,
        zone: Option<&str>,
        position: Position,
        recorded_at: Option<Timestamp>,
    ) -> String {
        let zone = zone.or(days.map(|days| days.zone.as_str()));
        let days = days.and_then(|days| {
            Some(format!(", {} to {} in {}", days.days.first()?.date, days.days.last()?.date, days.zone))
        });
        let time = |at| zone.map_or_else(|| output::time(at), |zone| output::time_in(at, zone));
        let recorded = recorded_at.map(|at| format!(", recorded {}", time(at))).unwrap_or_default();
        format!("Channel {}{}, as of position {position}{recorded}.", self.channel, days.unwrap_or_default())
    }
}

fn refused(error: &ReportError) -> SettingsError {
    SettingsError(format!("--{error}"))
}

fn template_id(text: &str) -> anyhow::Result<TemplateId> {
    text.parse().map_err(|error| SettingsError(format!("--template: {error}")).into())
}

/// Pages as large as they may be.
fn first_page(days: usize) -> PageRequest {
    let fits = u32::try_from(MAX_REPORT_LINES / days.max(1)).unwrap_or(MAX_REPORT_TEMPLATES);
    PageRequest::first(fits.clamp(1, MAX_REPORT_TEMPLATES))
}

/// Prints a report page by page: CSV and JSON at once, a table for people when all rows are known.
struct Printer {
    output: Output,
    shown: &'static [&'static str],
    empty: &'static str,
    rows: Vec<Vec<String>>,
    csv: Option<csv::Writer<std::io::Stdout>>,
}

impl Printer {
    fn new(output: Output, shown: &'static [&'static str], empty: &'static str) -> Self {
        Self { output, shown, empty, rows: Vec::new(), csv: None }
    }

    fn page(&mut self, table: ReportTable, frame: impl FnOnce() -> Value) -> anyhow::Result<()> {
        if self.output.json {
            return output::json(&frame());
        }
        if self.output.csv {
            let writer = match &mut self.csv {
                Some(writer) => writer,
                None => {
                    let mut writer = csv::Writer::from_writer(std::io::stdout());
                    writer.write_record(&table.columns)?;
                    self.csv.insert(writer)
                }
            };
            for row in &table.rows {
                writer.write_record(row)?;
            }
            return writer.flush().context("the report could not be written");
        }
        let place = |name: &&str| table.columns.iter().position(|column| column == name);
        let places: Vec<usize> = self.shown.iter().filter_map(place).collect();
        let pick = |row: &Vec<String>| places.iter().map(|place| row[*place].clone()).collect();
        self.rows.extend(table.rows.iter().map(pick));
        Ok(())
    }

    /// For people: the table, and the sentence under it.
    fn end(self, sentence: &str) -> anyhow::Result<()> {
        if !self.output.json && !self.output.csv {
            self.print();
            println!("{sentence}");
        }
        Ok(())
    }

    /// The rows as a table for people.
    fn print(&self) {
        let heading: Vec<String> = self.shown.iter().map(|name| name.to_uppercase()).collect();
        let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
        output::table(&heading, &self.rows, self.empty);
    }
}
