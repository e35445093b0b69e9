//! The steps of `cargo xtask test`, in the order in which they fail fastest.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};
use clap::builder::BoolishValueParser;

use crate::{clients, postgres::Postgres, tidy};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What cargo told this program about itself is not for the next cargo: build scripts that look at it (ring's does) would
    // find it changed whenever a build was begun the other way, and rebuild everything above them.
    let about_us =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
    for (name, _) in std::env::vars_os() {
        if about_us.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn run(title: &str, command: &mut Command) -> anyhow::Result<()> {
    println!("\n── {title}");
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("{title}: {command:?} could not be started"))?;
    if !status.success() {
        bail!("{title} failed ({status})");
    }
    println!("── {title}: {:.0} s", begun.elapsed().as_secs_f32());
    Ok(())
}

/// What a run fails without, rather than skip the tests that need it.
#[derive(Debug, clap::Args)]
pub(crate) struct Required {
    /// Fail rather than skip when PostgreSQL is not installed (CI sets this)
    #[arg(long, env = "SUBLEDGER_REQUIRE_POSTGRES", value_parser = BoolishValueParser::new(), default_value = "false")]
    require_postgres: bool,
    /// Fail rather than skip when Node.js is not installed (CI sets this)
    #[arg(long, env = "SUBLEDGER_REQUIRE_NODE", value_parser = BoolishValueParser::new(), default_value = "false")]
    require_node: bool,
}

/// Everything CI checks.
pub(crate) fn test(required: &Required) -> anyhow::Result<()> {
    let begun = Instant::now();
    let require_postgres = required.require_postgres;
    run("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    println!("\n── tidy");
    tidy::check(&root())?;
    let clients = clients::test(required.require_node)?;
    run("clippy", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;

    let postgres = Postgres::start().transpose();
    let postgres = match (postgres, require_postgres) {
        (Some(postgres), _) => Some(postgres.context("PostgreSQL is installed but could not be started")?),
        (None, true) => {
            bail!("PostgreSQL is required here and not installed (Debian: apt-get install postgresql)")
        }
        (None, false) => None,
    };
    let mut tests = cargo(&["test", "--workspace"]);
    tests.env("SUBLEDGER_REQUIRE_POSTGRES", if require_postgres { "1" } else { "0" });
    match &postgres {
        Some(postgres) => drop(tests.env("SUBLEDGER_TEST_POSTGRES", postgres.url())),
        None => skipped(),
    }
    run("build the binary", &mut cargo(&["build", "--package", "subledger"]))?;
    run("tests", &mut tests)?;

    let data = tempfile::tempdir().context("a folder for the demo")?;
    let mut demo = cargo(&["run", "--package", "subledger", "--", "demo", "--once", "--data"]);
    run("the demo", demo.arg(data.path()))?;
    let seconds = begun.elapsed().as_secs_f32();
    if postgres.is_some() && clients {
        println!("\nEverything passed, on SQLite and on PostgreSQL, in {seconds:.0} s.");
    } else {
        println!("\nEverything that ran passed, in {seconds:.0} s.");
    }
    Ok(())
}

fn skipped() {
    eprintln!();
    eprintln!("SKIPPED  every test on PostgreSQL: no initdb on this machine.");
    eprintln!("SKIPPED  install PostgreSQL 15 or newer (Debian: apt-get install postgresql) to run them.");
    eprintln!("SKIPPED  CI runs them all.");
}

/// The OpenAPI document on standard output.
pub(crate) fn openapi() -> anyhow::Result<()> {
    let status = cargo(&["run", "--quiet", "--package", "subledger", "--", "admin", "openapi"]).status()?;
    if status.success() { Ok(()) } else { bail!("the binary failed ({status})") }
}
