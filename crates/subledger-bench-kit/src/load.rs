//! A light HTTP/1.1 client for one route: keep-alive connections on one thread, no HTTP library.
//!
//! It runs in a process of its own, so that its cost is known ([`Report::cpu_seconds`]) and is not part of the server's. It
//! knows just enough HTTP for servers that answer with `Content-Length`, and says so of any other.

use std::{
    io::Write,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Latency, Order,
    closed_loop::{Limit, Measured},
    process,
};

/// The subcommand under which a program offers [`run`], for [`spawn`].
pub const SUBCOMMAND: &str = "load";

/// What to send, where, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The server
    #[arg(long)]
    pub address: SocketAddr,
    /// Requests to send once each, instead of grants: a file with one a line, path and body with a tab between them. Each must
    /// be answered `success`
    #[arg(long, conflicts_with_all = ["path", "key", "template", "users", "run"])]
    pub requests: Option<PathBuf>,
    /// The path to post grants to
    #[arg(long, default_value = "")]
    pub path: String,
    /// The API key
    #[arg(long, default_value = "")]
    pub key: String,
    /// The template that is granted
    #[arg(long, default_value = "")]
    pub template: String,
    /// Users, named user-0 and up, visited in an order with a fixed seed
    #[arg(long, default_value_t = 10_000)]
    pub users: u64,
    /// Makes the report ids of this run its own
    #[arg(long, default_value = "")]
    pub run: String,
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    pub connections: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Requests per second of all connections together; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
}

/// Where the status stands in an answer of HTTP/1.1.
const STATUS: Range<usize> = 9..12;
/// The only header that matters here.
const LENGTH: &[u8] = b"content-length:";
/// Bytes of an answer, more or less.
const ANSWER: usize = 4096;

/// The seed of the order in which users are visited.
const SEED: u64 = 7;

/// What the client saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Report {
    /// Requests answered 200.
    pub answered: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// From the first byte sent to the last byte of the answer.
    pub latency_us: Latency,
    /// Processor time the client took.
    pub cpu_seconds: f64,
}

impl Report {
    /// As any other measurement.
    pub fn measured(&self) -> Measured {
        let elapsed = Duration::from_secs_f64(self.seconds);
        Measured { operations: self.answered, elapsed, latency: self.latency_us }
    }

    /// Cores the client kept busy.
    pub fn cpu_share(&self) -> f64 {
        self.cpu_seconds / self.seconds.max(f64::MIN_POSITIVE)
    }
}

impl Options {
    /// As arguments of [`SUBCOMMAND`].
    fn arguments(&self) -> Vec<String> {
        let mut pairs = vec![
            ("--address", self.address.to_string()),
            ("--connections", self.connections.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--rate", self.rate.to_string()),
        ];
        match &self.requests {
            Some(file) => pairs.push(("--requests", file.display().to_string())),
            None => pairs.extend([
                ("--path", self.path.clone()),
                ("--key", self.key.clone()),
                ("--template", self.template.clone()),
                ("--users", self.users.to_string()),
                ("--run", self.run.clone()),
            ]),
        }
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    fn limit(&self) -> Limit {
        Limit { operations: u64::MAX, time: Duration::from_secs_f64(self.seconds) }
    }
}

/// Runs the client as a child of this program and waits for its report. Dropping the future ends the child.
pub async fn spawn(options: &Options) -> anyhow::Result<Report> {
    let program = std::env::current_exe().context("the path of this program")?;
    let child = tokio::process::Command::new(program)
        .arg(SUBCOMMAND)
        .args(options.arguments())
        // The shim that slows fsync down is for databases.
        .env_remove("LD_PRELOAD")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("the load client could not be started")?;
    let output = child.wait_with_output().await.context("waiting for the load client")?;
    if !output.status.success() {
        bail!("the load client failed ({})", output.status);
    }
    serde_json::from_slice(&output.stdout).context("the load client's report")
}

/// Runs the client on this thread.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let pace = (options.rate > 0).then(|| Duration::from_secs_f64(1.0 / options.rate as f64));
    let (limit, next) = (options.limit(), Arc::new(AtomicU64::new(0)));
    let requests = options.requests.as_deref().map(requests).transpose()?.map(Arc::new);
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(Connection::open(options).await?);
    }
    let begun = Instant::now();
    let cpu = process::cpu(None)?;
    let callers = connections.into_iter().map(|mut connection| {
        let (next, requests) = (Arc::clone(&next), requests.clone());
        async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < limit.time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if let Some(pace) = pace {
                    // Times of an open loop are fixed beforehand: a slow answer does not make the next request late for ever.
                    let due = begun + pace * u32::try_from(n).context("too many requests")?;
                    tokio::time::sleep_until(due.into()).await;
                }
                let ready =
                    requests.as_ref().map(|requests| requests.get(usize::try_from(n).unwrap_or(usize::MAX)));
                if matches!(ready, Some(None)) {
                    break;
                }
                let called = Instant::now();
                if let Some(Some(ready)) = ready {
                    connection.send_ready(ready).await.with_context(|| format!("request {n}"))?;
                    latencies.push(crate::floor::micros(called.elapsed()));
                    continue;
                }
                connection.grant(n).await.with_context(|| format!("request {n}"))?;
                latencies.push(crate::floor::micros(called.elapsed()));
            }
            anyhow::Ok(latencies)
        }
    });
    let ended = futures::future::try_join_all(callers).await?;
    let elapsed = begun.elapsed();
    let mut latencies = ended.concat();
    Ok(Report {
        answered: latencies.len() as u64,
        seconds: elapsed.as_secs_f64(),
        latency_us: Latency::of(&mut latencies),
        cpu_seconds: process::cpu(None)?.saturating_sub(cpu).as_secs_f64(),
    })
}

/// A request that was prepared: path and body.
type Ready = (String, String);

fn requests(file: &Path) -> anyhow::Result<Vec<Ready>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines()
        .map(|line| {
            let (path, body) = line.split_once('\t').context("a request without a tab")?;
            Ok((path.to_owned(), body.to_owned()))
        })
        .collect()
}

/// One connection, and the buffers that every request on it uses again.
struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    /// Everything up to the value of `Content-Length`.
    head: Vec<u8>,
    /// What stands before the number of the request, between it and the user's, and after that.
    around: [String; 3],
    users: u64,
    body: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(options: &Options) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(options.address).await.context("connecting to the server")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let Options { path, key, address, run, template, users, .. } = options;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        let around = [
            format!(r#"{{"report_id":"{run}-"#),
            r#"","userid":"user-"#.to_owned(),
            format!(r#"","result":{{"errMsg":"requestSubscribeMessage:ok","{template}":"accept"}}}}"#),
        ];
        let (body, request, answer) = (Vec::new(), Vec::new(), Vec::with_capacity(ANSWER));
        Ok(Self {
            stream,
            host: *address,
            head: head.into_bytes(),
            around,
            users: *users,
            body,
            request,
            answer,
        })
    }

    async fn grant(&mut self, n: u64) -> anyhow::Result<()> {
        let user = Order::Shuffled { seed: SEED }.stream(n, self.users);
        let Self { head, around: [before, between, after], body, request, .. } = self;
        body.clear();
        write!(body, "{before}{n}{between}{user}{after}")?;
        request.clear();
        request.extend_from_slice(head);
        write!(request, "{}\r\n\r\n", body.len())?;
        request.extend_from_slice(body);
        self.stream.write_all(&self.request).await.context("sending")?;
        self.read_answer().await
    }

    async fn send_ready(&mut self, (path, body): &Ready) -> anyhow::Result<()> {
        self.request.clear();
        let length = body.len();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.host
        )?;
        self.stream.write_all(&self.request).await.context("sending")?;
        self.read_answer().await?;
        if !self.answer.ends_with(b"\r\n\r\nsuccess") {
            bail!("answered {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }

    async fn read_answer(&mut self) -> anyhow::Result<()> {
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await.context("reading the answer")? == 0 {
                bail!("the server closed the connection");
            }
            match whole(&self.answer)? {
                None => {}
                Some(200) => return Ok(()),
                Some(status) => {
                    bail!("answered {status}: {}", String::from_utf8_lossy(&self.answer))
                }
            }
        }
    }
}

/// The status of an answer, once all of it is here.
fn whole(answer: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut length = None;
    let mut rest = answer;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line == b"\r" {
            let length: usize = length.context("the answer has no Content-Length")?;
            let status = answer.get(..STATUS.end).and_then(|head| number(&head[STATUS]));
            let status = status.context("the answer has no status")?;
            return Ok((rest.len() >= length).then_some(status));
        }
        if let Some((name, value)) = line.split_at_checked(LENGTH.len())
            && name.eq_ignore_ascii_case(LENGTH)
        {
            length = number(value);
        }
    }
    Ok(None)
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\n{}";
        for end in 0..answer.len() {
            assert_eq!(whole(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole(answer).unwrap(), Some(200));
        whole(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err();
    }

    #[tokio::test]
    async fn prepared_requests_are_sent_once_and_must_succeed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answers in [["success", "success"], ["success", "failure"]] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = Vec::with_capacity(4096);
                    stream.read_buf(&mut request).await.unwrap();
                    seen.push(String::from_utf8(request).unwrap());
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{answer}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            seen
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requests");
        std::fs::write(&file, "/a?b=1\t{1}\n/a?b=2\t{2}\n").unwrap();
        let options = Options {
            address,
            requests: Some(file),
            path: String::new(),
            key: String::new(),
            template: String::new(),
            users: 0,
            run: String::new(),
            connections: 1,
            seconds: 60.0,
            rate: 0,
        };
        assert_eq!(run(&options).await.unwrap().answered, 2, "it ends when all are sent");
        run(&options).await.unwrap_err();
        let seen = server.await.unwrap();
        assert!(
            seen[1].starts_with("POST /a?b=2 HTTP/1.1\r\n") && seen[1].ends_with("\r\n\r\n{2}"),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn requests_arrive_whole_and_are_counted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = 0_u64;
            let mut request = Vec::with_capacity(4096);
            // A request is one small write on loopback, so one read gets all of it.
            while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
                assert!(
                    request.starts_with(b"POST /grants HTTP/1.1\r\n") && request.ends_with(b"\"accept\"}}")
                );
                request.clear();
                seen += 1;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            }
            seen
        });
        let options = Options {
            address,
            requests: None,
            path: "/grants".to_owned(),
            key: "k".to_owned(),
            template: "T".to_owned(),
            users: 3,
            run: "r".to_owned(),
            connections: 1,
            seconds: 0.05,
            rate: 0,
        };
        let report = run(&options).await.unwrap();
        assert_eq!(server.await.unwrap(), report.answered);
        assert!(report.answered > 0);
    }
}
