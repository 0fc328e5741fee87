//! `faasm-relay serve`: the relay, with its embedded cluster or in front of a Faasm one.

use anyhow::{Context, Result};
use faasm_relay::auth::Authority;
use faasm_relay::budget::{Bounds, Budget};
use faasm_relay::cluster::faasm::Upload;
use faasm_relay::settings::{Endpoints, Flag, Mistakes, Read, Settings, Sources};
use faasm_relay::store::{RedisConfig, Stores};
use faasm_relay::{App, Config, Tls};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Database file in the data folder.
const DATABASE: &str = "relay.redb";

/// Serves web pages, and runs functions for them
///
/// Prints `listening on http://ADDRESS:PORT/` once it accepts connections, and ends on ctrl-c or SIGTERM. On SIGHUP it reads
/// its certificate and its keys for tokens again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each setting can be in the file, in the environment (limits.connections as FAASM_RELAY_LIMITS_CONNECTIONS), \
    or given by --set, which wins over the environment as that does over the file. docs/operating.md lists them; so does \
    --check-config."
)]
pub(crate) struct Opts {
    /// TOML file with settings [env: FAASM_RELAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints the settings, and where they come from, or everything that is wrong with them, and ends
    #[arg(long)]
    check_config: bool,
    /// Any setting (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Address and port to listen on; port 0 takes a free one. Beyond this machine it takes tokens or --insecure
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder for functions and state; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Redis for functions, state and sessions instead, which other relays may use too, as redis://HOST:6379
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Folder of web pages to serve
    #[arg(long, value_name = "DIR")]
    web: Option<String>,
    /// Lets pages of this origin use the relay, as https://example.org (repeatable)
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// A name this relay is reached by, with or without a port (repeatable)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Listens beyond this machine without tokens, for everybody who can reach it
    #[arg(long)]
    insecure: bool,
    /// Longest any one call may take [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    call_timeout: Option<u64>,
    /// Most memory any one instance of a function may have [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_memory: Option<u64>,
}

impl Opts {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let check_config = self.check_config;
        let mut read = self.sources()?.read();
        let Named { tokens, tls, redis } = complete(&mut read);
        if !read.mistakes.0.is_empty() {
            return Err(read.mistakes.into());
        }
        if check_config {
            let mut out = std::io::stdout();
            out.write_all(read.shown().as_bytes()).and_then(|()| out.flush())?;
            return Ok(ExitCode::SUCCESS);
        }
        let stores = stores(&read.settings, redis).await?;
        serve(read.settings, stores, tokens, tls).await
    }

    /// Flags that have a name of their own come after `--set`.
    fn sources(self) -> Result<Sources> {
        let mut flags = super::flags(&self.set)?;
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

/// What settings name that is read before anything is done.
struct Named {
    tokens: Option<Authority>,
    tls: Option<Tls>,
    redis: Option<RedisConfig>,
}

/// Reads what the settings name, and adds what is wrong with it to the mistakes.
fn complete(read: &mut Read) -> Named {
    let Read { settings, mistakes: Mistakes(mistakes), .. } = read;
    let mut told = |mistake: String| mistakes.push(mistake);
    let (tokens, tls) = (settings.authority(), settings.certificate());
    // Whoever meant to have tokens is not told to get some.
    let has_tokens = !matches!(tokens, Ok(None));
    let tokens = tokens.map_err(&mut told).ok().flatten();
    let tls = tls.map_err(&mut told).ok().flatten();
    let redis = settings.redis().map_err(&mut told).ok().flatten();
    settings.mistakes(has_tokens).into_iter().for_each(told);
    Named { tokens, tls, redis }
}

/// In Redis, if there is one; else in the folder. With Redis, the folder has only what can be made again.
async fn stores(settings: &Settings, redis: Option<RedisConfig>) -> Result<Stores> {
    let opened = open(settings, redis).await?;
    Ok(opened.with_lock_lease(settings.state.lock_lease))
}

async fn open(settings: &Settings, redis: Option<RedisConfig>) -> Result<Stores> {
    if let Some(folder) = &settings.data {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making folder {}", folder.display()))?;
    }
    Ok(match redis {
        Some(redis) => Stores::redis(&redis).await.context("opening the store")?,
        None => {
            let path = settings.data.as_ref().context("data is missing")?.join(DATABASE);
            Stores::open_for(&path, settings.limits.sessions)
                .with_context(|| format!("opening {}", path.display()))?
        }
    })
}

async fn serve(
    mut settings: Settings,
    stores: Stores,
    tokens: Option<Authority>,
    tls: Option<Tls>,
) -> Result<ExitCode> {
    settings.builds.program = this_program();
    let budget = settings.budget();
    let app = app(&settings, stores, &budget)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listening on {}", settings.listen))?;
    let address = listener.local_addr()?;
    // Before the first connection, so that a signal is never missed.
    let hang_up = signal(SignalKind::hangup())?;
    let told = super::stop::on_signal(settings.timings.drain + settings.timings.grace)?;
    let shutdown = async { drop(told.await) };
    log_auth_mode(address, tokens.is_some(), tls.is_some());
    let Bounds { relay, user } = budget.bounds();
    tracing::info!(relay, user, "bytes of memory that may be held for users, and for each of them");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut out = std::io::stdout();
    writeln!(out, "listening on {scheme}://{address}/").and_then(|()| out.flush())?;
    let config = Config {
        web: settings.web,
        allow_origins: settings.allow_origins,
        allow_hosts: settings.allow_hosts,
        timings: settings.timings,
        limits: settings.limits,
        tokens: tokens.clone(),
        tls: tls.clone(),
        budget,
    };
    tokio::select! {
        served = faasm_relay::serve(listener, config, app, shutdown) => served.context("serving")?,
        () = reload_on_sighup(hang_up, tokens, tls) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What compiles functions in a process of its own: this very program, also where another version has taken its place on
/// disk. Where the system does not tell, functions are compiled in this process.
fn this_program() -> Option<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

/// The cluster that the settings name, over these stores.
fn app(settings: &Settings, stores: Stores, budget: &Budget) -> Result<App> {
    let most = settings.state_value_bytes as u64;
    let endpoints = settings.cluster.endpoints().map_err(Mistakes)?;
    let Some(Endpoints { planner, upload }) = endpoints else {
        let app = App::embedded(settings.embedded(budget.clone()), stores.with_values_up_to(most));
        return app.context("starting the embedded cluster");
    };
    tracing::info!(%planner, "functions run in a Faasm cluster");
    let connections = settings.cluster.connections;
    let upload = upload.map(|upload| Arc::new(Upload::new(upload, connections)));
    let stores = match &upload {
        Some(upload) => upload.with_cluster_state(stores, !settings.keeps_state_in_redis()),
        None => stores,
    };
    Ok(App::faasm(settings.faasm(planner), upload, stores.with_values_up_to(most)))
}

/// The first line of the log.
fn log_auth_mode(address: SocketAddr, has_tokens: bool, is_tls: bool) {
    match (has_tokens, is_tls || address.ip().is_loopback()) {
        (false, _) => tracing::warn!(
            "open: there are no tokens, so whoever reaches {address} acts as any user"
        ),
        (true, false) => tracing::warn!(
            "tokens are asked for, and reach {address} in plain text unless a proxy in front does TLS"
        ),
        (true, true) => tracing::info!("tokens are asked for"),
    }
}

/// Reads keys and certificate again at each signal, for ever.
async fn reload_on_sighup(mut hang_up: Signal, tokens: Option<Authority>, tls: Option<Tls>) {
    while hang_up.recv().await.is_some() {
        match tokens.as_ref().map(Authority::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("keys of tokens read again"),
            Some(Err(error)) => tracing::error!(%error, "the keys of tokens stay what they were"),
        }
        match tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("certificate read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate stays what it was"),
        }
    }
    std::future::pending().await
}
