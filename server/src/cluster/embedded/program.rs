//! From an original to something that can be instantiated: normalise, compile, link; once per content.

use super::compiled::Compiled;
use super::linker;
use super::lock;
use super::run::RunState;
use crate::cluster::ClusterError;
use faasm_bridge::manifest::Entry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;
use wasmtime::{Engine, InstancePre};

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
    fn build(engine: &Engine, compiled: &Compiled, original: &[u8]) -> Result<Self, ClusterError> {
        let normalised = faasm_asyncify::normalise(original)
            .map_err(|error| ClusterError::NotAFunction(error.to_string()))?;
        let refused = |error: wasmtime::Error| ClusterError::NotAFunction(format!("{error:#}"));
        let module = compiled.module(engine, &normalised.wasm).map_err(|error| {
            // It says what is too large, and how large it may be.
            let place = error.chain().map(ToString::to_string).find(|why| why.contains("allocator"));
            match place {
                Some(why) => ClusterError::NotAFunction(format!(
                    "instances have less room here ({why}): link it with less memory, or allow more with \
                     guests.memory_bytes and guests.table_elements"
                )),
                None => refused(error),
            }
        })?;
        let pre = linker::link(engine, &module).map_err(refused)?;
        Ok(Self { pre, entry: normalised.entry })
    }
}

type Slot = Arc<OnceCell<Arc<Program>>>;

/// The compiled functions, by content hash of the original.
pub(super) struct Programs {
    engine: Engine,
    compiled: Arc<Compiled>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<String, (u64, Slot)>,
    /// Counts uses; tells which slot was used last.
    clock: u64,
    /// Content hashes of functions by user and name, so that a call need not ask the store.
    names: HashMap<String, HashMap<String, String>>,
    /// Counts uploads: who learned a name before one has to ask again.
    uploads: u64,
}

impl Programs {
    pub(super) fn new(engine: Engine, compiled: Compiled) -> Self {
        Self { engine, compiled: Arc::new(compiled), cache: Mutex::default() }
    }

    /// The function of that name, where it is compiled and nobody has uploaded another one since.
    pub(super) fn known(&self, user: &str, function: &str) -> Option<Arc<Program>> {
        let mut cache = lock(&self.cache);
        let Cache { slots, clock, names, .. } = &mut *cache;
        let (used, slot) = slots.get_mut(names.get(user)?.get(function)?)?;
        *clock += 1;
        *used = *clock;
        slot.get().cloned()
    }

    /// How many uploads there were.
    pub(super) fn uploads(&self) -> u64 {
        lock(&self.cache).uploads
    }

    /// What a function was when there had been so many uploads.
    pub(super) fn learn(&self, user: &str, function: &str, integrity: String, uploads: u64) {
        let mut cache = lock(&self.cache);
        if cache.uploads != uploads {
            return;
        }
        // Those of functions that are no longer compiled are of no use.
        if cache.names.values().map(HashMap::len).sum::<usize>() >= 2 * MAX_PROGRAMS {
            cache.names.clear();
        }
        cache.names.entry(user.to_owned()).or_default().insert(function.to_owned(), integrity);
    }

    /// Another function has this name now.
    pub(super) fn forget(&self, user: &str, function: &str) {
        let mut cache = lock(&self.cache);
        cache.uploads += 1;
        if let Some(names) = cache.names.get_mut(user) {
            names.remove(function);
        }
    }

    /// Compiles, unless it is done or under way already: then it waits for that.
    pub(super) async fn compile(
        &self,
        integrity: String,
        original: Vec<u8>,
    ) -> Result<Arc<Program>, ClusterError> {
        let slot = self.slot(&integrity);
        let (engine, compiled) = (self.engine.clone(), Arc::clone(&self.compiled));
        let build = async move || {
            let building =
                tokio::task::spawn_blocking(move || Program::build(&engine, &compiled, &original))
                    .await;
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
