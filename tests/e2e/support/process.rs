//! The binary as a process.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::{Database, Wechat, database::MASTER_KEY};

/// The binary under test: `SUBLEDGER_BIN`, or the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SUBLEDGER_BIN") {
        return path.into();
    }
    // target/<profile>/deps/e2e-… → target/<profile>/subledger
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("subledger");
    assert!(path.is_file(), "{} is missing: cargo build --package subledger", path.display());
    path
}

/// Time-outs of the tests: short, so that lost answers and lost nodes are found within seconds.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("SUBLEDGER_MASTER_KEY", MASTER_KEY),
    ("SUBLEDGER_WECHAT_CONNECT_TIMEOUT_MS", "400"),
    ("SUBLEDGER_WECHAT_READ_TIMEOUT_MS", "900"),
    ("SUBLEDGER_DISPATCH_LEASE_MS", "1500"),
    ("SUBLEDGER_DISPATCH_POLL_MS", "50"),
    ("SUBLEDGER_LOG_FILTER", "warn"),
];

fn command(database: &Database) -> Command {
    let mut command = Command::new(binary());
    command.envs(ENVIRONMENT.iter().copied()).env("SUBLEDGER_DATABASE", &database.url).env_remove("RUST_LOG");
    command
}

/// Runs a command of the binary to its end.
pub fn run_cli(database: &Database, arguments: &[&str]) -> Output {
    command(database).args(arguments).output().unwrap()
}

/// The same with more environment.
pub fn run_cli_with(database: &Database, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(database).envs(environment.iter().copied()).args(arguments).output().unwrap()
}

/// Starts a command of the binary and lets it run.
pub fn spawn_cli_with(database: &Database, environment: &[(&str, &str)], arguments: &[&str]) -> Child {
    let mut command = command(database);
    command.envs(environment.iter().copied()).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap()
}

/// A command that runs while its test goes on, talking line by line.
pub struct Talking {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Talking {
    /// Starts it.
    pub fn start(database: &Database, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = command(database);
        command.envs(environment.iter().copied()).args(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The next line it says; none once it has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.said.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// Its last words, and how it ended.
    pub fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (rest + &errors, self.child.wait().unwrap().code())
    }
}

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts the service and waits until it listens.
    pub async fn serve(database: &Database, wechat: &Wechat) -> (Self, String) {
        Self::serve_with(database, wechat, &[]).await
    }

    /// The same with more environment.
    pub async fn serve_with(
        database: &Database,
        wechat: &Wechat,
        environment: &[(&str, &str)],
    ) -> (Self, String) {
        let mut command = command(database);
        command.envs(environment.iter().copied());
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("SUBLEDGER_WECHAT_BASE_URL", &wechat.url);
        command.env("SUBLEDGER_WECHAT_AUTHORIZATION_BASE_URL", &wechat.url);
        Self::start(command, "subledger listens on ").await
    }

    /// The same with settings of a file and all it says written to another.
    pub async fn serve_logging(
        database: &Database,
        wechat: &Wechat,
        environment: &[(&str, &str)],
        settings: &Path,
        log: &Path,
    ) -> (Self, String) {
        let mut command = command(database);
        command.envs(environment.iter().copied());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(settings);
        command.env("SUBLEDGER_WECHAT_BASE_URL", &wechat.url).stderr(File::create(log).unwrap());
        Self::start(command, "subledger listens on ").await
    }

    /// Starts the simulated WeChat and waits until it listens.
    pub async fn sandbox(seed: u64) -> (Self, String) {
        let mut command = Command::new(binary());
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--seed", &seed.to_string()]);
        Self::start(command, "Simulated WeChat at ").await
    }

    async fn start(mut command: Command, announcement: &'static str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let found = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            loop {
                line.clear();
                if reader.read_line(&mut line).unwrap() == 0 {
                    return None;
                }
                if let Some(rest) = line.trim().strip_prefix(announcement) {
                    let url = rest.split_whitespace().next().unwrap().to_owned();
                    // Keep reading, or the process would block on a full pipe.
                    std::thread::spawn(move || {
                        std::io::copy(&mut reader.by_ref().take(u64::MAX), &mut std::io::sink())
                    });
                    return Some(url);
                }
            }
        });
        let url = found.await.unwrap();
        let url = url.unwrap_or_else(|| {
            panic!("the process ended before it said {announcement:?}: {:?}", child.wait())
        });
        (Self { child }, url)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no warning, no clean-up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code once it has ended.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        tokio::task::spawn_blocking(move || self.child.wait().unwrap().code()).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
