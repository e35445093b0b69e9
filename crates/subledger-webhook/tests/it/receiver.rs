//! A scripted HTTP/1.1 receiver that can misbehave on purpose, and a deliverer to try it with.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use subledger_webhook::{
    Deliverer, DelivererConfig, EgressPolicy, Lookup, LookupFuture, PrivateAddresses, Request, SigningSecret,
    WebhookId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const TIMESTAMP: i64 = 1_700_000_000;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What the receiver does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes; the connection is kept.
    Keep(Vec<u8>),
    /// These bytes, then close.
    Close(Vec<u8>),
    /// These bytes, then nothing for ever.
    Hang(Vec<u8>),
    /// These bytes, then zeros for as long as anybody reads.
    Flood(Vec<u8>),
    /// Reset without a byte.
    Reset,
}

/// A whole answer with a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) fn status(status: u16) -> Act {
    Act::Keep(answer(status, "", "ok"))
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The local address of every connection that was accepted: where the caller wanted to go.
    accepted: Arc<Mutex<Vec<IpAddr>>>,
}

impl Receiver {
    pub(crate) async fn start(act: Act) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), act).await
    }

    pub(crate) async fn at(address: SocketAddr, act: Act) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let receiver =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), accepted: Arc::default() };
        let running = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                running.accepted.lock().unwrap().push(stream.local_addr().unwrap().ip());
                tokio::spawn(serve(stream, Arc::clone(&running.seen), act.clone()));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn accepted(&self) -> Vec<IpAddr> {
        self.accepted.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, journal: Arc<Mutex<Vec<Seen>>>, act: Act) {
    while let Some(seen) = read_request(&mut stream).await {
        journal.lock().unwrap().push(seen);
        match &act {
            Act::Keep(bytes) => {
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Act::Close(bytes) => {
                let _gone = stream.write_all(bytes).await;
                return;
            }
            Act::Hang(bytes) => {
                let _gone = stream.write_all(bytes).await;
                std::future::pending::<()>().await;
            }
            Act::Flood(bytes) => {
                let _gone = stream.write_all(bytes).await;
                while stream.write_all(&[0; 16 * 1024]).await.is_ok() {}
                return;
            }
            Act::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { line, headers, body: bytes[head_end..].to_vec() })
}

/// A name server of the test's own: answers each question with the next list, and with the last one for ever.
pub(crate) struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        Arc::new(Self { answers: Mutex::new(answers.collect()), asked: Mutex::default() })
    }

    /// From now on every question has this answer.
    pub(crate) fn set(&self, answer: IpAddr) {
        *self.answers.lock().unwrap() = [vec![answer]].into();
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Names {
    fn lookup(&self, host: &str) -> LookupFuture {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// Of the private addresses only these. Time-outs that no slow machine reaches.
pub(crate) fn config(allowed: &[&str]) -> DelivererConfig {
    let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
    DelivererConfig {
        policy: EgressPolicy {
            private: PrivateAddresses::Only(allowed),
            allow_http: true,
            ..EgressPolicy::default()
        },
        connect_timeout: Duration::from_secs(20),
        whole_timeout: Duration::from_secs(60),
        ..DelivererConfig::default()
    }
}

/// The same, and time-outs for tests that run into them.
pub(crate) fn impatient(connect: Duration, whole: Duration) -> DelivererConfig {
    DelivererConfig { connect_timeout: connect, whole_timeout: whole, ..config(&["127.0.0.1"]) }
}

/// A deliverer that may reach 127.0.0.1.
pub(crate) fn deliverer() -> Deliverer {
    Deliverer::new(config(&["127.0.0.1"])).unwrap()
}

pub(crate) fn request(url: &str) -> Request {
    Request {
        id: WebhookId::parse("msg_0001").unwrap(),
        url: url.to_owned(),
        timestamp: TIMESTAMP,
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: br#"{"type":"push.received"}"#.to_vec(),
        secrets: SigningSecret::parse(SECRET).unwrap().into(),
    }
}
