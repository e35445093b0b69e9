//! A scripted HTTP/1.1 server that can misbehave on purpose.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use subledger_wechat::{
    AppSecretFetcher, ChannelClient, Clock, KeeperSettings, SecretSource, SendRequest, TokenFetcher,
    TokenKeeper, TokenKey, TokenMode, TokenSource, WeChatClient, WeChatConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub(crate) const APPID: &str = "wx00000000demo0001";
pub(crate) const SEND: &str = "/cgi-bin/message/subscribe/send";
pub(crate) const STABLE: &str = "/cgi-bin/stable_token";

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Status and JSON body, connection kept.
    Json(u16, String),
    /// The same after a permit of the semaphore was had.
    Gate(Arc<Semaphore>, Box<Act>),
    /// A proper answer without `Connection: close`, and then the connection is closed.
    JsonThenClose(String),
    /// These bytes, then close.
    Raw(Vec<u8>),
    /// These bytes, then nothing for ever.
    RawThenHang(Vec<u8>),
    /// Close without a byte.
    Close,
    /// Reset without a byte.
    Reset,
}

pub(crate) fn ok(body: &str) -> Act {
    Act::Json(200, body.to_owned())
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    journal: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let journal = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&journal), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { address, journal }
    }

    /// A server that issues the token `T1` and answers every send with `act`.
    pub(crate) async fn sending(act: Act) -> Self {
        Self::start(move |seen| match seen.path.as_str() {
            STABLE => ok(r#"{"access_token":"T1","expires_in":7200}"#),
            _ => act.clone(),
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.journal.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }
}

async fn serve(mut stream: TcpStream, journal: Arc<Mutex<Vec<Seen>>>, script: Arc<Script>) {
    while let Some(seen) = read_request(&mut stream).await {
        journal.lock().unwrap().push(seen.clone());
        let mut act = script(&seen);
        while let Act::Gate(gate, next) = act {
            gate.acquire().await.unwrap().forget();
            act = *next;
        }
        match act {
            Act::Json(status, body) => {
                if stream.write_all(&http(status, &body)).await.is_err() {
                    return;
                }
            }
            Act::JsonThenClose(body) => {
                let _gone = stream.write_all(&http(200, &body)).await;
                return;
            }
            Act::Raw(bytes) => {
                let _gone = stream.write_all(&bytes).await;
                return;
            }
            Act::RawThenHang(bytes) => {
                let _gone = stream.write_all(&bytes).await;
                std::future::pending::<()>().await;
            }
            Act::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Act::Close | Act::Gate(..) => return,
        }
    }
}

pub(crate) fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
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
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut first = head.lines().next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = String::from_utf8(bytes[head_end..].to_vec()).ok()?;
    Some(Seen { method, path: path.to_owned(), query: query.to_owned(), body })
}

/// A clock the test moves.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_900_000_000_000_000)))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn client(base_url: &str) -> WeChatClient {
    WeChatClient::new(WeChatConfig {
        base_url: base_url.to_owned(),
        connect_timeout: Duration::from_millis(1000),
        read_timeout: Duration::from_millis(2000),
        ..WeChatConfig::default()
    })
    .unwrap()
}

pub(crate) fn key() -> TokenKey {
    TokenKey { appid: APPID.to_owned(), mode: TokenMode::Stable }
}

pub(crate) fn source(secret: &str) -> Arc<dyn SecretSource> {
    Arc::new(SecretString::from(secret))
}

/// Fetches what [`key`] names.
pub(crate) fn fetcher(base_url: &str, secret: &str) -> TokenSource {
    fetcher_of(base_url, &key(), source(secret))
}

pub(crate) fn fetcher_of(base_url: &str, key: &TokenKey, source: Arc<dyn SecretSource>) -> TokenSource {
    let fetcher: Arc<dyn TokenFetcher> =
        Arc::new(AppSecretFetcher::new(client(base_url), key.appid.clone(), key.mode, source));
    fetcher.into()
}

pub(crate) fn keeper(clock: &HandClock, settings: KeeperSettings) -> TokenKeeper {
    TokenKeeper::new(settings, Arc::new(clock.clone()))
}

pub(crate) fn channel(base_url: &str) -> ChannelClient {
    channel_of(&keeper(&HandClock::new(), KeeperSettings::default()), base_url, "SECRET")
}

pub(crate) fn channel_of(keeper: &TokenKeeper, base_url: &str, secret: &str) -> ChannelClient {
    ChannelClient::with_secret(client(base_url), keeper.clone(), key(), source(secret))
}

pub(crate) fn message(template_id: &str) -> SendRequest {
    SendRequest {
        touser: "oDEMO_user_000000000000000_A".to_owned(),
        template_id: template_id.to_owned(),
        page: None,
        miniprogram_state: Default::default(),
        lang: Default::default(),
        data: [("thing1", "示例面包")].into_iter().collect(),
    }
}

/// Waits until a condition holds; fails the test if it does not within ten seconds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
}
