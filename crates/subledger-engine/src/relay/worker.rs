//! The loop that hands pushes to back ends: claims, one attempt each, ends.
//!
//! A push that cannot be tried is never simply left: its lease would run out and another node would find the same. No lock is
//! held and no transaction is open while a back end is called.

use std::{sync::Arc, time::Duration};

use subledger_domain::{
    ChannelCode, LogName, StreamName, Timestamp,
    channel::{Channel, ChannelCommand, ChannelEvent, RelayConfigured, RelayStop},
};
use subledger_store::{Cause, ClaimedRelay, RelayEnd};
use subledger_webhook::{Outcome, Refusal, Request, WebhookId};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RelaySettings,
    body::{About, body, headers},
    circuit::{Admission, later},
    places::{Place, Places},
    relay_kind,
};
use crate::{Engine, EngineError, metric_definitions};

/// How long to wait after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// How often the age of what waits is measured.
const WATCH_EVERY: Duration = Duration::from_secs(15);

/// Relays until `stop`, then waits for the attempts under way.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let settings = Arc::new(engine.settings().relay.clone());
    let places = Places::new(settings.concurrency, settings.per_channel);
    let tasks = TaskTracker::new();
    tasks.spawn(watch(engine.clone(), stop.clone()));
    while !stop.is_cancelled() {
        let pause = match round(&engine, &settings, &places, &tasks, &stop).await {
            Ok(None) => continue,
            Ok(Some(pause)) => pause.min(settings.poll),
            Err(error) => {
                tracing::warn!(error = %error, cause = ?error.cause, "the relay could not look for work");
                DATABASE_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = engine.relays().wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Claims what there is room for. `None`: there may be more at once; else how long there is nothing to do.
async fn round(
    engine: &Engine,
    settings: &Arc<RelaySettings>,
    places: &Places,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Option<Duration>, EngineError> {
    let room = places.room();
    if room.limit == 0 {
        // The end of an attempt rings.
        return Ok(Some(Duration::MAX));
    }
    // A look costs a reader nothing; a claim takes the writer's turn.
    let Some(due) = engine.store().next_relay_due(&room).await? else { return Ok(Some(Duration::MAX)) };
    let micros = due.micros().saturating_sub(engine.now().micros());
    if 0 < micros {
        return Ok(Some(Duration::from_micros(micros.unsigned_abs())));
    }
    let claimed = engine.store().claim_relays(engine.node(), settings.lease, &room).await?;
    if claimed.is_empty() {
        return Ok(Some(settings.poll));
    }
    for claim in claimed {
        let place = places.take(&claim.push.log);
        let one = One { engine: engine.clone(), settings: Arc::clone(settings), stop: stop.clone() };
        tasks.spawn(one.run(claim, place));
    }
    Ok(None)
}

/// One attempt and what it needs.
struct One {
    engine: Engine,
    settings: Arc<RelaySettings>,
    stop: CancellationToken,
}

/// How an attempt went, for the row and for the back end's circuit.
struct Went {
    end: RelayEnd,
    /// The URL that was called, and whether it is well; none if nothing was learnt about it.
    endpoint: Option<(String, bool)>,
}

impl Went {
    fn untried(end: RelayEnd) -> Self {
        Self { end, endpoint: None }
    }
}

impl One {
    async fn run(self, claim: ClaimedRelay, place: Place) {
        let (log, id) = (claim.push.log.clone(), claim.push.id);
        let went = match self.attempt(&claim).await {
            Ok(went) => went,
            Err(error) => {
                tracing::warn!(log.name = %log, push.key = %claim.push.key, error = %error, cause = ?error.cause,
                    "a push could not be relayed for a reason of our own");
                Went::untried(self.again(&claim, "internal", None))
            }
        };
        self.finish(&log, id, went).await;
        drop(place);
        self.engine.wake_relay();
    }

    async fn finish(&self, log: &LogName, id: u64, went: Went) {
        let store = self.engine.store();
        match store.settle_relay(log, id, self.engine.node(), went.end).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(log.name = %log, push.id = id, "a push was relayed and its lease was over")
            }
            Err(error) => {
                tracing::warn!(log.name = %log, push.id = id, error = %error, "the end of a relay is not recorded")
            }
        }
        let Some((url, well)) = went.endpoint else { return };
        let now = self.engine.now();
        let circuits = &self.engine.relays().circuits;
        let Some(until) = circuits.note(log, &url, well, self.settings.circuit_pause, now) else { return };
        match store.hold_relays(log, until).await {
            Ok(held) => {
                tracing::warn!(log.name = %log, relay.held = held, "the back end keeps failing; it is left alone for a while")
            }
            Err(error) => tracing::warn!(log.name = %log, error = %error, "pushes could not be held back"),
        }
    }

    async fn attempt(&self, claim: &ClaimedRelay) -> Result<Went, EngineError> {
        let (log, push) = (&claim.push.log, &claim.push);
        let now = self.engine.now();
        if self.stop.is_cancelled() {
            return Ok(Went::untried(RelayEnd::Held { due_at: now }));
        }
        let (channel, _) = self.engine.store().load::<Channel>(log, &StreamName::channel()).await?;
        let (Some(relay), Some(registered)) = (channel.relay(), channel.registered()) else {
            return Ok(Went::untried(RelayEnd::GivenUp { status: "stopped".to_owned() }));
        };
        if !relay.kinds.contains(&relay_kind(push.kind)) {
            return Ok(Went::untried(RelayEnd::GivenUp { status: "unwanted".to_owned() }));
        }
        let code: ChannelCode =
            log.as_str().parse().map_err(|_| EngineError::internal("a push in a log of no channel"))?;
        let userid = self.userid(&code, claim).await?;
        let secrets = self.engine.relay_secrets(relay, now).await?;
        let about = About { code: &code, appid: &registered.appid, userid: userid.as_deref() };
        let (content_type, body) = body(relay.form, claim, &about);
        let request = Request {
            id: WebhookId::parse(&push.key.to_string())
                .map_err(|error| EngineError::internal(error.to_string()))?,
            url: relay.url.clone(),
            timestamp: now.micros().div_euclid(Timestamp::MICROS_PER_SECOND),
            content_type: content_type.to_owned(),
            headers: headers(claim, &about),
            body,
            secrets,
        };
        let deliverer = self.engine.deliverer()?;
        // Last: whoever is let through says how it went.
        match self.engine.relays().circuits.admit(log, &relay.url, self.settings.lease, now) {
            Admission::Try => {}
            Admission::Probe { until } => {
                self.engine.store().hold_relays(log, until).await?;
            }
            Admission::NotBefore(_) if self.delay(claim, None).is_none() => {
                return Ok(Went::untried(RelayEnd::GivenUp { status: "expired".to_owned() }));
            }
            Admission::NotBefore(due_at) => return Ok(Went::untried(RelayEnd::Held { due_at })),
        }
        let outcome = deliverer.deliver(request).await;
        self.count(log, &outcome);
        Ok(self.sort(claim, relay, &outcome).await)
    }

    /// What an outcome means for the push and for its back end.
    async fn sort(&self, claim: &ClaimedRelay, relay: &RelayConfigured, outcome: &Outcome) -> Went {
        let status = outcome.status().map_or_else(|| outcome.word().to_owned(), |status| status.to_string());
        let (end, well) = match outcome {
            Outcome::Delivered { .. } => (RelayEnd::Done, true),
            Outcome::Gone => (self.gone(claim, relay, status).await, true),
            Outcome::TryAgain { retry_after, .. } => (self.again(claim, &status, *retry_after), false),
            // It may dislike this one push; what says "nobody here" or "not you" is about all of them.
            Outcome::Refused(Refusal::Status { status: code }) => {
                (self.again(claim, &status, None), !matches!(code, 401 | 403 | 404 | 405))
            }
            Outcome::Refused(_) => (self.again(claim, &status, None), false),
        };
        Went { end, endpoint: Some((relay.url.clone(), well)) }
    }

    /// The back end wants no more: the relay of the channel ends, unless it goes elsewhere by now.
    async fn gone(&self, claim: &ClaimedRelay, relay: &RelayConfigured, status: String) -> RelayEnd {
        let log = &claim.push.log;
        match stop(&self.engine, log, &relay.url).await {
            Ok(true) => {
                tracing::warn!(log.name = %log, "the back end answered 410 (Gone); pushes are relayed no more");
                RelayEnd::GivenUp { status }
            }
            Ok(false) => self.again(claim, &status, None),
            Err(error) => {
                tracing::warn!(log.name = %log, error = %error, cause = ?error.cause, "the relay could not be stopped");
                self.again(claim, &status, None)
            }
        }
    }

    fn delay(&self, claim: &ClaimedRelay, retry_after: Option<Duration>) -> Option<Duration> {
        let since = self.engine.now().micros().saturating_sub(claim.push.relay_since.micros());
        let since = Duration::from_micros(u64::try_from(since).unwrap_or(0));
        (self.settings.schedule)(claim.push.relay_attempts, since, retry_after, rand::random())
    }

    fn again(&self, claim: &ClaimedRelay, status: &str, retry_after: Option<Duration>) -> RelayEnd {
        let status = status.to_owned();
        match self.delay(claim, retry_after) {
            Some(wait) => RelayEnd::Again { due_at: later(self.engine.now(), wait), status },
            None => {
                let push = &claim.push;
                tracing::warn!(log.name = %push.log, push.key = %push.key, relay.status = status, "the relay of a push is given up");
                RelayEnd::GivenUp { status }
            }
        }
    }

    /// The userid of the sender, if exactly one user has the openid.
    async fn userid(&self, code: &ChannelCode, claim: &ClaimedRelay) -> Result<Option<String>, EngineError> {
        let Some(subject) = claim.push.subject else { return Ok(None) };
        let bound = self.engine.queries().bindings_of_subject(code, subject).await?.value;
        let [binding] = bound.as_slice() else { return Ok(None) };
        let user = binding.user_ref;
        let userids = self.engine.store().userids(&[user]).await?;
        Ok(userids.get(&user).map(|userid| userid.as_str().to_owned()))
    }

    fn count(&self, log: &LogName, outcome: &Outcome) {
        let labels = [("channel", log.to_string()), ("outcome", outcome.word().to_owned())];
        metrics::counter!(metric_definitions::RELAY_ATTEMPTS, &labels).increment(1);
    }
}

/// Stops the relay of a channel if it still goes to this URL. Whether it did.
async fn stop(engine: &Engine, log: &LogName, url: &str) -> Result<bool, EngineError> {
    let code: ChannelCode =
        log.as_str().parse().map_err(|_| EngineError::internal("a relay in a log of no channel"))?;
    let command = ChannelCommand::StopRelay { cause: RelayStop::Gone, only: Some(url.to_owned()) };
    let cause = Cause { by: "relay".to_owned(), command: "stop_relay".to_owned(), request: None };
    let done = engine.change_channel(cause, &code, command).await?;
    Ok(done.answer.iter().any(|event| matches!(event, ChannelEvent::RelayStopped(_))))
}

/// Measures until `stop` how old what waits is.
async fn watch(engine: Engine, stop: CancellationToken) {
    loop {
        let logs = engine.store().logs().borrow().clone();
        for log in logs.into_iter().filter(|log| log.as_str() != LogName::MAIN) {
            match engine.store().oldest_relay(&log).await {
                Ok(oldest) => {
                    let micros =
                        oldest.map_or(0, |at| engine.now().micros().saturating_sub(at.micros()).max(0));
                    let age = Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
                    let gauge = metric_definitions::RELAY_OLDEST_SECONDS;
                    metrics::gauge!(gauge, "channel" => log.to_string()).set(age);
                }
                Err(error) => {
                    tracing::warn!(log.name = %log, error = %error, "the age of what is to be relayed is not known")
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}
