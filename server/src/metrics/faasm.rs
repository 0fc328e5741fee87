//! What a Faasm cluster counts by itself, since it shows nowhere else.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of one cluster; clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaasmCounts {
    /// Calls that found a worker which may have died, and waited; without those queued behind them.
    pub(crate) held: Counter,
    /// Calls whose worker is gone.
    pub(crate) lost: Counter,
    /// Times that workers were told to forget what they have loaded.
    pub(crate) flushes: Counter,
}

impl FaasmCounts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            (
                "cluster_calls_held",
                "Calls that found a worker which may have died, and waited",
                &self.held,
            ),
            ("cluster_calls_lost", "Calls that are unknown since their worker is gone", &self.lost),
            ("cluster_flushes", "Flushes of the functions that workers have loaded", &self.flushes),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}
