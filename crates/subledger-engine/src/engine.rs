//! The engine: everything a node runs, behind one cheap handle.

use std::{sync::Arc, time::Duration};

use subledger_domain::{LogName, StreamName, Timestamp, channel::Channel, kind_by_name};
use subledger_projection::{Lag, Pause, ProjectionName, Projections, Queries};
use subledger_store::{Claimable, Executor, Position, Store};
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError,
    apps::KeyCache,
    channels::RefreshTimes,
    dispatch::{self, DispatchSettings, Signals},
    doctor::Probes,
    gateway::Gateway,
    grants::Grants,
    intake::{self, Doors, Tally},
    platform::{self, PlatformSettings, Platforms},
    quota::{self, QuotaSettings, QuotaTimes},
    relay::{self, RelaySettings, Relays},
    retention::{self, RetentionSettings, Turn},
};

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Names this process in leases.
    pub node: String,
    /// Bounds of the dispatcher.
    pub dispatch: DispatchSettings,
    /// How pushes are relayed.
    pub relay: RelaySettings,
    /// How third-party platforms are looked after.
    pub platform: PlatformSettings,
    /// How often WeChat is asked about quotas.
    pub quota: QuotaSettings,
    /// How often pushes that could not be acted on are tried again.
    pub redo_every: Duration,
    /// The node is not ready while a due delivery is older than this.
    pub max_undone_age: Duration,
    /// The longest a read waits for its projection to reach what this node has written.
    pub read_wait: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            node: format!("node-{}", uuid::Uuid::new_v4().simple()),
            dispatch: DispatchSettings::default(),
            relay: RelaySettings::default(),
            platform: PlatformSettings::default(),
            quota: QuotaSettings::default(),
            redo_every: intake::REDO_EVERY,
            max_undone_age: Duration::from_secs(300),
            read_wait: Duration::from_secs(1),
        }
    }
}

/// Whether the node can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the database answers.
    pub database: bool,
    /// Channels whose oldest due delivery is too old.
    pub undone: Vec<Undone>,
    /// Read models that stopped at an event they cannot apply, as far as this node knows. They do not make the node unready:
    /// everything is still recorded and sent, and no other node would show newer answers.
    pub paused: Vec<PausedModel>,
}

/// A read model that shows old answers, because it cannot apply an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedModel {
    /// The log.
    pub log: LogName,
    /// The read model.
    pub projection: ProjectionName,
    /// The event it stopped at.
    pub position: Position,
    /// The event's kind, or `unknown.<number>`.
    pub kind: String,
    /// What sort of reason. The reason itself may quote the event; `subledger projections status` tells it.
    pub reason: PauseReason,
}

/// Why a read model cannot apply an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// This version does not know events of this kind; a newer one wrote it.
    UnknownKind,
    /// The event does not fit what came before it, cannot be read, or the database refuses its row.
    NotApplicable,
}

impl PausedModel {
    fn of(lag: Lag) -> Option<Self> {
        let Lag { log, projection, paused, .. } = lag;
        let Pause { position, kind, .. } = paused?;
        // Nothing was noted of pauses of the first versions.
        let unknown = !kind.is_empty() && kind_by_name(&kind).is_none();
        let reason = if unknown { PauseReason::UnknownKind } else { PauseReason::NotApplicable };
        Some(Self { log, projection, position, kind, reason })
    }
}

/// A channel that does not keep up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The channel.
    pub channel: LogName,
    /// How long its oldest due delivery has waited.
    pub age: Duration,
}

impl Readiness {
    /// Whether the node should get requests.
    pub fn ready(&self) -> bool {
        self.database && self.undone.is_empty()
    }
}

struct Shared {
    store: Store,
    executor: Executor,
    projections: Projections,
    queries: Queries,
    gateway: Gateway,
    settings: EngineSettings,
    signals: Signals,
    keys: KeyCache,
    grants: Grants,
    refresh_times: RefreshTimes,
    push_doors: Doors,
    push_tally: Tally,
    relays: Relays,
    platforms: Platforms,
    quota_times: QuotaTimes,
    probes: Probes,
    stop: CancellationToken,
    /// Answers without an end must end: cancelled before the HTTP server waits for its connections.
    closing: CancellationToken,
    /// The dispatcher, until it is waited for.
    dispatcher: Mutex<Option<JoinHandle<()>>>,
    /// The relay, until it is waited for.
    relay: Mutex<Option<JoinHandle<()>>>,
    /// The retention sweeper, until it is waited for.
    sweeper: Mutex<Option<JoinHandle<()>>>,
    /// What tries pushes again, until it is waited for.
    push_retry: Mutex<Option<JoinHandle<()>>>,
    /// What looks after third-party platforms, until it is waited for.
    platform_watch: Mutex<Option<JoinHandle<()>>>,
    /// What asks WeChat about quotas, until it is waited for.
    quotas: Mutex<Option<JoinHandle<()>>>,
}

/// Everything a node runs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Joins the parts. Nothing is handed to WeChat before [`Self::start_dispatch`].
    pub fn new(
        store: Store,
        executor: Executor,
        projections: Projections,
        gateway: Gateway,
        settings: EngineSettings,
    ) -> Self {
        let queries = Queries::new(store.clone());
        let shared = Shared {
            store,
            executor,
            projections,
            queries,
            gateway,
            settings,
            signals: Signals::default(),
            keys: KeyCache::default(),
            grants: Grants::default(),
            refresh_times: RefreshTimes::default(),
            push_doors: Doors::default(),
            push_tally: Tally::default(),
            relays: Relays::default(),
            platforms: Platforms::default(),
            quota_times: QuotaTimes::default(),
            probes: Probes::default(),
            stop: CancellationToken::new(),
            closing: CancellationToken::new(),
            dispatcher: Mutex::new(None),
            relay: Mutex::new(None),
            sweeper: Mutex::new(None),
            push_retry: Mutex::new(None),
            platform_watch: Mutex::new(None),
            quotas: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts handing deliveries to WeChat.
    pub async fn start_dispatch(&self) {
        let mut dispatcher = self.shared.dispatcher.lock().await;
        if dispatcher.is_none() {
            *dispatcher = Some(tokio::spawn(dispatch::run(self.clone(), self.shared.stop.clone())));
        }
    }

    /// Starts relaying pushes to integrators' back ends.
    pub async fn start_relay(&self) {
        let mut running = self.shared.relay.lock().await;
        if running.is_none() {
            *running = Some(tokio::spawn(relay::run(self.clone(), self.shared.stop.clone())));
        }
    }

    /// Starts deleting what was kept long enough, whenever it is this node's `turn`.
    pub async fn start_retention(&self, settings: RetentionSettings, turn: Arc<dyn Turn>) {
        let mut sweeper = self.shared.sweeper.lock().await;
        if sweeper.is_none() {
            let stop = self.shared.stop.clone();
            *sweeper = Some(tokio::spawn(retention::run(self.clone(), settings, turn, stop)));
        }
    }

    /// Starts trying those pushes again that could not be acted on for want of the database.
    pub async fn start_push_retry(&self) {
        let mut retry = self.shared.push_retry.lock().await;
        if retry.is_none() {
            *retry = Some(tokio::spawn(intake::run(self.clone(), self.shared.stop.clone())));
        }
    }

    /// Starts looking after third-party platforms: tickets, authorizations that are to be carried out or looked into.
    pub async fn start_platforms(&self) {
        let mut watch = self.shared.platform_watch.lock().await;
        if watch.is_none() {
            *watch = Some(tokio::spawn(platform::run(self.clone(), self.shared.stop.clone())));
        }
    }

    /// Starts asking WeChat about quotas.
    pub async fn start_quota(&self) {
        let mut quotas = self.shared.quotas.lock().await;
        if quotas.is_none() {
            *quotas = Some(tokio::spawn(quota::poll::run(self.clone(), self.shared.stop.clone())));
        }
    }

    /// Stops cleanly: claims nothing more, waits for the calls under way and their outcomes, then for every accepted
    /// command, then for the projections.
    pub async fn shutdown(&self) {
        self.close_streams();
        self.shared.stop.cancel();
        let dispatcher = self.shared.dispatcher.lock().await.take();
        if let Some(dispatcher) = dispatcher
            && let Err(error) = dispatcher.await
        {
            tracing::error!(error = %error, "the dispatcher ended badly");
        }
        let relay = self.shared.relay.lock().await.take();
        if let Some(relay) = relay
            && let Err(error) = relay.await
        {
            tracing::error!(error = %error, "the relay ended badly");
        }
        let sweeper = self.shared.sweeper.lock().await.take();
        if let Some(sweeper) = sweeper
            && let Err(error) = sweeper.await
        {
            tracing::error!(error = %error, "the retention sweeper ended badly");
        }
        let retry = self.shared.push_retry.lock().await.take();
        if let Some(retry) = retry
            && let Err(error) = retry.await
        {
            tracing::error!(error = %error, "what tries pushes again ended badly");
        }
        let watch = self.shared.platform_watch.lock().await.take();
        if let Some(watch) = watch
            && let Err(error) = watch.await
        {
            tracing::error!(error = %error, "what looks after platforms ended badly");
        }
        let quotas = self.shared.quotas.lock().await.take();
        if let Some(quotas) = quotas
            && let Err(error) = quotas.await
        {
            tracing::error!(error = %error, "what asks about quotas ended badly");
        }
        self.shared.executor.shutdown().await;
        self.shared.projections.shutdown().await;
        self.shared.store.close().await;
    }

    /// Asks everything that streams to callers to end: the first step of a stop, while requests are still answered.
    pub fn close_streams(&self) {
        self.shared.closing.cancel();
    }

    /// Resolves once streams must end.
    pub async fn streams_closed(&self) {
        self.shared.closing.cancelled().await;
    }

    /// The log, the queue and the vaults.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The only way to append.
    pub fn executor(&self) -> &Executor {
        &self.shared.executor
    }

    /// The runner of the read models.
    pub fn projections(&self) -> &Projections {
        &self.shared.projections
    }

    /// The read models.
    pub fn queries(&self) -> &Queries {
        &self.shared.queries
    }

    /// The door to WeChat.
    pub fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// The settings.
    pub fn settings(&self) -> &EngineSettings {
        &self.shared.settings
    }

    pub(crate) fn node(&self) -> &str {
        &self.shared.settings.node
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.shared.signals
    }

    pub(crate) fn keys(&self) -> &KeyCache {
        &self.shared.keys
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.shared.grants
    }

    pub(crate) fn push_doors(&self) -> &Doors {
        &self.shared.push_doors
    }

    pub(crate) fn push_tally(&self) -> &Tally {
        &self.shared.push_tally
    }

    pub(crate) fn refresh_times(&self) -> &RefreshTimes {
        &self.shared.refresh_times
    }

    pub(crate) fn platforms(&self) -> &Platforms {
        &self.shared.platforms
    }

    pub(crate) fn probes(&self) -> &Probes {
        &self.shared.probes
    }

    /// Whether this node follows the log: not, where a command only looks.
    pub(crate) fn is_running(&self) -> bool {
        !self.shared.projections.are_resting()
    }

    pub(crate) fn quota_times(&self) -> &QuotaTimes {
        &self.shared.quota_times
    }

    pub(crate) fn relays(&self) -> &Relays {
        &self.shared.relays
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.shared.store.clock().now()
    }

    /// Waits until the read models of a log show what this node has written so far, or `at_least`, whichever is later; gives
    /// up after [`EngineSettings::read_wait`]. Whether it was reached.
    pub async fn caught_up(&self, log: &LogName, at_least: Option<Position>) -> bool {
        let written = *self.shared.store.tail(log).borrow();
        let target = at_least.map_or(written, |position| position.max(written));
        self.shared.projections.wait_for(log, target, self.shared.settings.read_wait).await.is_ok()
    }

    /// Whether the node can do its work.
    pub async fn readiness(&self) -> Readiness {
        let paused = self.projections().lag().into_iter().filter_map(PausedModel::of).collect();
        match self.undone().await {
            Ok(undone) => Readiness { database: true, undone, paused },
            Err(error) => {
                tracing::warn!(error = %error, cause = ?error.cause, "not ready");
                Readiness { database: false, undone: Vec::new(), paused }
            }
        }
    }

    async fn undone(&self) -> Result<Vec<Undone>, EngineError> {
        let store = self.store();
        store.ping().await?;
        let now = self.now();
        let mut undone = Vec::new();
        for head in store.heads().await?.into_iter().filter(|head| head.log.as_str() != LogName::MAIN) {
            let too_old = async |of| -> Result<Option<Duration>, EngineError> {
                let due = store.queue_stats(&head.log, of).await?.oldest_due_at;
                let micros = due.map_or(0, |due| now.micros().saturating_sub(due.micros()));
                let age = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
                Ok(Some(age).filter(|age| *age > self.shared.settings.max_undone_age))
            };
            let Some(mut age) = too_old(Claimable::All).await? else { continue };
            // Told to wait by WeChat, paused or held on purpose is not stuck; another node would do no better.
            if self.signals().is_held(&head.log, now) {
                continue;
            }
            let (channel, _) = store.load::<Channel>(&head.log, &StreamName::channel()).await?;
            if channel.hold().is_some() {
                continue;
            }
            if channel.bulk_held(now).is_some() {
                let Some(of_singles) = too_old(Claimable::Singles).await? else { continue };
                age = of_singles;
            }
            undone.push(Undone { channel: head.log, age });
        }
        Ok(undone)
    }
}
