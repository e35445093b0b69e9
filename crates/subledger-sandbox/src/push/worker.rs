//! The worker that carries pushes to their receivers: one task, a bounded number of deliveries at once.
//!
//! It holds no rules. It asks the book what goes next, posts it, and writes down what came of it. It starts with the first
//! push and ends with the sandbox.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Response, Url};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::book::{Job, Next};
use super::{Delivery, DeliveryVerdict, PushFormat, Target, crypt};
use crate::error::ControlError;
use crate::sandbox::{Sandbox, WeakSandbox};

/// Deliveries on the wire at once.
const IN_FLIGHT: usize = 32;
/// Bytes of an answer that are read; a longer one is not `success`.
const ANSWER_LIMIT: usize = 4_096;
/// Characters of an answer that are kept.
const ANSWER_KEPT: usize = 200;
/// Kept connections are dropped early, so that one the receiver has closed is not taken for a failed delivery.
const KEEP_IDLE: Duration = Duration::from_secs(2);

/// Handle to the worker; part of the sandbox.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    wake: Arc<Notify>,
    /// Tells those that wait for pushes to be settled.
    changed: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
    client: OnceLock<Client>,
}

impl Worker {
    /// Something changed in the book. Starts the worker if it does not run and there is a runtime to run it.
    pub(crate) fn wake(&self, sandbox: &Sandbox) {
        self.changed.notify_waiters();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(client) = self.client.get()
        {
            let run = run(sandbox.downgrade(), Arc::clone(&self.wake), client.clone());
            *task = Some(runtime.spawn(run));
        }
        self.wake.notify_one();
    }

    /// Lets a worker notice that the sandbox is gone.
    pub(crate) fn release(&self) {
        self.wake.notify_one();
    }

    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The HTTP client, made when pushes are first configured.
    pub(crate) fn client(&self) -> Result<Client, ControlError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing a race to another installer is fine: any provider serves.
            let _lost_race = rustls::crypto::ring::default_provider().install_default();
        }
        let client = Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .pool_idle_timeout(KEEP_IDLE)
            .tcp_nodelay(true)
            .user_agent("Mozilla/4.0")
            .build()
            .map_err(|e| ControlError::invalid("url", format!("cannot be called: {e}")))?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

async fn run(sandbox: WeakSandbox, wake: Arc<Notify>, client: Client) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    // The semaphore is never closed; an error could only mean that this task is to end.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let Some(job) = next(&sandbox, &wake).await else { return };
        let Some(sandbox) = sandbox.upgrade() else { return };
        tokio::spawn(carry(sandbox, client.clone(), job, permit));
    }
}

/// Waits for a job; none when the sandbox is gone.
async fn next(sandbox: &WeakSandbox, wake: &Notify) -> Option<Box<Job>> {
    loop {
        let (next, ticket) = sandbox.upgrade()?.with(|state| {
            state.push_due_tickets();
            let clock = state.now();
            let next = state.pushes.next(Instant::now(), clock);
            // What this look itself moved is no news.
            state.pushes.take_news();
            (next, state.next_ticket_after().map(|after| Instant::now() + after))
        });
        let at = match next {
            Next::Deliver(job) => return Some(job),
            Next::Idle => ticket,
            Next::At(at) => Some(ticket.map_or(at, |ticket| ticket.min(at))),
        };
        match at {
            None => wake.notified().await,
            Some(at) => {
                tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                }
            }
        }
    }
}

async fn carry(sandbox: Sandbox, client: Client, job: Box<Job>, permit: OwnedSemaphorePermit) {
    let timestamp = job.stamp.unwrap_or_default().to_string();
    let nonce = nonce(&job);
    let time = sandbox.now();
    let target = &job.parcel.target;
    let request = client
        .post(signed_url(&job, &timestamp, &nonce))
        .header(reqwest::header::CONTENT_TYPE, content_type(target.view.format))
        .body(job.parcel.body.clone());
    let begun = Instant::now();
    let (verdict, status, answer) = match exchange(request, target.timeout()).await {
        Ok((status, answer)) => {
            let taken = status == 200 && (answer.is_empty() || answer == "success");
            let verdict = if taken { DeliveryVerdict::Taken } else { DeliveryVerdict::Refused };
            (verdict, Some(status), answer)
        }
        Err(verdict) => (verdict, None, String::new()),
    };
    let delivery = Delivery {
        copy: job.copy,
        number: job.number,
        time,
        timestamp,
        nonce,
        verdict,
        status,
        answer: answer.chars().take(ANSWER_KEPT).collect(),
        took_ms: took(begun),
    };
    drop(permit);
    sandbox.with(|state| state.pushes.finish(&job, delivery));
}

/// The query of a push (wechat-api §7.1).
fn signed_url(job: &Job, timestamp: &str, nonce: &str) -> Url {
    let Target { url, view, .. } = &*job.parcel.target;
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair("signature", &crypt::sign(&[&view.token, timestamp, nonce]))
        .append_pair("timestamp", timestamp)
        .append_pair("nonce", nonce);
    if let Some(openid) = &job.parcel.openid {
        url.query_pairs_mut().append_pair("openid", openid);
    }
    if let Some(encrypt) = &job.parcel.encrypt {
        url.query_pairs_mut()
            .append_pair("encrypt_type", "aes")
            .append_pair("msg_signature", &crypt::sign(&[&view.token, timestamp, nonce, encrypt]));
    }
    url
}

/// Ten digits or fewer. A copy has its own; repetitions have that of the first delivery unless they are renewed.
fn nonce(job: &Job) -> String {
    let number = if job.parcel.renew { job.number } else { 1 };
    let salt = job.parcel.salt ^ (u64::from(job.copy) << 32) ^ u64::from(number);
    StdRng::seed_from_u64(salt).random::<u32>().to_string()
}

fn content_type(format: PushFormat) -> &'static str {
    match format {
        PushFormat::Json => "application/json; charset=utf-8",
        PushFormat::Xml => "text/xml; charset=utf-8",
    }
}

/// One request within `limit`: status and the text of the answer, or how it failed.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    limit: Duration,
) -> Result<(u16, String), DeliveryVerdict> {
    let whole = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok::<_, reqwest::Error>((status, text(response).await?))
    };
    match tokio::time::timeout(limit, whole).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a push did not get through");
            Err(DeliveryVerdict::Unreachable)
        }
        Err(_) => Err(DeliveryVerdict::TimedOut),
    }
}

async fn text(mut response: Response) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_LIMIT {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Milliseconds since `begun`.
pub(super) fn took(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
