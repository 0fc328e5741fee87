//! The embedded cluster: functions run in this process, with wasmtime.
//!
//! * `engine.rs`: the wasmtime engine and its instance pool.
//! * `making.rs`: compiles an original, in a child process if a program for it is configured.
//! * `program.rs`: loads and links compiled code, once per content; `compiled.rs`: its cache on disk.
//! * `linker.rs`: binds imports to the guest kernel of `faasm-bridge`.
//! * `host.rs`: the kernel's host trait (memory, clocks, randomness); `printing.rs`: logs what functions print.
//! * `operations.rs`: performs operations while a function is suspended.
//! * `chain.rs`: chained calls; `failures.rs`: logs failed ones; `tree.rs`: deadline and cancellation of a call tree.
//! * `permits.rs`, `turns.rs`: fair sharing of instances and processors among users; `limiter.rs`, `tiers.rs`: memory
//!   within the user's budget.
//! * `extension.rs`: extension point for programs that embed the cluster.
//! * `run.rs`: one run, from instantiation to its end; `entry.rs`: its entry; `ending.rs`: its outcome.
//!
//! To embed it in another program:
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig, Printing};
//! use faasm_relay::cluster::{Call, Cluster, Outcome};
//! use faasm_relay::store::Stores;
//! use std::sync::Arc;
//!
//! let printing = Printing::Capture(Arc::new(|user, function, stream, bytes| {
//!     let text = String::from_utf8_lossy(bytes);
//!     assert!(text.is_empty(), "{user}/{function} printed {text} to {stream:?}");
//! }));
//! let stores = Stores::in_memory()?;
//! let config = EmbeddedConfig { printing, ..EmbeddedConfig::default() };
//! let cluster = Embedded::new(config, stores.clone())?;
//! // (module (memory 1) (func (export "_start")))
//! let wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
//! cluster.upload("ada".into(), "f".into(), wasm.to_vec()).await?;
//! match cluster.call(Call::new("ada", "f", b"input".to_vec())).await? {
//!     Outcome::Returned(result) => assert_eq!(result.return_value, 0),
//!     Outcome::Failed { code, message } => panic!("{code}: {message}"),
//! }
//! assert_eq!(stores.state.read("ada", "key", 0, None).await?.size, None);
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```

mod chain;
mod compiled;
mod ending;
mod engine;
mod entry;
mod extension;
mod failures;
mod host;
mod limiter;
mod linker;
mod locks;
mod making;
mod operations;
mod permits;
mod printing;
mod program;
mod run;
mod tiers;
mod tree;
mod turns;

pub use extension::{Answer, Extension, Import, Loaded, Refusal};
pub(in crate::cluster) use making::compile;

use super::builds::BuildConfig;
use super::{Call, Cluster, ClusterError, Outcome, Uploaded, Usage};
use crate::budget::{Bounds, Budget};
use crate::store::{StoredFunction, Stores};
use chain::Origin;
use compiled::Compiled;
use faasm_bridge::guest::Stream;
use futures_util::future::BoxFuture;
use locks::Holding;
use permits::InstancePermits;
use printing::Printed;
use program::{Known, Program, Programs};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tiers::Tiers;
use turns::Turns;
use wasmtime::Engine;

/// Interval at which running functions yield.
const TICK: Duration = Duration::from_millis(10);

/// Receives what a guest prints: user, function, stream and bytes.
///
/// It is called during a host call: it must not block or use the cluster.
pub type PrintSink = Arc<dyn Fn(&str, &str, Stream, &[u8]) + Send + Sync>;

/// Destination of guests' standard output and error.
#[derive(Clone)]
pub enum Printing {
    /// To the log, with user and function.
    Log,
    /// To this process's own standard output and error.
    Inherit,
    /// To a callback.
    Capture(PrintSink),
}

impl std::fmt::Debug for Printing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Printing::Log => "Log",
            Printing::Inherit => "Inherit",
            Printing::Capture(_) => "Capture(..)",
        })
    }
}

/// Settings of the embedded cluster.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Time limit of a call tree.
    pub call_timeout: Duration,
    /// Memory limit of an instance, bytes.
    pub max_memory: usize,
    /// Limit of elements in a table.
    pub max_table_elements: usize,
    /// Limit of concurrent instances; a call that needs another one fails.
    pub max_instances: usize,
    /// Limit of concurrent instances of one user.
    pub max_user_instances: usize,
    /// Limit of the depth of chained calls.
    pub max_chain_depth: usize,
    /// Limit of concurrent chained calls in one call tree.
    pub max_chained: usize,
    /// Cache folder for compiled code, created if missing and used for nothing else; `None` disables the cache.
    pub compiled: Option<PathBuf>,
    /// How functions are built.
    pub builds: BuildConfig,
    pub printing: Printing,
    /// Budget for memory that this cluster holds for users.
    pub budget: Budget,
    /// How long state that functions wrote but did not push is kept after the user's last run.
    pub unsent_kept: Duration,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(60),
            max_memory: 1024 * 1024 * 1024,
            max_table_elements: 1 << 20,
            max_instances: 2048,
            max_user_instances: 2048,
            max_chain_depth: 64,
            max_chained: 1024,
            compiled: None,
            builds: BuildConfig::default(),
            printing: Printing::Log,
            budget: Budget::new(Bounds::NONE),
            unsent_kept: Duration::from_secs(300),
        }
    }
}

/// The embedded cluster; clones are handles to the same one.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// State shared by all runs.
struct Inner {
    config: EmbeddedConfig,
    engine: Engine,
    programs: Arc<Programs>,
    stores: Stores,
    /// Permits for instances.
    permits: Arc<InstancePermits>,
    /// Processors.
    turns: Arc<Turns>,
    /// This host's copy of each user's state.
    tiers: Arc<Tiers>,
    /// Cluster-wide locks that its runs hold.
    holding: Arc<Holding>,
    printed: Arc<Printed>,
}

impl Embedded {
    /// Starts a cluster. Its ticking thread ends with the last handle.
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly or start a thread.
    pub fn new(config: EmbeddedConfig, stores: Stores) -> Result<Self, ClusterError> {
        let engine = engine::engine(&config)
            .map_err(|error| ClusterError::Internal(format!("{error:#}")))?;
        tick(&engine).map_err(|error| ClusterError::Internal(error.to_string()))?;
        let compiled = Compiled::open(&engine, config.compiled.as_deref());
        let is_shared = stores.functions.is_shared();
        let (builds, budget) = (config.builds.clone(), config.budget.clone());
        let programs = Programs::new(engine.clone(), compiled, builds, budget, is_shared);
        let tiers = Tiers::new(config.budget.clone(), config.unsent_kept);
        Tiers::start_eviction(&tiers).map_err(|error| ClusterError::Internal(error.to_string()))?;
        let holding = Holding::new(stores.locks.clone())?;
        let permits = InstancePermits::new(config.max_instances, config.max_user_instances);
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let turns = Turns::new(processors);
        let printed = Arc::default();
        let inner =
            Inner { config, engine, programs, stores, permits, turns, tiers, holding, printed };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The stores of its functions, state and files.
    pub fn stores(&self) -> &Stores {
        &self.inner.stores
    }
}

/// Advances the engine's epoch for as long as the engine lives.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticking = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("epoch".into()).spawn(ticking).map(drop)
}

impl Inner {
    /// The compiled function; `None` if it was never uploaded.
    async fn find(&self, user: &str, function: &str) -> Result<Option<Arc<Program>>, ClusterError> {
        match self.programs.known(user, function) {
            Some(Known { program, to_check: None }) => return Ok(Some(program)),
            Some(Known { program, to_check: Some(integrity) }) => {
                let found = self.stores.functions.integrity(user, function).await?;
                if found.as_ref() == Some(&integrity) {
                    self.programs.confirm(user, function, &integrity);
                    return Ok(Some(program));
                }
                self.programs.forget(user, function);
            }
            None => {}
        }
        let uploads = self.programs.uploads();
        let functions = &self.stores.functions;
        let Some(integrity) = functions.integrity(user, function).await? else { return Ok(None) };
        let original = async {
            match functions.get(user, function).await? {
                Some(stored) if stored.integrity == integrity => Ok(Arc::new(stored.wasm)),
                _ => Err(ClusterError::Busy(format!(
                    "another version of `{function}` was uploaded just now: try again"
                ))),
            }
        };
        let program = self.programs.compile(user, integrity.clone(), original).await?;
        self.programs.learn(user, function, integrity, uploads);
        Ok(Some(program))
    }
}

impl Cluster for Embedded {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let (origin, root) = Origin::root(&self.inner.config, &call);
        run::root(run::call(Arc::clone(&self.inner), call, origin), root)
    }

    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let uploaded = Uploaded::of(&wasm);
            let integrity = uploaded.integrity.clone();
            // Compiles before storing, so that stored functions can run.
            let wasm = Arc::new(wasm);
            let original = std::future::ready(Ok(Arc::clone(&wasm)));
            inner.programs.compile(&user, integrity.clone(), original).await?;
            let wasm = Arc::unwrap_or_clone(wasm);
            inner
                .stores
                .functions
                .put(&user, &function, StoredFunction { integrity, wasm })
                .await?;
            inner.programs.forget(&user, &function);
            Ok(uploaded)
        })
    }

    fn integrity(
        &self,
        user: String,
        function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.stores.functions.integrity(&user, &function).await?) })
    }

    fn usage(&self) -> Option<Usage> {
        let permits = &self.inner.permits;
        Some(Usage { instances: permits.taken(), most: permits.most() })
    }
}

/// Locks a mutex; ignores poisoning, since no holder panics in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
