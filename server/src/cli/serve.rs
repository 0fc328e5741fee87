//! `faasm-relay serve`: the relay, with an embedded cluster or in front of a Faasm cluster.

use super::settings::SettingOpts;
use anyhow::{Context, Result};
use faasm_relay::auth::Authority;
use faasm_relay::budget::{Bounds, Budget};
use faasm_relay::cluster::faasm::{FaasmConfig, Upload};
use faasm_relay::settings::{Endpoints, Mistakes, Read, Settings};
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

/// Serves web pages and runs functions for them
///
/// Prints `listening on http://ADDRESS:PORT/` once it accepts connections, and stops on ctrl-c or SIGTERM. On SIGHUP it
/// reloads its certificate and its keys for tokens.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each setting can be in the file, in the environment (limits.connections as FAASM_RELAY_LIMITS_CONNECTIONS), \
    or given by --set, which wins over the environment as that does over the file. docs/operating.md lists them; so does \
    --check-config."
)]
pub(crate) struct Opts {
    /// Prints the settings and their origins, or all mistakes in them, and exits
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    settings: SettingOpts,
}

impl Opts {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let check_config = self.check_config;
        let mut read = self.settings.sources()?.read();
        let Named { tokens, tls, redis } = complete(&mut read);
        if !read.mistakes.0.is_empty() {
            return Err(read.mistakes.into());
        }
        if check_config {
            let mut out = std::io::stdout();
            out.write_all(read.shown().as_bytes()).and_then(|()| out.flush())?;
            return Ok(ExitCode::SUCCESS);
        }
        let budget = read.settings.budget();
        let stores = stores(&read.settings, redis, &budget).await?;
        serve(read.settings, stores, budget, tokens, tls).await
    }
}

/// Files named by the settings, read before the relay starts.
struct Named {
    tokens: Option<Authority>,
    tls: Option<Tls>,
    redis: Option<RedisConfig>,
}

/// Reads the files that the settings name, and adds errors to the mistakes.
fn complete(read: &mut Read) -> Named {
    let Read { settings, mistakes: Mistakes(mistakes), .. } = read;
    let mut told = |mistake: String| mistakes.push(mistake);
    let (tokens, tls) = (settings.authority(), settings.certificate());
    // If a key is configured but invalid, the advice to set one would mislead.
    let has_tokens = !matches!(tokens, Ok(None));
    let tokens = tokens.map_err(&mut told).ok().flatten();
    let tls = tls.map_err(&mut told).ok().flatten();
    let redis = settings.redis().map_err(&mut told).ok().flatten();
    settings.web_folder().map_err(&mut told).ok();
    settings.mistakes(has_tokens).into_iter().for_each(told);
    Named { tokens, tls, redis }
}

/// The stores: Redis if configured, otherwise the folder. With Redis, the folder contains only a cache.
async fn stores(
    settings: &Settings,
    redis: Option<RedisConfig>,
    budget: &Budget,
) -> Result<Stores> {
    let opened = open(settings, redis, budget).await?;
    Ok(opened.with_lock_lease(settings.state.lock_lease))
}

async fn open(settings: &Settings, redis: Option<RedisConfig>, budget: &Budget) -> Result<Stores> {
    if let Some(folder) = &settings.data {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating folder {}", folder.display()))?;
    }
    Ok(match redis {
        Some(redis) => Stores::redis(&redis).await.context("opening the store")?,
        None => {
            let path = settings.data.as_ref().context("data is missing")?.join(DATABASE);
            Stores::open_for(&path, settings.limits.sessions, budget)
                .with_context(|| format!("opening {}", path.display()))?
        }
    })
}

async fn serve(
    mut settings: Settings,
    stores: Stores,
    budget: Budget,
    tokens: Option<Authority>,
    tls: Option<Tls>,
) -> Result<ExitCode> {
    settings.builds.program = this_program();
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
    tracing::info!(relay, user, "memory budget of all users and of each user, bytes");
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

/// The program of the build process: this very binary, even if another version has replaced it on disk. If the system
/// does not reveal it, functions are compiled in this process.
fn this_program() -> Option<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

/// The cluster of the settings, with these stores.
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
    let config = FaasmConfig { budget: budget.clone(), ..settings.faasm(planner) };
    Ok(App::faasm(config, upload, stores.with_values_up_to(most)))
}

/// The first line of the log.
fn log_auth_mode(address: SocketAddr, has_tokens: bool, is_tls: bool) {
    match (has_tokens, is_tls || address.ip().is_loopback()) {
        (false, _) => {
            tracing::warn!("no tokens: every client that reaches {address} may act as any user")
        }
        (true, false) => tracing::warn!(
            "tokens are required, but reach {address} unencrypted unless a proxy in front does TLS"
        ),
        (true, true) => tracing::info!("tokens are required"),
    }
}

/// Reloads keys and certificate at each signal.
async fn reload_on_sighup(mut hang_up: Signal, tokens: Option<Authority>, tls: Option<Tls>) {
    while hang_up.recv().await.is_some() {
        match tokens.as_ref().map(Authority::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("keys of tokens reloaded"),
            Some(Err(error)) => tracing::error!(%error, "the keys of tokens are unchanged"),
        }
        match tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("certificate reloaded"),
            Some(Err(error)) => tracing::error!(%error, "the certificate is unchanged"),
        }
    }
    std::future::pending().await
}
