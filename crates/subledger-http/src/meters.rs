//! The handles of the metrics that every request touches.
//!
//! Finding a series by its labels costs about as much as reading the body, so each is found once and kept. Series are few:
//! routes are templates, methods and statuses a handful each.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};

use crate::metric_definitions;

/// The series of one route, method and status.
#[derive(Clone)]
struct Series {
    method: &'static str,
    status: u16,
    requests: Counter,
    seconds: Histogram,
}

impl Series {
    fn record(&self, elapsed: Duration) {
        self.requests.increment(1);
        self.seconds.record(elapsed.as_secs_f64());
    }
}

/// What is counted for each request. Made once the recorder is installed.
pub(crate) struct Meters {
    /// By route template. Std lock: held for a look-up, never across an await.
    routes: RwLock<HashMap<String, Vec<Series>>>,
    in_flight: Gauge,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self { routes: RwLock::default(), in_flight: metrics::gauge!(metric_definitions::IN_FLIGHT) }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &str, method: &'static str, status: u16, elapsed: Duration) {
        let same = |series: &&Series| series.method == method && series.status == status;
        {
            let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(series) = routes.get(route).and_then(|known| known.iter().find(same)) {
                return series.record(elapsed);
            }
        }
        let labels =
            [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        let series = Series {
            method,
            status,
            requests: metrics::counter!(metric_definitions::REQUESTS, &labels),
            seconds: metrics::histogram!(metric_definitions::SECONDS, &labels),
        };
        series.record(elapsed);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_default().push(series);
    }

    /// Counts a request as under way until the answer is dropped.
    pub(crate) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }
}

/// A request under way, also when its future is dropped.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
