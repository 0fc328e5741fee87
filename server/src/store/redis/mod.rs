//! All stores in one Redis, which several relays share: together they are one relay, and with a Faasm cluster on the same
//! Redis their state is the workers'.
//!
//! | key | type | value |
//! |---|---|---|
//! | `USER_KEY` | string | a state value |
//! | | list | appended elements |
//! | `{faasm-relay}:function:USER/FUNCTION` | hash | `integrity` and `wasm` |
//! | `{faasm-relay}:file:PATH` | string | a shared file |
//!
//! The journal's keys are in `journal.rs`, those of locks in `locks.rs`. One Redis or its failover, not a Redis Cluster: changes span keys that are not in one slot.

mod announcements;
mod journal;
mod keys;
mod link;
mod links;
mod locks;
mod notes;
mod presence;
mod state;

pub use state::MAX_VALUE_BYTES as MAX_REDIS_VALUE_BYTES;

use super::{
    Changes, FileStore, FunctionStore, SessionKey, StoreError, StoredFunction, is_valid_path,
};
use faasm_bridge::wire::RequestId;
use futures_util::future::BoxFuture;
use keys::{file_key, function_key};
use link::{Question, RedisConnection, Repeat};
use links::Links;
use notes::Notes;
use presence::Clock;
use redis::{Client, Cmd, IntoConnectionInfo};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For Redis to answer when a relay starts.
const START: Duration = Duration::from_secs(15);

/// A script of the parts that are named, one after the other.
macro_rules! script {
    ($($part:literal),+) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $part))),+)))
    };
}
use script;

/// Functions, state, files and the journal in one Redis; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Links>,
    /// Another connection, which nothing large holds up.
    presence: RedisConnection,
    /// What this relay is called: another name in each process.
    relay: Arc<str>,
    /// How long a session is kept that nobody carries.
    session_kept: Duration,
    notes: Notes,
    changes: Arc<Changes>,
    clock: Mutex<Clock>,
    /// Sessions of this relay. Some of another relay may be among them.
    held: Mutex<HashMap<SessionKey, Held>>,
}

/// What a relay has of a session.
#[derive(Debug, Default)]
struct Held {
    /// Which of the relay's holds on the session: 0 since it began here, another number each time that it is taken up.
    hold: u64,
    /// Requests that have an entry.
    begun: BTreeSet<RequestId>,
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, HashMap<SessionKey, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a session lasts without its relay, milliseconds.
    fn lasting(&self) -> u64 {
        presence::milliseconds(self.session_kept.saturating_add(presence::MARGIN))
    }
}

/// Where Redis is, and how it is used.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[USER@]HOST[:PORT][/DATABASE]`; `rediss://` with TLS, `unix://PATH` over a socket.
    pub address: String,
    pub password: Option<String>,
    /// How long a session is kept that nobody carries.
    pub session_kept: Duration,
    /// Most bytes of results that wait for Redis; more of them are unknown to other relays.
    pub waiting_bytes: usize,
}

impl RedisConfig {
    /// Without a password, and with sessions kept as long as by default.
    pub fn new(address: impl Into<String>) -> Self {
        let session_kept = crate::config::Timings::default().session_kept;
        let waiting_bytes = notes::MAX_NOTE_BYTES;
        Self { address: address.into(), password: None, session_kept, waiting_bytes }
    }

    /// Whether this can be an address.
    ///
    /// # Errors
    /// What is wrong with it; not the address itself, which may have a password.
    pub fn check(&self) -> Result<(), String> {
        self.client().map(drop)
    }

    /// Whether the address itself has a password.
    pub fn has_password(&self) -> bool {
        let info = self.address.as_str().into_connection_info();
        info.is_ok_and(|info| info.redis_settings().password().is_some())
    }

    fn client(&self) -> Result<Client, String> {
        let info = self.address.as_str().into_connection_info();
        let mut info = info.map_err(|error| {
            format!("{error}; give it as redis://HOST:6379, rediss://HOST:6379 or unix:///PATH")
        })?;
        if let Some(password) = &self.password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        Client::open(info).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may have a password.
        f.debug_struct("RedisConfig").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to a Redis.
    ///
    /// To be called within a tokio runtime; the store's tasks end with its last handle.
    ///
    /// # Errors
    /// When the address is wrong, or Redis does not answer within some seconds, refuses, or is a Redis Cluster.
    pub async fn connect(config: &RedisConfig) -> Result<Self, StoreError> {
        let action = "read the address of Redis";
        let client = config.client().map_err(|reason| StoreError::Backend { action, reason })?;
        let session_kept = config.session_kept;
        let link = Arc::new(Links::new(client.clone()));
        let mut info = Cmd::new();
        info.arg("INFO");
        let question = Question::Command(info);
        let info: String = link.ask_for(START, "reach Redis", Repeat::Reads, 0, question).await?;
        check_server_info(&info)?;
        let relay = name()?;
        let presence = RedisConnection::new(client.clone());
        let clock = Mutex::new(presence::beat(&presence, &relay, START).await?);
        let changes = Arc::<Changes>::default();
        tokio::spawn(announcements::hear(client, Arc::clone(&relay), Arc::downgrade(&changes)));
        let inner = Arc::new(Inner {
            presence,
            session_kept,
            notes: Notes::start(Arc::clone(&link), Arc::clone(&relay), config.waiting_bytes),
            link,
            relay,
            changes,
            clock,
            held: Mutex::default(),
        });
        tokio::spawn(presence::keep(Arc::downgrade(&inner)));
        tokio::spawn(presence::keep_sessions(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    fn link(&self) -> &Links {
        &self.inner.link
    }

    /// Who hears of values that other relays write.
    pub(super) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.inner.changes)
    }

    fn relay(&self) -> &str {
        &self.inner.relay
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SessionKey, Held>> {
        self.inner.held()
    }

    fn lasting(&self) -> u64 {
        self.inner.lasting()
    }
}

/// A name that no other relay has, nor had.
fn name() -> Result<Arc<str>, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Backend {
        action: "name this relay",
        reason: error.to_string(),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)).into())
}

/// What Redis says of itself, as far as it matters here.
fn check_server_info(info: &str) -> Result<(), StoreError> {
    let is = |line: &str| info.lines().any(|found| found.trim() == line);
    if is("cluster_enabled:1") {
        return Err(StoreError::Backend {
            action: "use this Redis",
            reason: "it is a Redis Cluster, whose changes cannot span keys; give one Redis".into(),
        });
    }
    if is("aof_enabled:0") {
        tracing::warn!(
            "Redis keeps no append-only file: what it was told last is gone when it ends; see docs/operating.md"
        );
    }
    let evicts = info.lines().any(|line| {
        line.strip_prefix("maxmemory_policy:").is_some_and(|policy| policy.trim() != "noeviction")
    });
    if evicts && !is("maxmemory:0") {
        tracing::warn!("Redis drops keys where memory is short: set maxmemory-policy noeviction");
    }
    Ok(())
}

impl FunctionStore for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let question = Question::Command(Cmd::hget(function_key(user, function), "integrity"));
            self.link().ask("look up a function", Repeat::Reads, 0, question).await
        })
    }

    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        Box::pin(async move {
            let fields = &["integrity", "wasm"];
            let question = Question::Command(Cmd::hmget(function_key(user, function), fields));
            let bytes = crate::cluster::MAX_FUNCTION_BYTES as u64;
            let found: (Option<String>, Option<Vec<u8>>) =
                self.link().ask("read a function", Repeat::Reads, bytes, question).await?;
            Ok(match found {
                (Some(integrity), Some(wasm)) => Some(StoredFunction { integrity, wasm }),
                _ => None,
            })
        })
    }

    fn put<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
        stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let fields = [("integrity", stored.integrity.as_bytes()), ("wasm", &stored.wasm)];
            let question =
                Question::Command(Cmd::hset_multiple(function_key(user, function), &fields));
            let bytes = stored.wasm.len() as u64;
            let () = self.link().ask("store a function", Repeat::Once, bytes, question).await?;
            Ok(())
        })
    }
}

impl FileStore for RedisStore {
    fn read_file<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            if !is_valid_path(path) {
                return Ok(None);
            }
            let question = Question::Command(Cmd::get(file_key(path)));
            let bytes = super::MAX_FILE_BYTES as u64;
            self.link().ask("read a file", Repeat::Reads, bytes, question).await
        })
    }

    fn file_bytes<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        Box::pin(async move {
            if !is_valid_path(path) {
                return Ok(None);
            }
            let question = Question::Command(Cmd::strlen(file_key(path)));
            // An empty file is as long as none: reading tells.
            let bytes: u64 = self.link().ask("look up a file", Repeat::Reads, 0, question).await?;
            Ok(Some(bytes))
        })
    }

    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let length = bytes.len() as u64;
            let question = Question::Command(Cmd::set(file_key(path), bytes));
            let () = self.link().ask("store a file", Repeat::Once, length, question).await?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod slow_tests;
#[cfg(test)]
mod tests;
