//! The Faasm cluster backend: the planner assigns functions to workers, which run them.
//!
//! * `http.rs`: requests with a deadline and a limit on the response; errors say whether the server can have seen the
//!   request.
//! * `message.rs`, `planner.rs`: the planner's messages and requests; `breaker.rs`: its circuit breaker.
//! * `hosts.rs`, `workers.rs`: health of the workers; no call starts while a worker is suspect.
//! * `encode.rs`: encodes a call for Faasm; `outcome.rs`: decodes its outcome.
//! * `ids.rs`, `app.rs`: apps, which group calls, and polling for their results.
//! * `queue.rs`: the admission queue, because the planner has none.
//! * `flush.rs`: makes workers drop replaced functions.
//! * `trust.rs`, `form.rs`: whose functions are guarded, and in which form a function goes to the cluster; `functions.rs`: which
//!   functions it has, and which of their pointers a worker can enter; `keys.rs`: where lists are, and which keys are the relay's.
//! * `upload.rs`: the upload server, for functions, shared files, and state that is in the cluster's memory;
//!   `journal.rs`: journals changes of such state.
//!
//! # A call starts at most once; otherwise its outcome is unknown
//!
//! A batch is sent again only if the planner cannot have seen it (the connection was refused, or no byte of the request
//! was written), or if the planner replied that it has no free slot. Meanwhile the call waits in the queue, for at most
//! `queue_time`. If a batch was sent but not answered, it is never sent again, since a planner that gets the same
//! message twice loses a slot permanently; the relay polls for its result for a while, and then the *outcome is
//! unknown*. The same applies to a call that the planner accepted and that does not end within `call_time`: it may
//! still be running, because Faasm cannot end a call.
//!
//! # Known failures of a planner
//!
//! | cause | countermeasure |
//! |---|---|
//! | an output that is not UTF-8 | guarded functions, and those built for Faasm, encode such outputs ([`faasm_bridge::faasm`]); the relay survives an abort of the planner |
//! | a batch sent after a worker's death but before the planner noticed it | calls wait while a worker's heartbeat is late or its port is closed; every request has a deadline |
//! | `RESET`, `SET_POLICY` | the relay never sends them |
//! | the same message twice; an app's id used twice | ids are random and remembered; nothing is sent twice |
//! | no messages, threads | a batch has one message and no type |
//! | the same response for "pending" and "unknown" | the relay tracks its calls, and each has a deadline |
//! | a lost worker | its calls stay in flight forever: their outcome is unknown once the worker is no longer listed |
//! | a restarted planner | the outcome of a call that is not in flight and has no result is unknown |

mod app;
mod breaker;
mod encode;
mod flush;
mod form;
mod functions;
mod hosts;
mod http;
mod ids;
mod journal;
mod keys;
mod message;
mod outcome;
mod planner;
mod queue;
mod trust;
mod upload;
mod workers;

pub(in crate::cluster) use self::form::prepare_bytes;
pub use self::http::Endpoint;
pub use self::journal::NonAtomicJournal;
pub use self::keys::Keys;
pub use self::trust::Trusted;
pub use self::upload::Upload;
pub use self::workers::WorkerLook;

use super::builds::{BuildConfig, Builds};
use super::child::{self, Job};
use super::{Call, Cluster, ClusterError, Outcome, Uploaded, Usage, failure};
use crate::budget::{Bounds, Budget};
use crate::metrics::FaasmCounts;
use crate::store::{FunctionStore, StateStore, StoredFunction};
use app::{App, Apps, Asking, CallEnd};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use encode::{EncodedCall, UnsupportedCall, encode_call};
use flush::{BatchPermit, Flush};
use form::{Prepared, prepare};
use functions::Functions;
use futures_util::future::BoxFuture;
use hosts::Suspect;
use message::Message;
use planner::{NotStarted, Planner, PlannerError};
use prometheus_client::registry::Registry;
use queue::{AdmissionQueue, Wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;
use workers::Ready;

/// Settings of the Faasm backend.
#[derive(Clone, Debug)]
pub struct FaasmConfig {
    /// The planner's HTTP endpoint.
    pub planner: Endpoint,
    /// Time limit of a call, from its start.
    pub call_time: Duration,
    /// Time limit for the cluster to accept a call: to have a free slot, a reachable planner and healthy workers.
    pub queue_time: Duration,
    /// Most queued calls.
    pub queue: usize,
    /// Time limit of a request to the planner, and of polling for the result of a call that may have started.
    pub request_time: Duration,
    /// Maximum age of the workers' health data when a call starts. A batch sent within this time after a worker's death
    /// can crash the planner, so it is short: a quarter of a second costs a busy relay four small requests per second.
    pub hosts_fresh: Duration,
    /// Longest time between two heartbeats of a worker. Faasm's workers send one every two seconds.
    pub heartbeat: Duration,
    /// Port of each worker that is probed before calls; 0 disables the probe.
    pub worker_port: u16,
    /// Whether each run of a page is an app of its own; otherwise all runs of a page share one app.
    pub app_per_run: bool,
    /// Connections to the planner.
    pub connections: usize,
    /// Connections to the planner that poll for results.
    pub polls: usize,
    /// Longest interval between two polls of one app.
    pub poll_pause: Duration,
    /// Most bytes of a call's output.
    pub output_bytes: usize,
    /// Whether the cluster records which calls a call chains.
    pub record_graph: bool,
    /// Users whose functions run unguarded.
    pub trusted: Trusted,
    /// Whether to reject calls of functions that were not uploaded through a relay: a worker exits if it has to run a
    /// missing function.
    pub only_stored: bool,
    /// Limits for checking and guarding uploads.
    pub builds: BuildConfig,
    /// Budget for the memory of builds.
    pub budget: Budget,
}

impl FaasmConfig {
    /// A configuration with defaults except for the planner.
    pub fn of(planner: Endpoint) -> Self {
        Self {
            planner,
            call_time: Duration::from_secs(60),
            queue_time: Duration::from_secs(30),
            queue: 1024,
            request_time: Duration::from_secs(10),
            hosts_fresh: Duration::from_millis(250),
            heartbeat: Duration::from_millis(2500),
            worker_port: 8005,
            app_per_run: false,
            connections: 64,
            polls: 16,
            poll_pause: Duration::from_millis(100),
            output_bytes: faasm_bridge::wire::MAX_PAYLOAD_BYTES,
            record_graph: true,
            trusted: Trusted::default(),
            only_stored: true,
            builds: BuildConfig::default(),
            budget: Budget::new(Bounds::NONE),
        }
    }
}

/// A Faasm cluster; clones are handles to the same cluster.
#[derive(Clone)]
pub struct Faasm {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Faasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faasm").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

struct Inner {
    config: FaasmConfig,
    planner: Arc<Planner>,
    queue: AdmissionQueue,
    apps: Arc<Apps>,
    flush: Arc<Flush>,
    counts: FaasmCounts,
    upload: Option<Arc<Upload>>,
    functions: Functions,
    builds: Builds,
}

/// A call to start, and the message of its last attempt.
struct StartRequest {
    call: Call,
    carried: EncodedCall,
    entered: Mutex<Option<Entered>>,
}

/// A call's app and id, and the request that starts it.
#[derive(Clone)]
struct Entered {
    app: Arc<App>,
    id: i32,
    body: Bytes,
}

/// The final attempt to start a call.
struct Attempt {
    start: Start,
    app: Arc<App>,
    id: i32,
    /// Held until the call has ended.
    pass: BatchPermit,
}

/// How a call was started.
enum Start {
    Sure,
    /// It is unknown whether the call started.
    Maybe(String),
    /// The call did not start.
    Not(ClusterError),
}

impl Faasm {
    /// A client of the cluster with these settings and of its upload server. It sends no request yet.
    pub fn new(
        config: FaasmConfig,
        upload: Option<Arc<Upload>>,
        functions: Arc<dyn FunctionStore>,
        state: Arc<dyn StateStore>,
    ) -> Self {
        let planner = Arc::new(Planner::new(&config));
        let asking = Asking {
            // Leaves connections for starting calls.
            at_once: config.polls.min(config.connections.div_ceil(2)),
            longest_pause: config.poll_pause,
            output_bytes: config.output_bytes,
            app_per_run: config.app_per_run,
        };
        let counts = FaasmCounts::default();
        let apps = Arc::new(Apps::new(Arc::clone(&planner), asking, counts.clone()));
        let queue = AdmissionQueue::new(config.queue, config.queue_time);
        let functions = Functions::new(functions, state);
        let flush = Flush::new(flush::Times::default(), counts.clone());
        let builds = Builds::new(&config.builds);
        let inner =
            Inner { config, planner, queue, apps, flush, counts, upload, functions, builds };
        Self { inner: Arc::new(inner) }
    }

    /// The planner's configuration and its workers, for the doctor.
    ///
    /// # Errors
    /// What is wrong with the planner.
    pub async fn look(&self) -> Result<PlannerLook, String> {
        let told = |error: PlannerError| error.to_string();
        let config = self.inner.planner.config().await.map_err(told)?;
        let workers = self.inner.planner.look_at_workers().await.map_err(told)?;
        Ok(PlannerLook {
            ip: config.ip,
            host_timeout: config.host_timeout,
            threads: config.threads,
            workers,
        })
    }
}

/// The planner's configuration and workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannerLook {
    pub ip: String,
    /// Seconds without a heartbeat after which the planner drops a worker.
    pub host_timeout: i64,
    /// Threads of its HTTP server.
    pub threads: i64,
    pub workers: Vec<WorkerLook>,
}

impl Inner {
    async fn call(self: Arc<Self>, mut call: Call) -> Result<Outcome, ClusterError> {
        let mut carried = match encode_call(&call) {
            Ok(carried) => carried,
            Err(UnsupportedCall::Failed(outcome)) => return Ok(outcome),
            Err(UnsupportedCall::Refused(error)) => return Err(error),
        };
        if self.config.only_stored && !self.functions.has(&call.user, &call.function).await? {
            let Call { user, function, .. } = &call;
            let message = format!(
                "the store has no function {user}/{function}, and a worker exits if it cannot load a function: upload it to the relay with faasm-asyncify upload, or set cluster.only_stored to false if functions are uploaded without the relay"
            );
            return Ok(Outcome::failed(failure::MISSING_FUNCTION, message));
        }
        if carried.pointer != 0 {
            let pointers = self.functions.pointers(&call.user, &call.function).await?;
            let pointer = carried.pointer.cast_unsigned();
            // With `only_stored` off, the operator trusts functions that were not uploaded through a relay.
            if self.config.only_stored && !pointers.has(pointer) {
                let message = format!(
                    "function pointer {pointer} of {} is null, outside its table, or has another type than () or (i32), so a worker cannot call it",
                    call.function
                );
                return Ok(Outcome::failed(failure::BAD_ENTRY, message));
            }
            if let Some(entry) = pointers.entry() {
                carried.enter_by(entry, &mut call.input);
            }
        }
        let request = StartRequest { call, carried, entered: Mutex::default() };
        let is_held = AtomicBool::new(false);
        let attempt = || self.attempt(&request, &is_held);
        let Attempt { start, app, id, pass } = self.queue.admit(attempt).await?;
        // The input is no longer needed: no further attempt follows.
        drop(request);
        let (is_sure, time_limit) = match &start {
            Start::Sure => (true, self.config.call_time),
            Start::Maybe(_) => (false, self.config.request_time.min(self.config.call_time)),
            Start::Not(_) => (false, Duration::ZERO),
        };
        let maybe = match start {
            Start::Sure => None,
            Start::Maybe(why) => Some(why),
            Start::Not(error) => return Err(error),
        };
        let verdict = timeout(time_limit, self.apps.wait(&app, id, is_sure)).await;
        drop(pass);
        self.queue.freed();
        if verdict.is_err() {
            app.close();
        }
        let unknown = |why: String| {
            let what = "it is unknown whether the call ran, so it is not started again";
            Err(ClusterError::Unknown(format!("{what}: {why}")))
        };
        match (verdict, maybe) {
            (Ok(Ok(CallEnd::Ended(outcome))), _) => Ok(outcome),
            (Ok(Ok(CallEnd::Lost(why))), _) => unknown(why),
            (Ok(Err(_)), _) => unknown("the relay stopped polling".to_owned()),
            (Err(_), Some(why)) => unknown(why),
            (Err(_), None) => {
                let seconds = self.config.call_time.as_secs_f64();
                unknown(format!("the cluster has no result after {seconds} s"))
            }
        }
    }

    /// App, id and body of a call for this number of departed workers; reuses those of the last attempt if its app is
    /// still open.
    fn enter(&self, request: &StartRequest, departures: u64) -> Result<Entered, ClusterError> {
        let StartRequest { call, carried, entered } = request;
        let mut entered = lock(entered);
        if let Some(entered) = entered.as_ref().filter(|entered| entered.app.is_open(departures)) {
            return Ok(entered.clone());
        }
        let random = |error: getrandom::Error| ClusterError::Internal(error.to_string());
        // The planner returns the input in base64 with the result.
        let bytes = call.input.len().div_ceil(3) * 4 + carried.cmdline.len();
        let entering = self.apps.enter(call.run, &call.user, bytes, departures);
        let (app, id) = entering.map_err(random)?;
        let encoded = STANDARD.encode(&call.input);
        let message = Message {
            id,
            app: app.id,
            user: &call.user,
            function: &call.function,
            input_data: &encoded,
            pointer: carried.pointer,
            cmdline: &carried.cmdline,
            record_exec_graph: self.config.record_graph,
        };
        let body = planner::body_of(message).ok_or_else(|| {
            ClusterError::Internal("the call cannot be encoded as JSON".to_owned())
        })?;
        Ok(entered.insert(Entered { app, id, body }).clone())
    }

    /// Tries to start a call.
    async fn attempt(&self, request: &StartRequest, is_held: &AtomicBool) -> Result<Attempt, Wait> {
        let pass = self.flush.enter().await;
        let departures = match self.planner.ready().await {
            Ok(Ready::Yes(departures)) => departures,
            Ok(Ready::NoWorkers) => {
                return Err(Wait::Away(
                    "the planner lists no workers, so no call can start: start workers, then check with `faasm-relay doctor`".to_owned(),
                ));
            }
            Ok(Ready::Suspicious(Suspect { ip, why })) => {
                if !is_held.swap(true, Ordering::Relaxed) {
                    self.counts.held.inc();
                }
                return Err(Wait::Away(format!(
                    "worker {ip} may have died: {why}; the planner drops a dead worker by itself; if the worker stays listed in this state, restart it"
                )));
            }
            // Listing hosts has no side effect, so a retry is safe.
            Err(error) => return Err(Wait::Away(error.to_string())),
        };
        let Entered { app, id, body } = match self.enter(request, departures) {
            Ok(entered) => entered,
            Err(error) => return Err(Wait::Away(error.to_string())),
        };
        let start = match self.planner.execute(app.id, body).await {
            Ok(()) => Start::Sure,
            Err(NotStarted::NoRoom) => return Err(Wait::Full),
            Err(NotStarted::Down(why)) => return Err(Wait::Away(why)),
            Err(NotStarted::Unknown(why)) => Start::Maybe(why),
            Err(NotStarted::Refused(said)) => {
                Start::Not(ClusterError::Refused(format!("the planner rejected the call: {said}")))
            }
        };
        Ok(Attempt { start, app, id, pass })
    }

    /// Makes workers drop their loaded functions once nothing runs; completes when they have.
    fn flush_when_idle(&self) -> impl Future<Output = Result<(), String>> + Send + 'static {
        self.flush.request(&self.planner)
    }

    async fn upload(
        self: Arc<Self>,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> Result<Uploaded, ClusterError> {
        let Some(upload) = &self.upload else {
            return Err(ClusterError::Unavailable(
                "this relay has no upload server for functions: set cluster.upload, or upload to the cluster directly".to_owned(),
            ));
        };
        let is_trusted = self.config.trusted.has(&user);
        check_user(&user, is_trusted).map_err(ClusterError::NotAFunction)?;
        let check_names = self.config.only_stored;
        // Checks here, because an invalid function can crash the compiler of the upload server.
        let permit = self.builds.acquire(&user).await?;
        let prepared = match &self.config.builds.program {
            Some(program) => {
                let job = Job::ForFaasm { is_trusted, check_names };
                let account = self.config.budget.user(&user);
                let made = child::run(program, &self.config.builds, &account, job, &wasm).await?;
                let cut_off =
                    || ClusterError::Internal("the guarded function is truncated".to_owned());
                Prepared::read(&made).ok_or_else(cut_off)?
            }
            None => {
                let checked = wasm.clone();
                let prepare = move || prepare(&checked, is_trusted, check_names);
                Builds::on_thread(&permit, prepare).await?.map_err(ClusterError::NotAFunction)?
            }
        };
        drop(permit);
        let Prepared { guarded, mut warnings, chained } = prepared;
        for name in chained {
            if name != function && !self.functions.has(&user, &name).await? {
                warnings.push(format!(
                    "it chains {name}, which is not stored for {user} yet: upload {name}, too"
                ));
            }
        }
        let is_guarded = guarded.is_some();
        let uploaded = Uploaded { is_guarded, warnings, ..Uploaded::of(&wasm) };
        let integrity = uploaded.integrity.clone();
        let before = self.functions.store().integrity(&user, &function).await?;
        upload.put_function(&user, &function, guarded.unwrap_or_else(|| wasm.clone())).await?;
        if let Some(old) = before.filter(|old| *old != integrity) {
            self.flush.note_replaced(&user, &function, old);
            tracing::info!(
                user,
                function,
                "workers may run the former version until the cluster is idle"
            );
            // The flush runs in the background.
            drop(self.flush_when_idle());
        }
        self.functions.store().put(&user, &function, StoredFunction { integrity, wasm }).await?;
        self.functions.mark(&user, &function).await?;
        Ok(uploaded)
    }
}

impl Cluster for Faasm {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        Box::pin(Arc::clone(&self.inner).call(call))
    }

    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        Box::pin(Arc::clone(&self.inner).upload(user, function, wasm))
    }

    fn integrity(
        &self,
        user: String,
        function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            // Reports the version that workers run.
            match inner.flush.stale(&user, &function) {
                Some(old) => Ok(Some(old)),
                None => Ok(inner.functions.store().integrity(&user, &function).await?),
            }
        })
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn register(&self, registry: &mut Registry) {
        self.inner.counts.register(registry);
    }
}

/// Workers split user and key at the first underscore, so a user name with an underscore could reach another user's
/// keys.
fn check_user(user: &str, is_trusted: bool) -> Result<(), String> {
    if is_trusted || !user.contains('_') {
        return Ok(());
    }
    Err(format!(
        "user `{user}` has an underscore in the name, which Faasm's workers use to separate user and key: use another name, or have the operator trust the user (cluster.trusted)"
    ))
}

/// Parses any response of a planner (app status, workers, in-flight apps, configuration) and drops it; returns whether
/// it was valid. For the fuzzer.
pub(crate) fn check_answer(json: &[u8]) -> bool {
    let results = serde_json::from_slice::<message::Results<'_>>(json);
    let ended = results.as_ref().map(|results| results.ended.as_slice()).unwrap_or_default();
    for ended in ended {
        // Decoding must not panic: a caller waits for the outcome.
        drop(outcome::outcome(ended));
    }
    results.is_ok()
        || serde_json::from_slice::<message::Hosts>(json).is_ok()
        || serde_json::from_slice::<message::InFlight>(json).is_ok()
        || serde_json::from_slice::<message::PlannerConfig>(json).is_ok()
}

/// Locks a mutex; ignores poisoning, since no holder panics in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
