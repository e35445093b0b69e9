//! A PostgreSQL server of a test's own, to be restarted without asking anybody else.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::process::binary;

/// A running server. It ends with this.
pub struct Server {
    process: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    /// The URL of an administrator.
    pub url: String,
}

impl Server {
    /// Starts one through the workspace's own tool; none, loudly, where no PostgreSQL is to be tested with.
    pub fn start(test: &str) -> Option<Self> {
        if std::env::var_os("SUBLEDGER_TEST_POSTGRES").is_none() {
            let required = std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "SUBLEDGER_TEST_POSTGRES is not set and PostgreSQL is required");
            eprintln!("SKIPPED: {test} on PostgreSQL: SUBLEDGER_TEST_POSTGRES is not set");
            return None;
        }
        let tool = binary().with_file_name("xtask");
        assert!(tool.is_file(), "{} is missing: cargo build --package xtask", tool.display());
        let mut command = Command::new(tool);
        let mut process =
            command.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, orders, said, url: String::new() };
        server.url = server.wait_for("postgres://");
        Some(server)
    }

    /// Ends the server as a power cut would, and starts it again. Returns when it answers.
    pub fn restart(&mut self) {
        writeln!(self.orders.as_mut().unwrap(), "restart").unwrap();
        self.wait_for("restarted");
    }

    fn wait_for(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.said.read_line(&mut line).unwrap() > 0,
                "the server ended before it said {beginning:?}"
            );
            if line.starts_with(beginning) {
                return line.trim().to_owned();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input is what it stops at.
        self.orders = None;
        let _ = self.process.wait();
    }
}
