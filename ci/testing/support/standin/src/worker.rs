//! Workers: processes that send heartbeats, listen on a port, and have executors, loaded code and state of their own.

use crate::lock;
use crate::setup::Times;
use crate::state::LocalState;
use anyhow::{Context as _, Result};
use faasm_relay::cluster::embedded::Loaded;
use faasm_relay::store::StateStore;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// A stand-in reserves the port of its workers at this address, so that no other stand-in takes it.
const RESERVED: Ipv4Addr = Ipv4Addr::new(127, 77, 255, 254);

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The port that all workers of one stand-in listen on.
pub(crate) struct WorkerPort {
    pub(crate) port: u16,
    _reserved: Option<TcpListener>,
}

impl WorkerPort {
    /// This port, or a free one if it is 0.
    pub(crate) fn take(port: u16) -> Result<Self> {
        if port != 0 {
            return Ok(Self { port, _reserved: None });
        }
        let reserved =
            TcpListener::bind((RESERVED, 0)).context("reserving a port for the workers")?;
        Ok(Self { port: reserved.local_addr()?.port(), _reserved: Some(reserved) })
    }
}

/// A worker, whether its process runs or not.
pub(crate) struct Worker {
    pub(crate) ip: String,
    pub(crate) slots: i64,
    pub(crate) address: SocketAddr,
    times: Times,
    global: Arc<dyn StateStore>,
    process: Mutex<Process>,
}

struct Process {
    /// Number of the process among those of this worker.
    life: u64,
    began: Instant,
    began_ms: u128,
    /// The worker sends no heartbeat after this time.
    silent: Option<Instant>,
    /// Whether the process performs requests and reports results.
    answers: bool,
    code: HashMap<(String, String), Loaded>,
    /// Start of the idle time of executors, by app, user and function.
    idle: HashMap<(i32, String, String), Vec<Instant>>,
    executors_started: u64,
    state: Arc<LocalState>,
    listening: Option<JoinHandle<()>>,
}

impl Process {
    fn start(life: u64, global: &Arc<dyn StateStore>, listening: JoinHandle<()>) -> Self {
        Self {
            life,
            began: Instant::now(),
            began_ms: now_ms(),
            silent: None,
            answers: true,
            code: HashMap::new(),
            idle: HashMap::new(),
            executors_started: 0,
            state: Arc::new(LocalState::new(Arc::clone(global))),
            listening: Some(listening),
        }
    }

    fn close_port(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.close_port();
    }
}

/// Accepts connections and closes them without an answer. Must be called within a runtime.
fn listen(address: SocketAddr) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("worker {} listens on port {}", address.ip(), address.port()))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(async move {
        loop {
            // Closed at once by this side, which a probe accepts.
            let _ = listener.accept().await;
        }
    }))
}

impl Worker {
    /// Starts the process of the worker with this number, counted from 0.
    pub(crate) fn start(
        number: usize,
        slots: i64,
        port: u16,
        times: Times,
        global: Arc<dyn StateStore>,
    ) -> Result<Arc<Self>> {
        let last = u8::try_from(number + 1).context("a stand-in has at most 255 workers")?;
        let ip = Ipv4Addr::new(127, 77, 0, last);
        let address = SocketAddr::from((ip, port));
        let process = Mutex::new(Process::start(1, &global, listen(address)?));
        Ok(Arc::new(Self { ip: ip.to_string(), slots, address, times, global, process }))
    }

    /// Number of the process that runs, or ran last.
    pub(crate) fn life(&self) -> u64 {
        lock(&self.process).life
    }

    /// Whether this process runs and answers.
    pub(crate) fn answers(&self, life: u64) -> bool {
        let process = lock(&self.process);
        process.life == life && process.answers
    }

    /// Whether the worker sends heartbeats.
    pub(crate) fn beats(&self) -> bool {
        lock(&self.process).silent.is_none_or(|at| Instant::now() < at)
    }

    /// The last heartbeat: in milliseconds since 1970, and its age.
    pub(crate) fn last_beat(&self) -> (u128, Duration) {
        let process = lock(&self.process);
        let now = Instant::now();
        let until = process.silent.map_or(now, |silent| silent.min(now));
        let alive = until.saturating_duration_since(process.began);
        let after = self.whole_beats(alive);
        let beat = process.began + after;
        (process.began_ms + after.as_millis(), now.saturating_duration_since(beat))
    }

    /// Time of the next heartbeat, if it is sent.
    pub(crate) fn next_beat(&self) -> Instant {
        let process = lock(&self.process);
        process.began + self.whole_beats(process.began.elapsed()) + self.times.heartbeat
    }

    fn whole_beats(&self, alive: Duration) -> Duration {
        let beat = self.times.heartbeat.as_nanos().max(1);
        let nanos = alive.as_nanos() / beat * beat;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Ends the process at once.
    pub(crate) fn kill(&self) {
        let mut process = lock(&self.process);
        process.answers = false;
        process.silent.get_or_insert(Instant::now());
        process.close_port();
    }

    /// Stops the process as SIGSTOP would: it does nothing, but its port accepts connections.
    pub(crate) fn hang(&self) {
        let mut process = lock(&self.process);
        process.answers = false;
        process.silent.get_or_insert(Instant::now());
    }

    /// Ends this process as a fatal call does: it stops answering now, and ends some time later.
    pub(crate) fn die(self: &Arc<Self>, life: u64) {
        let gone = Instant::now() + self.times.dying;
        {
            let mut process = lock(&self.process);
            if process.life != life || !process.answers {
                return;
            }
            process.answers = false;
            process.silent = Some(gone);
        }
        let worker = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(gone.into()).await;
            let Some(worker) = worker.upgrade() else { return };
            let mut process = lock(&worker.process);
            if process.life == life {
                process.close_port();
            }
        });
    }

    /// Restarts the process, with no loaded code and no state.
    pub(crate) async fn revive(&self) -> Result<()> {
        self.kill();
        let listening = lock(&self.process).listening.take();
        if let Some(listening) = listening {
            // Frees the port.
            let _ = listening.await;
        }
        let listening = listen(self.address)?;
        let mut process = lock(&self.process);
        *process = Process::start(process.life + 1, &self.global, listening);
        Ok(())
    }

    /// The code that this process has loaded under a name.
    pub(crate) fn loaded(&self, life: u64, user: &str, function: &str) -> Option<Loaded> {
        let process = lock(&self.process);
        let name = (user.to_owned(), function.to_owned());
        process.code.get(&name).filter(|_| process.life == life).cloned()
    }

    pub(crate) fn load(&self, life: u64, user: &str, function: &str, code: Loaded) {
        let mut process = lock(&self.process);
        if process.life == life {
            process.code.insert((user.to_owned(), function.to_owned()), code);
        }
    }

    /// Drops executors and loaded code.
    pub(crate) fn flush(&self) {
        let mut process = lock(&self.process);
        if process.answers {
            process.code.clear();
            process.idle.clear();
        }
    }

    /// Takes an idle executor of this app and function, or starts one, which takes time.
    pub(crate) async fn claim(&self, life: u64, app: i32, user: &str, function: &str) {
        {
            let mut process = lock(&self.process);
            if process.life != life {
                return;
            }
            let (now, began) = (Instant::now(), process.began);
            let name = (app, user.to_owned(), function.to_owned());
            if let Some(idle) = process.idle.get_mut(&name) {
                idle.retain(|since| now < self.reaped(began, *since));
                if idle.pop().is_some() {
                    return;
                }
                process.idle.remove(&name);
            }
            process.executors_started += 1;
        }
        tokio::time::sleep(self.times.executor_start).await;
    }

    /// Returns an executor.
    pub(crate) fn give_back(&self, life: u64, app: i32, user: &str, function: &str) {
        let mut process = lock(&self.process);
        if process.life == life {
            let name = (app, user.to_owned(), function.to_owned());
            process.idle.entry(name).or_default().push(Instant::now());
        }
    }

    /// When an executor that has been idle since `since` ends: at the worker's next check after its idle time is over.
    fn reaped(&self, began: Instant, since: Instant) -> Instant {
        let every = self.times.executor_reaped.as_nanos().max(1);
        let may = (since + self.times.executor_kept).saturating_duration_since(began).as_nanos();
        let looks = may.div_ceil(every) * every;
        began + Duration::from_nanos(u64::try_from(looks).unwrap_or(u64::MAX))
    }

    /// Number of executors that this process has started so far.
    pub(crate) fn executors_started(&self) -> u64 {
        lock(&self.process).executors_started
    }

    /// State of this process.
    pub(crate) fn state(&self) -> Arc<LocalState> {
        Arc::clone(&lock(&self.process).state)
    }
}
