//! Arguments for settings, shared by `serve` and `doctor`.

use anyhow::{Context, Result};
use faasm_relay::settings::{Flag, Sources};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings: a file, `--set` for any setting, and dedicated flags for some.
#[derive(Debug, clap::Args)]
pub(crate) struct SettingOpts {
    /// TOML file with settings [env: FAASM_RELAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Address and port to listen on; port 0 selects a free port. Addresses other than loopback require tokens or
    /// --insecure [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder for functions and state; created if missing
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Redis for functions, state and sessions instead, which several relays can share, as redis://HOST:6379
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Folder of web pages to serve
    #[arg(long, value_name = "DIR")]
    web: Option<String>,
    /// Another site whose pages may use the relay, as https://example.org (repeatable)
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// A host name by which clients reach the relay, with or without a port (repeatable)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Listen on other interfaces than loopback without tokens: everyone who can reach the relay can use it
    #[arg(long)]
    insecure: bool,
    /// Time limit of a call tree [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    call_timeout: Option<u64>,
    /// Memory limit of an instance [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_memory: Option<u64>,
}

impl SettingOpts {
    /// The sources of settings. Dedicated flags take precedence over `--set`.
    ///
    /// # Errors
    /// A `--set` has no value.
    pub(crate) fn sources(self) -> Result<Sources> {
        let mut flags = flags(&self.set)?;
        let mut flag = |shown: &str, key: &str, values: Vec<String>| {
            if !values.is_empty() {
                flags.push(Flag { shown: shown.to_owned(), key: key.to_owned(), values });
            }
        };
        let one = |value: Option<String>| value.into_iter().collect();
        let bytes = self.max_memory.map(|mib| mib * 1024 * 1024);
        flag("--listen", "listen", one(self.listen.map(|listen| listen.to_string())));
        flag("--data", "data", one(self.data));
        flag("--redis", "store.redis", one(self.redis));
        flag("--web", "web", one(self.web));
        flag("--allow-origin", "allow_origins", self.allow_origin);
        flag("--allow-host", "allow_hosts", self.allow_host);
        flag("--insecure", "insecure", one(self.insecure.then(|| "true".to_owned())));
        flag("--call-timeout", "guests.call_time", one(self.call_timeout.map(|s| s.to_string())));
        flag("--max-memory", "guests.memory_bytes", one(bytes.map(|bytes| bytes.to_string())));
        Ok(Sources { file: self.config, variables: std::env::vars_os().collect(), flags })
    }
}

/// Settings given as `--set KEY=VALUE`.
fn flags(set: &[String]) -> Result<Vec<Flag>> {
    let flag = |set: &String| {
        let (key, value) =
            set.split_once('=').with_context(|| format!("--set {set}: give it as KEY=VALUE"))?;
        let (key, values) = (key.trim().to_owned(), vec![value.trim().to_owned()]);
        Ok(Flag { shown: format!("--set {key}"), key, values })
    };
    set.iter().map(flag).collect()
}
