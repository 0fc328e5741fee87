//! Metrics of a relay, for Prometheus. Each relay has its own registry, so that several in one process do not mix.
//!
//! Values that exist anyway (sessions, instances) are read on request; the rest is counted as it happens.
//! `docs/operating.md` lists the names.

mod calls;
mod faasm;
mod store;

pub(crate) use calls::Measured;
pub(crate) use faasm::FaasmCounts;
pub(crate) use store::Timed;

use crate::budget::{Bound, Budget, Kind};
use crate::cluster::{Cluster, Usage};
use faasm_bridge::wire::FailureCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The `Content-Type` of [`Metrics::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of call durations, seconds: from calls that do nothing to the maximum call time.
const CALL_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
    300.0,
];

/// Upper bounds of store durations, seconds: from reads of memory to waits for an unreachable Redis.
const STORE_SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5, 10.0];

/// The metrics of one relay.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    calls_started: Counter,
    calls_ended: Family<Ended, Counter>,
    call_seconds: Histogram,
    requests_failed: Family<Failed, Counter>,
    store_seconds: Family<Asked, Histogram, fn() -> Histogram>,
    store_failed: Family<Missed, Counter>,
    requests_waiting: Gauge,
    requests_running: Gauge,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    sessions: Gauge,
    sessions_connected: Gauge,
    instances: Gauge,
    instances_most: Gauge,
    memory: Family<Held, Gauge>,
    memory_most: Gauge,
    memory_refused: Family<Refused, Counter>,
    disk_refused: Counter,
}

/// What memory is used for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Held {
    kind: &'static str,
}

/// Whose limit memory was refused by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    bound: &'static str,
}

/// Outcome of a call: one of few words, to keep the number of series small.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

/// The failure code of a session's request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    code: String,
}

/// An operation of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    operation: &'static str,
}

/// An operation that the store failed to perform, and whether its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Missed {
    operation: &'static str,
    outcome: &'static str,
}

/// Values that are read on request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) sessions: usize,
    /// Of these, attached to a connection.
    pub(crate) connected: usize,
    pub(crate) instances: Option<Usage>,
}

/// Counts one while it exists.
#[derive(Debug)]
pub(crate) struct Present(Gauge);

impl Present {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Includes the metrics of the cluster.
    pub(crate) fn new(cluster: Option<&dyn Cluster>) -> Arc<Self> {
        let mut this = Self {
            registry: Registry::default(),
            calls_started: Counter::default(),
            calls_ended: Family::default(),
            call_seconds: Histogram::new(CALL_SECONDS),
            requests_failed: Family::default(),
            store_seconds: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
            store_failed: Family::default(),
            requests_waiting: Gauge::default(),
            requests_running: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            sessions_connected: Gauge::default(),
            instances: Gauge::default(),
            instances_most: Gauge::default(),
            memory: Family::default(),
            memory_most: Gauge::default(),
            memory_refused: Family::default(),
            disk_refused: Counter::default(),
        };
        let mut registry = Registry::with_prefix("faasm_relay");
        registry.register("calls_started", "External calls started", this.calls_started.clone());
        registry.register(
            "calls_ended",
            "External calls ended, by outcome",
            this.calls_ended.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Duration of external calls",
            Unit::Seconds,
            this.call_seconds.clone(),
        );
        registry.register(
            "requests_failed",
            "Failed requests of sessions, by code",
            this.requests_failed.clone(),
        );
        registry.register_with_unit(
            "store_duration",
            "Duration of store operations for pages and HTTP, by operation",
            Unit::Seconds,
            this.store_seconds.clone(),
        );
        registry.register(
            "store_failed",
            "Store operations for pages and HTTP that failed or may have failed",
            this.store_failed.clone(),
        );
        registry.register_with_unit(
            "session_received",
            "Frames received from pages",
            Unit::Bytes,
            this.received.clone(),
        );
        registry.register_with_unit(
            "session_sent",
            "Frames sent to pages",
            Unit::Bytes,
            this.sent.clone(),
        );
        registry.register_with_unit(
            "memory",
            "Memory held for users, by kind",
            Unit::Bytes,
            this.memory.clone(),
        );
        registry.register(
            "memory_refused",
            "Requests for memory refused, by whose limit",
            this.memory_refused.clone(),
        );
        registry.register(
            "disk_refused",
            "Writes refused because their user reached the disk limit",
            this.disk_refused.clone(),
        );
        for (name, help, gauge) in [
            ("memory_most_bytes", "Limit of the memory held for users", &this.memory_most),
            (
                "requests_waiting",
                "Requests of sessions that wait for a permit",
                &this.requests_waiting,
            ),
            ("requests_running", "Requests of sessions that run", &this.requests_running),
            ("connections", "Open connections", &this.connections),
            ("sessions", "Sessions, with and without a connection", &this.sessions),
            ("sessions_connected", "Sessions with a connection", &this.sessions_connected),
            ("instances", "Instances of functions in use", &this.instances),
            ("instances_most", "Limit of the instances of functions", &this.instances_most),
        ] {
            registry.register(name, help, gauge.clone());
        }
        if let Some(cluster) = cluster {
            cluster.register(&mut registry);
        }
        this.registry = registry;
        Arc::new(this)
    }

    /// Counts a connection until the returned value is dropped.
    pub(crate) fn connection(&self) -> Present {
        Present::new(&self.connections)
    }

    /// Counts a waiting request until the returned value is dropped.
    pub(crate) fn waiting(&self) -> Present {
        Present::new(&self.requests_waiting)
    }

    /// Counts a running request until the returned value is dropped.
    pub(crate) fn running(&self) -> Present {
        Present::new(&self.requests_running)
    }

    /// Counts a failed request.
    pub(crate) fn failed(&self, code: FailureCode) {
        self.requests_failed.get_or_create(&Failed { code: format!("{code:?}") }).inc();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn text(&self, census: Census, budget: &Budget) -> String {
        for kind in Kind::ALL {
            let held = Held { kind: kind.as_str() };
            self.memory.get_or_create(&held).set(signed(budget.used_for(kind)));
        }
        self.memory_most.set(signed(budget.bounds().relay));
        for (bound, name) in [(Bound::User, "user"), (Bound::Relay, "relay")] {
            let counter = self.memory_refused.get_or_create(&Refused { bound: name });
            counter.inner().store(budget.refused(bound), Ordering::Relaxed);
        }
        self.disk_refused.inner().store(budget.disk().refused(), Ordering::Relaxed);
        self.sessions.set(number(census.sessions));
        self.sessions_connected.set(number(census.connected));
        let usage = census.instances.unwrap_or_default();
        self.instances.set(number(usage.instances));
        self.instances_most.set(number(usage.most));
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            // Writing to a `String` cannot fail; if it does, return the part written so far.
            tracing::error!(%error, "metrics cannot be encoded");
        }
        text
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
