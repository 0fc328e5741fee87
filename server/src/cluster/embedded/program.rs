//! Builds a program, which can be instantiated, from an original: compiled ([`making`]), loaded and linked once per
//! content.

use super::compiled::Compiled;
use super::linker;
use super::lock;
use super::making::{self, Made};
use super::run::RunState;
use crate::budget::{Account, Budget, Charge, Frees, Kind};
use crate::cluster::ClusterError;
use crate::cluster::builds::{BuildConfig, Builds};
use faasm_bridge::manifest::Entry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use wasmtime::{Engine, InstancePre, Module};

/// Most cached programs; the least recently used one is evicted first.
const MAX_PROGRAMS: usize = 128;

/// How long a name's content hash is cached if other relays share the store: a call may run a version that another
/// relay replaced this long ago.
const LASTS: Duration = Duration::from_millis(250);

/// A function ready to be instantiated.
pub(super) struct Program {
    pub(super) pre: InstancePre<RunState>,
    /// How to run it.
    pub(super) entry: Entry,
    /// Its imports that only a Faasm cluster implements, as text; such a function is not run.
    pub(super) cluster_only: Option<String>,
    /// Charged to the user whose request compiled it.
    charge: Charge,
}

impl Program {
    /// Loads and links compiled code.
    fn load(engine: &Engine, account: &Account, made: Made) -> Result<Self, ClusterError> {
        let refused = |error: wasmtime::Error| ClusterError::NotAFunction(format!("{error:#}"));
        let Made { head, code } = made;
        let charge = account.charge(Kind::Code, code.len())?;
        // SAFETY: the bytes are the output of `Engine::precompile_module`, produced in this process or in a child that
        // runs this very program, or read from a folder that only this user can write to; see `compiled.rs`.
        let module = unsafe { Module::deserialize(engine, &code) }.map_err(|error| {
            // The allocator's error names the resource and its limit.
            let cause = error.chain().map(ToString::to_string).find(|why| why.contains("allocator"));
            match cause {
                Some(why) => ClusterError::NotAFunction(format!(
                    "the function exceeds the limits of an instance ({why}): link it with less memory, or raise \
                     guests.memory_bytes and guests.table_elements"
                )),
                None => refused(error),
            }
        })?;
        let pre = linker::link(engine, &module).map_err(refused)?;
        Ok(Self { pre, entry: head.entry, cluster_only: head.cluster_only, charge })
    }
}

/// Builds programs from originals.
struct Builder {
    engine: Engine,
    compiled: Arc<Compiled>,
    builds: Builds,
    config: BuildConfig,
    budget: Budget,
}

impl Builder {
    /// Builds a program once this user has a build permit. The original is read only then, to save memory.
    async fn build(
        &self,
        user: &str,
        original: impl Future<Output = Result<Arc<Vec<u8>>, ClusterError>>,
    ) -> Result<Arc<Program>, ClusterError> {
        let permit = self.builds.acquire(user).await?;
        let original = original.await?;
        let account = self.budget.user(user);
        let _charge = account.charge(Kind::Build, original.len())?;
        let (engine, compiled, wasm, payer) = (
            self.engine.clone(),
            Arc::clone(&self.compiled),
            Arc::clone(&original),
            account.clone(),
        );
        let kept = Builds::on_thread(&permit, move || {
            compiled.load(&wasm).map(|made| Program::load(&engine, &payer, made))
        });
        if let Some(Ok(program)) = kept.await? {
            return Ok(Arc::new(program));
        }
        let made = match &self.config.program {
            Some(program) => making::by_child(program, &self.config, &account, &original).await?,
            None => {
                let (engine, wasm) = (self.engine.clone(), Arc::clone(&original));
                let made = Builds::on_thread(&permit, move || Made::of(&engine, &wasm)).await?;
                made.map_err(ClusterError::NotAFunction)?
            }
        };
        let (engine, compiled) = (self.engine.clone(), Arc::clone(&self.compiled));
        let program = Builds::on_thread(&permit, move || {
            compiled.keep(&original, &made);
            Program::load(&engine, &account, made)
        });
        Ok(Arc::new(program.await??))
    }
}

type ProgramCell = Arc<OnceCell<Arc<Program>>>;

/// The compiled functions, by content hash of the original.
pub(super) struct Programs {
    builder: Builder,
    is_shared: bool,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<String, (u64, ProgramCell)>,
    /// Counts uses, for the least recently used slot.
    clock: u64,
    /// Content hashes by user and name, so that most calls do not query the store.
    names: HashMap<String, HashMap<String, Name>>,
    /// Counts uploads: a lookup that started before an upload is not cached.
    uploads: u64,
}

/// The content hash of a name when the store was queried.
struct Name {
    integrity: String,
    asked: Instant,
}

/// A cached program.
pub(super) struct Known {
    pub(super) program: Arc<Program>,
    /// The content hash to compare with the store's, if another relay may have replaced the function since.
    pub(super) to_check: Option<String>,
}

impl Programs {
    /// `is_shared`: whether other relays upload functions to the same store.
    pub(super) fn new(
        engine: Engine,
        compiled: Compiled,
        config: BuildConfig,
        budget: Budget,
        is_shared: bool,
    ) -> Arc<Self> {
        let (builds, compiled) = (Builds::new(&config), Arc::new(compiled));
        let builder = Builder { engine, compiled, builds, config, budget: budget.clone() };
        let programs = Arc::new(Self { builder, is_shared, cache: Mutex::default() });
        let frees: Arc<dyn Frees> = Arc::clone(&programs) as _;
        budget.ask(Arc::downgrade(&frees));
        programs
    }

    /// The program of this name if it is cached and was not replaced through this relay.
    pub(super) fn known(&self, user: &str, function: &str) -> Option<Known> {
        let mut cache = lock(&self.cache);
        let Cache { slots, clock, names, .. } = &mut *cache;
        let name = names.get_mut(user)?.get_mut(function)?;
        let (used, slot) = slots.get_mut(&name.integrity)?;
        *clock += 1;
        *used = *clock;
        let program = slot.get().cloned()?;
        let is_old = self.is_shared && name.asked.elapsed() >= LASTS;
        Some(Known { program, to_check: is_old.then(|| name.integrity.clone()) })
    }

    /// Records that the store still has this content hash under the name.
    pub(super) fn confirm(&self, user: &str, function: &str, integrity: &str) {
        let mut cache = lock(&self.cache);
        let name = cache.names.get_mut(user).and_then(|names| names.get_mut(function));
        if let Some(name) = name.filter(|name| name.integrity == integrity) {
            name.asked = Instant::now();
        }
    }

    /// The number of uploads so far.
    pub(super) fn uploads(&self) -> u64 {
        lock(&self.cache).uploads
    }

    /// Caches a name's content hash, unless there was an upload after `uploads`.
    pub(super) fn learn(&self, user: &str, function: &str, integrity: String, uploads: u64) {
        let mut cache = lock(&self.cache);
        if cache.uploads != uploads {
            return;
        }
        // Most of these names belong to evicted programs.
        if cache.names.values().map(HashMap::len).sum::<usize>() >= 2 * MAX_PROGRAMS {
            cache.names.clear();
        }
        let name = Name { integrity, asked: Instant::now() };
        cache.names.entry(user.to_owned()).or_default().insert(function.to_owned(), name);
    }

    /// Forgets a name, because its function was replaced.
    pub(super) fn forget(&self, user: &str, function: &str) {
        let mut cache = lock(&self.cache);
        cache.uploads += 1;
        if let Some(names) = cache.names.get_mut(user) {
            names.remove(function);
        }
    }

    /// The program of this content hash; built at most once, by the first of concurrent callers. `original` is read
    /// only when the build starts.
    pub(super) async fn compile(
        &self,
        user: &str,
        integrity: String,
        original: impl Future<Output = Result<Arc<Vec<u8>>, ClusterError>>,
    ) -> Result<Arc<Program>, ClusterError> {
        let slot = self.slot(&integrity);
        let built = slot.get_or_try_init(|| self.builder.build(user, original)).await.cloned();
        if built.is_err() {
            lock(&self.cache).slots.remove(&integrity);
        }
        built
    }

    fn slot(&self, integrity: &str) -> ProgramCell {
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

/// Evicts programs without runs, of this user or of all; the next call loads them again.
impl Frees for Programs {
    fn free(&self, user: Option<&str>) {
        let mut cache = match self.cache.try_lock() {
            Ok(cache) => cache,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        cache.slots.retain(|_, (_, slot)| {
            let Some(program) = slot.get() else { return true };
            let is_meant = user.is_none_or(|user| program.charge.account().is(user));
            !is_meant || Arc::strong_count(program) > 1 || Arc::strong_count(slot) > 1
        });
    }
}
