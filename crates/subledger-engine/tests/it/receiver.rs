//! An integrator's back end: takes requests, remembers them, answers by a script.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it was signed with the secret: written from the specification, on another HMAC than ours.
    pub fn verifies(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed =
            [self.id().as_bytes(), self.header("webhook-timestamp").as_bytes(), &self.body].join(&b'.');
        self.header("webhook-signature")
            .split(' ')
            .filter_map(|one| one.strip_prefix("v1,"))
            .any(|tag| hmac::verify(&key, &signed, &STANDARD.decode(tag).unwrap()).is_ok())
    }
}

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
    open: Arc<watch::Sender<bool>>,
}

struct Script {
    next: VecDeque<String>,
    /// When the script is over.
    then: String,
}

impl Receiver {
    /// Answers 200.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            script: Arc::new(Mutex::new(Script { next: VecDeque::new(), then: "200".to_owned() })),
            open: Arc::new(watch::Sender::new(true)),
        };
        let running = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(running.clone().serve(stream));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers with these statuses (and headers, behind a line end), one each, then with `then`.
    pub fn script(&self, next: &[&str], then: &str) {
        let next = next.iter().map(|&answer| answer.to_owned()).collect();
        *self.script.lock().unwrap() = Script { next, then: then.to_owned() };
    }

    /// Whether answers are given; otherwise requests wait for theirs.
    pub fn answering(&self, open: bool) {
        self.open.send_replace(open);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.id().to_owned()).collect()
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = request(&mut stream).await {
            self.seen.lock().unwrap().push(seen);
            let mut open = self.open.subscribe();
            let _ = open.wait_for(|open| *open).await;
            let answer = {
                let mut script = self.script.lock().unwrap();
                let then = script.then.clone();
                script.next.pop_front().unwrap_or(then)
            };
            let (status, headers) = answer.split_once('\n').unwrap_or((&answer, ""));
            let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
            let answer = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { headers, body })
}
