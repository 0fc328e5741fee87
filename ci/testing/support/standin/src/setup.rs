//! How a stand-in is set up.

use clap::ValueEnum;
use std::net::SocketAddr;
use std::time::Duration;

/// Behaviour that a stand-in emulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Faasm 0.29 with WAMR, as observed on a real cluster.
    #[default]
    #[value(name = "faasm-0.29-wamr")]
    Faasm029Wamr,
    /// Not a real engine: workers have every host call that pages have, with the same meaning. Their chained calls
    /// bypass the planner, no function ends a worker, and outputs of functions that return another value than 0 are
    /// kept.
    #[value(name = "lenient")]
    Lenient,
}

/// Durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two heartbeats of a worker.
    pub heartbeat: Duration,
    /// A worker is delisted this long after its last heartbeat.
    pub host_timeout: Duration,
    /// A batch for a worker that does not answer blocks the planner for this long; then the planner aborts.
    pub blocked: Duration,
    /// Time from a fatal call to the end of the worker's process. Until then it sends heartbeats but does not answer.
    pub dying: Duration,
    /// Extra time of a call that needs a new executor.
    pub executor_start: Duration,
    /// Executors end after this idle time,
    pub executor_kept: Duration,
    /// at the worker's next check, which happens at this interval.
    pub executor_reaped: Duration,
}

impl Default for Times {
    /// The durations of a real cluster.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            host_timeout: Duration::from_secs(5),
            blocked: Duration::from_secs(60),
            dying: Duration::from_secs(15),
            executor_start: Duration::from_millis(6),
            executor_kept: Duration::from_secs(30),
            executor_reaped: Duration::from_secs(30),
        }
    }
}

impl Times {
    /// A tenth of the durations of a real cluster, for tests.
    pub fn tenth() -> Self {
        let all = Self::default();
        Self {
            heartbeat: all.heartbeat / 10,
            host_timeout: all.host_timeout / 10,
            blocked: all.blocked / 10,
            dying: all.dying / 10,
            executor_start: all.executor_start / 10,
            executor_kept: all.executor_kept / 10,
            executor_reaped: all.executor_reaped / 10,
        }
    }
}

/// Setup of a planner and its workers.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Address of the planner; port 0 chooses a free port.
    pub address: SocketAddr,
    pub as_: Engine,
    /// Slots of each worker.
    pub workers: Vec<i64>,
    /// Port of all workers, each at an address of its own, `127.77.0.N`, where N is 1 for the first; 0 chooses a free
    /// port. Connections are accepted and closed without an answer.
    pub worker_port: u16,
    pub times: Times,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            as_: Engine::default(),
            workers: vec![4],
            worker_port: 0,
            times: Times::default(),
        }
    }
}
