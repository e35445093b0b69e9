//! Event streams: one log, in order, for as long as the caller listens.
//!
//! The next page is read only when the caller has taken the last event of the one before, so a slow caller costs one page
//! and never a queue. A stream is woken by the node's tail of the log, not by asking again and again. It ends when the
//! caller goes, the service stops, the key is revoked or the database fails; the caller reconnects with `Last-Event-ID`.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use secrecy::SecretString;
use subledger_domain::{ChannelCode, LogName, app::Right};
use subledger_engine::{Engine, EngineError, ErrorKind, apps::KeyRights};
use subledger_store::{Position, Recorded};
use tokio::sync::watch;

use crate::{metric_definitions::STREAMS, problem::ApiError, views::EventView};

/// Events read at a time: what a slow caller costs at most.
const PAGE: u32 = 100;
/// Tells proxies that know it not to hold events back.
pub(crate) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The word for it.
pub(crate) const UNBUFFERED: HeaderValue = HeaderValue::from_static("no");

/// The streams that are open, by the public part of their key.
#[derive(Clone)]
pub(crate) struct Streams {
    per_key: usize,
    in_all: usize,
    /// Std mutex: held for arithmetic, never across an await.
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// One open stream; closing it makes room for another.
pub(crate) struct Slot {
    streams: Streams,
    key: String,
}

impl Streams {
    pub(crate) fn new(per_key: usize, in_all: usize) -> Self {
        Self { per_key, in_all, open: Arc::default() }
    }

    /// Room for one more stream of this key, or the refusal.
    pub(crate) fn open(&self, key: &str) -> Result<Slot, ApiError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= self.in_all {
            let detail = "too many event streams are open; try again shortly";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail));
        }
        let count = open.get(key).copied().unwrap_or(0);
        if count >= self.per_key {
            let detail = format!("a key may have {} event streams open at once", self.per_key);
            let refusal = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail);
            return Err(refusal.retry_after(Duration::from_secs(5)));
        }
        open.insert(key.to_owned(), count + 1);
        metrics::gauge!(STREAMS).increment(1.0);
        Ok(Slot { streams: self.clone(), key: key.to_owned() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::gauge!(STREAMS).decrement(1.0);
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.key)),
        }
    }
}

struct Feed {
    engine: Engine,
    heartbeat: Duration,
    log: LogName,
    after: Position,
    key: SecretString,
    tail: watch::Receiver<Position>,
    page: VecDeque<Recorded>,
    _slot: Slot,
}

/// Streams the events of a log after a position.
pub(crate) fn stream(
    engine: Engine,
    heartbeat: Duration,
    log: LogName,
    after: Position,
    key: SecretString,
    slot: Slot,
) -> Response {
    let tail = engine.store().tail(&log);
    let feed = Feed { engine, heartbeat, log, after, key, tail, page: VecDeque::new(), _slot: slot };
    let events = futures::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING, UNBUFFERED);
    response
}

impl Feed {
    /// The next event or comment; nothing when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.after = event.position;
                return self.show(&event);
            }
            if !self.may_go_on().await {
                return None;
            }
            // What is committed from here on wakes the wait below.
            self.tail.borrow_and_update();
            match self.engine.store().read_log(&self.log, self.after, PAGE).await {
                Ok(events) if !events.is_empty() => {
                    self.page = events.into();
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(log.name = %self.log, error = %error, "an event stream ends");
                    return None;
                }
            }
            tokio::select! {
                changed = self.tail.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep(self.heartbeat) => {
                    return if self.may_go_on().await { Some(Event::default().comment("")) } else { None };
                }
                () = self.engine.streams_closed() => return None,
            }
        }
    }

    fn show(&self, event: &Recorded) -> Option<Event> {
        let view = EventView::new(event).ok()?;
        let data = serde_json::to_string(&view).ok()?;
        Some(Event::default().id(event.position.to_string()).event(event.kind_name()).data(data))
    }

    /// Whether the service goes on and the key still has its right. The answer is remembered by the engine until an app
    /// changes, so it costs nothing to ask for every page.
    async fn may_go_on(&self) -> bool {
        let key = tokio::select! {
            biased;
            () = self.engine.streams_closed() => return false,
            key = self.engine.authenticate(&self.key) => key,
        };
        key.is_ok_and(|rights| may_follow(&rights, &self.log).is_ok())
    }
}

/// Refuses unless a key may follow a log. A channel's log takes the right `read` for the channel. The log `main` tells of
/// every app and its keys, so it takes a key that could manage them: `read` and `manage`, and not limited to channels.
pub(crate) fn may_follow(rights: &KeyRights, log: &LogName) -> Result<(), EngineError> {
    if log.as_str() != LogName::MAIN {
        let code: ChannelCode = log.as_str().parse().map_err(|_| EngineError::unknown_channel())?;
        return rights.require(Right::Read, Some(&code));
    }
    rights.require(Right::Read, None)?;
    rights.require(Right::Manage, None)?;
    if rights.channels.is_some() {
        let detail = "the log main tells of every app, and this key is limited to channels";
        return Err(EngineError::new(ErrorKind::Forbidden, "missing_right", detail));
    }
    Ok(())
}
