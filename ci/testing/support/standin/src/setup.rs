//! How a stand-in is set up.

use clap::ValueEnum;
use std::net::SocketAddr;
use std::time::Duration;

/// Whose behaviour a stand-in has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Faasm 0.29 with WAMR, as it was seen on a real cluster.
    #[default]
    #[value(name = "faasm-0.29-wamr")]
    Faasm029Wamr,
    /// No real one: workers have every host call that pages have, with the same meaning, their chained calls do not pass the
    /// planner, nothing that a function does ends a worker, and outputs of functions that return something else than 0 stay.
    #[value(name = "lenient")]
    Lenient,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two signs of life of a worker.
    pub heartbeat: Duration,
    /// After its last sign of life a worker is not listed any more.
    pub host_timeout: Duration,
    /// A batch for a worker that does not answer blocks everything for this long; then the planner aborts.
    pub blocked: Duration,
    /// From what ends a worker to the end of its process. Until then it gives signs of life, and does not answer.
    pub dying: Duration,
    /// What a call takes longer that needs a new executor.
    pub executor_start: Duration,
    /// Executors that were idle for this long end,
    pub executor_kept: Duration,
    /// the next time that a worker looks, which is this often.
    pub executor_reaped: Duration,
}

impl Default for Times {
    /// Those of a real cluster.
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
    /// A tenth of those of a real cluster, for tests.
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

/// How a planner and its workers are set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Address of the planner; port 0 takes a free one.
    pub address: SocketAddr,
    pub as_: Engine,
    /// Slots of each worker.
    pub workers: Vec<i64>,
    /// Port that all workers listen on, each at an address of its own, `127.77.0.N`, where N is 1 for the first; 0 takes one
    /// that is free. What connects is accepted, and hears nothing.
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
