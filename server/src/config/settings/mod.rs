//! The settings of `faasm-relay serve` and their sources, in ascending precedence: defaults, one TOML file, the
//! environment, flags.
//!
//! * `table.rs`: every setting: its key, type, bounds and description.
//! * `value.rs`: parses a value, and formats it for `--check-config`.
//! * `sources.rs`: reads the file, the environment and flags. It reports all mistakes, not only the first.

mod sources;
mod table;
mod value;

pub use sources::{Flag, Mistakes, Read, Sources};
pub use table::TABLE;
pub use value::{Field, Setting};

use super::{Limits, Timings};
use crate::auth::{Authority, KeyFile, TokenSettings};
use crate::budget::{Bounds, Budget, Disk};
use crate::cluster::BuildConfig;
use crate::cluster::embedded::EmbeddedConfig;
use crate::cluster::faasm::{Endpoint, FaasmConfig, Trusted};
use crate::store::{LOCK_LEASE, RedisConfig};
use crate::tls::Tls;
use faasm_bridge::wire::is_valid_name;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Subfolder of the data folder for compiled functions.
const COMPILED: &str = "compiled";

/// Longest file with the password of Redis, bytes.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Scopes of an app of a Faasm cluster: all calls of a page, or of one run.
const APPS: [&str; 2] = ["page", "run"];

/// Default listen address.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data: Option<PathBuf>,
    pub store: Store,
    pub web: Option<PathBuf>,
    pub allow_origins: Vec<String>,
    pub allow_hosts: Vec<String>,
    pub insecure: bool,
    pub tokens: Tokens,
    pub tls: TlsFiles,
    pub limits: Limits,
    pub state_value_bytes: usize,
    pub state: State,
    pub budget: BudgetSettings,
    pub guests: Guests,
    pub builds: BuildConfig,
    pub cluster: FaasmCluster,
    pub timings: Timings,
}

/// The store: Redis, or the folder `data`.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Address of Redis, without a password.
    pub redis: Option<String>,
    pub redis_password_file: Option<PathBuf>,
}

/// Settings of state.
#[derive(Clone, Debug)]
pub struct State {
    pub lock_lease: Duration,
    pub tier_kept: Duration,
}

/// Budgets for users' memory, where 0 is a part of the available memory, and for each user's disk space, where 0 is
/// unlimited.
#[derive(Clone, Copy, Debug)]
pub struct BudgetSettings {
    pub relay_bytes: usize,
    pub user_bytes: usize,
    pub user_disk_bytes: usize,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { relay_bytes: 0, user_bytes: 0, user_disk_bytes: 4 << 30 }
    }
}

impl BudgetSettings {
    fn bounds(self) -> Bounds {
        let given = |bytes: usize, default: u64| match bytes {
            0 => default,
            bytes => bytes as u64,
        };
        let relay = given(self.relay_bytes, Bounds::default().relay);
        Bounds { relay, user: given(self.user_bytes, relay / 4) }
    }

    fn disk(self) -> Disk {
        match self.user_disk_bytes {
            0 => Disk::default(),
            bytes => Disk::new(bytes as u64),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        let tier_kept = EmbeddedConfig::default().unsent_kept;
        Self { lock_lease: LOCK_LEASE, tier_kept }
    }
}

/// Verification of tokens; without a key the relay is open.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    pub secret_file: Option<PathBuf>,
    pub public_key_file: Option<PathBuf>,
    pub jwks_file: Option<PathBuf>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
}

/// Both or none.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// The Faasm cluster; without a planner, functions run in the embedded cluster.
#[derive(Clone, Debug)]
pub struct FaasmCluster {
    pub planner: Option<String>,
    pub upload: Option<String>,
    /// See [`Trusted`].
    pub trusted: Vec<String>,
    pub only_stored: bool,
    pub queue_time: Duration,
    pub queue: usize,
    pub request_time: Duration,
    pub connections: usize,
    pub polls: usize,
    pub poll_pause: Duration,
    pub record_graph: bool,
    pub hosts_fresh: Duration,
    pub heartbeat: Duration,
    pub worker_port: usize,
    /// `page` or `run`.
    pub app: &'static str,
}

/// Addresses of a Faasm cluster.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub planner: Endpoint,
    pub upload: Option<Endpoint>,
}

/// Limits of functions in the embedded cluster.
#[derive(Clone, Debug)]
pub struct Guests {
    pub call_time: Duration,
    pub memory_bytes: usize,
    pub table_elements: usize,
    pub instances: usize,
    pub instances_per_user: usize,
    pub chain_depth: usize,
    pub chained_calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let guests = EmbeddedConfig::default();
        let most = faasm_bridge::state::MAX_VALUE_BYTES;
        Self {
            listen: LISTEN,
            data: None,
            store: Store::default(),
            web: None,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            insecure: false,
            tokens: Tokens::default(),
            tls: TlsFiles::default(),
            limits: Limits::default(),
            state_value_bytes: usize::try_from(most).unwrap_or(usize::MAX),
            state: State::default(),
            budget: BudgetSettings::default(),
            guests: Guests {
                call_time: guests.call_timeout,
                memory_bytes: guests.max_memory,
                table_elements: guests.max_table_elements,
                instances: guests.max_instances,
                instances_per_user: 0,
                chain_depth: guests.max_chain_depth,
                chained_calls: guests.max_chained,
            },
            builds: BuildConfig::default(),
            cluster: FaasmCluster::default(),
            timings: Timings::default(),
        }
    }
}

impl Default for FaasmCluster {
    fn default() -> Self {
        Self {
            planner: None,
            upload: None,
            trusted: Vec::new(),
            only_stored: true,
            queue_time: Duration::from_secs(30),
            queue: 1024,
            request_time: Duration::from_secs(10),
            connections: 64,
            polls: 16,
            poll_pause: Duration::from_millis(100),
            record_graph: true,
            hosts_fresh: Duration::from_millis(250),
            heartbeat: Duration::from_millis(2500),
            worker_port: 8005,
            app: APPS[0],
        }
    }
}

impl FaasmCluster {
    /// The addresses of the Faasm cluster; `None` for the embedded cluster.
    ///
    /// # Errors
    /// All mistakes in the addresses.
    pub fn endpoints(&self) -> Result<Option<Endpoints>, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut read = |key: &str, text: &Option<String>| {
            let endpoint = text.as_ref()?.parse::<Endpoint>();
            endpoint.map_err(|why| mistakes.push(format!("{key}: {why}"))).ok()
        };
        let planner = read("cluster.planner", &self.planner);
        let upload = read("cluster.upload", &self.upload);
        if self.planner.is_none() && self.upload.is_some() {
            mistakes.push("cluster.upload requires cluster.planner: set both, or neither for the embedded cluster".to_owned());
        }
        match planner {
            _ if !mistakes.is_empty() => Err(mistakes),
            Some(planner) => Ok(Some(Endpoints { planner, upload })),
            None => Ok(None),
        }
    }
}

impl Settings {
    /// Configuration of a Faasm cluster with this planner.
    pub fn faasm(&self, planner: Endpoint) -> FaasmConfig {
        let cluster = &self.cluster;
        FaasmConfig {
            call_time: self.guests.call_time,
            queue_time: cluster.queue_time,
            queue: cluster.queue,
            request_time: cluster.request_time,
            connections: cluster.connections,
            polls: cluster.polls,
            poll_pause: cluster.poll_pause,
            output_bytes: self.limits.output_bytes,
            record_graph: cluster.record_graph,
            trusted: Trusted::new(cluster.trusted.clone()),
            only_stored: cluster.only_stored,
            hosts_fresh: cluster.hosts_fresh,
            heartbeat: cluster.heartbeat,
            worker_port: u16::try_from(cluster.worker_port).unwrap_or_default(),
            app_per_run: cluster.app == "run",
            builds: self.builds.clone(),
            ..FaasmConfig::of(planner)
        }
    }

    /// The budget for users' memory, shared by the cluster and the rest of the relay.
    pub fn budget(&self) -> Budget {
        Budget::with_disk(self.budget.bounds(), self.budget.disk())
    }

    /// Configuration of the embedded cluster.
    pub fn embedded(&self, budget: Budget) -> EmbeddedConfig {
        let instances = self.guests.instances;
        let share = match self.guests.instances_per_user {
            0 => (instances - instances / 4).max(1),
            share => share,
        };
        EmbeddedConfig {
            call_timeout: self.guests.call_time,
            max_memory: self.guests.memory_bytes,
            max_table_elements: self.guests.table_elements,
            max_instances: instances,
            max_user_instances: share,
            unsent_kept: self.state.tier_kept,
            budget,
            max_chain_depth: self.guests.chain_depth,
            max_chained: self.guests.chained_calls,
            compiled: self.data.as_ref().map(|data| data.join(COMPILED)),
            builds: self.builds.clone(),
            ..EmbeddedConfig::default()
        }
    }

    /// The configuration of Redis, if Redis is the store; reads the password file.
    ///
    /// # Errors
    /// What to change in the settings, or in the password file.
    pub fn redis(&self) -> Result<Option<RedisConfig>, String> {
        let Store { redis, redis_password_file } = &self.store;
        let Some(address) = redis.clone() else {
            return match redis_password_file {
                None => Ok(None),
                Some(_) => {
                    Err("store.redis_password_file requires store.redis, the address of Redis"
                        .to_owned())
                }
            };
        };
        let password = redis_password_file.as_ref().map(|path| {
            let told =
                |why: String| format!("store.redis_password_file: {}: {why}", path.display());
            let bytes = std::fs::metadata(path).map_err(|error| told(error.to_string()))?.len();
            if bytes > MAX_PASSWORD_BYTES {
                let why = format!("{bytes} bytes; a password has at most {MAX_PASSWORD_BYTES}");
                return Err(told(why));
            }
            let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
            match text.trim_end_matches(['\r', '\n']) {
                "" => Err(told("the file is empty; put the password into it".to_owned())),
                password => Ok(password.to_owned()),
            }
        });
        let password = password.transpose()?;
        let config = RedisConfig::new(address);
        let part = usize::try_from(self.budget.bounds().relay / 8).unwrap_or(usize::MAX);
        Ok(Some(RedisConfig {
            password,
            session_kept: self.timings.session_kept,
            waiting_bytes: config.waiting_bytes.min(part),
            ..config
        }))
    }

    /// Reads the keys, if tokens are required.
    ///
    /// # Errors
    /// What to change in the settings, or in the files that they name.
    pub fn authority(&self) -> Result<Option<Authority>, String> {
        let Tokens { secret_file, public_key_file, jwks_file, audience, issuer } = &self.tokens;
        let files = [
            secret_file.clone().map(KeyFile::Secret),
            public_key_file.clone().map(KeyFile::Public),
            jwks_file.clone().map(KeyFile::Set),
        ];
        let mut files = files.into_iter().flatten();
        let Some(key) = files.next() else {
            if audience.is_some() || issuer.is_some() {
                return Err("tokens.audience and tokens.issuer require a key to check tokens with: set one of tokens.secret_file, tokens.public_key_file and tokens.jwks_file".to_owned());
            }
            return Ok(None);
        };
        if files.next().is_some() {
            return Err(
                "set only one of tokens.secret_file, tokens.public_key_file and tokens.jwks_file"
                    .to_owned(),
            );
        }
        let settings = TokenSettings { key, audience: audience.clone(), issuer: issuer.clone() };
        Authority::load(settings).map(Some).map_err(|error| error.to_string())
    }

    /// Reads the certificate, if TLS is configured.
    ///
    /// # Errors
    /// What to change in the settings, or in the files that they name.
    pub fn certificate(&self) -> Result<Option<Tls>, String> {
        match (&self.tls.certificate_file, &self.tls.key_file) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Tls::load(certificate, key).map(Some).map_err(|error| error.to_string())
            }
            _ => Err("TLS requires both tls.certificate_file and tls.key_file".to_owned()),
        }
    }

    /// Checks that the folder of web pages, if set, is a folder.
    ///
    /// # Errors
    /// What to change in the settings, or on disk.
    pub fn web_folder(&self) -> Result<(), String> {
        let Some(web) = &self.web else { return Ok(()) };
        let why = match std::fs::metadata(web) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => "it is not a folder".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(format!(
            "web is {}, but pages cannot be served from there: {why}; create the folder, or name another with --web DIR",
            web.display()
        ))
    }

    /// Mistakes in combinations of settings. [`Settings::authority`] and [`Settings::certificate`] check keys and
    /// certificates.
    pub fn mistakes(&self, has_tokens: bool) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.data.is_none() && self.store.redis.is_none() {
            mistakes.push(
                "data, the folder for functions and state, is not set: give --data DIR".to_owned(),
            );
        }
        match self.cluster.endpoints() {
            Ok(Some(Endpoints { upload: None, .. })) if !self.keeps_state_in_redis() => {
                mistakes.push(
                    "cluster.planner is set, but not where the cluster keeps state: set cluster.upload if it keeps state in memory, or set store.redis to the cluster's Redis".to_owned(),
                );
            }
            Ok(_) => {}
            Err(wrong) => mistakes.extend(wrong),
        }
        for user in &self.cluster.trusted {
            if user != "*" && !is_valid_name(user) {
                mistakes.push(format!(
                    "cluster.trusted: `{user}` cannot name a user: names have A-Z a-z 0-9 _ - and ., and * is all users; as an option give --set cluster.trusted=ada,bob"
                ));
            }
        }
        if !has_tokens && !self.insecure && !self.listen.ip().is_loopback() {
            mistakes.push(format!(
                "cannot listen on {} without tokens: every client that reaches the relay could act as any user; set tokens.secret_file or another key, listen on 127.0.0.1 or [::1], or give --insecure to allow this",
                self.listen
            ));
        }
        mistakes
    }

    /// Whether state is in a Redis that workers use, too.
    pub fn keeps_state_in_redis(&self) -> bool {
        self.store.redis.is_some()
    }
}
