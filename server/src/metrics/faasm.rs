//! Metrics of a Faasm cluster's own events.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of one cluster; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaasmCounts {
    /// Calls that waited for a worker that may have died; without those queued behind them.
    pub(crate) held: Counter,
    /// Calls whose worker died.
    pub(crate) lost: Counter,
    /// Flushes of the functions that workers have loaded.
    pub(crate) flushes: Counter,
}

impl FaasmCounts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("cluster_calls_held", "Calls that waited for a worker that may have died", &self.held),
            (
                "cluster_calls_lost",
                "Calls whose outcome is unknown because their worker died",
                &self.lost,
            ),
            ("cluster_flushes", "Flushes of the functions that workers have loaded", &self.flushes),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}
