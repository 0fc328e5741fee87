//! `faasm-relay serve`: the relay with its embedded cluster.

use super::LimitOpts;
use anyhow::{Context, Result, ensure};
use faasm_relay::cluster::embedded::Printing;
use faasm_relay::store::Stores;
use faasm_relay::{App, Config, Timings};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Database file in the data folder.
const DATABASE: &str = "relay.redb";

/// Serves web pages, and runs functions for them
///
/// Prints `listening on http://ADDRESS:PORT/` once it accepts connections, and ends on ctrl-c or SIGTERM.
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Address and port to listen on; port 0 takes a free one. Only loopback addresses so far
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Folder for functions and state; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of web pages to serve
    #[arg(long, value_name = "DIR")]
    web: PathBuf,
    /// Lets pages of this origin use the relay, as https://example.org (repeatable)
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// A name this relay is reached by, with or without a port (repeatable)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    #[command(flatten)]
    limits: LimitOpts,
}

impl Opts {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        ensure!(
            self.listen.ip().is_loopback(),
            "cannot listen on {}: there are no tokens yet, so anyone who reaches the relay can use it; listen on 127.0.0.1 or [::1]",
            self.listen
        );
        let data = self.data.display();
        std::fs::create_dir_all(&self.data).with_context(|| format!("making folder {data}"))?;
        let path = self.data.join(DATABASE);
        let stores = Stores::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let app = App::embedded(self.limits.config(Printing::Log), stores)
            .context("starting the embedded cluster")?;
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("listening on {}", self.listen))?;
        let address = listener.local_addr()?;
        // Before the first connection, so that a signal is never missed.
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("stopping");
        };
        tracing::warn!("open: whoever reaches {address} acts as any user, there are no tokens yet");
        let mut out = std::io::stdout();
        writeln!(out, "listening on http://{address}/").and_then(|()| out.flush())?;
        let config = Config {
            web: Some(self.web),
            allow_origins: self.allow_origin,
            allow_hosts: self.allow_host,
            timings: Timings::default(),
        };
        faasm_relay::serve(listener, config, app, shutdown).await.context("serving")?;
        Ok(ExitCode::SUCCESS)
    }
}
