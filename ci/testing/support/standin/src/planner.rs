//! The planner.

use crate::fault::{Fault, Faults};
use crate::lock;
use crate::message::{Asked, Batch, Envelope, KINDS, Message, Status, results};
use crate::record::{Record, UnderWay};
use crate::reply::Reply;
use crate::schedule::Schedule;
use crate::server::{FullRequest, Handler, Server};
use crate::setup::{Engine, Setup};
use crate::worker::{Worker, WorkerPort};
use anyhow::{Context as _, Result};
use faasm_relay::cluster::embedded::Embedded;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// A planner with its workers, shared through [`Arc`].
pub struct Planner {
    server: Server,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("url", &self.url()).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) setup: Setup,
    /// Runs the functions.
    pub(crate) cluster: Arc<Embedded>,
    faults: Faults,
    pub(crate) schedule: Mutex<Schedule>,
    workers: Mutex<Vec<Arc<Worker>>>,
    port: WorkerPort,
    /// Counts how often the planner ended or was restarted.
    lives: AtomicU64,
    is_alive: AtomicBool,
    asked: Mutex<Record>,
    /// Ends the server of this planner, once it runs.
    end_server: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl Planner {
    /// Starts a planner whose workers run the functions of this cluster, with its state.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(setup: Setup, cluster: Arc<Embedded>) -> Result<Arc<Self>> {
        let port = WorkerPort::take(setup.worker_port)?;
        let inner = Arc::new(Inner {
            schedule: Mutex::default(),
            workers: Mutex::default(),
            port,
            setup,
            cluster,
            faults: Faults::default(),
            lives: AtomicU64::new(0),
            is_alive: AtomicBool::new(true),
            asked: Mutex::default(),
            end_server: Mutex::default(),
        });
        for slots in &inner.setup.workers {
            inner.add_worker(*slots)?;
        }
        let behind = Arc::clone(&inner);
        let handler: Handler = Arc::new(move |request| {
            let inner = Arc::clone(&behind);
            Box::pin(async move { inner.answer(request).await.map(Reply::into_response) })
        });
        let server = Server::start(inner.setup.address, handler).await?;
        let planner = Arc::new(Self { server, inner });
        let weak: Weak<Self> = Arc::downgrade(&planner);
        *lock(&planner.inner.end_server) = Some(Box::new(move || {
            if let Some(planner) = weak.upgrade() {
                planner.server.die();
            }
        }));
        Ok(planner)
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Queues a fault for the next request of this kind that has no other fault.
    pub fn fault(&self, kind: &str, fault: Fault) {
        self.inner.faults.add(kind, fault);
    }

    /// Ends the planner as an abort of its process would. Its workers continue.
    pub fn abort(&self) {
        self.inner.abort();
    }

    pub fn is_alive(&self) -> bool {
        self.server.is_alive()
    }

    /// Restarts the planner under its address, without any state. It learns of each worker with the worker's next
    /// heartbeat; with [`Engine::Lenient`] at once.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub async fn restart(&self) -> Result<()> {
        self.inner.faults.clear();
        self.inner.forget();
        self.inner.is_alive.store(true, Ordering::SeqCst);
        self.server.restart().await
    }

    /// The process of a worker, counted from 0, ends without notice, with all its calls. Its port closes soon after.
    pub fn kill_worker(&self, number: usize) {
        if let Some(worker) = self.worker(number) {
            worker.kill();
        }
    }

    /// The process of a worker stops: no heartbeats and no results, but its port accepts connections.
    pub fn hang_worker(&self, number: usize) {
        if let Some(worker) = self.worker(number) {
            worker.hang();
        }
    }

    /// Ends a worker as a function can: it stops answering, and its process ends after
    /// [`Times::dying`](crate::Times::dying).
    pub fn poison_worker(&self, number: usize) {
        if let Some(worker) = self.worker(number) {
            worker.die(worker.life());
        }
    }

    /// Restarts a worker under its address, whether its process has ended or not. The planner learns of it at once.
    ///
    /// # Errors
    /// When no worker has this number, or its address cannot be bound.
    pub async fn revive_worker(&self, number: usize) -> Result<()> {
        let worker = self.worker(number).with_context(|| format!("there is no worker {number}"))?;
        worker.revive().await?;
        if self.inner.is_alive() {
            lock(&self.inner.schedule).register(&worker);
        }
        Ok(())
    }

    /// Adds a worker.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub fn add_worker(&self, slots: i64) -> Result<()> {
        self.inner.add_worker(slots)
    }

    fn worker(&self, number: usize) -> Option<Arc<Worker>> {
        lock(&self.inner.workers).get(number).cloned()
    }

    /// Address of a worker while its process runs.
    pub fn worker_address(&self, number: usize) -> Option<SocketAddr> {
        Some(self.worker(number)?.address)
    }

    /// Port of all workers.
    pub fn worker_port(&self) -> u16 {
        self.inner.port.port
    }

    /// Whether a worker answers.
    pub fn worker_answers(&self, number: usize) -> bool {
        self.worker(number).is_some_and(|worker| worker.answers(worker.life()))
    }

    /// Number of executors that a worker's process has started so far.
    pub fn executors_started(&self, number: usize) -> u64 {
        self.worker(number).map_or(0, |worker| worker.executors_started())
    }

    /// Number of requests by kind.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.inner.asked).counts.clone()
    }

    /// All requests so far, at most a hundred thousand.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.inner.asked).all.clone()
    }

    /// Maximum number of concurrent status requests: for one app, and for all.
    pub fn most_at_once(&self) -> (usize, usize) {
        let record = lock(&self.inner.asked);
        (record.most_under_way, record.most_of_all)
    }

    /// Number of used slots of all workers.
    pub fn used_slots(&self) -> i64 {
        lock(&self.inner.schedule).used()
    }
}

impl Inner {
    fn add_worker(&self, slots: i64) -> Result<()> {
        let mut workers = lock(&self.workers);
        let state = Arc::clone(&self.cluster.stores().state);
        let (port, times) = (self.port.port, self.setup.times);
        let worker = Worker::start(workers.len(), slots, port, times, state)?;
        workers.push(Arc::clone(&worker));
        lock(&self.schedule).register(&worker);
        Ok(())
    }

    pub(crate) fn life(&self) -> u64 {
        self.lives.load(Ordering::SeqCst)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::SeqCst)
    }

    pub(crate) fn abort(&self) {
        self.is_alive.store(false, Ordering::SeqCst);
        self.forget();
        if let Some(end) = &*lock(&self.end_server) {
            end();
        }
    }

    fn forget(&self) {
        self.lives.fetch_add(1, Ordering::SeqCst);
        let workers = lock(&self.workers).clone();
        *lock(&self.schedule) = Schedule::of(&workers, self.setup.as_);
    }

    /// Answers a request subject to the pending faults; `None` closes the connection.
    async fn answer(self: Arc<Self>, request: FullRequest) -> Option<Reply> {
        let body = request.body().clone();
        let kind = match read(request.method(), &body) {
            Ok((kind, _)) => kind,
            Err(refusal) => return Some(refusal),
        };
        let fault = self.faults.take(&kind);
        if fault == Some(Fault::Refuse) {
            return None;
        }
        let reply = self.perform(&kind, &body).await;
        match fault {
            None | Some(Fault::Refuse) => Some(reply),
            Some(Fault::Swallow) => None,
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Late(late)) => {
                tokio::time::sleep(late).await;
                Some(reply)
            }
            Some(Fault::Instead(status, body)) => Some(Reply::new(status, body)),
        }
    }

    async fn perform(self: &Arc<Self>, kind: &str, body: &[u8]) -> Reply {
        let payload = match serde_json::from_slice::<Envelope>(body) {
            Ok(envelope) => envelope.payload,
            Err(_) => String::new(),
        };
        let about = || serde_json::from_str::<Value>(&payload).ok()?["appId"].as_i64();
        let app = about().and_then(|app| i32::try_from(app).ok());
        lock(&self.asked).note(kind, app, &payload);
        if kind == "EXECUTE_BATCH_STATUS" {
            let _under_way = UnderWay::begin(&self.asked, app.unwrap_or_default());
            self.blocked().await;
            // Let concurrent requests arrive, so that they are counted as concurrent.
            tokio::task::yield_now().await;
            return self.status(&payload);
        }
        if kind == "EXECUTE_BATCH" {
            self.blocked().await;
            return self.execute(&payload).await;
        }
        if self.setup.as_ == Engine::Faasm029Wamr && kind != "GET_CONFIG" {
            self.blocked().await;
        }
        match kind {
            "GET_AVAILABLE_HOSTS" => {
                let timeout = self.setup.times.host_timeout;
                Reply::new(200, lock(&self.schedule).listed(timeout).to_string())
            }
            "GET_CONFIG" => {
                // Whole seconds; at least one if the planner has hosts.
                let seconds = self.setup.times.host_timeout.as_secs_f64().ceil() as u64;
                let config =
                    json!({"ip": "10.77.0.1", "hostTimeout": seconds, "numThreadsHttpServer": 4});
                Reply::new(200, config.to_string())
            }
            "GET_IN_FLIGHT_APPS" => Reply::new(200, lock(&self.schedule).apps().to_string()),
            "RESET" => {
                let runs = !lock(&self.schedule).in_flight.is_empty();
                self.forget();
                if runs && self.setup.as_ == Engine::Lenient {
                    lock(&self.schedule).mark_slots_after_reset();
                }
                Reply::new(200, "Planner fully reset!")
            }
            "FLUSH_SCHEDULING_STATE" => {
                lock(&self.schedule).results.clear();
                Reply::new(200, "Flushed scheduling state!")
            }
            "FLUSH_EXECUTORS" => {
                for worker in &*lock(&self.workers) {
                    worker.flush();
                }
                Reply::new(200, "Flushed executors!")
            }
            // An unknown policy ends the planner at the next batch; no test sets a known one.
            _ => {
                lock(&self.schedule).blocked = Some(std::time::Instant::now());
                Reply::new(200, "Policy set correctly")
            }
        }
    }

    /// If a worker does not answer, waits while that blocks the planner, which then aborts.
    pub(crate) async fn blocked(&self) {
        let (until, life) = (lock(&self.schedule).blocked, self.life());
        let Some(until) = until else { return };
        tokio::time::sleep_until(until.into()).await;
        if self.life() == life {
            self.abort();
        }
        // The connection closes with the server.
        std::future::pending().await
    }

    fn status(&self, payload: &str) -> Reply {
        let Ok(Status { app }) = serde_json::from_str(payload) else {
            return Reply::new(400, "Bad JSON in request body");
        };
        let schedule = lock(&self.schedule);
        let Some(ended) = schedule.results.get(&app) else {
            return Reply::new(500, "App not registered in results");
        };
        let finished = !schedule.in_flight.contains_key(&app);
        Reply::new(200, results(app, finished, ended.values()).to_string())
    }

    async fn execute(self: &Arc<Self>, payload: &str) -> Reply {
        let Ok(batch) = serde_json::from_str::<Batch>(payload) else {
            return Reply::new(400, "Bad JSON in body's payload");
        };
        let fits = |message: &Message| (message.app, &message.user) == (batch.app, &batch.user);
        let is_named = !batch.user.is_empty() && !batch.function.is_empty();
        if !is_named || !batch.messages.iter().all(fits) {
            return Reply::new(400, "Bad BatchExecRequest");
        }
        let app = batch.app;
        let started = json!({ "appId": app }).to_string();
        let ids = batch.messages.iter().map(|message| message.id);
        let placed = lock(&self.schedule).place(app, ids, None, self.setup.times.blocked);
        let Some(seats) = placed else {
            return Reply::new(500, "No available hosts");
        };
        self.blocked().await;
        if batch.kind == "THREADS" {
            // A THREADS batch waits for a main thread, which does not exist here.
            return Reply::new(200, started);
        }
        for (message, seat) in batch.messages.into_iter().zip(seats) {
            tokio::spawn(Arc::clone(self).run(message, seat));
        }
        Reply::new(200, started)
    }
}

/// The kind and content of a request, or the answer to one that is invalid.
fn read(method: &Method, body: &[u8]) -> Result<(String, Envelope), Reply> {
    if body.is_empty() {
        return Err(Reply::new(400, "Empty request"));
    }
    if method == Method::OPTIONS {
        return Err(Reply::new(400, "Unrecognised message type"));
    }
    let bad = || Reply::new(400, "Bad JSON in request body");
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| bad())?;
    match &envelope.http_type {
        Value::String(kind) if KINDS.contains(&kind.as_str()) => Ok((kind.clone(), envelope)),
        Value::String(_) => Err(bad()),
        // Null, or a number that no message type has.
        Value::Null | Value::Number(_) => Err(Reply::new(400, "Unrecognised message type")),
        _ => Err(bad()),
    }
}
