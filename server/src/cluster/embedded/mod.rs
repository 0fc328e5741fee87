//! The embedded cluster: functions run in this process, with wasmtime.
//!
//! * `program.rs`: from an original to something that can be instantiated, once per content.
//! * `linker.rs`: binds imports to the guest kernel of `faasm-bridge`.
//! * `host.rs`: what the kernel needs from here: memory, clocks, randomness, printing.
//! * `chain.rs`: calls that a call starts.
//! * `run.rs`: one run, from instantiation to its end.

mod chain;
mod host;
mod linker;
mod program;
mod run;

use super::{Call, Cluster, ClusterError, Outcome, Uploaded};
use crate::integrity;
use crate::store::{FunctionStore, StateStore, StoredFunction};
use chain::Origin;
use faasm_bridge::state::LocalTier;
use futures_util::future::BoxFuture;
use program::{Program, Programs};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmtime::{Config, Engine};

/// How often running functions are asked to give way.
const TICK: Duration = Duration::from_millis(10);

/// Stack of a function. C and C++ keep most of theirs in linear memory.
const MAX_WASM_STACK_BYTES: usize = 1024 * 1024;

/// Stack of the fiber a function runs on: its own, and room for host calls.
const FIBER_STACK_BYTES: usize = 2 * MAX_WASM_STACK_BYTES;

/// Where guests' standard output and error go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printing {
    /// To the log, with user and function.
    Log,
    /// To this process's own standard output and error.
    Inherit,
}

/// Settings of the embedded cluster.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Longest any one call may take.
    pub call_timeout: Duration,
    /// Most memory any one instance may have, bytes.
    pub max_memory: usize,
    pub printing: Printing,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(60),
            max_memory: 1024 * 1024 * 1024,
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
    functions: Arc<dyn FunctionStore>,
    state: Arc<dyn StateStore>,
    /// This host's copy of each user's state.
    tiers: Mutex<HashMap<String, Arc<Mutex<LocalTier>>>>,
}

impl Embedded {
    /// Starts a cluster. Its ticking thread ends with the last handle.
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly or start a thread.
    pub fn new(
        config: EmbeddedConfig,
        functions: Arc<dyn FunctionStore>,
        state: Arc<dyn StateStore>,
    ) -> Result<Self, ClusterError> {
        let engine = engine().map_err(|error| ClusterError::Internal(format!("{error:#}")))?;
        tick(&engine).map_err(|error| ClusterError::Internal(error.to_string()))?;
        let programs = Programs::new(engine.clone());
        let tiers = Mutex::default();
        let inner = Inner { config, engine, programs, functions, state, tiers };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    Engine::new(&config)
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
        let Some(integrity) = self.functions.integrity(user, function).await? else {
            return Ok(None);
        };
        if let Some(program) = self.programs.ready(&integrity) {
            return Ok(Some(program));
        }
        match self.functions.get(user, function).await? {
            Some(stored) => self.programs.compile(stored.integrity, stored.wasm).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Cluster for Embedded {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        run::call(Arc::clone(&self.inner), call, Origin::root())
    }

    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let integrity = integrity(&wasm);
            let uploaded = Uploaded { integrity: integrity.clone(), bytes: wasm.len() };
            // Compiled before it is stored, so that what is stored can run.
            inner.programs.compile(integrity.clone(), wasm.clone()).await?;
            inner.functions.put(&user, &function, StoredFunction { integrity, wasm }).await?;
            Ok(uploaded)
        })
    }
}

/// Locks; nothing panics while it holds one of these locks half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
