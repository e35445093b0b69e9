//! The one binary of subledger: service, demo, simulated WeChat, audit and operations.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks on its standard streams"
)]

mod cli;
mod commands;
mod exit;
mod node;
mod output;
mod remote;
mod settings;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Nearly all of what the service allocates is small and short-lived, and much of it is freed by another thread than the one
/// that asked for it; the system's allocator spent a quarter of a request's processor time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("subledger: the runtime could not be started: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("subledger: {}", exit::explain(&error));
            ExitCode::from(exit::code(&error))
        }
    }
}
