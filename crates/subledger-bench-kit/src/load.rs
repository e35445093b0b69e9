//! A light HTTP/1.1 client for one route: keep-alive connections on one thread, no HTTP library.
//!
//! It runs in a process of its own, so that its cost is known ([`Report::cpu_seconds`]) and is not part of the server's. It
//! knows just enough HTTP for servers that answer with `Content-Length`, and says so of any other.

use std::{
    net::SocketAddr,
    process::Stdio,
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
    /// The path to post grants to
    #[arg(long)]
    pub path: String,
    /// The API key
    #[arg(long)]
    pub key: String,
    /// The template that is granted
    #[arg(long)]
    pub template: String,
    /// Users, named user-0 and up, visited in an order with a fixed seed
    #[arg(long, default_value_t = 10_000)]
    pub users: u64,
    /// Makes the report ids of this run its own
    #[arg(long)]
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
        let pairs = [
            ("--address", self.address.to_string()),
            ("--path", self.path.clone()),
            ("--key", self.key.clone()),
            ("--template", self.template.clone()),
            ("--users", self.users.to_string()),
            ("--run", self.run.clone()),
            ("--connections", self.connections.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--rate", self.rate.to_string()),
        ];
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
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(Connection::open(options).await?);
    }
    let begun = Instant::now();
    let cpu = process::cpu(None)?;
    let callers = connections.into_iter().map(|mut connection| {
        let next = Arc::clone(&next);
        async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < limit.time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if let Some(pace) = pace {
                    // Times of an open loop are fixed beforehand: a slow answer does not make the next request late for ever.
                    let due = begun + pace * u32::try_from(n).context("too many requests")?;
                    tokio::time::sleep_until(due.into()).await;
                }
                let called = Instant::now();
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

/// One connection, and what every request on it begins with.
struct Connection {
    stream: TcpStream,
    /// Everything up to the value of `Content-Length`.
    head: String,
    options: Options,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(options: &Options) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(options.address).await.context("connecting to the server")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let Options { path, key, address, .. } = options;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        Ok(Self { stream, head, options: options.clone(), request: Vec::new(), answer: Vec::new() })
    }

    async fn grant(&mut self, n: u64) -> anyhow::Result<()> {
        let Options { run, template, users, .. } = &self.options;
        let user = Order::Shuffled { seed: SEED }.stream(n, *users);
        let body = format!(
            r#"{{"report_id":"{run}-{n}","userid":"user-{user}","result":{{"errMsg":"requestSubscribeMessage:ok","{template}":"accept"}}}}"#
        );
        self.request.clear();
        self.request.extend_from_slice(self.head.as_bytes());
        self.request.extend_from_slice(format!("{}\r\n\r\n{body}", body.len()).as_bytes());
        self.stream.write_all(&self.request).await.context("sending")?;
        self.read_answer().await
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
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).context("the answer's head is not text")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("the answer has no Content-Length")?;
    Ok((answer.len() >= end + 4 + length).then_some(status))
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
