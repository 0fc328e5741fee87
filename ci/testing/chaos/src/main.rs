//! `faasm-chaos`: searches for effects that a relay loses or duplicates. `cargo xtask chaos` builds what it needs.

use anyhow::{Context as _, Result};
use clap::Parser;
use faasm_chaos::campaign::{self, Settings};
use faasm_chaos::{load, report};
use faasm_redis_server::RedisServer;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Calls, operations and time limit of the short form.
const SHORT: (u64, u64, Duration) = (4000, 4000, Duration::from_secs(18));

/// Find effects that a relay loses or duplicates
#[derive(Debug, Parser)]
#[command(name = "faasm-chaos", version)]
struct Opts {
    /// Seed of the faults; by default a different one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of calls
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    calls: u64,
    /// Number of operations on state
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u64,
    /// Time limit for them
    #[arg(long, value_name = "N", default_value_t = 900)]
    seconds: u64,
    /// Fewer of each, in less than 20 s
    #[arg(long, conflicts_with_all = ["calls", "operations", "seconds"])]
    short: bool,
    /// Two relays over one Redis, which also fails
    #[arg(long)]
    redis: bool,
    /// Write figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure calls and appends per second of this many sessions instead, without faults
    #[arg(long, value_name = "SESSIONS")]
    load: Option<u64>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(run(&Opts::parse()))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no violation was found.
async fn run(opts: &Opts) -> Result<bool> {
    let folder = tempfile::tempdir().context("creating a folder")?;
    if let Some(sessions) = opts.load {
        let time = Duration::from_secs(opts.seconds.min(10));
        let redis = opts.redis.then(RedisServer::start_durable).transpose()?;
        let (calls, appends) =
            load::measure(sessions, time, folder.path(), redis.as_ref().map(RedisServer::url))
                .await?;
        println!("{sessions} sessions: {calls:.0} calls/s, {appends:.0} appends/s");
        return Ok(true);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (calls, operations, time) = match opts.short {
        true => SHORT,
        false => (opts.calls, opts.operations, Duration::from_secs(opts.seconds)),
    };
    let seed = opts.seed.unwrap_or(now.as_secs());
    let settings = Settings { seed, calls, operations, time, redis: opts.redis };
    println!("seed {seed}: {calls} calls, {operations} operations, at most {} s", time.as_secs());
    let ran = campaign::run(&settings, folder.path()).await;
    let (ledger, events) = match ran {
        Ok(ran) => ran,
        Err(error) => {
            let log = folder.keep().join("relay.log");
            return Err(error.context(format!("seed {seed}; the relays' log is {}", log.display())));
        }
    };
    report::print(&settings, &ledger, &events);
    if let Some(path) = &opts.json {
        let text = format!("{:#}\n", Value::from(report::figures(&settings, &ledger, &events)));
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let is_clean = report::is_clean(&ledger);
    if !is_clean {
        println!("the relays' log is {}", folder.keep().join("relay.log").display());
    }
    Ok(is_clean)
}
