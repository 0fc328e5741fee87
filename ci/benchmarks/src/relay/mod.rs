//! What the relay costs: calls through session, protocol and an embedded instance, idle sessions, state; beside bare servers
//! in the same run.

mod cluster;
mod figures;
mod hostile;
mod load;
mod nginx;
mod state;

use crate::figure::{self, Figure};
use crate::process::{Server, resident};
use crate::stats::median;
use crate::table::Table;
use anyhow::{Context as _, Result, ensure};
use faasm_browser_tests::{Relay, program};
use load::{Answers, Talk, load, open_session};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The user whose functions these are.
const USER: &str = "bench";

/// As many bytes as a call's request has.
const MESSAGE_BYTES: usize = 24;

/// Does nothing.
const NOTHING: &str = include_str!("../../functions/wat/nothing.wat");

/// Compare the relay with bare servers
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// How long one measurement lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// How often each column is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Number of idle sessions
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    idle: usize,
    /// Only what contains this: calls, idle, state, start, allocations, faasm
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Measure only the latency of /healthz and of another user's call under hostile load, this long under each load
    #[arg(long, value_name = "SECONDS")]
    hostile: Option<f64>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[tokio::main]
pub(crate) async fn run(opts: &Opts) -> Result<()> {
    if let Some(seconds) = opts.hostile {
        let (table, figures) = hostile::measure(seconds).await.context("hostile loads")?;
        return report(opts, &[table], &figures);
    }
    let wants = |group: &str| {
        opts.filter.as_deref().is_none_or(|text| group.contains(&text.to_lowercase()))
    };
    let mut figures = Vec::new();
    let mut tables = Vec::new();
    if wants("calls") {
        let (table, found) = calls(opts).await.context("calls")?;
        tables.push(table);
        figures.extend(found);
    }
    if wants("idle") {
        figures.push(idle(opts.idle).await.context("idle sessions")?);
    }
    if wants("state") {
        figures.extend(state::measure(opts.rounds).await.context("state")?);
    }
    if wants("start") {
        let (table, found) = warm_start()?;
        tables.push(table);
        figures.push(found);
    }
    if wants("allocations") {
        for store in ["redb", "redis"] {
            figures.extend(allocations(store).context(store)?);
        }
    }
    if wants("faasm") {
        let (table, found) = cluster::measure(opts.rounds).await.context("Faasm cluster")?;
        tables.push(table);
        figures.extend(found);
    }
    ensure!(
        !figures.is_empty(),
        "no measurement has a name that contains `{}`",
        opts.filter.as_deref().unwrap_or_default()
    );
    report(opts, &tables, &figures)
}

/// Prints the results, and writes the requested files.
fn report(opts: &Opts, tables: &[Table], figures: &[Figure]) -> Result<()> {
    let targets = figure::table(figures);
    let tables: Vec<String> = tables.iter().map(Table::to_string).collect();
    println!("{}\n{targets}", tables.join("\n"));
    if let Some(path) = &opts.json {
        figure::write(figures, path)?;
    }
    if let Some(path) = &opts.markdown {
        let text = format!("{}.\n\n{}\n{targets}", figure::machine(), tables.join("\n"));
        figure::write_file(path, &text)?;
    }
    Ok(())
}

/// A relay with a folder of its own that allows this many sessions.
async fn relay(sessions: usize) -> Result<(Relay, String)> {
    let web = tempfile::tempdir().context("a temporary folder")?;
    let options = figures::room_for(sessions);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let relay = Relay::start_with(web.path(), &options).await?;
    let url = format!("{}/ws", relay.url().replacen("http", "ws", 1));
    Ok((relay, url))
}

/// Calls of a function that does nothing, and echoes, in turns.
async fn calls(opts: &Opts) -> Result<(Table, Vec<Figure>)> {
    let (relay, url) = relay(2 * usize::from(opts.connections)).await?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let original = folder.path().join("nothing.wasm");
    std::fs::write(&original, wat::parse_str(NOTHING)?).context("writing a function")?;
    relay.upload(USER, &[original]).await?;
    let plain = Server::start(&program("FAASM_ECHO_BIN", "examples/echo")?).await?;
    let fast = Server::start(&program("FAASM_ECHO_FAST_BIN", "examples/echo_fast")?).await?;
    let echo = Talk::Echo(MESSAGE_BYTES);
    let call = Talk::Call { user: USER.to_owned(), function: "nothing".to_owned() };
    let columns = [
        (figures::ECHO, plain.url(), &echo),
        (figures::ECHO_FAST, fast.url(), &echo),
        (figures::CALL, &url, &call),
    ];
    let mut found: BTreeMap<&str, Vec<Answers>> = BTreeMap::new();
    let connections = usize::from(opts.connections);
    for round in 0..=opts.rounds {
        eprintln!("calls, {round} of {}", opts.rounds);
        for (name, url, talk) in columns {
            let lasting = Duration::from_secs_f64(opts.seconds);
            let answers = load(url, talk, connections, lasting).await.context(name)?;
            // The first round warms.
            if round > 0 {
                found.entry(name).or_default().push(answers);
            }
        }
    }
    Ok((figures::answers(&found), figures::calls(&found)))
}

/// Memory of an idle session.
async fn idle(count: usize) -> Result<Figure> {
    // Inherited by the relay.
    figures::raise_file_limit(2 * count as u64 + 1000)?;
    let (relay, url) = relay(count + 200).await?;
    let process = relay.id().context("the relay has ended")?;
    // Allocations of the first sessions are permanent.
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..100 {
        sessions.push(open_session(&url, USER).await?);
    }
    let before = resident(process)?;
    for _ in 0..count {
        sessions.push(open_session(&url, USER).await?);
    }
    let each = (resident(process)? - before) as f64 / count as f64 / 1024.0;
    Ok(figures::idle(each, count))
}

/// A call within the process that runs it.
fn warm_start() -> Result<(Table, Figure)> {
    let program = program("FAASM_WARM_START_BIN", "examples/warm_start")?;
    let output = Command::new(&program)
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let quantiles: BTreeMap<String, f64> =
        serde_json::from_slice(&output.stdout).context("what it printed")?;
    let mut table = Table::new(&["warm start", "µs"]);
    let mut rows: Vec<_> = quantiles.iter().collect();
    rows.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    for (quantile, time) in rows {
        table.row([quantile.clone(), format!("{time:.1}")]);
    }
    let middle = quantiles.get("p50").context("no p50")?;
    Ok((table, figures::warm_start(*middle)))
}

/// What a relay with this store allocates to carry 64 MiB.
fn allocations(store: &str) -> Result<Vec<Figure>> {
    eprintln!("allocations, {store}");
    let program = program("FAASM_ALLOCATIONS_BIN", "examples/allocations")?;
    let output = Command::new(&program)
        .arg(store)
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, f64> =
        serde_json::from_slice(&output.stdout).context("what it printed")?;
    Ok(found.iter().map(|(what, ratio)| figures::allocated(what, store, *ratio)).collect())
}

/// The middle of what rounds gave.
fn middle(values: impl Iterator<Item = f64>) -> f64 {
    median(&values.collect::<Vec<_>>())
}
