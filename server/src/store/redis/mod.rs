//! All stores in one Redis. Relays that share it act as one relay; if a Faasm cluster uses the same Redis, they share
//! state with its workers.
//!
//! | key | type | value |
//! |---|---|---|
//! | `USER_KEY` | string | a state value |
//! | | list | appended elements |
//! | `{faasm-relay}:function:USER/FUNCTION` | hash | `integrity` and `wasm` |
//! | `{faasm-relay}:file:PATH` | string | a shared file |
//!
//! `journal.rs` lists the journal's keys, `locks.rs` those of locks. Supported are a single Redis and its failover, but
//! not a Redis Cluster: changes span keys of different hash slots.

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

/// Time limit for Redis when a relay starts.
const START: Duration = Duration::from_secs(15);

/// A script concatenated from the named parts.
macro_rules! script {
    ($($part:literal),+) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $part))),+)))
    };
}
use script;

/// Functions, state, files and the journal in one Redis; clones share it.
#[derive(Clone, Debug)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Links>,
    /// A separate connection on which no long transfer can delay heartbeats.
    presence: RedisConnection,
    /// The relay's id, unique for each process.
    relay: Arc<str>,
    /// How long a detached session is kept.
    session_kept: Duration,
    notes: Notes,
    changes: Arc<Changes>,
    clock: Mutex<Clock>,
    /// Sessions of this relay, some of which another relay may have acquired by now.
    held: Mutex<HashMap<SessionKey, Held>>,
}

/// This relay's record of a session.
#[derive(Debug, Default)]
struct Held {
    /// The number of this relay's acquisition: 0 if it created the session here, another one for each later
    /// acquisition.
    hold: u64,
    /// Requests that have an entry.
    begun: BTreeSet<RequestId>,
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, HashMap<SessionKey, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expiry of a session that is not refreshed, milliseconds.
    fn lasting(&self) -> u64 {
        presence::milliseconds(self.session_kept.saturating_add(presence::MARGIN))
    }
}

/// Address and settings of a Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[USER@]HOST[:PORT][/DATABASE]`; `rediss://` with TLS, `unix://PATH` over a socket.
    pub address: String,
    pub password: Option<String>,
    /// How long a detached session is kept.
    pub session_kept: Duration,
    /// Maximum bytes of results that wait for Redis; the outcomes of calls beyond it are unknown to other relays.
    pub waiting_bytes: usize,
}

impl RedisConfig {
    /// Without a password, and with the default time for detached sessions.
    pub fn new(address: impl Into<String>) -> Self {
        let session_kept = crate::config::Timings::default().session_kept;
        let waiting_bytes = notes::MAX_NOTE_BYTES;
        Self { address: address.into(), password: None, session_kept, waiting_bytes }
    }

    /// Whether this is a valid address.
    ///
    /// # Errors
    /// The reason why it is not, without the address, which may contain a password.
    pub fn check(&self) -> Result<(), String> {
        self.client().map(drop)
    }

    /// Whether the address contains a password.
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
        // The address may contain a password.
        f.debug_struct("RedisConfig").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to a Redis.
    ///
    /// To be called within a tokio runtime; the store's tasks end when its last handle is dropped.
    ///
    /// # Errors
    /// When the address is wrong, Redis does not answer within some seconds or rejects the connection, or is a Redis
    /// Cluster.
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

    /// The listeners for values that other relays write.
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

/// A unique id for this relay.
fn name() -> Result<Arc<str>, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Backend {
        action: "create an id for this relay",
        reason: error.to_string(),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)).into())
}

/// Checks the settings that Redis reports.
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
            "Redis has no append-only file: its latest changes are lost when it ends; see docs/operating.md"
        );
    }
    let evicts = info.lines().any(|line| {
        line.strip_prefix("maxmemory_policy:").is_some_and(|policy| policy.trim() != "noeviction")
    });
    if evicts && !is("maxmemory:0") {
        tracing::warn!("Redis evicts keys when memory is short: set maxmemory-policy noeviction");
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
            // Redis reports length 0 for an empty and for a missing file: the read tells them apart.
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
