//! `faasm-standin`: a stand-in for a Faasm cluster, to try things without Faasm.

use anyhow::{Context as _, Result};
use clap::Parser;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::store::{Locks, RedisConfig, RedisStore, Stores};
use faasm_standin::{Engine, Planner, Setup, Times, Upload};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

/// Stand in for a Faasm cluster
///
/// Prints `planner URL` and `upload URL` once both servers answer, and runs until it is killed. It keeps functions in
/// memory, and state too unless a Redis is given. For each line on standard input it prints the number of requests that
/// the planner received so far, by kind, as JSON.
#[derive(Debug, Parser)]
#[command(name = "faasm-standin", version)]
struct Opts {
    /// Address of the planner
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    planner: SocketAddr,
    /// Address of the upload server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    upload: SocketAddr,
    /// Behaviour to emulate
    #[arg(long = "as", value_name = "ENGINE", value_enum, default_value_t)]
    as_: Engine,
    /// Divide all durations of a real cluster by ten
    #[arg(long)]
    tenth: bool,
    /// Redis that stores its state, as redis://HOST:6379; without one state is in memory, and the relay needs no Redis
    /// either
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Slots of its only worker
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(i64).range(1..))]
    slots: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let opts = Opts::parse();
    let locks = Locks::refused("workers of Faasm do not have this host call");
    let mut stores = Stores { locks, ..Stores::in_memory()? };
    if let Some(url) = &opts.redis {
        stores.state = Arc::new(RedisStore::connect(&RedisConfig::new(url.as_str())).await?);
    }
    let cluster = Embedded::new(EmbeddedConfig::default(), stores.clone())?;
    let cluster = Arc::new(cluster);
    let times = if opts.tenth { Times::tenth() } else { Times::default() };
    let (address, workers) = (opts.planner, vec![opts.slots]);
    let setup = Setup { address, as_: opts.as_, workers, times, ..Setup::default() };
    let planner = Planner::start(setup, cluster.clone()).await.context("the planner")?;
    let (state, files) = (stores.state, stores.files);
    let upload = Upload::start_as(opts.as_, opts.upload, cluster, state, files);
    let upload = upload.await.context("starting the upload server")?;
    let mut out = std::io::stdout();
    writeln!(out, "planner {}\nupload {}", planner.url(), upload.url())?;
    out.flush()?;
    let counting = tokio::task::spawn_blocking(move || -> Result<()> {
        for line in std::io::stdin().lines() {
            line?;
            writeln!(out, "{}", serde_json::to_string(&planner.counts())?)?;
            out.flush()?;
        }
        Ok(())
    });
    counting.await??;
    std::future::pending::<()>().await;
    Ok(())
}
