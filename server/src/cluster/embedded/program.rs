//! From an original to something that can be instantiated: normalise, compile, link; once per content.

use super::linker;
use super::lock;
use super::run::RunState;
use crate::cluster::ClusterError;
use faasm_bridge::manifest::Entry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;
use wasmtime::{Engine, InstancePre, Module};

/// Most compiled functions kept; the one unused for longest goes first.
const MAX_PROGRAMS: usize = 128;

/// A function ready to be instantiated.
pub(super) struct Program {
    pub(super) pre: InstancePre<RunState>,
    /// How to run it.
    pub(super) entry: Entry,
}

impl Program {
    /// Takes a while: call it where blocking is allowed.
    fn build(engine: &Engine, original: &[u8]) -> Result<Self, ClusterError> {
        let normalised = faasm_asyncify::normalise(original)
            .map_err(|error| ClusterError::NotAFunction(error.to_string()))?;
        let refused = |error: wasmtime::Error| ClusterError::NotAFunction(format!("{error:#}"));
        let module = Module::new(engine, &normalised.wasm).map_err(refused)?;
        let pre = linker::link(engine, &module).map_err(refused)?;
        Ok(Self { pre, entry: normalised.entry })
    }
}

type Slot = Arc<OnceCell<Arc<Program>>>;

/// The compiled functions, by content hash of the original.
pub(super) struct Programs {
    engine: Engine,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<String, (u64, Slot)>,
    /// Counts uses; tells which slot was used last.
    clock: u64,
}

impl Programs {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, cache: Mutex::default() }
    }

    /// What is compiled already.
    pub(super) fn ready(&self, integrity: &str) -> Option<Arc<Program>> {
        let mut cache = lock(&self.cache);
        cache.clock += 1;
        let clock = cache.clock;
        let (used, slot) = cache.slots.get_mut(integrity)?;
        *used = clock;
        slot.get().cloned()
    }

    /// Compiles, unless it is done or under way already: then it waits for that.
    pub(super) async fn compile(
        &self,
        integrity: String,
        original: Vec<u8>,
    ) -> Result<Arc<Program>, ClusterError> {
        let slot = self.slot(&integrity);
        let engine = self.engine.clone();
        let build = async move || {
            let building =
                tokio::task::spawn_blocking(move || Program::build(&engine, &original)).await;
            let program = building.map_err(|error| {
                ClusterError::Internal(format!("compiling a function: {error}"))
            })??;
            Ok(Arc::new(program))
        };
        let built = slot.get_or_try_init(build).await.cloned();
        if built.is_err() {
            lock(&self.cache).slots.remove(&integrity);
        }
        built
    }

    fn slot(&self, integrity: &str) -> Slot {
        let mut cache = lock(&self.cache);
        cache.clock += 1;
        let clock = cache.clock;
        if !cache.slots.contains_key(integrity) && cache.slots.len() >= MAX_PROGRAMS {
            let oldest = cache.slots.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(integrity, _)| integrity.clone()) {
                cache.slots.remove(&oldest);
            }
        }
        let (used, slot) = cache.slots.entry(integrity.to_owned()).or_default();
        *used = clock;
        Arc::clone(slot)
    }
}
