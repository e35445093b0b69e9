//! A throw-away PostgreSQL: its own folder, its own port, removed at the end.
//!
//! `initdb` refuses to run as root, so as root it runs under an unprivileged user that the system has. Commits are durable as
//! in earnest (`fsync` stays on): a test of a store that loses its safety net proves nothing.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Ports that are tried.
const PORTS: u32 = 5;

/// Users that may own the server when we are root, best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// A running server.
pub(crate) struct Postgres {
    bin: PathBuf,
    user: Option<&'static str>,
    data: PathBuf,
    port: u16,
    preload: Option<Preload>,
    _folder: TempDir,
}

/// A library to load into the server, and a variable for it.
#[derive(Debug, Clone)]
pub(crate) struct Preload {
    /// The library; the server gets a copy that it may read.
    pub(crate) library: PathBuf,
    /// Name and value.
    pub(crate) variable: (&'static str, String),
}

impl Postgres {
    /// Starts a server; nothing if PostgreSQL is not installed.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(None)
    }

    /// Starts a server that loads a library.
    pub(crate) fn start_with(preload: Option<Preload>) -> anyhow::Result<Option<Self>> {
        let Some(bin) = installed() else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("subledger-postgres-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
        let user = if is_root()? { Some(unprivileged()?) } else { None };
        let data = folder.path().join("data");
        let preload = preload.map(|preload| copied(preload, folder.path())).transpose()?;
        let mut server = Self { bin, user, data, port: 0, preload, _folder: folder };
        let data = server.data.display().to_string();
        server.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"])?;
        let mut tried = 1;
        while let Err(error) = server.listen() {
            if tried == PORTS {
                return Err(error);
            }
            tried += 1;
        }
        println!("\n── PostgreSQL on port {}", server.port);
        Ok(Some(server))
    }

    /// Starts the server on a port that is free now; somebody else may take it a moment later.
    fn listen(&mut self) -> anyhow::Result<()> {
        self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 -c fsync=on",
            self.port
        );
        let (data, log) = (self.data.display().to_string(), self.data.with_file_name("log"));
        let log = log.display().to_string();
        self.run("pg_ctl", &["-D", &data, "-l", &log, "-w", "-t", "60", "-o", &options, "start"])
    }

    /// Ends the server as a power cut would and starts it again, on the same port.
    fn restart(&self) -> anyhow::Result<()> {
        let (data, log) = (self.data.display().to_string(), self.data.with_file_name("log"));
        let log = log.display().to_string();
        self.run("pg_ctl", &["-D", &data, "-l", &log, "-m", "immediate", "-w", "-t", "60", "restart"])
    }

    /// The URL of an administrator, to make databases with.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let path = self.bin.join(program);
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", user, "--regid", group(user)?.as_str(), "--clear-groups", "--"])
                    .arg(&path);
                command
            }
            None => Command::new(&path),
        };
        if let Some(Preload { library, variable: (name, value) }) = &self.preload {
            command.env("LD_PRELOAD", library).env(name, value);
        }
        // The server outlives pg_ctl and would keep a captured pipe open: its own log file takes what it says.
        let status = command.args(arguments).current_dir("/").env("HOME", "/").stdout(Stdio::null()).status();
        let status = status.with_context(|| format!("{} could not be started", path.display()))?;
        if !status.success() {
            let log = std::fs::read_to_string(self.data.with_file_name("log")).unwrap_or_default();
            bail!("{program} failed ({status})\n{log}");
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data.display().to_string();
        if let Err(error) = self.run("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]) {
            eprintln!("xtask: the throw-away PostgreSQL could not be stopped: {error:#}");
        }
    }
}

fn copied(preload: Preload, folder: &std::path::Path) -> anyhow::Result<Preload> {
    let library = folder.join("preload.so");
    std::fs::copy(&preload.library, &library).with_context(|| preload.library.display().to_string())?;
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755))?;
    Ok(Preload { library, ..preload })
}

/// The folder with `initdb`: on the path, or where Debian and others put it; the newest version first.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = |parent: &str| {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin")).collect();
        folders.sort();
        folders.reverse();
        folders
    };
    let folders = versions("/usr/lib/postgresql")
        .into_iter()
        .chain(versions("/opt/homebrew/opt"))
        .chain(std::env::split_paths(&path));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{program} {arguments:?} failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn is_root() -> anyhow::Result<bool> {
    Ok(output("id", &["-u"])? == "0")
}

fn group(user: &str) -> anyhow::Result<String> {
    output("id", &["-g", user])
}

fn unprivileged() -> anyhow::Result<&'static str> {
    let exists = |user: &&&str| output("id", &["-u", user]).is_ok();
    UNPRIVILEGED.iter().find(exists).copied().context("no unprivileged user to run PostgreSQL as")
}

/// Starts a server and holds it until the end of standard input. A line `restart` restarts it.
pub(crate) fn hold() -> anyhow::Result<()> {
    let Some(server) = Postgres::start()? else {
        bail!("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    };
    println!("{}", server.url());
    println!("Type restart to restart it, Ctrl-D to stop and remove it.");
    for line in std::io::stdin().lines() {
        if line?.trim() == "restart" {
            server.restart()?;
            println!("restarted");
        }
    }
    Ok(())
}
