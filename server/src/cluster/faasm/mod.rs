//! A Faasm cluster: functions run on its workers, which its planner hands them to.
//!
//! * `http.rs`: requests with a deadline and a longest answer, which say whether the other side can have seen them.
//! * `message.rs`, `planner.rs`: what a planner is told and asked, and what its answers mean; `breaker.rs` leaves it alone while
//!   it does not answer.
//! * `hosts.rs`, `workers.rs`: signs of life of workers, without which no call starts.
//! * `encode.rs`: what of a call Faasm can carry; `outcome.rs`: how one ended.
//! * `ids.rs`, `app.rs`: calls that belong together, and asking what became of them.
//! * `queue.rs`: the queue before a cluster that takes no calls now, which a planner has not.
//! * `flush.rs`: workers forget functions that were uploaded again.
//! * `trust.rs`, `form.rs`: whose functions are guarded, and in which form a function goes to the cluster; `functions.rs`: which
//!   functions it has, and which of their pointers a worker can enter; `keys.rs`: where lists are, and which keys are the relay's.
//! * `upload.rs`: the upload server, for functions, shared files, and state that is in the cluster's memory; `journal.rs`
//!   notes changes of such state.
//!
//! # A call starts once, or it is told that nobody knows
//!
//! A batch is sent again only where the planner cannot have seen it (the connection was refused, or nothing of the request was
//! written), and where it said that it has no slot. Until then a call waits in the queue, for `queue_time`. Where a batch was sent and
//! not answered, it is never sent again, since a planner that gets the same message twice loses a slot for good; the relay looks for
//! its result for a while, and then it is *unknown whether it ran*. So it is with a call that the planner accepted and that
//! does not end within the time a call may take: it may run still, for nothing ends a call in Faasm.
//!
//! # What breaks a planner
//!
//! | it breaks by | here |
//! |---|---|
//! | an output that is not UTF-8 | guarded functions, and those built for Faasm, encode such outputs ([`faasm_bridge::faasm`]); an abort is survived |
//! | a worker that died, and a batch before it noticed | calls wait while a worker's heartbeat is late or its port is closed; every request has a deadline |
//! | `RESET`, `SET_POLICY` | there is no code that sends them |
//! | the same message twice; an app's id used twice | ids are random and remembered; nothing is sent twice |
//! | no messages, threads | a batch has one message and no type |
//! | "pending" and "unknown" being the same | a relay knows its calls, and each has a deadline |
//! | a worker lost | its calls stay in flight for ever: they are unknown once the worker is listed no more |
//! | a planner started again | what is not in flight, and has no result, is unknown |

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
    /// For any one call, from its start.
    pub call_time: Duration,
    /// For a call to be taken by the cluster: to get a slot, and for planner and workers to be well.
    pub queue_time: Duration,
    /// Most calls that wait for one.
    pub queue: usize,
    /// For any one request to the planner; and how long the result of a call is looked for that may have started.
    pub request_time: Duration,
    /// How old what is known of workers may be when a call starts. Within this time after a worker's death a batch may still be
    /// sent, which ends the planner, so it is short: a quarter of a second is four small requests a second for a busy relay.
    pub hosts_fresh: Duration,
    /// Longest time between two heartbeats of a worker. Faasm's workers send one every two seconds.
    pub heartbeat: Duration,
    /// A port of each worker that is tried before calls; 0 for none.
    pub worker_port: u16,
    /// Whether each run of a page is an app of its own; otherwise all runs of a page are one.
    pub app_per_run: bool,
    /// Connections to the planner.
    pub connections: usize,
    /// Of these, for asking what became of calls.
    pub polls: usize,
    /// Longest pause between two questions about one app.
    pub poll_pause: Duration,
    /// Most bytes of a call's output.
    pub output_bytes: usize,
    /// Whether the cluster is to record which calls a call chains.
    pub record_graph: bool,
    /// Users whose functions run as they were uploaded.
    pub trusted: Trusted,
    /// Whether only functions run that were uploaded through a relay: a worker ends where it is to run one that is not there.
    pub only_stored: bool,
    /// How functions that are uploaded are checked and guarded.
    pub builds: BuildConfig,
    /// What the memory of their builds is charged to.
    pub budget: Budget,
}

impl FaasmConfig {
    /// With defaults for everything else.
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

/// A Faasm cluster; clones are handles to the same one.
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

/// A call that is to start, and what its last attempt was sent with.
struct StartRequest {
    call: Call,
    carried: EncodedCall,
    entered: Mutex<Option<Entered>>,
}

/// A call's place in an app, and the request that starts it.
#[derive(Clone)]
struct Entered {
    app: Arc<App>,
    id: i32,
    body: Bytes,
}

/// An attempt to start a call after which there is no other.
struct Attempt {
    start: Start,
    app: Arc<App>,
    id: i32,
    /// To be kept until the call has ended.
    pass: BatchPermit,
}

/// How a call was started.
enum Start {
    Sure,
    /// The planner did not say.
    Maybe(String),
    /// It was not.
    Not(ClusterError),
}

impl Faasm {
    /// A cluster that is reached by these settings, and uploads by this server. Nothing is asked of either yet.
    pub fn new(
        config: FaasmConfig,
        upload: Option<Arc<Upload>>,
        functions: Arc<dyn FunctionStore>,
        state: Arc<dyn StateStore>,
    ) -> Self {
        let planner = Arc::new(Planner::new(&config));
        let asking = Asking {
            // Calls have to find a connection, too.
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

    /// How the planner is set up, and what it says of its workers; for people.
    ///
    /// # Errors
    /// What is wrong with it.
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

/// What a planner says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannerLook {
    pub ip: String,
    /// Seconds without a sign of life after which a worker is gone.
    pub host_timeout: i64,
    /// Of its HTTP server.
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
                "the cluster has no function {user}/{function} that this relay knows of, and a worker ends where it cannot load one: upload it to the relay with faasm-asyncify upload, or set cluster.only_stored to false where the cluster is filled by others"
            );
            return Ok(Outcome::failed(failure::MISSING_FUNCTION, message));
        }
        if carried.pointer != 0 {
            let pointers = self.functions.pointers(&call.user, &call.function).await?;
            let pointer = carried.pointer.cast_unsigned();
            // What nobody uploaded through a relay is the operator's to trust.
            if self.config.only_stored && !pointers.has(pointer) {
                let message = format!(
                    "function pointer {pointer} of {} is null, outside its table or of another type than () or (i32), so a worker cannot enter it",
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
        // The planner has the input now, or never will.
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
            let what = "it is unknown whether the call ran, and it is not started again";
            Err(ClusterError::Unknown(format!("{what}: {why}")))
        };
        match (verdict, maybe) {
            (Ok(Ok(CallEnd::Ended(outcome))), _) => Ok(outcome),
            (Ok(Ok(CallEnd::Lost(why))), _) => unknown(why),
            (Ok(Err(_)), _) => unknown("the relay stopped asking".to_owned()),
            (Err(_), Some(why)) => unknown(why),
            (Err(_), None) => {
                let seconds = self.config.call_time.as_secs_f64();
                unknown(format!("the cluster has no result after {seconds} s"))
            }
        }
    }

    /// App, id and body of a call, after workers have left so often; those of the last attempt where they still fit.
    fn enter(&self, request: &StartRequest, departures: u64) -> Result<Entered, ClusterError> {
        let StartRequest { call, carried, entered } = request;
        let mut entered = lock(entered);
        if let Some(entered) = entered.as_ref().filter(|entered| entered.app.is_open(departures)) {
            return Ok(entered.clone());
        }
        let random = |error: getrandom::Error| ClusterError::Internal(error.to_string());
        // As it comes back with the result.
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
        let body = planner::body_of(message)
            .ok_or_else(|| ClusterError::Internal("a call cannot be written as JSON".to_owned()))?;
        Ok(entered.insert(Entered { app, id, body }).clone())
    }

    /// Tries to start a call.
    async fn attempt(&self, request: &StartRequest, is_held: &AtomicBool) -> Result<Attempt, Wait> {
        let pass = self.flush.enter().await;
        let departures = match self.planner.ready().await {
            Ok(Ready::Yes(departures)) => departures,
            Ok(Ready::NoWorkers) => {
                return Err(Wait::Away(
                    "the planner lists no workers, so no call can start: start some; `faasm-relay doctor` looks".to_owned(),
                ));
            }
            Ok(Ready::Suspicious(Suspect { ip, why })) => {
                if !is_held.swap(true, Ordering::Relaxed) {
                    self.counts.held.inc();
                }
                return Err(Wait::Away(format!(
                    "worker {ip} may have died: {why}; the planner drops a dead worker by itself, and one that goes on like this has to be restarted"
                )));
            }
            // Asking for hosts does nothing, whatever became of it.
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
            Err(NotStarted::Refused(said)) => Start::Not(ClusterError::Refused(format!(
                "the planner does not take the call: it said {said}"
            ))),
        };
        Ok(Attempt { start, app, id, pass })
    }

    /// Has workers forget what they have loaded, when nothing runs; completes when they have.
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
                "this relay has no upload server to hand functions to: set cluster.upload, or upload to the cluster directly".to_owned(),
            ));
        };
        let is_trusted = self.config.trusted.has(&user);
        check_user(&user, is_trusted).map_err(ClusterError::NotAFunction)?;
        let check_names = self.config.only_stored;
        // It is cheaper to find out here what is wrong than in a compiler there, which may end over it.
        let place = self.builds.place(&user).await?;
        let prepared = match &self.config.builds.program {
            Some(program) => {
                let job = Job::ForFaasm { is_trusted, check_names };
                let account = self.config.budget.user(&user);
                let made = child::run(program, &self.config.builds, &account, job, &wasm).await?;
                let cut_off = || ClusterError::Internal("what was guarded was cut off".to_owned());
                Prepared::read(&made).ok_or_else(cut_off)?
            }
            None => {
                let checked = wasm.clone();
                let prepare = move || prepare(&checked, is_trusted, check_names);
                Builds::on_thread(&place, prepare).await?.map_err(ClusterError::NotAFunction)?
            }
        };
        drop(place);
        let Prepared { guarded, mut warnings, chained } = prepared;
        for name in chained {
            if name != function && !self.functions.has(&user, &name).await? {
                warnings.push(format!(
                    "it chains {name}, which no relay has stored for {user} yet: upload that, too"
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
            // It is done though nobody waits for it.
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
            // What workers run is what counts.
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

/// Workers tell users apart by the first underscore of a key, so that one user's keys can be another one's.
fn check_user(user: &str, is_trusted: bool) -> Result<(), String> {
    if is_trusted || !user.contains('_') {
        return Ok(());
    }
    Err(format!(
        "user `{user}` has an underscore in the name, by which Faasm's workers tell users apart: use another name, or have the operator trust the user (cluster.trusted)"
    ))
}

/// Reads what a planner may say of an app, of its workers and of itself, and forgets it again; whether it was one of them.
pub(crate) fn check_answer(json: &[u8]) -> bool {
    let results = serde_json::from_slice::<message::Results<'_>>(json);
    let ended = results.as_ref().map(|results| results.ended.as_slice()).unwrap_or_default();
    for ended in ended {
        // Whatever it is, somebody who waits for it is told something.
        drop(outcome::outcome(ended));
    }
    results.is_ok()
        || serde_json::from_slice::<message::Hosts>(json).is_ok()
        || serde_json::from_slice::<message::InFlight>(json).is_ok()
        || serde_json::from_slice::<message::PlannerConfig>(json).is_ok()
}

/// Locks; nothing panics while it holds one of these locks half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
