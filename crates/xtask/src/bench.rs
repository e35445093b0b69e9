//! `cargo xtask bench`: builds, measures in rounds, writes the report.
//!
//! Every figure comes from a process of its own, ours and the peers' in turn, so that a warm machine or a noisy hour favours
//! nobody. What a process prints is kept as it is under `target/bench/`; the report is made from that alone and can be
//! made again.

mod machine;
mod plan;
mod report;
mod results;
mod targets;
mod tools;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use subledger_bench_kit::Record;

use self::{
    plan::{Fsync, Measurement, Scale},
    results::Results,
    tools::Tools,
};
use crate::{
    postgres::{Postgres, Preload},
    steps,
};

/// The report, from the workspace's root.
const REPORT: &str = "docs/benchmarks.md";

/// The longest that one process may take.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// How often it is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick --no-peers\n  \
                        cargo xtask bench --only executor --only grants --rounds 3\n  \
                        cargo xtask bench --report-only\n\n\
                        A full run takes about an hour and a half on two cores; leave the machine alone meanwhile.")]
pub(crate) struct Options {
    /// Small amounts, one round, and the report to target/bench/ instead of docs/: shows that everything runs
    #[arg(long)]
    quick: bool,
    /// Only this scenario: floor, executor, grants, pushes, rebuild, lag, size, memory. May be given more than once; what was
    /// measured of the others before stays in the report
    #[arg(long, value_name = "SCENARIO", value_parser = clap::builder::PossibleValuesParser::new(plan::SCENARIOS))]
    only: Vec<String>,
    /// Rounds; each figure is their median. Default 5, with --quick 1
    #[arg(long)]
    rounds: Option<u32>,
    /// Measure no peers
    #[arg(long)]
    no_peers: bool,
    /// Measure nothing; write the report again from what was measured last
    #[arg(long, conflicts_with_all = ["only", "rounds", "no_peers"])]
    report_only: bool,
}

/// Where things are kept.
struct Folders {
    /// `target/bench`.
    bench: PathBuf,
    /// Results, one line each.
    raw: PathBuf,
    /// What was left out or failed, one line each.
    notes: PathBuf,
    report: PathBuf,
}

impl Folders {
    fn of(quick: bool) -> anyhow::Result<Self> {
        let bench = tools::target()?.join("bench");
        fs::create_dir_all(&bench).with_context(|| bench.display().to_string())?;
        let name = if quick { "quick" } else { "full" };
        let report = if quick { bench.join("quick.md") } else { steps::root().join(REPORT) };
        let (raw, notes) = (bench.join(format!("{name}.jsonl")), bench.join(format!("{name}.notes")));
        Ok(Self { bench, raw, notes, report })
    }
}

/// Measures and writes the report. Fails if anything that was to be measured could not be; the report says what.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folders = Folders::of(options.quick)?;
    let mut failed = 0;
    if !options.report_only {
        failed = measure(options, &folders)?;
    }
    write_report(&folders)?;
    println!("\n── {}", folders.report.display());
    if failed > 0 {
        bail!("{failed} measurements failed; the report names them");
    }
    Ok(())
}

fn write_report(folders: &Folders) -> anyhow::Result<()> {
    let raw = fs::read_to_string(&folders.raw)
        .with_context(|| format!("{}: nothing was measured yet", folders.raw.display()))?;
    let results = Results::new(raw.lines().filter_map(Record::parse).collect());
    let notes = fs::read_to_string(&folders.notes).unwrap_or_default();
    let old = fs::read_to_string(&folders.report).unwrap_or_default();
    let text = report::write(&machine::Machine::look(), &results, &notes, &old);
    fs::write(&folders.report, text).with_context(|| folders.report.display().to_string())
}

/// Runs everything; answers how many measurements failed.
fn measure(options: &Options, folders: &Folders) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    let mut notes = Vec::new();
    if options.quick {
        notes.push(
            "QUICK: small amounts, one round. The figures show that everything runs and nothing else."
                .to_owned(),
        );
    }
    let tools = Tools::prepare(&folders.bench, !options.no_peers, &mut notes)?;
    // What an earlier run prepared may be of another version.
    let _ = fs::remove_dir_all(data(&folders.bench));
    let postgres = Postgres::start()?;
    let slow = match &tools.shim {
        Some(shim) => Postgres::start_with(Some(Preload {
            library: shim.clone(),
            variable: (plan::EXTRA_VARIABLE, plan::EXTRA_US.to_string()),
        }))?,
        None => None,
    };
    if postgres.is_none() {
        skip(&mut notes, "everything on PostgreSQL: no initdb on this machine");
    }
    let scale = if options.quick { Scale::quick() } else { Scale::full() };
    let urls = [postgres.as_ref().map(Postgres::url), slow.as_ref().map(Postgres::url)];
    let plan: Vec<Measurement> = plan::plan(&tools, &scale, &folders.bench, urls)
        .into_iter()
        .filter(|one| options.only.is_empty() || options.only.iter().any(|only| only == one.scenario))
        .collect();
    keep_others(folders, &options.only)?;
    let mut raw = fs::OpenOptions::new().create(true).append(true).open(&folders.raw)?;
    let mut failures = Vec::new();
    for round in 1..=rounds {
        for one in plan.iter().filter(|one| round == 1 || !one.once) {
            println!(
                "\n── round {round} of {rounds}: {} ({:.0} s)",
                one.title,
                begun.elapsed().as_secs_f32()
            );
            match run_one(one, round, &tools) {
                Ok(records) => {
                    for record in records {
                        println!("   {}", results::brief(&record));
                        writeln!(raw, "{}", record.line()?)?;
                    }
                }
                Err(error) => {
                    eprintln!("FAILED  {}: {error:#}", one.title);
                    failures.push(format!("FAILED, round {round}: {}: {error:#}", one.title));
                }
            }
        }
    }
    // The report goes to readers who know nothing of this machine's folders.
    let here = folders.bench.display().to_string();
    notes.extend(failures.iter().map(|failure| failure.replace(&here, "target/bench")));
    fs::write(&folders.notes, notes.join("\n"))?;
    let _ = fs::remove_dir_all(data(&folders.bench));
    println!("\n── measured in {:.0} s", begun.elapsed().as_secs_f32());
    Ok(failures.len())
}

/// Says loudly what is left out, and keeps it for the report.
fn skip(notes: &mut Vec<String>, what: &str) {
    eprintln!("SKIPPED  {what}");
    notes.push(format!("SKIPPED: {what}"));
}

/// Leaves of the earlier results those of scenarios that are not measured now.
fn keep_others(folders: &Folders, only: &[String]) -> anyhow::Result<()> {
    let old = fs::read_to_string(&folders.raw).unwrap_or_default();
    let others = old.lines().filter(|line| {
        let record = Record::parse(line);
        record.is_some_and(|record| !only.is_empty() && !only.contains(&record.scenario))
    });
    let kept: String = others.map(|line| format!("{line}\n")).collect();
    fs::write(&folders.raw, kept).with_context(|| folders.raw.display().to_string())
}

fn run_one(one: &Measurement, round: u32, tools: &Tools) -> anyhow::Result<Vec<Record>> {
    let mut command = Command::new(&one.program);
    command.args(&one.arguments).args(["--round", &round.to_string()]).stdout(Stdio::piped());
    if let Fsync::Slow { preload } = one.fsync {
        if !one.is_script {
            command.args(["--fsync-extra-us", &plan::EXTRA_US.to_string()]);
        }
        if let (true, Some(shim)) = (preload, &tools.shim) {
            command.env("LD_PRELOAD", shim).env(plan::EXTRA_VARIABLE, plan::EXTRA_US.to_string());
        }
    }
    let output = ended(&mut command).with_context(|| one.program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ({})", said.trim().lines().last().unwrap_or("no message"), output.status);
    }
    let records: Vec<Record> = text.lines().filter_map(Record::parse).collect();
    if records.is_empty() {
        bail!("it printed no figure");
    }
    Ok(records)
}

/// Runs a program to its end, or ends it: a peer that hangs must not hold up the rest.
fn ended(command: &mut Command) -> anyhow::Result<Output> {
    let mut child = command.stderr(Stdio::piped()).spawn().context("could not be started")?;
    let begun = Instant::now();
    // A few lines are printed, which fit into the pipes; so they may be read after the end.
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    Ok(child.wait_with_output()?)
}

/// The bench folder's `data`.
fn data(bench: &Path) -> PathBuf {
    bench.join("data")
}
