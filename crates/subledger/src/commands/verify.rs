//! `subledger audit verify`: proof that a database or a file is what was written.
//!
//! Exit codes of this command are its answer: 0 clean, 1 broken, 2 could not look. So no failure to look may ever read as
//! "broken", nor as "clean".

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;
use serde_json::json;
use subledger_audit::proof::{self, FileReport, Finding, LogReport, Options, Progress, Report};
use subledger_domain::LogName;
use subledger_store::{Inspector, SigningKey};

use super::settings;
use crate::{cli::Verify, exit, output};

/// Something is wrong.
const BROKEN: u8 = 1;
/// It could not be looked.
const COULD_NOT_LOOK: u8 = 2;

pub(super) async fn run(verify: Verify) -> anyhow::Result<ExitCode> {
    match look(verify).await {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::from(BROKEN)),
        Err(error) => {
            eprintln!("subledger: could not look: {}", exit::explain(&error));
            Ok(ExitCode::from(COULD_NOT_LOOK))
        }
    }
}

/// Whether all is well.
async fn look(verify: Verify) -> anyhow::Result<bool> {
    let key: Option<SigningKey> =
        verify.key.as_deref().map(str::parse).transpose().context("--key cannot be used")?;
    match &verify.file {
        Some(path) => {
            let report = proof::check_file(open(path)?, key)?;
            show_file(&report, verify.json)?;
            Ok(report.clean)
        }
        None => database(&verify, key).await,
    }
}

async fn database(verify: &Verify, key: Option<SigningKey>) -> anyhow::Result<bool> {
    let settings = settings(&verify.common)?;
    // The file is opened first: a typing error in its name should not cost a whole verification.
    let file = verify.against.as_deref().map(open).transpose()?;
    let inspector = Inspector::open(settings.database.url.expose_secret()).await?;
    let log = verify.log.clone().map(LogName::new);
    let options = Options { log, skip_read_models: verify.skip_projections, now: None };
    let mut bar = Bar::default();
    let verified = proof::verify(&inspector, &options, |progress| bar.show(&progress)).await;
    bar.finish();
    let mut report = verified?;
    let against = match file {
        Some(file) => {
            let (file, differences) = proof::compare_with_file(&inspector, file, key).await?;
            report.add(differences);
            Some(file)
        }
        None => None,
    };
    inspector.close().await;
    show(&report, against.as_ref(), verify.json)?;
    Ok(report.clean && against.is_none_or(|file| file.clean))
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn show(report: &Report, against: Option<&FileReport>, json: bool) -> anyhow::Result<()> {
    if json {
        let clean = report.clean && against.is_none_or(|file| file.clean);
        return output::json(&json!({ "clean": clean, "database": report, "file": against }));
    }
    report.logs.iter().for_each(show_log);
    if !report.read_models {
        println!("Read models were not compared, as asked.");
    }
    verdict(&report.findings, report.total_findings);
    if let Some(file) = against {
        println!();
        show_file(file, false)?;
    }
    Ok(())
}

fn show_log(log: &LogReport) {
    println!(
        "log {}: {} events to position {} in {} streams, {} receipts, {} in the queue",
        log.log, log.events, log.position, log.streams, log.receipts, log.queued
    );
    let sums = &log.deliveries;
    if sums.messages > 0 {
        println!(
            "  {} messages, {} recipients: {} sent, {} in doubt, {} waiting, {} under way, {} refused, {} failed, \
             {} expired, {} retracted, {} not sent, {} skipped, {} not planned yet",
            sums.messages,
            sums.targeted,
            sums.sent,
            sums.in_doubt,
            sums.reserved,
            sums.started,
            sums.refused,
            sums.failed,
            sums.expired,
            sums.retracted,
            sums.not_sent,
            sums.skipped,
            sums.unplanned
        );
    }
    if !log.read_models.is_empty() {
        println!("  read models equal to a rebuild: {}", log.read_models.join(", "));
    }
    for (kind, count) in &log.newer {
        println!("  {count} events of {kind}, which is newer than this program: read, not judged");
    }
    for note in &log.notes {
        println!("  note: {note}");
    }
}

fn show_file(report: &FileReport, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    for section in &report.sections {
        println!(
            "file, log {}: {} events after position {} to {}, signed by key {}",
            section.log, section.events, section.after, section.position, section.key
        );
    }
    if !report.signer_known {
        println!("No --key was given: the signer is only as trusted as the file.");
    }
    verdict(&report.findings, report.total_findings);
    Ok(())
}

fn verdict(findings: &[Finding], total: u64) {
    let Some(first) = findings.first() else {
        println!("Clean.");
        return;
    };
    println!("BROKEN. First: {first}");
    for finding in &findings[1..] {
        println!("  also: {finding}");
    }
    let more = total.saturating_sub(findings.len() as u64);
    if more > 0 {
        println!("  and {more} more");
    }
}

/// One bar per step and log, on a terminal only.
#[derive(Default)]
pub(super) struct Bar {
    current: Option<(LogName, &'static str, ProgressBar)>,
}

impl Bar {
    pub(super) fn show(&mut self, progress: &Progress) {
        let same = self
            .current
            .as_ref()
            .is_some_and(|(log, step, _)| *log == progress.log && *step == progress.step);
        if !same {
            self.finish();
            let bar = ProgressBar::new(progress.total);
            let template = "{msg:<32} {bar:30} {pos}/{len} events {per_sec} ETA {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(format!("{}: {}", progress.log, progress.step));
            self.current = Some((progress.log.clone(), progress.step, bar));
        }
        if let Some((_, _, bar)) = &self.current {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some((_, _, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}
