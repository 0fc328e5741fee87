//! Counts and times calls: a wrapper around a cluster. Chained calls run inside the wrapped cluster, and are not
//! counted.

use super::{Ended, Metrics};
use crate::cluster::{Call, Cluster, ClusterError, Outcome, Uploaded, Usage, failure};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Instant;

/// A cluster whose calls are counted.
pub(crate) struct Measured {
    inner: Arc<dyn Cluster>,
    metrics: Arc<Metrics>,
}

impl Measured {
    pub(crate) fn new(inner: Arc<dyn Cluster>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

/// A running call; if it is dropped, it counts as cancelled.
struct UnderWay {
    metrics: Arc<Metrics>,
    began: Instant,
    outcome: &'static str,
}

impl UnderWay {
    fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.calls_started.inc();
        Self { metrics: Arc::clone(metrics), began: Instant::now(), outcome: "cancelled" }
    }

    fn end(mut self, ended: &Result<Outcome, ClusterError>) {
        self.outcome = match ended {
            Ok(Outcome::Returned(_)) => "returned",
            Ok(Outcome::Failed { code, .. }) => code,
            Err(
                ClusterError::Full { .. } | ClusterError::UserFull { .. } | ClusterError::Busy(_),
            ) => "busy",
            Err(ClusterError::OverBudget(_)) => failure::OVER_BUDGET,
            Err(ClusterError::Unknown(_)) => "unknown",
            Err(ClusterError::Refused(_)) => "refused",
            Err(_) => "unavailable",
        };
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let ended = Ended { outcome: self.outcome };
        self.metrics.calls_ended.get_or_create(&ended).inc();
        self.metrics.call_seconds.observe(self.began.elapsed().as_secs_f64());
    }
}

impl Cluster for Measured {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let under_way = UnderWay::begin(&self.metrics);
        let calling = self.inner.call(call);
        Box::pin(async move {
            let ended = calling.await;
            under_way.end(&ended);
            ended
        })
    }

    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        self.inner.upload(user, function, wasm)
    }

    fn integrity(
        &self,
        user: String,
        function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        self.inner.integrity(user, function)
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}
