//! What a relay is started with.
//!
//! Here is what [`crate::serve`] takes; `settings/` is how the program gets there: from a file, the environment, and flags.

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
    /// Folder of static files; without it there are none.
    pub web: Option<PathBuf>,
    /// Origins of other sites whose pages may use this relay, as `https://example.org`.
    pub allow_origins: Vec<String>,
    /// Names this relay is reached by besides those of the loopback interface, with or without a port.
    pub allow_hosts: Vec<String>,
    pub timings: Timings,
    pub limits: Limits,
    /// Checks tokens. Without it the relay is open: whoever reaches it acts as any user.
    pub tokens: Option<Authority>,
    /// Certificate and key; without it connections are in plain text.
    pub tls: Option<Tls>,
    /// Memory that users make the relay hold; the same as that of the cluster.
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

/// How long the relay waits for what.
#[derive(Clone, Debug)]
pub struct Timings {
    /// For the first frame of a WebSocket.
    pub handshake: Duration,
    /// Between two pings to a page, and between two signs of life over HTTP.
    pub ping: Duration,
    /// Without a sign of life from a page, until its connection is given up. Over HTTP a page gives one at least twice in
    /// this time.
    pub silence: Duration,
    /// That a session without a connection is kept.
    pub session_kept: Duration,
    /// For what is running, once the relay is told to stop.
    pub drain: Duration,
    /// For open connections after that.
    pub grace: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            silence: Duration::from_secs(90),
            // As long as a page tries to come back, unless it is told otherwise.
            session_kept: Duration::from_secs(300),
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// What the relay passes requests on to; clones are handles to the same cluster and stores.
#[derive(Clone)]
pub struct App {
    pub cluster: Arc<dyn Cluster>,
    pub state: Arc<dyn StateStore>,
    pub files: Arc<dyn FileStore>,
    pub journal: Journal,
    pub locks: Locks,
    /// Who hears of values that are written with these, and by the cluster.
    pub changes: Arc<Changes>,
    /// Where state is that a Faasm cluster has under other keys than pages.
    pub keys: Option<Keys>,
}

/// Why a relay in front of a Faasm cluster gives no locks.
const FAASM_HAS_NO_LOCKS: &str = "this relay is in front of a Faasm cluster, whose workers would not see a lock that it holds; run functions that use __faasm_lock_state_global with a relay that has its own cluster";

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

    /// Refuses keys that the relay keeps for itself.
    ///
    /// # Errors
    /// [`StoreError::Reserved`]
    pub fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if self.keys.is_some() && key.starts_with(RESERVED) {
            return Err(StoreError::Reserved { key: key.to_owned() });
        }
        Ok(())
    }

    /// A Faasm cluster, with the state and the files that these stores have; see [`Upload::with_cluster_state`].
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
