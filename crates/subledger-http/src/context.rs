//! What every handler may reach: the engine, the limits, and what guards them.

use std::sync::Arc;

use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;
use subledger_engine::Engine;
use tokio::sync::Semaphore;

use crate::{
    HttpSettings, feed::Streams, meters::Meters, rate_limit::RateLimiter, settings::MAX_PUSHES_IN_FLIGHT,
};

/// Shared by all requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    settings: HttpSettings,
    metrics: PrometheusHandle,
    limiter: Option<RateLimiter>,
    report_limiter: Option<RateLimiter>,
    lease_limiter: Option<RateLimiter>,
    meters: Arc<Meters>,
    slots: Semaphore,
    push_slots: Semaphore,
    streams: Streams,
}

impl Context {
    pub(crate) fn new(engine: Engine, settings: HttpSettings, metrics: PrometheusHandle) -> Self {
        let limiter = (settings.requests_per_second > 0)
            .then(|| RateLimiter::new(settings.requests_per_second, settings.burst));
        let per_minute = settings.user_reports_per_minute;
        let report_limiter = (per_minute > 0).then(|| RateLimiter::per_minute(per_minute));
        let per_minute = settings.token_leases_per_minute;
        let lease_limiter = (per_minute > 0).then(|| RateLimiter::per_minute(per_minute));
        let slots = Semaphore::new(settings.max_in_flight);
        let push_slots = Semaphore::new(MAX_PUSHES_IN_FLIGHT);
        let meters = Arc::new(Meters::new());
        let streams = Streams::new(settings.max_streams_per_key, settings.max_streams);
        Self {
            shared: Arc::new(Shared {
                engine,
                settings,
                metrics,
                limiter,
                report_limiter,
                lease_limiter,
                meters,
                slots,
                push_slots,
                streams,
            }),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.shared.settings
    }

    pub(crate) fn metrics(&self) -> &PrometheusHandle {
        &self.shared.metrics
    }

    pub(crate) fn limiter(&self) -> Option<&RateLimiter> {
        self.shared.limiter.as_ref()
    }

    /// By channel and person, for who has a user token.
    pub(crate) fn report_limiter(&self) -> Option<&RateLimiter> {
        self.shared.report_limiter.as_ref()
    }

    /// By channel and app, for who borrows tokens.
    pub(crate) fn lease_limiter(&self) -> Option<&RateLimiter> {
        self.shared.lease_limiter.as_ref()
    }

    /// What is counted for each request.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.shared.meters
    }

    /// The event streams that are open.
    pub(crate) fn streams(&self) -> &Streams {
        &self.shared.streams
    }

    /// One permit per request to the API under way.
    pub(crate) fn slots(&self) -> &Semaphore {
        &self.shared.slots
    }

    /// One permit per request to a push URL under way: strangers may make them, and must not take the API's places.
    pub(crate) fn push_slots(&self) -> &Semaphore {
        &self.shared.push_slots
    }
}

impl FromRef<Context> for Engine {
    fn from_ref(context: &Context) -> Self {
        context.shared.engine.clone()
    }
}
