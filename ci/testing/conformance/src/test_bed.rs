//! Shared by all columns: relays with embedded clusters in this process, over one set of stores, in which every user
//! has the suite's functions.

use crate::case::{After, Case};
use crate::cases::HOST_ONLY;
use crate::functions::Folders;
use crate::outcome::Left;
use anyhow::{Context as _, Result, bail};
use faasm_asyncify::faasm::chained_names;
use faasm_bridge::guest::Stream;
use faasm_bridge::state::Chunk;
use faasm_relay::cluster::Cluster;
use faasm_relay::cluster::embedded::{EmbeddedConfig, Printing};
use faasm_relay::store::{
    FileStore, FunctionStore, StateStore, StoreError, StoredFunction, Stores,
};
use faasm_relay::{App, Config, integrity, serve};
use futures_util::future::{BoxFuture, pending};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// Time limit of a call, more than any case needs on a slow machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// Time limit of calls in cases that wait for it to expire.
pub const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Above the length of any list of a case.
const ALL: u32 = 1_000_000;

/// Suffix of a variant of a function that omits everything a Faasm cluster does not support.
const FOR_FAASM: &str = "_for_faasm";

/// The suite's functions by name; the same for every user.
struct Functions(HashMap<String, StoredFunction>);

impl FunctionStore for Functions {
    fn is_shared(&self) -> bool {
        false
    }

    fn integrity<'a>(
        &'a self,
        _user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let found = self.0.get(function).map(|stored| stored.integrity.clone());
        Box::pin(async { Ok(found) })
    }

    fn get<'a>(
        &'a self,
        _user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        let found = self.0.get(function).cloned();
        Box::pin(async { Ok(found) })
    }

    fn put<'a>(
        &'a self,
        _user: &'a str,
        _function: &'a str,
        _stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let reason = "the suite's functions are fixed".to_owned();
        Box::pin(async { Err(StoreError::Backend { action: "store a function", reason }) })
    }
}

/// The output that functions printed in the cluster, by user, function and stream.
#[derive(Default)]
struct Printed(Mutex<HashMap<(String, String, bool), Vec<u8>>>);

impl Printed {
    fn add(&self, user: &str, function: &str, stream: Stream, bytes: &[u8]) {
        let key = (user.to_owned(), function.to_owned(), stream == Stream::Stdout);
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        printed.entry(key).or_default().extend(bytes);
    }

    fn take(&self, user: &str, function: &str, stream: Stream) -> String {
        let key = (user.to_owned(), function.to_owned(), stream == Stream::Stdout);
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&printed.remove(&key).unwrap_or_default()).into_owned()
    }
}

/// A relay and its cluster.
struct Relay {
    cluster: Arc<dyn Cluster>,
    url: String,
}

/// Relays, stores, and captured output.
pub struct TestBed {
    stores: Stores,
    originals: HashMap<String, StoredFunction>,
    printed: Arc<Printed>,
    long_timeout: Relay,
    short_timeout: Relay,
}

impl std::fmt::Debug for TestBed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestBed").field("url", &self.long_timeout.url).finish_non_exhaustive()
    }
}

impl TestBed {
    /// Starts the relays, with the shared files of all cases.
    pub async fn start(folders: &Folders, cases: &[Case]) -> Result<Self> {
        let mut functions = HashMap::new();
        for (name, wasm) in folders.originals()? {
            functions.insert(name, StoredFunction { integrity: integrity(&wasm), wasm });
        }
        let originals = functions.clone();
        let stores = Stores { functions: Arc::new(Functions(functions)), ..Stores::in_memory()? };
        for (path, bytes) in cases.iter().flat_map(|case| &case.before.files) {
            stores.files.write_file(path, bytes.clone()).await?;
        }
        let printed: Arc<Printed> = Arc::default();
        let long_timeout = relay(folders, &stores, &printed, TIMEOUT, Vec::new()).await?;
        let origin = vec![long_timeout.url.clone()];
        let short_timeout = relay(folders, &stores, &printed, SHORT_TIMEOUT, origin).await?;
        Ok(Self { stores, originals, printed, long_timeout, short_timeout })
    }

    /// Whether this function exists.
    pub fn has(&self, function: &str) -> bool {
        self.originals.contains_key(function)
    }

    /// URL of the site with the suite's pages.
    pub fn url(&self) -> &str {
        &self.long_timeout.url
    }

    /// URL of the relay for a case.
    pub fn relay_of(&self, case: &Case) -> &str {
        if case.short_timeout { &self.short_timeout.url } else { &self.long_timeout.url }
    }

    /// The cluster for a case.
    pub fn cluster_of(&self, case: &Case) -> &dyn Cluster {
        let relay = if case.short_timeout { &self.short_timeout } else { &self.long_timeout };
        relay.cluster.as_ref()
    }

    /// The output of the function since the last call: standard output, and standard error.
    pub fn take_printed(&self, user: &str, function: &str) -> (String, String) {
        let take = |stream| self.printed.take(user, function, stream);
        (take(Stream::Stdout), take(Stream::Stderr))
    }

    /// State store of the columns without one of their own.
    pub fn state(&self) -> Arc<dyn StateStore> {
        Arc::clone(&self.stores.state)
    }

    /// The shared files of all cases.
    pub(crate) fn files(&self) -> Arc<dyn FileStore> {
        Arc::clone(&self.stores.files)
    }

    /// Name and original of a case's function, if it exists, and of the functions that its input names. With
    /// `for_faasm`, uses the variants without unsupported host calls if they exist and the case does not need such
    /// calls.
    pub(crate) fn functions_of(&self, case: &Case, for_faasm: bool) -> Vec<(String, Vec<u8>)> {
        let input = String::from_utf8_lossy(&case.input);
        let words: HashSet<&str> = input.split_whitespace().collect();
        let chained = self.originals.get(case.function).map(|stored| chained_names(&stored.wasm));
        let chained = chained.and_then(Result::ok).unwrap_or_default();
        let is_needed = |name: &str| {
            name == case.function
                || words.contains(name)
                || chained.iter().any(|chained| chained == name.as_bytes())
        };
        let wants_more = case.words().iter().any(|word| HOST_ONLY.contains(&word.as_str()));
        let needed = self.originals.iter().filter(|(name, _)| is_needed(name));
        let wasm = |name: &str, stored: &StoredFunction| {
            let without = self.originals.get(&format!("{name}{FOR_FAASM}"));
            without.filter(|_| for_faasm && !wants_more).unwrap_or(stored).wasm.clone()
        };
        needed.map(|(name, stored)| (name.clone(), wasm(name, stored))).collect()
    }

    /// Captures the output of functions.
    pub(crate) fn printing(&self) -> Printing {
        printing(&self.printed)
    }

    /// Writes the initial state of a case to the global tier.
    pub async fn prepare(&self, state: &dyn StateStore, case: &Case, user: &str) -> Result<()> {
        if case.needs.is_none() && !self.has(case.function) && case.function != MISSING_FUNCTION {
            bail!("function {} does not exist: `cargo xtask conformance` builds it", case.function);
        }
        for (key, bytes) in &case.before.values {
            let chunks = vec![Chunk { offset: 0, bytes: bytes.clone().into() }];
            state.write(user, key, bytes.len() as u64, chunks).await?;
        }
        for (key, elements) in &case.before.lists {
            for element in elements {
                state.append(user, key, element.clone()).await?;
            }
        }
        Ok(())
    }

    /// The content of the global tier for the keys that the case names.
    pub async fn left(&self, state: &dyn StateStore, case: &Case, user: &str) -> Result<Left> {
        let mut left = Vec::new();
        for after in &case.after {
            left.push(match after {
                After::Value(key, _) | After::Missing(key) => {
                    let read = state.read(user, key, 0, None).await?;
                    read.size.map(|_| read.chunk.bytes.into())
                }
                After::List(key, _) => Some(state.read_appended(user, key, ALL).await?),
            });
        }
        Ok(left)
    }
}

/// A name under which no function exists.
pub const MISSING_FUNCTION: &str = "nowhere";

fn printing(printed: &Arc<Printed>) -> Printing {
    let sink = Arc::clone(printed);
    Printing::Capture(Arc::new(move |user, function, stream, bytes| {
        sink.add(user, function, stream, bytes);
    }))
}

async fn relay(
    folders: &Folders,
    stores: &Stores,
    printed: &Arc<Printed>,
    call_timeout: Duration,
    allow_origins: Vec<String>,
) -> Result<Relay> {
    let printing = printing(printed);
    let config = EmbeddedConfig { call_timeout, printing, ..EmbeddedConfig::default() };
    let app = App::embedded(config, stores.clone()).context("starting an embedded cluster")?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a port for a relay")?;
    let url = format!("http://{}", listener.local_addr()?);
    let cluster = Arc::clone(&app.cluster);
    let config = Config { web: Some(folders.web.clone()), allow_origins, ..Config::default() };
    tokio::spawn(async move {
        if let Err(error) = serve(listener, config, app, pending()).await {
            eprintln!("a relay of the suite ended: {error}");
        }
    });
    Ok(Relay { cluster, url })
}
