//! The planner.

use crate::fault::{Fault, Faults};
use crate::message::{Asked, Batch, Envelope, KINDS, Message, Status, results};
use crate::reply::Reply;
use crate::server::{Handler, Server, Whole};
use anyhow::Result;
use faasm_bridge::wire::CallEntry;
use faasm_relay::cluster::{Call, Cluster, Outcome, failure};
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// What the sources of Faasm say and nobody has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    /// The output of a call that returns something else than 0 is replaced by a text.
    pub replaces_output: bool,
}

/// How a planner and its workers are set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub address: SocketAddr,
    /// Slots of each worker.
    pub workers: Vec<i64>,
    /// How long a worker is listed after its last sign of life.
    pub host_timeout: Duration,
    /// How long a batch for a dead worker blocks everything, until the planner aborts.
    pub blocked: Duration,
    pub ways: Ways,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: vec![4],
            host_timeout: Duration::from_secs(5),
            blocked: Duration::from_secs(60),
            ways: Ways::default(),
        }
    }
}

/// A planner with its workers. Handles to the same one are made by [`Arc`].
pub struct Planner {
    server: Server,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("url", &self.url()).finish_non_exhaustive()
    }
}

struct Inner {
    setup: Setup,
    /// What functions run in.
    cluster: Arc<dyn Cluster>,
    faults: Faults,
    state: Mutex<State>,
    /// How often it died or was started again: what ran before belongs to nobody.
    lives: watch::Sender<u64>,
    asked: Mutex<Record>,
    /// The server around this, once it is there.
    server: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

/// Most requests that are kept; all are counted.
const MAX_KEPT: usize = 100_000;

#[derive(Default)]
struct Record {
    all: Vec<Asked>,
    counts: BTreeMap<String, u64>,
    /// Status requests under way, by app, and the most there ever were.
    under_way: HashMap<i32, usize>,
    most_under_way: usize,
    most_of_all: usize,
}

#[derive(Default)]
struct State {
    workers: Vec<Worker>,
    results: BTreeMap<i32, BTreeMap<i32, Message>>,
    in_flight: BTreeMap<i32, Vec<(i32, String)>>,
    /// Until then everything blocks, and then it aborts.
    blocked: Option<Instant>,
}

struct Worker {
    ip: String,
    slots: i64,
    used: i64,
    /// When it gave its last sign of life, if it has died.
    died: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

impl Planner {
    /// Starts a planner whose workers run functions in this cluster.
    pub async fn start(setup: Setup, cluster: Arc<dyn Cluster>) -> Result<Arc<Self>> {
        let inner = Arc::new(Inner {
            state: Mutex::new(State::of(&setup)),
            setup,
            cluster,
            faults: Faults::default(),
            lives: watch::Sender::new(0),
            asked: Mutex::default(),
            server: Mutex::default(),
        });
        let behind = Arc::clone(&inner);
        let handler: Handler = Arc::new(move |request| {
            let inner = Arc::clone(&behind);
            Box::pin(async move { inner.answer(request).await.map(Reply::into_response) })
        });
        let server = Server::start(inner.setup.address, handler).await?;
        let planner = Arc::new(Self { server, inner });
        let weak: Weak<Self> = Arc::downgrade(&planner);
        *lock(&planner.inner.server) = Some(Box::new(move || {
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

    /// Lets something go wrong with the next request of this kind for which nothing else is to.
    pub fn fault(&self, kind: &str, fault: Fault) {
        self.inner.faults.add(kind, fault);
    }

    /// Ends it as a process that aborts ends.
    pub fn abort(&self) {
        self.inner.abort();
    }

    pub fn is_alive(&self) -> bool {
        self.server.is_alive()
    }

    /// Starts it again, where it was, knowing nothing; its workers are there again at once.
    pub async fn restart(&self) -> Result<()> {
        self.inner.faults.clear();
        self.inner.forget();
        self.server.come_back().await
    }

    /// A worker dies without notice, with all that runs there.
    pub fn kill_worker(&self, number: usize) {
        if let Some(worker) = lock(&self.inner.state).workers.get_mut(number) {
            worker.died = Some(Instant::now());
        }
    }

    /// A worker comes.
    pub fn add_worker(&self, slots: i64) {
        let mut state = lock(&self.inner.state);
        let worker = Worker::new(state.workers.len(), slots);
        state.workers.push(worker);
    }

    /// How many requests of each kind there were.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.inner.asked).counts.clone()
    }

    /// All requests so far, up to a hundred thousand.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.inner.asked).all.clone()
    }

    /// The most status requests that were under way at the same time: of one app, and of all.
    pub fn most_at_once(&self) -> (usize, usize) {
        let record = lock(&self.inner.asked);
        (record.most_under_way, record.most_of_all)
    }

    /// Slots in use, of all workers.
    pub fn used_slots(&self) -> i64 {
        lock(&self.inner.state).workers.iter().map(|worker| worker.used).sum()
    }
}

impl State {
    fn of(setup: &Setup) -> Self {
        let workers = setup.workers.iter().enumerate();
        let workers = workers.map(|(number, slots)| Worker::new(number, *slots)).collect();
        Self { workers, ..Self::default() }
    }
}

impl Worker {
    fn new(number: usize, slots: i64) -> Self {
        let ip = format!("10.77.0.{}", 3 + number);
        Self { ip, slots, used: 0, died: None }
    }
}

/// A status request that is being answered.
struct UnderWay<'a> {
    inner: &'a Inner,
    app: i32,
}

impl<'a> UnderWay<'a> {
    fn begin(inner: &'a Inner, app: i32) -> Self {
        let mut record = lock(&inner.asked);
        let count = record.under_way.entry(app).or_default();
        *count += 1;
        let count = *count;
        record.most_under_way = record.most_under_way.max(count);
        let all = record.under_way.values().sum();
        record.most_of_all = record.most_of_all.max(all);
        Self { inner, app }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.inner.asked).under_way.get_mut(&self.app) {
            *count -= 1;
        }
    }
}

impl Inner {
    fn abort(&self) {
        self.forget();
        if let Some(die) = &*lock(&self.server) {
            die();
        }
    }

    fn forget(&self) {
        self.lives.send_modify(|lives| *lives += 1);
        *lock(&self.state) = State::of(&self.setup);
    }

    /// Answers as the faults let it; nothing where the connection is to break off.
    async fn answer(self: Arc<Self>, request: Whole) -> Option<Reply> {
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
        self.note(kind, app, &payload);
        if kind == "EXECUTE_BATCH_STATUS" {
            let _under_way = UnderWay::begin(self, app.unwrap_or_default());
            self.blocked().await;
            // Others that are sent at the same time are seen to be.
            tokio::task::yield_now().await;
            return self.status(&payload);
        }
        if kind == "EXECUTE_BATCH" {
            self.blocked().await;
            return self.execute(&payload).await;
        }
        match kind {
            "GET_AVAILABLE_HOSTS" => Reply::new(200, self.hosts().to_string()),
            "GET_CONFIG" => {
                let seconds = self.setup.host_timeout.as_secs();
                let config =
                    json!({"ip": "10.77.0.1", "hostTimeout": seconds, "numThreadsHttpServer": 4});
                Reply::new(200, config.to_string())
            }
            "GET_IN_FLIGHT_APPS" => {
                let state = lock(&self.state);
                let apps: Vec<Value> = state
                    .in_flight
                    .iter()
                    .map(|(app, calls)| {
                        let hosts: Vec<&String> = calls.iter().map(|(_, host)| host).collect();
                        json!({"appId": app, "hostIps": hosts})
                    })
                    .collect();
                let answer = if apps.is_empty() { json!({}) } else { json!({ "apps": apps }) };
                Reply::new(200, answer.to_string())
            }
            "RESET" => {
                let runs = !lock(&self.state).in_flight.is_empty();
                self.forget();
                if runs {
                    for worker in &mut lock(&self.state).workers {
                        worker.used = -1;
                    }
                }
                Reply::new(200, "Planner fully reset!")
            }
            "FLUSH_SCHEDULING_STATE" => {
                lock(&self.state).results.clear();
                Reply::new(200, "Flushed scheduling state!")
            }
            // A policy that it does not have ends it at the next batch; nobody here sets one that it has.
            _ => {
                lock(&self.state).blocked = Some(Instant::now());
                Reply::new(200, "Policy set correctly")
            }
        }
    }

    fn note(&self, kind: &str, app: Option<i32>, payload: &str) {
        let mut record = lock(&self.asked);
        *record.counts.entry(kind.to_owned()).or_default() += 1;
        if record.all.len() < MAX_KEPT {
            let payload = payload.to_owned();
            record.all.push(Asked { kind: kind.to_owned(), app, payload });
        }
    }

    /// Waits for as long as a dead worker blocks everything; that ends in an abort.
    async fn blocked(&self) {
        let until = lock(&self.state).blocked;
        let Some(until) = until else { return };
        tokio::time::sleep_until(until.into()).await;
        self.abort();
        // The connection ends with the server.
        std::future::pending().await
    }

    fn hosts(&self) -> Value {
        let mut state = lock(&self.state);
        let timeout = self.setup.host_timeout;
        state.workers.retain(|worker| worker.died.is_none_or(|at| at.elapsed() < timeout));
        let hosts: Vec<Value> = state
            .workers
            .iter()
            .map(|worker| {
                // One that is alive has just sent a heartbeat.
                let since = worker.died.map_or(Duration::ZERO, |died| died.elapsed());
                let registered = (now_ms() - since.as_millis()).to_string();
                let mut host = json!({
                    "ip": worker.ip,
                    "slots": worker.slots,
                    "registerTs": {"epochMs": registered},
                    "mpiPorts": [{"port": 8020}],
                });
                if worker.used != 0 {
                    host["usedSlots"] = worker.used.into();
                }
                host
            })
            .collect();
        if hosts.is_empty() { json!({}) } else { json!({ "hosts": hosts }) }
    }

    fn status(&self, payload: &str) -> Reply {
        let Ok(Status { app }) = serde_json::from_str(payload) else {
            return Reply::new(400, "Bad JSON in request body");
        };
        let state = lock(&self.state);
        let Some(ended) = state.results.get(&app) else {
            return Reply::new(500, "App not registered in results");
        };
        let finished = !state.in_flight.contains_key(&app);
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
        let Some(hosts) = self.place(&batch) else {
            return Reply::new(500, "No available hosts");
        };
        self.blocked().await;
        if batch.kind == "THREADS" {
            // Its messages wait for a main thread that is nowhere.
            return Reply::new(200, started);
        }
        for (message, host) in batch.messages.into_iter().zip(hosts) {
            tokio::spawn(Arc::clone(self).run(message, host));
        }
        Reply::new(200, started)
    }

    /// Takes a slot for each message, or none; the app is in flight from then on.
    fn place(&self, batch: &Batch) -> Option<Vec<String>> {
        let mut state = lock(&self.state);
        let free = |worker: &Worker| (worker.slots - worker.used).max(0);
        let all: i64 = state.workers.iter().map(free).sum();
        let wanted = i64::try_from(batch.messages.len()).unwrap_or(i64::MAX);
        if state.workers.is_empty() || all < wanted {
            return None;
        }
        let mut hosts = Vec::new();
        let mut meets_a_dead_one = false;
        for _ in &batch.messages {
            let worker = state.workers.iter_mut().find(|worker| free(worker) > 0)?;
            worker.used += 1;
            meets_a_dead_one |= worker.died.is_some();
            hosts.push(worker.ip.clone());
        }
        let calls = batch.messages.iter().map(|message| message.id).zip(hosts.iter().cloned());
        state.in_flight.entry(batch.app).or_default().extend(calls);
        if meets_a_dead_one {
            state.blocked = Some(Instant::now() + self.setup.blocked);
        }
        Some(hosts)
    }

    /// Runs a message to its end, unless the planner or the worker ends before.
    async fn run(self: Arc<Self>, mut message: Message, host: String) {
        let mut lives = self.lives.subscribe();
        let life = *lives.borrow_and_update();
        message.start_ts = now_ms().to_string();
        let mut call = Call::new(&message.user, &message.function, message.input_data.clone());
        call.args = message.cmdline.split_whitespace().map(str::to_owned).collect();
        if let Ok(pointer @ 1..) = u32::try_from(message.pointer) {
            call.entry = CallEntry::Pointer(pointer);
        }
        // What runs goes on, as it does where a planner ends; but nobody hears of it.
        let outcome = self.cluster.call(call).await;
        if *lives.borrow() != life {
            return;
        }
        let (return_value, output) = self.told(&message, outcome.map_err(|e| e.to_string()));
        message.return_value = return_value;
        let Ok(output) = String::from_utf8(output) else {
            return self.abort();
        };
        message.output_data = output;
        message.finish_ts = now_ms().to_string();
        message.host.clone_from(&host);
        message.group = 2_124_665_291;
        let mut state = lock(&self.state);
        if state.workers.iter().any(|worker| worker.ip == host && worker.died.is_some()) {
            return;
        }
        let (app, id) = (message.app, message.id);
        let again = state.results.entry(app).or_default().insert(id, message).is_some();
        let mut is_over = false;
        if let Some(calls) = state.in_flight.get_mut(&app)
            && let Some(at) = calls.iter().position(|(call, _)| *call == id)
        {
            calls.remove(at);
            is_over = calls.is_empty();
        }
        if is_over {
            state.in_flight.remove(&app);
        }
        // A second result of the same message frees no slot.
        if let Some(worker) = state.workers.iter_mut().find(|worker| worker.ip == host)
            && !again
        {
            worker.used -= 1;
        }
    }

    /// Return value and output as Faasm tells them.
    fn told(&self, message: &Message, outcome: Result<Outcome, String>) -> (i32, Vec<u8>) {
        let thrown = |what: &str| {
            let text = format!("Task {} threw exception. What: {what}", message.id);
            (1, text.into_bytes())
        };
        match outcome {
            Ok(Outcome::Returned(result)) => {
                // Whatever a function pointer returned.
                let value = if message.pointer > 0 { 0 } else { result.return_value };
                if value != 0 && self.setup.ways.replaces_output {
                    return (value, format!("Call failed (return value={value})").into_bytes());
                }
                (value, result.output)
            }
            Ok(Outcome::Failed { code, .. })
                if [failure::MISSING_FUNCTION, failure::CANNOT_LOAD].contains(&code) =>
            {
                (1, b"Error trying to claim executor".to_vec())
            }
            Ok(Outcome::Failed { message: what, .. }) => thrown(&what),
            Err(what) => thrown(&what),
        }
    }
}

/// What is asked for, or why it is not understood.
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
        // Nothing, or a number that nothing has.
        Value::Null | Value::Number(_) => Err(Reply::new(400, "Unrecognised message type")),
        _ => Err(bad()),
    }
}
