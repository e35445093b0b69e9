//! The relay: forwards pushes from WeChat to the integrator's own back end.
//!
//! Who takes part. Whoever keeps a push asks [`relay_state_for`] whether it is to be relayed; from then on it is a row of the
//! relay's queue ([`Store::claim_relays`]). One [`worker`] per node claims rows, in order per user, makes one attempt each and
//! says how it ended. A [`circuit`] per back end keeps a back end that does not answer from costing an attempt per row.
//!
//! A push may arrive more than once (an answer that got lost, a node that was slow); its `webhook-id` is the same each time.
//! The openid goes to the back end, whose user it is, and nowhere else: not to a log line, an event or an error.
//!
//! [`Store::claim_relays`]: subledger_store::Store::claim_relays

mod body;
mod circuit;
mod places;
mod worker;

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subledger_domain::{
    ChannelCode, LogName, StreamName, Timestamp,
    channel::{
        Channel, ChannelCommand, ChannelEvent, RelayConfigured, RelayForm, RelayKind, RelayStop, SecretRef,
    },
};
use subledger_store::{
    Done, Effect, Known, PushFilter, PushKind, PushRow, RelayHealth, RelayState, Stage, StageError, Stop,
    StreamRef, Work,
};
use subledger_webhook::{
    Deliverer, DelivererConfig, Request, SetupError, SigningSecret, SigningSecrets, WebhookId,
};
use tokio::sync::Notify;

pub use self::circuit::{CIRCUIT_FAILURES, CIRCUIT_MAX_PAUSE, CIRCUIT_PAUSE};
pub(crate) use self::worker::run;
use self::{
    body::{header, moment},
    circuit::Circuits,
};
use crate::{Caller, Engine, EngineError, channels, submit::done_with};

/// Attempts under way at most, per node and over all channels, unless configured otherwise.
pub const CONCURRENCY: usize = 64;
/// Attempts of one channel under way at most, per node, unless configured otherwise: a back end that is slow or hangs holds each
/// for as long as an attempt may take, and must not hold all of them.
pub const CONCURRENCY_PER_CHANNEL: usize = 16;
/// How long a claim holds. Longer than an attempt may take, or a slow back end would be taken for a lost node.
pub const LEASE: Duration = Duration::from_secs(60);

/// When the next attempt is made, as [`subledger_webhook::next_delay`] is asked.
pub type Schedule = fn(u32, Duration, Option<Duration>, u32) -> Option<Duration>;

/// Settings of the relay.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Where connections may go, and how long they may take.
    pub deliverer: DelivererConfig,
    /// Attempts under way at most, per node and over all channels.
    pub concurrency: usize,
    /// Of these, attempts of one channel at most.
    pub per_channel: usize,
    /// How long a claim holds.
    pub lease: Duration,
    /// How often to look for pushes that nobody told this node of.
    pub poll: Duration,
    /// When the next attempt is made; none ends the relay of a push.
    pub schedule: Schedule,
    /// How long a back end is left alone after [`CIRCUIT_FAILURES`] failures in a row; doubled up to [`CIRCUIT_MAX_PAUSE`].
    pub circuit_pause: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            deliverer: DelivererConfig::default(),
            concurrency: CONCURRENCY,
            per_channel: CONCURRENCY_PER_CHANNEL,
            lease: LEASE,
            poll: Duration::from_millis(500),
            schedule: subledger_webhook::next_delay,
            circuit_pause: CIRCUIT_PAUSE,
        }
    }
}

/// What the relay of a node keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    deliverer: OnceLock<Result<Deliverer, SetupError>>,
    circuits: Circuits,
    /// Rung by whoever keeps a push and by attempts that end.
    wake: Notify,
}

/// The kind of a push, as a relay names it.
pub fn relay_kind(kind: PushKind) -> RelayKind {
    match kind {
        PushKind::Popup => RelayKind::Popup,
        PushKind::Change => RelayKind::Change,
        PushKind::Sent => RelayKind::Sent,
        PushKind::Other => RelayKind::Other,
        PushKind::Undecodable => RelayKind::Undecodable,
    }
}

/// Since when a push that is kept now waits to be relayed ([`subledger_store::PushRow::relay_due_at`]); `None` if the channel
/// does not relay pushes of this kind.
pub fn relay_state_for(channel: &Channel, kind: PushKind, now: Timestamp) -> Option<Timestamp> {
    channel.relay().filter(|relay| relay.kinds.contains(&relay_kind(kind))).map(|_| now)
}

/// A push about to be kept, with the moment since which it waits to be relayed. Needs the channel's stream on the stage.
pub(crate) fn wanted(stage: &Stage<'_>, row: PushRow) -> Result<PushRow, StageError> {
    let channel = stage.state::<Channel>(&StreamName::channel())?;
    let relay_due_at = relay_state_for(channel, row.kind, stage.now());
    Ok(PushRow { relay_due_at, ..row })
}

/// What a relay is to be.
#[derive(Debug, Clone)]
pub struct RelayWish {
    /// Where to: a URL that the egress rules allow, without a query, for it is shown.
    pub url: String,
    /// What is sent.
    pub form: RelayForm,
    /// Which pushes; at least one kind.
    pub kinds: BTreeSet<RelayKind>,
    /// Whether the signing secret is to be replaced.
    pub rotate_secret: bool,
}

/// A relay as it is from now on.
#[derive(Debug, Clone)]
pub struct RelaySet {
    /// Its signing secret, if it is new. Shown this once.
    pub secret: Option<SecretString>,
    /// Until when the secret before it signs, too.
    pub previous_until: Option<Timestamp>,
}

/// How a relay goes.
#[derive(Debug, Clone)]
pub struct RelayReport {
    /// The relay; none if pushes are not relayed.
    pub relay: Option<RelayConfigured>,
    /// What waits and what was given up.
    pub health: RelayHealth,
    /// Until when this node leaves the back end alone, because it kept failing.
    pub paused_until: Option<Timestamp>,
}

/// What came back of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayTested {
    /// Whether the back end took it.
    pub delivered: bool,
    /// The outcome as a stable word.
    pub outcome: &'static str,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

struct Configure {
    command: ChannelCommand,
    reference: SecretRef,
    secret: SecretString,
}

impl Work for Configure {
    type Answer = Vec<ChannelEvent>;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Channel>(StreamName::channel())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Self::Answer, Stop<EngineError>> {
        let events = stage
            .ask::<Channel>(&StreamName::channel(), self.command.clone())?
            .map_err(|error| Stop::Refuse(channels::refusal(&error)))?;
        if uses(&events, &self.reference) {
            let (reference, secret) = (self.reference.0.clone(), self.secret.clone());
            stage.effect(Effect::KeepSecret { reference, secret });
        }
        Ok(events)
    }
}

fn uses(events: &[ChannelEvent], reference: &SecretRef) -> bool {
    let newest = |event: &ChannelEvent| matches!(event, ChannelEvent::RelayConfigured(relay) if relay.secret == *reference);
    events.iter().any(newest)
}

impl Engine {
    /// Forwards the pushes of a channel, from now on like this. The signing secret is made here and shown once; a replaced one
    /// signs beside it for [`subledger_domain::channel::RELAY_SECRET_OVERLAP_S`].
    pub async fn configure_relay(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        wish: RelayWish,
    ) -> Result<Done<RelaySet>, EngineError> {
        let url = self.relay_url(&wish.url)?;
        let reference = SecretRef(format!("relaysecret/{code}/{}", uuid::Uuid::now_v7().simple()));
        let secret = SigningSecret::generate(&mut rand::rng()).reveal();
        let command = ChannelCommand::ConfigureRelay {
            url,
            form: wish.form,
            kinds: wish.kinds,
            fresh: reference.clone(),
            rotate: wish.rotate_secret,
        };
        let work = Configure { command, reference: reference.clone(), secret: secret.clone() };
        let done = self.submit(LogName::channel(code), caller, "configure_relay", None, work).await?;
        let previous_until = done.answer.iter().find_map(|event| match event {
            ChannelEvent::RelayConfigured(relay) => relay.previous.as_ref().map(|previous| previous.until),
            _ => None,
        });
        let secret = uses(&done.answer, &reference).then_some(secret);
        tracing::info!(channel.code = %code, relay.new_secret = secret.is_some(), "relay configured");
        Ok(done_with(done, RelaySet { secret, previous_until }))
    }

    fn relay_url(&self, text: &str) -> Result<String, EngineError> {
        let refused = |rule: String| EngineError::field("bad_relay_url", "/url", "relay_url", rule);
        let endpoint =
            self.deliverer()?.policy().endpoint(text).map_err(|error| refused(error.to_string()))?;
        if endpoint.as_str().contains('?') {
            return Err(refused(
                "the URL must not have a query: it is recorded and shown, and requests are signed".to_owned(),
            ));
        }
        Ok(endpoint.as_str().to_owned())
    }

    /// Forwards the pushes of a channel no more. What waits is given up.
    pub async fn stop_relay(&self, caller: &Caller, code: &ChannelCode) -> Result<Done<()>, EngineError> {
        let command = ChannelCommand::StopRelay { cause: RelayStop::Asked, only: None };
        let done = self.change(caller, code, "stop_relay", command).await?;
        self.wake_relay();
        Ok(done)
    }

    /// Sends the back end of a channel a signed event that means nothing, and tells what came back. Nothing is recorded.
    pub async fn test_relay(&self, code: &ChannelCode) -> Result<RelayTested, EngineError> {
        let (channel, registered) = self.channel(code).await?;
        let relay = channel.relay().ok_or_else(not_relayed)?;
        let now = self.now();
        let id = format!("test_{}", uuid::Uuid::new_v4().simple());
        let body = json!({
            "type": "relay.test",
            "id": id,
            "channel": code,
            "appid": registered.appid,
            "sent_at": moment(now),
        });
        let request = Request {
            id: WebhookId::parse(&id).map_err(|error| EngineError::internal(error.to_string()))?,
            url: relay.url.clone(),
            timestamp: now.micros().div_euclid(Timestamp::MICROS_PER_SECOND),
            content_type: body::JSON.to_owned(),
            headers: vec![
                header("channel", code.as_str()),
                header("appid", &registered.appid),
                header("kind", "test"),
            ],
            body: body.to_string().into_bytes(),
            secrets: self.relay_secrets(relay, now).await?,
        };
        let begun = std::time::Instant::now();
        let outcome = self.deliverer()?.deliver(request).await;
        let delivered = matches!(outcome, subledger_webhook::Outcome::Delivered { .. });
        let (outcome, status) = (outcome.word(), outcome.status());
        Ok(RelayTested { delivered, outcome, status, took: begun.elapsed() })
    }

    /// Has the pushes of a channel wait again whose relay was given up, all or those of one kind; answers how many.
    pub async fn redrive_relay(
        &self,
        code: &ChannelCode,
        kind: Option<PushKind>,
    ) -> Result<u64, EngineError> {
        let (channel, _) = self.channel(code).await?;
        channel.relay().ok_or_else(not_relayed)?;
        let filter = PushFilter { kind, relay: Some(RelayState::GivenUp), ..PushFilter::default() };
        let redriven = self.store().redrive_relays(&LogName::channel(code), &filter).await?;
        tracing::info!(channel.code = %code, relay.pushes = redriven, "pushes are relayed again");
        self.wake_relay();
        Ok(redriven)
    }

    /// How the relay of a channel goes.
    pub async fn relay_report(&self, code: &ChannelCode) -> Result<RelayReport, EngineError> {
        let (channel, _) = self.channel(code).await?;
        let log = LogName::channel(code);
        let health = self.store().push_health(&log).await?.relay;
        let relay = channel.relay().cloned();
        let paused_until = match &relay {
            Some(relay) => self.relays().circuits.paused(&log, &relay.url, self.now()),
            None => None,
        };
        Ok(RelayReport { relay, health, paused_until })
    }

    /// Has the relay look for work at once: a push was kept that is to be relayed.
    pub fn wake_relay(&self) {
        self.relays().wake.notify_one();
    }

    /// What makes attempts. Built when it is needed first: commands of the command line mostly never do.
    fn deliverer(&self) -> Result<&Deliverer, EngineError> {
        let settings = &self.settings().relay;
        let built = self.relays().deliverer.get_or_init(|| Deliverer::new(settings.deliverer.clone()));
        built.as_ref().map_err(|error| EngineError::internal(error.to_string()))
    }

    /// What signs now.
    async fn relay_secrets(
        &self,
        relay: &RelayConfigured,
        now: Timestamp,
    ) -> Result<SigningSecrets, EngineError> {
        let current = self.relay_secret(&relay.secret).await?;
        let previous = match relay.previous.as_ref().filter(|previous| now < previous.until) {
            Some(previous) => Some(self.relay_secret(&previous.secret).await?),
            None => None,
        };
        Ok(SigningSecrets { current, previous })
    }

    async fn relay_secret(&self, reference: &SecretRef) -> Result<SigningSecret, EngineError> {
        let text = self.store().secret(&reference.0).await?;
        let text = text.ok_or_else(|| EngineError::internal("a signing secret is not in the vault"))?;
        SigningSecret::parse(text.expose_secret()).map_err(|error| EngineError::internal(error.to_string()))
    }
}

fn not_relayed() -> EngineError {
    EngineError::conflict("not_relayed", "pushes of this channel are not relayed")
}
