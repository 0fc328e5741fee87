//! The embedded cluster: functions run in this process, with wasmtime.
//!
//! * `engine.rs`: the engine, and the memory it keeps ready.
//! * `program.rs`: from an original to something that can be instantiated, once per content; `compiled.rs`: what outlives the
//!   process of that.
//! * `linker.rs`: binds imports to the guest kernel of `faasm-bridge`.
//! * `host.rs`: what the kernel needs from here: memory, clocks, randomness; `printing.rs`: what functions print, in the log.
//! * `operations.rs`: what is done while a function is suspended.
//! * `chain.rs`: calls that a call starts; `failures.rs` names those that fail; `tree.rs`: their deadline and cancellation.
//! * `extension.rs`: what a program that embeds the cluster does itself for a call.
//! * `run.rs`: one run, from instantiation to its end; `entry.rs` and `ending.rs`: where it begins, and how it ended.
//!
//! In another program:
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
mod linker;
mod locks;
mod operations;
mod printing;
mod program;
mod run;
mod tree;

pub use extension::{Answer, Extension, Import, Loaded, Refusal};

use super::{Call, Cluster, ClusterError, Outcome, Uploaded, Usage};
use crate::store::{StoredFunction, Stores};
use chain::Origin;
use compiled::Compiled;
use faasm_bridge::guest::Stream;
use faasm_bridge::state::LocalTier;
use futures_util::future::BoxFuture;
use locks::Holding;
use printing::Printed;
use program::{Known, Program, Programs};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmtime::Engine;

/// How often running functions are asked to give way.
const TICK: Duration = Duration::from_millis(10);

/// Takes what a guest prints: user, function, and bytes as they came.
///
/// It is called from within a host call, while the user's local tier is locked: it may not wait, or use the cluster.
pub type PrintSink = Arc<dyn Fn(&str, &str, Stream, &[u8]) + Send + Sync>;

/// Where guests' standard output and error go.
#[derive(Clone)]
pub enum Printing {
    /// To the log, with user and function.
    Log,
    /// To this process's own standard output and error.
    Inherit,
    /// To whom it may concern.
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
    /// Longest any one call may take, with all that descends from it.
    pub call_timeout: Duration,
    /// Most memory any one instance may have, bytes.
    pub max_memory: usize,
    /// Most elements any one table may have.
    pub max_table_elements: usize,
    /// Most instances at once; a call that would need another one fails.
    pub max_instances: usize,
    /// How deep calls may chain.
    pub max_chain_depth: usize,
    /// Most chained calls that descend from one call and run at once.
    pub max_chained: usize,
    /// Folder for compiled code, which outlives the process; without it there is none. Its own, made if it is not there.
    pub compiled: Option<PathBuf>,
    pub printing: Printing,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(60),
            max_memory: 1024 * 1024 * 1024,
            max_table_elements: 1 << 20,
            max_instances: 2048,
            max_chain_depth: 64,
            max_chained: 1024,
            compiled: None,
            printing: Printing::Log,
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

/// What every run holds on to.
struct Inner {
    config: EmbeddedConfig,
    engine: Engine,
    programs: Programs,
    stores: Stores,
    /// Room for instances.
    instances: Arc<Semaphore>,
    /// This host's copy of each user's state.
    tiers: Mutex<HashMap<String, Arc<Mutex<LocalTier>>>>,
    /// What its runs hold of the cluster's locks.
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
        let programs = Programs::new(engine.clone(), compiled, is_shared);
        let tiers = Mutex::default();
        let holding = Holding::new(stores.locks.clone())?;
        let instances = Arc::new(Semaphore::new(config.max_instances.min(Semaphore::MAX_PERMITS)));
        let printed = Arc::default();
        let inner = Inner { config, engine, programs, stores, instances, tiers, holding, printed };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where its functions, state and files are.
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
    /// The local tier of `user`, shared by everything that runs for them here.
    fn tier(&self, user: &str) -> Arc<Mutex<LocalTier>> {
        let mut tiers = lock(&self.tiers);
        Arc::clone(tiers.entry(user.to_owned()).or_default())
    }

    /// The compiled function; `None` where it was never uploaded.
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
        let Some(stored) = self.stores.functions.get(user, function).await? else {
            return Ok(None);
        };
        let integrity = stored.integrity.clone();
        let program = self.programs.compile(stored.integrity, stored.wasm).await?;
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
            // Compiled before it is stored, so that what is stored can run.
            inner.programs.compile(integrity.clone(), wasm.clone()).await?;
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
        let most = self.inner.config.max_instances.min(Semaphore::MAX_PERMITS);
        let instances = most.saturating_sub(self.inner.instances.available_permits());
        Some(Usage { instances, most })
    }
}

/// Locks; nothing panics while it holds one of these locks half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
