//! What is measured, built or installed: our binaries, the peers, the shim that slows fsync down.
//!
//! What is ours must build. A peer whose toolchain is missing, or that cannot be installed, is left out, loudly.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use super::skip;
use crate::steps;

/// Everything there is to run.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// Our scenarios.
    pub(super) bench: PathBuf,
    /// The service.
    pub(super) service: PathBuf,
    /// cqrs-es.
    pub(super) peers: Option<PathBuf>,
    /// Python with eventsourcing, and the script.
    pub(super) eventsourcing: Option<(PathBuf, PathBuf)>,
    /// Node, and the script beside its packages.
    pub(super) emmett: Option<(PathBuf, PathBuf)>,
    /// The library that slows fsync down.
    pub(super) shim: Option<PathBuf>,
}

/// The workspace's target folder: where this program was built.
pub(super) fn target() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program")?;
    // target/<profile>/xtask
    Ok(program.ancestors().nth(2).context("this program stands in no target folder")?.to_path_buf())
}

impl Tools {
    /// Builds and installs.
    pub(super) fn prepare(bench: &Path, peers: bool, notes: &mut Vec<String>) -> anyhow::Result<Self> {
        let target = target()?;
        let build = ["build", "--release", "--package", "subledger", "--package", "subledger-bench"];
        steps::run("build", steps::cargo(&build).arg("--target-dir").arg(&target))?;
        let release = target.join("release");
        let mut tools = Self {
            bench: release.join("subledger-bench"),
            service: release.join("subledger"),
            ..Self::default()
        };
        tools.shim = or_skip(shim(bench), "everything with 1 ms added to fsync", notes);
        if peers {
            tools.peers = or_skip(cqrs_es(&target), "the peer cqrs-es", notes);
            tools.eventsourcing = or_skip(eventsourcing(bench), "the peer eventsourcing", notes);
            tools.emmett = or_skip(emmett(bench), "the peer emmett", notes);
        } else {
            skip(notes, "all peers, as asked");
        }
        Ok(tools)
    }
}

fn or_skip<T>(made: anyhow::Result<T>, what: &str, notes: &mut Vec<String>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(error) => {
            skip(notes, &format!("{what}: {error:#}"));
            None
        }
    }
}

/// Runs a program quietly; its last words are the error.
fn run(program: impl AsRef<Path>, arguments: &[&str], folder: &Path) -> anyhow::Result<()> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} is not there", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} {}: {}",
            program.display(),
            arguments.join(" "),
            said.trim().lines().last().unwrap_or("failed")
        );
    }
    Ok(())
}

fn shim(bench: &Path) -> anyhow::Result<PathBuf> {
    let library = bench.join("slow_fsync.so");
    let source = steps::root().join("benches/slow-fsync/slow_fsync.c").display().to_string();
    let output = library.display().to_string();
    run("cc", &["-shared", "-fPIC", "-O2", "-Wall", "-o", &output, &source, "-ldl"], bench)?;
    Ok(library)
}

fn cqrs_es(target: &Path) -> anyhow::Result<PathBuf> {
    let folder = steps::root().join("benches/peers");
    // Beside ours and not in it: the same crates with other features would be built in turn, over and over.
    let target = target.join("peers");
    let mut build = steps::cargo(&["build", "--release", "--locked", "--target-dir"]);
    steps::run("build the peers", build.arg(&target).current_dir(folder))?;
    Ok(target.join("release/subledger-peers"))
}

fn eventsourcing(bench: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let folder = bench.join("python");
    let python = folder.join("bin/python");
    if !folder.join("installed").is_file() {
        run("python3", &["-m", "venv", &folder.display().to_string()], bench)?;
        run(&python, &["-m", "pip", "install", "--quiet", "eventsourcing[postgres]"], bench)?;
        fs::write(folder.join("installed"), "")?;
    }
    Ok((python, steps::root().join("benches/eventsourcing/bench.py")))
}

fn emmett(bench: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let folder = bench.join("node");
    fs::create_dir_all(&folder)?;
    // Node looks for packages beside the script, so the script goes to the packages.
    for file in ["package.json", "bench.mjs"] {
        fs::copy(steps::root().join("benches/emmett").join(file), folder.join(file)).context(file)?;
    }
    run("node", &["--version"], &folder)?;
    run("npm", &["install", "--no-audit", "--no-fund", "--loglevel=error"], &folder)?;
    Ok(("node".into(), folder.join("bench.mjs")))
}
