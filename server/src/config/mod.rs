//! Configuration of a relay.
//!
//! This module has the arguments of [`crate::serve`]; `settings/` creates them from a file, the environment and flags.

mod limits;
pub mod settings;

pub use limits::Limits;

use crate::auth::Authority;
use crate::budget::{Bounds, Budget};
use crate::cluster::embedded::{Embedded, EmbeddedConfig};
use crate::cluster::faasm::{Faasm, FaasmConfig, Keys, Upload};
use crate::cluster::{Cluster, ClusterError};
use crate::store::{Changes, FileStore, Journal, Locks, StateStore, StoreError, Stores};
use crate::tls::Tls;
use faasm_bridge::faasm::RESERVED;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of static files, if any.
    pub web: Option<PathBuf>,
    /// Origins of other sites whose pages may use this relay, as `https://example.org`.
    pub allow_origins: Vec<String>,
    /// Host names of this relay besides those of the loopback interface, with or without a port.
    pub allow_hosts: Vec<String>,
    pub timings: Timings,
    pub limits: Limits,
    /// Checks tokens. `None` means an open relay: every client may act as any user.
    pub tokens: Option<Authority>,
    /// Certificate and key; `None` means unencrypted connections.
    pub tls: Option<Tls>,
    /// The budget for users' memory, shared with the cluster.
    pub budget: Budget,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            web: None,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            timings: Timings::default(),
            limits: Limits::default(),
            tokens: None,
            tls: None,
            budget: Budget::new(Bounds::NONE),
        }
    }
}

/// Time limits and intervals.
#[derive(Clone, Debug)]
pub struct Timings {
    /// Time limit for the first frame of a WebSocket.
    pub handshake: Duration,
    /// Interval between two pings to a page over a WebSocket, and between two heartbeats over HTTP.
    pub ping: Duration,
    /// Time without data from a page after which its connection is closed. Over HTTP a page sends data at least twice
    /// in this time.
    pub silence: Duration,
    /// How long a session without a connection is kept.
    pub session_kept: Duration,
    /// Time limit for running calls after the relay is asked to stop.
    pub drain: Duration,
    /// Time limit for open connections after `drain`.
    pub grace: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            silence: Duration::from_secs(90),
            // As long as a page tries to reconnect by default.
            session_kept: Duration::from_secs(300),
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// The cluster and the stores behind the relay; clones are handles to the same ones.
#[derive(Clone)]
pub struct App {
    pub cluster: Arc<dyn Cluster>,
    pub state: Arc<dyn StateStore>,
    pub files: Arc<dyn FileStore>,
    pub journal: Journal,
    pub locks: Locks,
    /// Notifies subscribers of values written through these stores or by the cluster.
    pub changes: Arc<Changes>,
    /// Translates keys, because a Faasm cluster uses other keys than pages.
    pub keys: Option<Keys>,
}

/// Why a relay in front of a Faasm cluster does not support locks.
const FAASM_HAS_NO_LOCKS: &str = "this relay is in front of a Faasm cluster, whose workers would not see a lock that it holds; run functions that use __faasm_lock_state_global on a relay with an embedded cluster";

impl App {
    /// An embedded cluster over these stores.
    ///
    /// # Errors
    /// See [`Embedded::new`].
    pub fn embedded(config: EmbeddedConfig, stores: Stores) -> Result<Self, ClusterError> {
        let stores = stores.for_app();
        let Stores { state, files, journal, locks, changes, .. } = stores.clone();
        let cluster = Arc::new(Embedded::new(config, stores)?);
        Ok(Self { cluster, state, files, journal, locks, changes, keys: None })
    }

    /// Rejects keys that are reserved for the relay.
    ///
    /// # Errors
    /// [`StoreError::Reserved`]
    pub fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if self.keys.is_some() && key.starts_with(RESERVED) {
            return Err(StoreError::Reserved { key: key.to_owned() });
        }
        Ok(())
    }

    /// A Faasm cluster with these stores; see [`Upload::with_cluster_state`].
    pub fn faasm(config: FaasmConfig, upload: Option<Arc<Upload>>, stores: Stores) -> Self {
        let Stores { functions, state, files, journal, changes, .. } = stores.for_app();
        let keys = Some(Keys::new(config.trusted.clone(), Arc::clone(&state)));
        let cluster = Arc::new(Faasm::new(config, upload, functions, Arc::clone(&state)));
        let locks = Locks::refused(FAASM_HAS_NO_LOCKS);
        Self { cluster, state, files, journal, locks, changes, keys }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
