//! The clients that are not Rust: npm installs what their lock files name, and their own `npm test` does the rest.
//!
//! They are the one part of the workspace that needs Node.js. A developer without it is told loudly what was not tested;
//! CI requires it.

use std::process::Command;

use anyhow::bail;

use crate::steps::{root, run};

/// The oldest Node.js that runs the clients' tests and their tools (`engines` in their manifests).
const OLDEST_NODE: u32 = 18;

/// Installs and tests every client. Returns whether there was a Node.js to do it with.
pub(crate) fn test(require: bool) -> anyhow::Result<bool> {
    if let Err(missing) = node() {
        if require {
            bail!("{missing}, and it is required here (Debian: apt-get install nodejs npm)");
        }
        skipped(&missing);
        return Ok(false);
    }
    let folder = root().join("clients/miniprogram");
    // No scripts of other people's packages: none of the tools needs one.
    run("client: install", npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    run("client: test", npm(&["test"]).current_dir(&folder))?;
    Ok(true)
}

fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments);
    command
}

/// Whether Node.js and npm are there and new enough; the error is what to say otherwise.
fn node() -> Result<(), String> {
    let version = |program: &str| {
        let output =
            Command::new(program).arg("--version").output().ok().filter(|done| done.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let node = version("node").ok_or("Node.js is not installed")?;
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return Err(format!("Node.js {node} is older than {OLDEST_NODE}"));
    }
    version("npm").map(drop).ok_or_else(|| "npm is not installed".to_owned())
}

fn skipped(missing: &str) {
    eprintln!();
    eprintln!("SKIPPED  the Mini Program client (clients/miniprogram): {missing}.");
    eprintln!(
        "SKIPPED  install Node.js {OLDEST_NODE} or newer (Debian: apt-get install nodejs npm) to test it."
    );
    eprintln!("SKIPPED  CI tests it.");
}
